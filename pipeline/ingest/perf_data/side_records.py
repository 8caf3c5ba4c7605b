"""The records of a perf.data that are no samples: tasks' names, lost events, the kernel's place.

Source: include/uapi/linux/perf_event.h:enum perf_event_type (7.2); perf 6.1 util/event.h and
builtin-record.c:record__read_lost_samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.ingest.perf_data import attrs as bits
from pipeline.ingest.raw.cursor import Cursor, text_of

if TYPE_CHECKING:
    from pipeline.ingest.perf_data.container import PerfData
    from pipeline.ingest.stacks.symbols import Kallsyms

_MMAP, _LOST, _COMM, _THROTTLE, _FORK, _LOST_SAMPLES, _ID_INDEX = 1, 2, 3, 5, 7, 13, 69
_REFUSED = {
    66: "event formats among samples, which is not read",
    71: "a hardware trace (AUX), which is not read; record kmem events alone",
    81: "compressed records, which its header does not announce",
    83: "compressed records, which its header does not announce",
}
_HEADER, _SIZE_AT = 8, 6
_KERNEL = "[kernel.kallsyms]"
_ANY_TASK = (1 << 64) - 1


class SideRecords:
    """Takes in the records that are no samples.

    Args:
        perf: the recording's container.
        records: all records.
        where: what to call them in errors.

    Attributes:
        comms: the last name of each task, by its pid.
        some_tasks: only some tasks were recorded.
    """

    #: The types of records that are of use.
    wanted = frozenset({_MMAP, _LOST, _COMM, _THROTTLE, _FORK, _LOST_SAMPLES, _ID_INDEX, *_REFUSED})

    def __init__(self, perf: PerfData, records: memoryview, where: str) -> None:
        self._perf = perf
        self._records = records
        self._where = where
        # Records that are no samples end as those of the first event do.
        self._attr = perf.attrs[0]
        # Time, task, and its name or the task it was forked from.
        self._tasks: list[tuple[int, int, str | int]] = []
        self._lost: dict[int, int] = {}
        self._lost_samples: dict[int, int] = {}
        self._throttled: dict[int, int] = {}
        self._cpu_of: dict[int, int] = {}
        self._kernel: tuple[str, int] | None = None
        self.some_tasks = False

    @property
    def comms(self) -> dict[str, str]:
        """The last name of each task, by its pid."""
        names: dict[int, str] = {}
        for _, tid, name in sorted(self._tasks, key=lambda task: task[0]):
            found = names.get(name) if isinstance(name, int) else name
            if found is not None:
                names[tid] = found
        return {str(tid): name for tid, name in sorted(names.items())}

    def take(self, kind: int, at: int) -> None:
        """Take in the record of type ``kind`` at ``at``.

        Raises:
            InputError: it is damaged, or of a type that cannot be read.
        """
        where = f"{self._where}: byte {at}"
        if kind in _REFUSED:
            raise InputError(f"{where}: it holds {_REFUSED[kind]}")
        cursor = Cursor(self._records, self._perf.order, where, at + _SIZE_AT)
        end = at + cursor.number(2, "a record's size")
        body = Cursor(self._records[:end], self._perf.order, where, at + _HEADER)
        {
            _MMAP: self._mmap,
            _LOST: self._count_lost,
            _COMM: self._comm,
            _THROTTLE: self._throttle,
            _FORK: self._fork,
            _LOST_SAMPLES: self._count_samples,
            _ID_INDEX: self._index,
        }[kind](body)

    def _mmap(self, body: Cursor) -> None:
        if self._kernel is not None or body.number(4, "a pid") != _ANY_TASK & 0xFFFFFFFF:
            return
        body.take(20, "a mapping")
        place = body.number(8, "a mapping")
        name = text_of(body.take(body.left, "a mapping's name"))
        # The symbol that the offset is the address of is behind the name (util/event.c:
        # perf_event__synthesize_kernel_mmap).
        if name.startswith(_KERNEL) and name != _KERNEL:
            self._kernel = (name.removeprefix(_KERNEL), place)

    def _comm(self, body: Cursor) -> None:
        time = self._word(body, bits.TIME) or 0
        body.number(4, "a pid")
        tid = body.number(4, "a tid")
        self._tasks.append((time, tid, text_of(body.take(min(body.left, 16), "a task's name"))))

    def _fork(self, body: Cursor) -> None:
        body.take(8, "a fork")
        tid, parent = body.number(4, "a tid"), body.number(4, "a parent's tid")
        self._tasks.append((body.number(8, "a time"), tid, parent))

    def _count_lost(self, body: Cursor) -> None:
        number, lost = body.number(8, "an id"), body.number(8, "lost events")
        self._add(self._lost, body, number, lost)

    def _count_samples(self, body: Cursor) -> None:
        lost = body.number(8, "lost samples")
        self._add(self._lost_samples, body, self._word(body, bits.IDENTIFIER), lost)

    def _throttle(self, body: Cursor) -> None:
        body.number(8, "a time")
        self._add(self._throttled, body, body.number(8, "an id"), 1)

    def _add(self, lost: dict[int, int], body: Cursor, number: int | None, count: int) -> None:
        """Count losses of a CPU: that of the event's id, or the one the record names."""
        cpu = self._cpu_of.get(number or 0, (self._word(body, bits.CPU) or 0) & 0xFFFFFFFF)
        if count >= 1 << 62 or cpu >= 1 << 16:
            body.fail(f"{count} lost events of CPU {cpu} are not believed")
        lost[cpu] = lost.get(cpu, 0) + count

    def _word(self, body: Cursor, bit: int) -> int | None:
        """One of the words that a record ends with; None if it does not."""
        back = self._attr.back(bit)
        at = len(body.data) - (back or 0)
        if back is None or at < body.at:
            return None
        return Cursor(body.data, body.order, body.what, at).number(8, "a record's end")

    def _index(self, body: Cursor) -> None:
        for _ in range(body.number(8, "the number of ids")):
            id_, _, cpu, tid = (body.number(8, "an id") for _ in range(4))
            if cpu < 1 << 16:
                self._cpu_of[id_] = cpu
            self.some_tasks |= tid != _ANY_TASK

    def lost(self, cpus: int) -> dict[str, Any]:
        """What meta.json says of lost events.

        The kernel tells of lost records (PERF_RECORD_LOST); perf asks for the same losses at the
        end (PERF_RECORD_LOST_SAMPLES), so the larger number counts.
        """
        found = (self._lost, self._lost_samples, self._throttled)
        every = sorted({*range(cpus), *(cpu for each in found for cpu in each)})
        lost, samples, throttled = ({str(cpu): each.get(cpu, 0) for cpu in every} for each in found)
        return {
            "per_cpu": {cpu: max(lost[cpu], samples[cpu]) for cpu in lost},
            "sources": {"lost": lost, "lost_samples": samples, "marks_without_a_number": throttled},
        }

    def check_symbols(self, symbols: Kallsyms) -> None:
        """Refuse symbols of another boot: the kernel was elsewhere.

        Raises:
            InputError: says by how much.
        """
        if self._kernel is None or not len(symbols):
            return
        name, place = self._kernel
        if name not in symbols.names_at(place):
            raise InputError(
                f"{self._perf.path}: the kallsyms beside it is of another boot or was read without "
                f"rights: {name} is not at {place:#x} in it; copy /proc/kallsyms as "
                "root, on the machine and in the boot of the recording, or remove it"
            )
