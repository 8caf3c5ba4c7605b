"""All records of a window's sub-buffers, with their times, CPUs and types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.ring_buffer import PageLayout, Records, unaligned, walk

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.clock import Clock
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.formats import Field
    from pipeline.ingest.windows import RawWindow

# Bytes behind the data, so that what is gathered from a record's end is in the array.
SLACK = 64


@dataclass(frozen=True, slots=True)
class Stream:
    """The records of a window's sub-buffers, CPU after CPU, each in the order of its buffer.

    Attributes:
        data: the sub-buffers, and SLACK bytes.
        order: the byte order of the numbers in it.
        records: where the events lie in ``data``.
        ts: i8, their times.
        cpu: i2, their CPUs.
        slot: u1, their types (EventTypes.slot).
        head: their common fields, structured by the fields' names.
        inside: bool, whether their time is in the window: the others are there as neighbours.
    """

    data: npt.NDArray[np.uint8]
    order: str
    records: Records
    ts: npt.NDArray[np.int64]
    cpu: npt.NDArray[np.int16]
    slot: npt.NDArray[np.uint8]
    head: npt.NDArray[Any]
    inside: npt.NDArray[np.bool_]

    def gather(self, where: Field, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The field ``where`` of the records ``rows``, as the recording's kind of number."""
        return unaligned(self.data, number(where, self.order), where.offset)[
            self.records.offset.take(rows)
        ]


def number(where: Field, order: str) -> str:
    """The numpy dtype of a field."""
    return f"{order}{'i' if where.signed else 'u'}{where.size}"


class StreamReader:
    """Makes streams of raw windows; the memory of one is used again for the next."""

    def __init__(self, types: EventTypes, layout: PageLayout, clock: Clock, where: str) -> None:
        self._types = types
        self._layout = layout
        self._clock = clock
        self._where = where
        self._memory = np.zeros(SLACK, np.uint8)
        self._head = np.dtype(
            {
                "names": list(types.common),
                "formats": [number(where, layout.order) for where in types.common.values()],
                "offsets": [where.offset for where in types.common.values()],
                "itemsize": 8,
            }
        )
        self._need = np.full(256, 8, np.int64)
        for slot, kept in enumerate(types.kept):
            self._need[slot] = max([8, *(where.end for where in kept.columns.values())])
        if types.stack is not None:
            self._need[types.slot[types.stack.number]] = types.stack.fields["caller"].offset

    def stream(self, raw: RawWindow) -> Stream:
        """The records of a window.

        Raises:
            InputError: the data is damaged.
        """
        data, pages = self._assemble(raw)
        body = data[: len(data) - SLACK]
        records = walk(body, self._layout, self._where)
        bound = np.searchsorted(records.page, np.cumsum([0, *pages]))
        ts = np.empty(len(records.ts), np.int64)
        inside = np.zeros(len(ts), np.bool_)
        for (cpu, _), begin, end in zip(raw.cpus, bound[:-1], bound[1:], strict=True):
            part = ts[begin:end]
            part[:] = self._clock.times(records.ts[begin:end], cpu)
            if (part[1:] < part[:-1]).any():
                raise InputError(f"{self._where}: the time of CPU {cpu} goes back: damaged")
            first = np.searchsorted(part, raw.since)
            last = len(part) if raw.until is None else np.searchsorted(part, raw.until)
            inside[begin + first : begin + last] = True
        # Read as 8 bytes, whatever their order: the structure is laid over them.
        head = unaligned(data, "u8")[records.offset].view(self._head)
        slot = self._types.slot.take(head["common_type"])
        self._check_sizes(records, slot)
        cpus = np.repeat(np.array([cpu for cpu, _ in raw.cpus], np.int16), np.diff(bound))
        return Stream(data, self._layout.order, records, ts, cpus, slot, head, inside)

    def _assemble(self, raw: RawWindow) -> tuple[npt.NDArray[np.uint8], list[int]]:
        """The window's data in one piece, and the number of sub-buffers of each CPU."""
        sizes = [sum(map(len, pieces)) for _, pieces in raw.cpus]
        need = sum(sizes) + SLACK
        if len(self._memory) < need:
            self._memory = np.zeros(need, np.uint8)
        data = self._memory[:need]
        at = 0
        for _, pieces in raw.cpus:
            for piece in pieces:
                data[at : at + len(piece)] = piece
                at += len(piece)
        return data, [size // self._layout.size for size in sizes]

    def _check_sizes(self, records: Records, slot: npt.NDArray[np.uint8]) -> None:
        short = np.flatnonzero(records.size < self._need.take(slot))
        if not short.size:
            return
        first = int(short[0])
        kept = self._types.kept
        name = kept[slot[first]].format.name if slot[first] < len(kept) else "event"
        raise InputError(
            f"{self._where}, sub-buffer {records.page[first]}: a record of {name} has "
            f"{records.size[first]} bytes, its format needs {self._need[slot[first]]}"
        )
