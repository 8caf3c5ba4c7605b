"""From a recording's streams of records to windows of events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.direct_map import DirectMapVote
from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.columns import Gatherer, Rows, in_time_order
from pipeline.ingest.left_out.coverage import Coverage
from pipeline.ingest.left_out.lacking import Lacking
from pipeline.ingest.left_out.other_events import (
    by_name,
    count_others,
    events_are,
    listed_events,
    of_no_format,
)
from pipeline.ingest.left_out.repeats import large_twice
from pipeline.ingest.left_out.two_clocks import ClockCheck
from pipeline.ingest.metadata_marks import MetadataMarks
from pipeline.ingest.raw.elements import spread
from pipeline.ingest.stacks.stacks import Attached, StackReader
from pipeline.processes.prefetch import prefetch
from pipeline.trace_set.column import Values
from pipeline.trace_set.parts import BELIEVED_PFN, event_limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from allocsim.tables import Bools, Int64
    from pipeline.ingest.reader import Reader, SymbolTable
    from pipeline.ingest.stream import Stream
    from pipeline.trace_set.parts import Wanted

# Bytes of a recording decoded at once. Three windows are alive at a time: one is read, one
# decoded, one written.
WINDOW_BYTES = 10 << 20
# Longer than any recording: one time that is damaged would make a replay go through all of it.
_LONGEST_DAYS = 100
_DAY_NS = 86_400 * 10**9
# By event code: whether the direct-map vote looks at it.
_VOTES = np.zeros(256, np.bool_)
_VOTES[[Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC, Ev.MM_PAGE_ALLOC]] = True


@dataclass(slots=True)
class Counts:
    """What was found while converting: events by code, those dropped by common_type, and times."""

    events: Int64 = field(default_factory=lambda: np.zeros(256, np.int64))
    dropped: dict[int, int] = field(default_factory=dict)
    repeats: int = 0
    first_ts: int = 0
    last_ts: int = 0


class Conversion:
    """The conversion of one recording.

    Args:
        reader: the recording.
        symbols: the kernel's symbols, which are waited for when the first one is needed.
        since: earlier events are left out; None: all are taken.
        frames: page frames that the machine is believed to have.
        wanted: what is asked for; None: all. What else an import finds out is left out with the
            rest: metadata marks, the direct map, clocks; stacks where no column asks for them.

    Attributes:
        left_out: how many records were earlier.
        wild: how many events were of page frames from ``frames`` on, and are left out.
        first_wild: the frame of the first of them.
    """

    def __init__(
        self,
        reader: Reader,
        symbols: Future[SymbolTable],
        since: int | None = None,
        frames: int = BELIEVED_PFN,
        wanted: Wanted | None = None,
    ) -> None:
        self.reader = reader
        self.since = since
        self.left_out = 0
        self.frames = frames
        self.wild = 0
        self.first_wild = 0
        self.coverage = Coverage()
        self.counts = Counts()
        self.types = reader.types
        self.lacking = Lacking(reader.types)
        self.vote = DirectMapVote(reader.page_size)
        self.clocks = ClockCheck()
        self.gatherer = Gatherer(self.types, None if wanted is None else wanted.columns)
        self.wanted = wanted
        self._symbols = symbols
        self._marks = MetadataMarks(self._symbol_of)
        self.stacks = StackReader(self.types, reader.word, self._symbol_of)

    @property
    def symbols(self) -> SymbolTable:
        """The kernel's symbols."""
        return self._symbols.result()

    def _symbol_of(self, address: int) -> str | None:
        return self.symbols.name(address)

    def windows(self, budget: int = WINDOW_BYTES) -> Iterator[tuple[int, dict[str, Values]]]:
        """Number of events and columns of one window after another.

        Raises:
            InputError: the recording is damaged, or has no events of those kept.
        """
        for stream in prefetch(self.reader.streams(budget)):
            rows, columns = self._decode(stream)
            if rows:
                yield rows, columns
        self.said_of_unknown()
        if not self.counts.events.any():
            raise InputError(self._instead())
        days = (self.counts.last_ts - self.counts.first_ts) // _DAY_NS
        if days > _LONGEST_DAYS and self.reader.facts().ts_unit == "ns":
            raise InputError(
                f"{self.reader.path}: its first and last event are {days} days apart (at "
                f"{self.counts.first_ts} and {self.counts.last_ts} ns): a time in it is damaged"
            )

    @property
    def dropped(self) -> dict[str, int]:
        """Events of other kinds, by name."""
        return by_name(self.types, self.counts.dropped)

    def said_of_unknown(self) -> list[str]:
        """A sentence on the events that no format is of, if there are any.

        Raises:
            InputError: there can be none of these.
        """
        self._symbols.result()  # which may name them
        return of_no_format(self.types, self.counts.dropped, self.reader.path)

    def _instead(self) -> str:
        """What to say of a recording without events that are kept: what it has instead."""
        lacks = self.lacking.said(self.dropped, ())
        if lacks:
            return f"{self.reader.path}: {lacks[0]}"
        facts = self.reader.facts()
        parts = [f"it has {listed_events(self.dropped | facts.dropped)}"]
        if facts.tracer:
            parts.append(f"tracer {facts.tracer}")
        if facts.other_buffers:
            parts.append(f"instances not read: {', '.join(facts.other_buffers)}")
        return (
            f"{self.reader.path}: no kmem events in this recording; record those of kmem "
            f"({'; '.join(parts)})"
        )

    def _decode(self, stream: Stream) -> tuple[int, dict[str, Values]]:
        stream = spread(self._from_start(stream), self.types.probes)
        self.coverage.add(stream)
        count_others(stream, self.counts.dropped)
        stacks = self.wanted is None or "stack" in self.wanted.columns
        attached = self.stacks.read(stream) if stacks else None
        kept = stream.inside & (stream.slot < len(self.types.kept))
        # R3.2: what is above two pages comes from the page allocator.
        twice = large_twice(stream, self.types, 2 * self.reader.page_size)
        self.counts.repeats += int(kept[twice[:, 0]].sum())
        kept[twice[:, 0]] = False
        if self.wanted is not None:
            self._count(stream, kept)
            of_wanted = np.isin(self.gatherer.event_codes, [*self.wanted.events])
            kept[kept] = of_wanted.take(stream.slot[kept])
        else:
            self._vote(stream, kept)
        rows = in_time_order(stream, kept)
        columns = self.gatherer.columns(stream, rows) if len(rows.record) else {}
        self._check(columns)
        wild = self._of_wild_frames(columns.get("pfn"))
        if wild.size:
            kept[rows.record[wild]] = False
            rows = in_time_order(stream, kept)
            columns = self.gatherer.columns(stream, rows)
        if not len(rows.record):
            return 0, {}
        columns |= self._inner_sites(stream, rows, twice)
        if attached is not None:
            columns["stack"] = _stack_column(stream, rows, attached)
        if self.wanted is None:
            self._count(stream, kept)
            columns["metadata"] = self._metadata(len(rows.record), columns.get("call_site"))
            self.clocks.window(columns)
        return len(rows.record), columns

    def _check(self, columns: dict[str, Values]) -> None:
        """Refuse what no recording can hold."""
        for name, (least, most) in event_limits(self.reader.page_size).items():
            found = columns.get(name)
            if found is None or not len(found.values):
                continue
            low, high = int(found.values.min()), int(found.values.max())
            if low < least or high > most:
                raise InputError(
                    f"{self.reader.path}: an event has {name} {low if low < least else high}, "
                    f"which cannot be ({least} to {most}): it is damaged"
                )

    def _of_wild_frames(self, pfn: Values | None) -> Int64:
        """Rows of page frames that the machine is not believed to have; they are counted."""
        if pfn is None or not len(pfn.values) or int(pfn.values.max()) < self.frames:
            return np.zeros(0, np.int64)
        wild = np.flatnonzero(pfn.values >= self.frames)
        if not self.wild:
            self.first_wild = int(pfn.values[wild[0]])
        self.wild += len(wild)
        return wild if pfn.valid is None else np.flatnonzero(pfn.valid)[wild]

    def said_of_frames(self) -> list[str]:
        """A sentence on the events that were left out for their page frames, if any were."""
        if not self.wild:
            return []
        said = (
            f"{events_are(self.wild)} left out, the first of page frame {self.first_wild}: no "
            f"zoneinfo beside the recording says that its machine has frames from {self.frames} on"
        )
        return [said]

    def _from_start(self, stream: Stream) -> Stream:
        """The stream without records earlier than the time to begin with."""
        if self.since is None:
            return stream
        early = stream.inside & (stream.ts < self.since)
        self.left_out += int(np.count_nonzero(early))
        return replace(stream, inside=stream.inside & ~early)

    def _count(self, stream: Stream, kept: Bools) -> None:
        slot = stream.slot[kept]
        if not len(slot):
            return
        counts, ts = self.counts, stream.ts[kept]
        if not counts.events.any():
            counts.first_ts = int(ts.min())
        counts.last_ts = int(ts.max())
        codes = self.gatherer.event_codes
        np.add.at(counts.events, codes, np.bincount(slot, minlength=256)[: len(codes)])

    def _inner_sites(self, stream: Stream, rows: Rows, twice: Int64) -> dict[str, Values]:
        """The column of call sites of the first of two events, where rows are the second."""
        first = np.full(len(stream.slot), -1, np.int64)
        first[twice[:, 1]] = twice[:, 0]
        first = first[rows.record]
        valid = first >= 0
        if not valid.any():
            return {}
        site = self.gatherer.sites(stream, first[valid])
        return {"inner_site": Values(site.values, valid, site.dictionary)}

    def _metadata(self, rows: int, call_site: Values | None) -> Values:
        marks = np.zeros(rows, np.bool_)
        if call_site is not None:
            marked = self._marks.marked(call_site.values, self.gatherer.call_sites.values)
            if call_site.valid is not None and marked.size:
                marked = np.flatnonzero(call_site.valid)[marked]
            marks[marked] = True
        return Values(marks)

    def _vote(self, stream: Stream, kept: Bools) -> None:
        """Let page allocations vote with the allocation after each, and a CPU's first one too."""
        codes = np.full(256, 255, np.uint8)
        codes[: len(self.types.kept)] = self.gatherer.event_codes
        record = np.flatnonzero(kept & _VOTES[codes].take(stream.slot))
        if not record.size:
            return
        page = (codes == Ev.MM_PAGE_ALLOC).take(stream.slot[record])
        used = page.copy()
        used[1:] |= page[:-1]
        used[1:] |= stream.cpu[record[1:]] != stream.cpu[record[:-1]]
        used[0] = True
        self.vote.window(self.gatherer.plain(stream, record[used], ("pfn", "order", "ptr")))


def _stack_column(stream: Stream, rows: Rows, attached: Attached) -> Values:
    stack = np.full(len(stream.slot), -1, np.int32)
    has = attached.event >= 0
    stack[attached.event[has]] = attached.stack[has]
    stack = stack[rows.record]
    valid = stack >= 0
    return Values(stack[valid], valid)
