"""Totalling a trace: its events, window by window, into the tables asked for."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.recording.cache_names import kmalloc_classes
from allocsim.trace.events import EVENT_COLUMN
from pipeline.errors import UsageError
from pipeline.processes.scratch import scratch
from pipeline.replay.trace_source import opened
from pipeline.stat import objects, pages
from pipeline.stat.groups import merged
from pipeline.stat.labels import Labels
from pipeline.stat.objects import ObjectCounts, ObjectTotals
from pipeline.stat.pages import PageCounts, PageTotals
from pipeline.stat.source import event_source
from pipeline.stat.tables import KEYS, PAGE, SLAB, StatTable
from pipeline.trace_set.parts import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from allocsim.tables import Bools, Columns, Int64
    from pipeline.processes.progress import Progress
    from pipeline.stat.selection import Selection
    from pipeline.stat.source import EventSource

#: What the summary of pages is made of: perf kmem's matrix.
MATRIX = ("order", "migratetype")


@dataclass(frozen=True, slots=True)
class Stat:
    """What a trace comes to.

    Attributes:
        name: of the trace.
        facts: what is known of it (EventSource.facts).
        selection: which events are counted.
        tables: those asked for, by SLAB and PAGE.
        matrix: pages by order and migratetype; None: not asked for.
        objects: what the table of objects has not.
        pages: what that of pages has not.
        labels: words for the keys of rows.
        has_repeats: second events of large kmallocs are in the events, if there were any (T3).
    """

    name: str
    facts: dict[str, Any]
    selection: Selection
    tables: dict[str, StatTable]
    matrix: StatTable | None
    objects: ObjectCounts
    pages: PageCounts
    labels: Labels
    has_repeats: bool


def total(
    path: Path,
    by: Mapping[str, tuple[str, ...]],
    selection: Selection,
    progress: Progress,
    instance: str | None = None,
) -> Stat:
    """Total a trace set or a recording; nothing is kept of it.

    Args:
        path: the trace set or recording.
        by: the keys of rows of each table that is asked for, SLAB, PAGE, or both.
        selection: which events are counted.
        progress: told how far it is.
        instance: the trace instance of a recording to read; None: the only one with kmem events.

    Raises:
        InputError: it cannot be read.
        UsageError: it has no cache of a name that is asked for.
    """
    wanted = _wanted(by)
    with ExitStack() as stack:
        caches: list[str] = []
        source: EventSource
        if "cache" in by.get(SLAB, ()) or selection.caches:
            # Only who asks for caches waits for a replay, and for DuckDB with it.
            from pipeline.stat.caches import OfNamedCaches  # noqa: PLC0415

            trace = stack.enter_context(opened(path, progress, instance))
            step = progress.step(f"read {path.name}")
            source = OfNamedCaches(trace, wanted, step, stack.enter_context(scratch()))
            caches = source.caches
        else:
            source = stack.enter_context(event_source(path, wanted, progress, instance))
        numbers = _numbers(selection.caches, caches)
        collected = _Collected(by, source.page_size)
        for events in source.windows():
            facts = source.facts()
            counted, until = selection.masks(events, facts["first_ts"], facts["ts_unit"])
            if numbers:
                counted &= np.isin(events["cache"], numbers)
            collected.window(events, counted, until)
            if not until.any():
                break
        return collected.finish(source, selection, Labels(source, caches))


def _wanted(by: Mapping[str, tuple[str, ...]]) -> Wanted:
    columns: set[str] = set()
    events: set[Any] = set()
    for layer, module in ((SLAB, objects), (PAGE, pages)):
        if layer in by:
            keys = {KEYS[name].column(layer) for name in by[layer]}
            columns |= module.COLUMNS | keys
            events |= module.EVENTS
    columns |= {"migratetype"} if PAGE in by else set()
    return Wanted(frozenset(events), frozenset(columns & EVENT_COLUMN.keys()))


def _numbers(names: Sequence[str], caches: Sequence[str]) -> list[int]:
    """Numbers of the caches of some names."""
    missing = [name for name in names if name not in caches]
    if missing:
        raise UsageError(f"--cache {missing[0]}: no object of the recording is of such a cache")
    return [number for number, name in enumerate(caches) if name in names]


class _Collected:
    """The totals while windows are read.

    Args:
        by: the keys of rows of each table.
        page_size: bytes of a page.
    """

    def __init__(self, by: Mapping[str, tuple[str, ...]], page_size: int) -> None:
        self._by = by
        self._repeats = False
        self._objects: ObjectTotals | None = None
        self._pages: PageTotals | None = None
        if SLAB in by:
            self._objects = ObjectTotals(by[SLAB], kmalloc_classes(page_size)[-1])
        if PAGE in by:  # the summary's keys are in each row, and go when rows are merged
            self._pages = PageTotals((*by[PAGE], *MATRIX), page_size)

    def window(self, events: Columns, counted: Bools, until: Bools) -> None:
        """Take in the next events."""
        self._repeats |= "inner_site" in events
        for each in (self._objects, self._pages):
            if each is not None:
                each.window(events, counted, until)

    def finish(self, source: EventSource, selection: Selection, labels: Labels) -> Stat:
        """What it comes to, while the trace is open."""
        tables, matrix = {}, None
        objects_besides, pages_besides = ObjectCounts(), PageCounts()
        if self._objects is not None:
            objects_besides = self._objects.counts
            tables[SLAB] = _table(SLAB, self._by[SLAB], self._objects, labels)
        if self._pages is not None:
            self._pages.finish()
            pages_besides = self._pages.counts
            tables[PAGE] = _table(PAGE, self._by[PAGE], self._pages, labels)
            matrix = _table(PAGE, MATRIX, self._pages, labels)
        return Stat(
            source.name,
            source.facts(),
            selection,
            tables,
            matrix,
            objects_besides,
            pages_besides,
            labels,
            self._repeats,
        )


def _table(
    layer: str, by: tuple[str, ...], totals: ObjectTotals | PageTotals, labels: Labels
) -> StatTable:
    """Rows by some of the keys that were collected; those of which nothing is counted are not."""
    keys = dict(zip(totals.by, totals.groups.values(), strict=True))
    columns = [_values(layer, name, keys[name], labels) for name in by]
    figures = totals.sums.arrays(len(totals.groups))
    counted = np.zeros(len(totals.groups), bool)
    for values in figures.values():
        counted |= values != 0
    columns, figures = merged(columns, figures, counted)
    return StatTable(layer, by, dict(zip(by, columns, strict=True)), figures)


def _values(layer: str, name: str, values: Int64, labels: Labels) -> Int64:
    """A key's values, with the words for them looked up."""
    if KEYS[name].column(layer) == "stack":
        labels.know_stacks(values)
        values = values if name == "stack" else labels.sites_of(values)
    if name == "site":
        labels.know_sites(values.view(np.uint64))
    return labels.directories_of(values) if name == "directory" else values
