"""From a recording's time stamps to the column ts.

Source: trace-cmd 3.4 lib/trace-cmd/trace-input.c:timestamp_calc, :timestamp_host_sync and
:handle_options; kernel/trace/trace.c:trace_clocks (7.2) for the clocks and their units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.raw.cursor import Cursor
from pipeline.ingest.trace_dat.container import DATE, OFFSET, TIME_SHIFT, TSC2NSEC, TraceDat
from pipeline.untrusted import must_be_number

if TYPE_CHECKING:
    from allocsim.tables import I8, U8

# Clocks that do not count nanoseconds; all others do.
_UNITS = {"counter": "events", "uptime": "ticks", "x86-tsc": "cycles", "ppc-tb": "cycles"}
_INTERPOLATE = 1  # TRACECMD_TSYNC_FLAG_INTERPOLATE
_NUMBER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|\d+)")
_FARTHEST = 1 << 62  # ns that times may be moved by: 146 years
_MAX_SAMPLES = 1 << 20


@dataclass(frozen=True, slots=True)
class HostShift:
    """How one CPU's clock of a guest differed from its host's, sampled over time."""

    time: I8
    offset: I8
    scaling: U8
    fraction: U8


@dataclass(slots=True)
class Clock:
    """The clock of a recording, and how its stamps become times.

    Attributes:
        name: the kernel's name of the clock.
        unit: what ``ts`` counts: ns, or else cycles, events, ticks.
        multiplier: with ``shift``, from TSC cycles to ns; 0: not converted.
        shift: see ``multiplier``.
        offset: added to every time.
    """

    name: str
    unit: str = "ns"
    multiplier: int = 0
    shift: int = 0
    offset: int = 0
    interpolate: bool = False
    host: list[HostShift] = field(default_factory=list)

    @classmethod
    def of(cls, trace: TraceDat, name: str) -> Clock:
        """The clock ``name`` with the conversions the recording's options ask for.

        Raises:
            InputError: an option is damaged.
        """
        clock = cls(name, _UNITS.get(name, "ns"))
        for number, data in trace.options:
            what = f"{trace.path}: option {number}"
            if number == DATE:  # in us
                clock.offset += 1000 * _text_number(data, what)
            elif number == OFFSET:
                clock.offset += _text_number(data, what)
            elif number == TSC2NSEC and len(data) >= 16:
                clock._read_tsc(Cursor(memoryview(data), trace.order, what))
            elif number == TIME_SHIFT and len(data) >= 16:
                clock._read_host(Cursor(memoryview(data), trace.order, what))
        if abs(clock.offset) > _FARTHEST:
            moved = f"its times are moved by {clock.offset} ns"
            raise InputError(f"{trace.path}: {moved}, which is not believed")
        return clock

    @property
    def converts(self) -> bool:
        """Whether a time is anything else than the stamp as it was recorded."""
        return bool(self.multiplier or self.offset or self.host)

    def _read_tsc(self, cursor: Cursor) -> None:
        self.multiplier = cursor.number(4, "the multiplier")
        self.shift = cursor.number(4, "the shift")
        if self.shift > 32:
            cursor.fail(f"a clock shifted by {self.shift} bits cannot be")
        if self.multiplier:
            self.unit = "ns"

    def _read_host(self, cursor: Cursor) -> None:
        cursor.take(8, "the host's trace")
        self.interpolate = bool(cursor.number(4, "flags") & _INTERPOLATE)
        samples: list[dict[str, U8]] = []
        order = cursor.order
        for _ in range(cursor.number(4, "number of CPUs")):
            count = cursor.number(4, "number of samples")
            if count > _MAX_SAMPLES:
                cursor.fail(f"{count} samples of the host's clock are not believed")
            samples.append(
                {
                    name: np.frombuffer(cursor.take(8 * count, name), f"{order}u8")
                    for name in ("time", "offset", "scaling")
                }
            )
        for sample in samples:
            time = sample["time"]
            zero = np.zeros(len(time), np.uint64)
            wide = cursor.take(8 * len(time), "fractions") if cursor.left else memoryview(b"")
            fraction = np.frombuffer(wide, f"{order}u8") if len(wide) else zero
            _, kept = np.unique(time.astype(np.int64), return_index=True)
            self.host.append(
                HostShift(
                    time[kept].astype(np.int64),
                    sample["offset"][kept].astype(np.uint64).view(np.int64),
                    sample["scaling"][kept].astype(np.uint64),
                    fraction[kept].astype(np.uint64),
                )
            )

    def times(self, raw: U8, cpu: int) -> I8:
        """What CPU ``cpu`` stamped as ``raw``: i8, in ``unit``."""
        ts = raw
        if cpu < len(self.host) and len(self.host[cpu].time):
            ts = self._on_host(ts, self.host[cpu])
        if self.multiplier:
            # mul_u64_u32_shr: 96 bits in between, so in two halves.
            multiplier, shift = np.uint64(self.multiplier), np.uint64(self.shift)
            low, high = ts & np.uint64(0xFFFFFFFF), ts >> np.uint64(32)
            ts = (low * multiplier >> shift) + (high * multiplier << (np.uint64(32) - shift))
        times = ts.view(np.int64)
        return np.add(times, self.offset) if self.offset else times

    def _on_host(self, raw: U8, host: HostShift) -> U8:
        ts = raw.view(np.int64)
        if len(host.time) == 1:
            moved: I8 = ts + host.offset[0]
            return moved.view(np.uint64)
        last = len(host.time) - 2
        at = np.clip(np.searchsorted(host.time, ts, side="right") - 1, 0, last)
        correction = host.offset.take(at)
        if self.interpolate:
            span = host.time[at + 1] - host.time[at]
            slope = (ts - host.time[at]) * (host.offset[at + 1] - host.offset[at]) + span // 2
            # C divides towards zero.
            correction = correction + np.sign(slope) * (np.abs(slope) // span)
        scaled = raw * host.scaling.take(at) >> host.fraction.take(at)
        return scaled + correction.view(np.uint64)


def _text_number(data: bytes, what: str) -> int:
    """What strtoll makes of an option's text: as many digits as there are, 0 if none.

    Raises:
        InputError: more than 64 bits; says ``what``.
    """
    match = _NUMBER.match(data.split(b"\0")[0].decode("ascii", "replace"))
    if match is None:
        return 0
    prefixed = match[2][:2].lower() == "0x"
    digits, base = (match[2][2:], 16) if prefixed else (match[2], 10)
    value = must_be_number(digits, f"{what}: a time offset", base)
    return -value if match[1] == "-" else value
