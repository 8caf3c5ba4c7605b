"""From a stream of records to the columns of its events, in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.events import EVENT_COLUMN, EVENT_COLUMNS
from pipeline.errors import InputError
from pipeline.ingest.raw.probes import ELEMENT
from pipeline.ingest.raw.strings import StringInterner
from pipeline.ingest.stream import Stream, number
from pipeline.trace_set.column import Values
from pipeline.trace_set.interning import Interner

if TYPE_CHECKING:
    from collections.abc import Collection

    from allocsim.tables import Array, Bools, Int32, Int64, UInt8
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.formats import Field


# What a probe has instead of a text that it could not read (kernel/trace/trace_probe_kernel.h:
# fetch_store_string, 7.2): no cache is called so.
_NO_TEXT = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """The events of a window that are kept, in order of time.

    Attributes:
        record: i8, their records in the stream.
        offset: i8, where these begin in its data.
        slot: u1, their types.
        count: i8, how many there are of each slot.
    """

    record: Int64
    offset: Int64
    slot: UInt8
    count: Int64

    @classmethod
    def of(cls, stream: Stream, record: Int64) -> Rows:
        """The events of some records."""
        slot = stream.slot[record]
        return cls(record, stream.offset[record], slot, np.bincount(slot, minlength=256))


def in_time_order(stream: Stream, kept: Bools) -> Rows:
    """The records ``kept``, as the stream says; or as trace-cmd does: by time, lower CPU first.

    trace-cmd 3.4 lib/trace-cmd/trace-input.c:tracecmd_peek_next_data takes the earliest of the
    CPUs' next events, and the first CPU's if several are as early; that is a stable sort.
    """
    if stream.in_time is not None:
        return Rows.of(stream, stream.in_time[kept[stream.in_time]])
    record = np.flatnonzero(kept)
    # The CPUs' events are sorted already: the stable sort finds these runs and merges them.
    return Rows.of(stream, record[np.argsort(stream.ts[record], kind="stable")])


class Gatherer:
    """Gathers the fields of events, and numbers call sites and texts over all windows.

    Args:
        types: the recording's event types.
        columns: the columns to gather; None: all.

    Attributes:
        event_codes: u1, the code of the event in each slot (allocsim.trace.events.Ev).
        call_sites: the distinct call sites so far.
        texts: of each text column, the distinct texts so far.
    """

    def __init__(self, types: EventTypes, columns: Collection[str] | None = None) -> None:
        self._types = types
        self._wanted = [c.name for c in EVENT_COLUMNS if columns is None or c.name in columns]
        self.event_codes = np.array([kept.event.code for kept in types.kept], np.uint8)
        self._probes = np.zeros(len(types.kept), np.uint8)
        for slot, probe in types.probes.slots.items():
            self._probes[slot] = probe.probe
        self.call_sites = Interner()
        self.texts: dict[str, StringInterner] = {}
        self._plans: dict[frozenset[int], list[tuple[str, frozenset[int]]]] = {}

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
        if self._probes.any() and "probe" in self._wanted:
            probe = self._probes.take(rows.slot)
            columns["probe"] = Values(probe[probe > 0], probe > 0)
        present = frozenset(np.flatnonzero(rows.count).tolist())
        chosen: dict[frozenset[int], _Chosen] = {}
        for name, having in self._plan(present):
            if having not in chosen:
                chosen[having] = _Chosen.of(rows, having)
            columns[name] = self._column(stream, name, chosen[having])
        return columns

    def _plan(self, present: frozenset[int]) -> list[tuple[str, frozenset[int]]]:
        """The columns that some of these event types have a field for, and which do."""
        if present not in self._plans:
            plan = [(name, self._having(present, name)) for name in self._wanted]
            self._plans[present] = [(name, having) for name, having in plan if having]
        return self._plans[present]

    def _having(self, present: frozenset[int], name: str) -> frozenset[int]:
        return frozenset(slot for slot in present if name in self._types.kept[slot].columns)

    def plain(self, stream: Stream, record: Int64, names: tuple[str, ...]) -> dict[str, Array]:
        """Some columns of the events ``record``, in their order, with 0 for null."""
        rows = Rows.of(stream, record)
        head = stream.head[record]
        plain: dict[str, Array] = {
            "cpu": stream.cpu[record],
            "pid": head["common_pid"].astype(np.int32),
            "event": self.event_codes.take(rows.slot),
        }
        for name in names:
            plain[name] = np.zeros(len(record), EVENT_COLUMN[name].dtype)
            having = self._having(frozenset(np.flatnonzero(rows.count).tolist()), name)
            if having:
                column = self._column(stream, name, _Chosen.of(rows, having))
                plain[name][column.valid if column.valid is not None else slice(None)] = (
                    column.values
                )
        return plain

    def sites(self, stream: Stream, record: Int64) -> Values:
        """Call sites of the events ``record``, all of which have one, in their order."""
        rows = Rows.of(stream, record)
        having = frozenset(np.flatnonzero(rows.count).tolist())
        return self._column(stream, "call_site", _Chosen.of(rows, having))

    def _column(self, stream: Stream, name: str, chosen: _Chosen) -> Values:
        dtype = EVENT_COLUMN[name].dtype
        fields = {slot: self._types.kept[slot].columns[name] for slot in chosen.slots}
        if dtype == "str":
            interner = self.texts.setdefault(name, StringInterner())
            codes = chosen.texts(stream, fields, interner)
            return chosen.without(codes, interner, _NO_TEXT)
        raw = chosen.numbers(stream, fields)
        if dtype == "?":
            return Values(raw != 0, chosen.valid)
        if name == "pfn" and self._types.struct_pages is not None:
            raw = self._types.struct_pages.frames(raw.astype(np.uint64, copy=False))
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
        rows: the window's events.
        slot: u1, the types of those with the field.
        offset: i8, where their records begin.
        valid: bool, one a row of the window; None: all.
        at: i8, the rows that are valid; None: all.
    """

    slots: frozenset[int]
    rows: Rows
    slot: UInt8
    offset: Int64
    valid: Bools | None = None
    at: Int64 | None = None

    @classmethod
    def of(cls, rows: Rows, slots: frozenset[int]) -> _Chosen:
        if len(slots) == np.count_nonzero(rows.count):
            return cls(slots, rows, rows.slot, rows.offset)
        # Comparing bytes is so much faster than looking them up that it may be done several times.
        valid = np.zeros(len(rows.slot), np.bool_)
        for slot in slots:
            valid |= rows.slot == slot
        at = np.flatnonzero(valid)
        return cls(slots, rows, rows.slot[at], rows.offset[at], valid, at)

    def numbers(self, stream: Stream, fields: dict[int, Field]) -> Array:
        """A field's values."""
        kinds = {number(field, stream.order) for field in fields.values()}
        if len(kinds) > 1:
            return self._mixed(stream, fields)
        first = next(iter(fields.values()))
        base = self.offset
        if stream.shift is not None and any(field.kind == ELEMENT for field in fields.values()):
            base = base + stream.shift[self._record]
        if all(field.offset == first.offset for field in fields.values()):
            return stream.gather(first, base)
        # The same kind of number at different places: by the event type's distance from the first.
        further = np.zeros(256, np.int64)
        for slot, field in fields.items():
            further[slot] = field.offset - first.offset
        return stream.gather(first, base + further.take(self.slot))

    def without(self, codes: Int32, interner: StringInterner, no_text: str) -> Values:
        """A text column; null where a probe could not read the text."""
        texts = tuple(interner.texts)
        if no_text not in texts:
            return Values(codes, self.valid, texts)
        having = codes != texts.index(no_text)
        valid = np.ones(len(self.rows.slot), np.bool_) if self.valid is None else self.valid.copy()
        valid[np.flatnonzero(valid)[~having]] = False
        return Values(codes[having], valid, texts)

    @property
    def _record(self) -> Int64:
        return self.rows.record if self.at is None else self.rows.record[self.at]

    def _mixed(self, stream: Stream, fields: dict[int, Field]) -> Array:
        """A field's values where not all event types have the same kind of number."""
        kinds = [np.dtype(number(field, stream.order)) for field in fields.values()]
        values = np.zeros(len(self.offset), np.result_type(*kinds).newbyteorder("="))
        for slot, field in fields.items():
            at = np.flatnonzero(self.slot == slot)
            values[at] = stream.gather(field, self.offset[at])
        return values

    def texts(self, stream: Stream, fields: dict[int, Field], interner: StringInterner) -> Int32:
        """The codes of a text column."""
        place = self.numbers(stream, fields).astype(np.int64)
        start, length = place & 0xFFFF, place >> 16
        # __rel_loc counts from behind its own field (include/trace/stages/stage5_get_offsets.h).
        base = np.zeros(256, np.int64)
        for slot, field in fields.items():
            base[slot] = field.end if field.kind == "rel_loc" else 0
        if base.any():
            start += base.take(self.slot)
        outside = np.flatnonzero(start + length > stream.size[self._record])
        if outside.size:
            at = stream.places.name(int(self.offset[outside[0]]))
            raise InputError(f"{at}: a text lies outside its record")
        start += self.offset
        return interner.codes(stream.data, start, length)
