"""Attributes of perf's events: what a sample holds and where, by struct perf_event_attr.

Source: include/uapi/linux/perf_event.h (7.2); the order of a sample's fields, and of those that
other records end with, is that of kernel/events/core.c:perf_output_sample and
:perf_event__output_id_sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.ingest.raw.cursor import Cursor

#: Bits of sample_type, in the order in which a sample has them, up to its raw record.
IDENTIFIER, IP, TID, TIME, ADDR = 1 << 16, 1 << 0, 1 << 1, 1 << 2, 1 << 3
ID, STREAM_ID, CPU, PERIOD, READ = 1 << 6, 1 << 9, 1 << 7, 1 << 8, 1 << 4
CALLCHAIN, RAW = 1 << 5, 1 << 10
#: Bits of read_format.
ENABLED, RUNNING, READ_ID, GROUP, READ_LOST = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4

_HEADER = 8  # bytes of struct perf_event_header
_WORDS_IN_FRONT = (IDENTIFIER, IP, TID, TIME, ADDR, ID, STREAM_ID, CPU, PERIOD)
_WORDS_BEHIND = (TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER)
_TRACEPOINT = 2  # PERF_TYPE_TRACEPOINT
_FREQ, _SAMPLE_ID_ALL, _USE_CLOCKID = 10, 18, 25  # bits of the flags
_SMALLEST = 64  # PERF_ATTR_SIZE_VER0
_CLOCK_IDS = {
    0: "CLOCK_REALTIME",
    1: "CLOCK_MONOTONIC",
    4: "CLOCK_MONOTONIC_RAW",
    7: "CLOCK_BOOTTIME",
    11: "CLOCK_TAI",
}
# What perf calls the events of these types, by config (include/uapi/linux/perf_event.h:
# enum perf_hw_id and enum perf_sw_ids, 7.2; tools/perf/util/evsel.c).
_KNOWN = {
    0: (
        *("cycles", "instructions", "cache-references", "cache-misses", "branches"),
        *("branch-misses", "bus-cycles", "stalled-cycles-frontend", "stalled-cycles-backend"),
        "ref-cycles",
    ),
    1: (
        *("cpu-clock", "task-clock", "page-faults", "context-switches", "cpu-migrations"),
        *("minor-faults", "major-faults", "alignment-faults", "emulation-faults", "dummy"),
        *("bpf-output", "cgroup-switches"),
    ),
}
#: The clock of a recording that asked for none (kernel/events/core.c:perf_event_clock).
SCHED_CLOCK = "perf"


@dataclass(frozen=True, slots=True)
class Attr:
    """One event that perf was told to record.

    Attributes:
        kind: PERF_TYPE_*.
        config: which event of this type; the number of a tracepoint's format.
        period: events a sample.
        frequency: samples were wanted at a rate.
        sample_type: what a sample holds.
        read_format: what READ holds in it.
        ids_in_all: other records end with the same words.
        clock: the clock of its times.
        ids: what IDENTIFIER or ID say in its samples, one a CPU.
        name: what perf calls it.
    """

    kind: int
    config: int
    period: int
    frequency: bool
    sample_type: int
    read_format: int
    ids_in_all: bool
    clock: str
    ids: tuple[int, ...] = ()
    name: str = ""

    @property
    def tracepoint(self) -> bool:
        """Whether its samples hold a tracepoint's record."""
        return self.kind == _TRACEPOINT and bool(self.sample_type & RAW) and not self.counted

    @property
    def counted(self) -> bool:
        """Whether it has no samples: a group's leader reads its count in its own (``:S``).

        perf util/record.c:evsel__config_leader_sampling sets no period then, and the kernel makes
        no sample of such an event (kernel/events/core.c:is_sampling_event).
        """
        return not self.period and not self.frequency

    @property
    def called(self) -> str:
        """What to call it where it is not what was looked for."""
        known = _KNOWN.get(self.kind, ())
        name = self.name or (
            known[self.config]
            if self.config < len(known)
            else f"an event of type {self.kind}, config {self.config:#x}"
        )
        if self.counted:
            return f"{name} (only counted, in a group with :S)"
        if self.kind == _TRACEPOINT and not self.sample_type & RAW:
            return f"{name} (without its record)"
        return name

    def at(self, bit: int) -> int:
        """Bytes from a sample's beginning to a word in front of READ, which it must have."""
        before = _WORDS_IN_FRONT[: _WORDS_IN_FRONT.index(bit)]
        return _HEADER + 8 * sum(bool(self.sample_type & other) for other in before)

    @property
    def front(self) -> int:
        """Bytes of a sample up to READ."""
        return _HEADER + 8 * sum(bool(self.sample_type & bit) for bit in _WORDS_IN_FRONT)

    def back(self, bit: int) -> int | None:
        """Bytes from such a word to the end of a record that is no sample; None if it has none."""
        if not self.ids_in_all or not self.sample_type & bit:
            return None
        after = _WORDS_BEHIND[_WORDS_BEHIND.index(bit) :]
        return 8 * sum(bool(self.sample_type & other) for other in after)


def read_attr(cursor: Cursor) -> Attr:
    """The struct perf_event_attr at a cursor, which stays where it is."""
    start = cursor.at
    kind, size = cursor.number(4, "an event's type"), cursor.number(4, "an event's size")
    if size < _SMALLEST:
        cursor.fail(f"an event's attributes of {size} bytes cannot be")
    config, period, sample_type, read_format, flags = (
        cursor.number(8, "an event's attributes") for _ in range(5)
    )

    def flag(bit: int) -> bool:
        # A bit field begins with the highest bit where the highest byte comes first.
        return bool(flags >> (bit if cursor.order == "<" else 63 - bit) & 1)

    clock = SCHED_CLOCK
    if flag(_USE_CLOCKID) and size >= 96:
        cursor.at = start + 92
        number = cursor.number(4, "an event's clock")
        clock = _CLOCK_IDS.get(number, f"clock {number}")
    cursor.at = start
    return Attr(
        kind=kind,
        config=config,
        period=period,
        frequency=flag(_FREQ),
        sample_type=sample_type,
        read_format=read_format,
        ids_in_all=flag(_SAMPLE_ID_ALL),
        clock=clock,
    )
