"""From a stream of records to the columns of its events, in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.events import EVENT_COLUMN, EVENT_COLUMNS
from pipeline.errors import InputError
from pipeline.ingest.interning import Interner
from pipeline.ingest.stream import Stream, number
from pipeline.ingest.strings import StringInterner
from pipeline.values import Values

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.formats import Field


@dataclass(frozen=True, slots=True)
class Rows:
    """The events of a window that are kept, in order of time.

    Attributes:
        record: i8, their records in the stream.
        slot: u1, their types.
        present: the slots that occur.
    """

    record: npt.NDArray[np.int64]
    slot: npt.NDArray[np.uint8]
    present: list[int]


def in_time_order(stream: Stream, kept: npt.NDArray[np.bool_]) -> Rows:
    """The records ``kept``, as trace-cmd merges CPUs: by time, the lower CPU first.

    trace-cmd 3.4 lib/trace-cmd/trace-input.c:tracecmd_peek_next_data takes the earliest of the
    CPUs' next events, and the first CPU's if several are as early; that is a stable sort.
    """
    record = np.flatnonzero(kept)
    # The CPUs' events are sorted already: the stable sort finds these runs and merges them.
    record = record[np.argsort(stream.ts[record], kind="stable")]
    slot = stream.slot[record]
    return Rows(record, slot, np.flatnonzero(np.bincount(slot, minlength=1)).tolist())


class Gatherer:
    """Gathers the fields of events, and numbers call sites and texts over all windows.

    Attributes:
        event_codes: u1, the code of the event in each slot (allocsim.events.Ev).
        call_sites: the distinct call sites so far.
        texts: of each text column, the distinct texts so far.
    """

    def __init__(self, types: EventTypes, where: str) -> None:
        self._types = types
        self._where = where
        self.event_codes = np.array([kept.event.code for kept in types.kept], np.uint8)
        self.call_sites = Interner()
        self.texts: dict[str, StringInterner] = {}

    def columns(self, stream: Stream, rows: Rows) -> dict[str, Values]:
        """All columns that an event of ``rows`` has a field for, and those all events have."""
        head = stream.head[rows.record]
        columns = {
            "ts": Values(stream.ts[rows.record]),
            "cpu": Values(stream.cpu[rows.record]),
            "pid": Values(head["common_pid"].astype(np.int32)),
            "event": Values(self.event_codes.take(rows.slot)),
            "irq_flags": Values(head["common_flags"].astype(np.uint8)),
        }
        chosen: dict[frozenset[int], _Chosen] = {}
        for column in EVENT_COLUMNS:
            having = self._having(rows, column.name)
            if not having:
                continue
            if having not in chosen:
                chosen[having] = _Chosen.of(rows, having)
            columns[column.name] = self._column(stream, column.name, chosen[having])
        return columns

    def plain(
        self, stream: Stream, record: npt.NDArray[np.int64], names: tuple[str, ...]
    ) -> dict[str, npt.NDArray[Any]]:
        """Some columns of the events ``record``, in their order, with 0 for null."""
        slot = stream.slot[record]
        rows = Rows(record, slot, np.flatnonzero(np.bincount(slot)).tolist())
        head = stream.head[record]
        plain: dict[str, npt.NDArray[Any]] = {
            "cpu": stream.cpu[record],
            "pid": head["common_pid"].astype(np.int32),
            "event": self.event_codes.take(slot),
        }
        for name in names:
            plain[name] = np.zeros(len(record), EVENT_COLUMN[name].dtype)
            having = self._having(rows, name)
            if having:
                column = self._column(stream, name, _Chosen.of(rows, having))
                plain[name][column.valid if column.valid is not None else slice(None)] = (
                    column.values
                )
        return plain

    def _having(self, rows: Rows, name: str) -> frozenset[int]:
        """The types among ``rows`` that have a field for a column."""
        return frozenset(slot for slot in rows.present if name in self._types.kept[slot].columns)

    def _column(self, stream: Stream, name: str, chosen: _Chosen) -> Values:
        dtype = EVENT_COLUMN[name].dtype
        fields = {slot: self._types.kept[slot].columns[name] for slot in chosen.slots}
        if dtype == "str":
            interner = self.texts.setdefault(name, StringInterner())
            codes = chosen.texts(stream, fields, interner, self._where)
            return Values(codes, chosen.valid, tuple(interner.texts))
        raw = chosen.numbers(stream, fields)
        if dtype == "?":
            return Values(raw != 0, chosen.valid)
        values = raw.astype(np.dtype(dtype), copy=False)
        if name == "call_site":
            codes = self.call_sites.codes(values)
            return Values(codes, chosen.valid, self.call_sites.values)
        return Values(values, chosen.valid)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The rows whose events have a field: shared by all columns of the same events.

    Attributes:
        slots: the types of these events.
        record: i8, their records.
        slot: u1, their types.
        valid: bool, one a row of the window; None: all.
    """

    slots: frozenset[int]
    record: npt.NDArray[np.int64]
    slot: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_] | None

    @classmethod
    def of(cls, rows: Rows, slots: frozenset[int]) -> _Chosen:
        if len(slots) == len(rows.present):
            return cls(slots, rows.record, rows.slot, None)
        wanted = np.zeros(256, np.bool_)
        wanted[list(slots)] = True
        valid = wanted.take(rows.slot)
        return cls(slots, rows.record[valid], rows.slot[valid], valid)

    def numbers(self, stream: Stream, fields: dict[int, Field]) -> npt.NDArray[Any]:
        """A field's values; event types in which it lies alike are gathered together."""
        alike: dict[tuple[int, int, bool], list[int]] = {}
        for slot, field in fields.items():
            alike.setdefault((field.offset, field.size, field.signed), []).append(slot)
        if len(alike) == 1:
            return stream.gather(next(iter(fields.values())), self.record)
        kinds = [np.dtype(number(field, stream.order)) for field in fields.values()]
        values = np.zeros(len(self.record), np.result_type(*kinds).newbyteorder("="))
        for slots in alike.values():
            at = np.flatnonzero(np.isin(self.slot, slots))
            values[at] = stream.gather(fields[slots[0]], self.record[at])
        return values

    def texts(
        self, stream: Stream, fields: dict[int, Field], interner: StringInterner, where: str
    ) -> npt.NDArray[np.int32]:
        """The codes of a text column."""
        place = self.numbers(stream, fields).astype(np.int64)
        start, length = place & 0xFFFF, place >> 16
        # __rel_loc counts from behind its own field (include/trace/stages/stage5_get_offsets.h).
        base = np.zeros(256, np.int64)
        for slot, field in fields.items():
            base[slot] = field.end if field.kind == "rel_loc" else 0
        if base.any():
            start += base.take(self.slot)
        outside = np.flatnonzero(start + length > stream.records.size[self.record])
        if outside.size:
            page = stream.records.page[self.record[outside[0]]]
            raise InputError(f"{where}, sub-buffer {page}: a text lies outside its record")
        start += stream.records.offset[self.record]
        return interner.codes(stream.data, start, length)
