"""The simulated placement against SLUB_STATS, or against the recording's own slab pages."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from allocsim.kernels.release import Generation
from allocsim.slub.counters import Use, used
from pipeline.replay.fidelity import kernel_settings, own_profile, what_if
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import WINDOW_ROWS
from pipeline.replay.settings import has_copies
from pipeline.replay.untraced_frees import EARLIEST, LATEST, MIDDLE
from pipeline.validation import cpu_slabs
from pipeline.validation.bounds import CountCheck
from pipeline.validation.page_layer import page_layer
from pipeline.validation.slub_replay import SlubReplay, snapshot_reads, totals, without_copies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from pipeline.trace_set.reader import TraceSet
    from pipeline.trace_set.snapshots import SlabCaches
    from pipeline.validation.slub_replay import Counts


#: Counters compared for every cache, and those compared for all caches together only.
BY_CACHE = used(Generation.SHEAVES, Use.CACHE)
IN_TOTAL = used(Generation.SHEAVES, Use.TOTAL)
_PARTS = used(Generation.SHEAVES, Use.PART)
_NO_EVENT = used(Generation.SHEAVES, Use.NO_EVENT)
#: What no single counter is: its parts. A free without an event may be any of these (T6).
SUMS = {
    "allocations": tuple(name for name in _PARTS if name.startswith("alloc_")),
    "frees": tuple(name for name in _PARTS if name.startswith("free_")),
}
COUNTERS = (*BY_CACHE, *IN_TOTAL, *dict.fromkeys((*_PARTS, *_NO_EVENT)))
_MOMENTS = (MIDDLE, EARLIEST, LATEST)
NO_EVENT = "caches whose frees all have events"

_SLAB_PAGES = """
SELECT caches.name, count(alloc_seq), count(free_seq)
FROM pages LEFT JOIN page_caches USING (run, page)
LEFT JOIN caches ON caches.run = pages.run AND caches.cache = page_caches.cache
WHERE pages.run = ? AND page_kind = 'slab' GROUP BY ALL
"""

_SHEAVES = "SELECT sheaf_allocs, sheaf_frees FROM sheaf_summary WHERE run = ?"


def simulated(quantity: str) -> str:
    """Name of a quantity of the simulated placement."""
    return f"simulated_{quantity}"


def placement(
    connection: duckdb.DuckDBPyConnection,
    run: int,
    trace: TraceSet,
    before: SlabCaches | None,
    after: SlabCaches | None,
) -> Iterator[CountCheck]:
    """What the simulated placement counts, against SLUB_STATS or the recorded slab pages.

    A kernel is compared with the model of its own SLUB. Nothing where there is none, or where the
    placement is a what-if: of several memory nodes, of caches under slab_debug.

    Args:
        connection: the database.
        run: the run.
        trace: its trace set.
        before: the snapshot of sysfs before the recording, or in it.
        after: that behind it.
    """
    profile = own_profile(trace.meta["kernel_release"])
    if profile is None:
        return
    own, with_sheaves = kernel_settings(profile), profile.slub.generation is Generation.SHEAVES
    counters = COUNTERS if with_sheaves else cpu_slabs.COUNTERS
    source = RecordedRun(connection, run, trace, WINDOW_ROWS, by_site=has_copies({}, trace))
    if what_if(source.recorded, own) is not None:
        return
    yield from page_layer(connection, run, source, own, trace.snapshot("buddyinfo", "after"))
    names = [name for name, _ in source.recorded.caches]
    folders = {} if before is None else {name: before.folder(name) or name for name in names}
    replay = SlubReplay(source, profile, folders, counters)
    reads = None
    if before is not None and after is not None:
        reads = snapshot_reads(connection, run, before, after)
    if before is None or after is None or reads is None:
        kernel = _slab_pages(connection, run, folders, sheaves=with_sheaves)
        models = [replay.whole(moment) for moment in _MOMENTS]
        yield from _compare([kernel, *models], "recorded_", "")
        return
    kernel = without_copies(
        {
            key: after.values[key] - before.values[key]
            for key in before.stats
            if key in after.values and key[1] in counters
        }
    )
    played = [replay.between_reads(moment, before, after, reads, trace.rows) for moment in _MOMENTS]
    models = [counts for counts, _ in played]
    note = str(played[0][1])
    if not with_sheaves:
        yield from cpu_slabs.compare([kernel, *models], note)
        return
    yield from _compare([kernel, *models], "", note)
    for quantity in BY_CACHE:
        if quantity != "free_slab":
            yield from _median(quantity, kernel, models[0])


def _slab_pages(
    connection: duckdb.DuckDBPyConnection, run: int, folders: dict[str, str], *, sheaves: bool
) -> Counts:
    """Slabs and sheaves allocated and freed in the whole trace, by its events alone.

    Slabs of each cache by page events, all sheaves together by the allocator's own kmallocs.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for name, allocated, freed in connection.execute(_SLAB_PAGES, [run]).fetchall():
        cache = folders.get(name, name) or ""
        counts[cache, "alloc_slab"] += allocated
        counts[cache, "free_slab"] += freed
    if sheaves:
        made, freed = connection.execute(_SHEAVES, [run]).fetchone() or (0, 0)
        counts["", "sheaf_alloc"], counts["", "sheaf_free"] = made, freed
    return dict(counts)


def _compare(of: Sequence[Counts], prefix: str, note: str) -> Iterator[CountCheck]:
    """Kernel, model, and the model with its untraced frees at other moments."""
    kernel = of[0]

    def total(name: str, counts: Counts) -> int:
        sums = totals(counts)
        return sum(sums[part] for part in SUMS.get(name, (name,)))

    given = {name for _, name in kernel}
    for name in (*SUMS, *BY_CACHE, *IN_TOTAL):
        if not given.issuperset(SUMS.get(name, (name,))):
            continue
        figures = [total(name, counts) for counts in of]
        yield CountCheck.of(simulated(prefix + name), "total", figures, note)
    for name in BY_CACHE:
        for cache in sorted({cache for cache, counter in kernel if counter == name}):
            figures = [counts.get((cache, name), 0) for counts in of]
            if any(figures):
                yield CountCheck.of(simulated(prefix + name), cache or "unknown", figures, "")


def _median(quantity: str, kernel: Counts, model: Counts) -> Iterator[CountCheck]:
    """Median error, in percent, of the caches whose frees are all traced; nothing without any."""
    errors = []
    for (cache, name), count in kernel.items():
        without_event = any(
            counts.get((cache, counter), 0) for counts in (kernel, model) for counter in _NO_EVENT
        )
        if name == quantity and count and not without_event:
            errors.append(100 * abs(model.get((cache, name), 0) - count) / count)
    note = f"{len(errors)} caches, {sum(not error for error in errors)} of them without an error."
    if errors:
        yield CountCheck(simulated(f"{quantity}_median_error"), NO_EVENT, 0, median(errors), note)
