"""Slabs of each cache against sysfs: their order, their objects, and SLUB_STATS where built in."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from allocsim.kernels.kmalloc_partitions import without_copy
from allocsim.recording.kpageflags import KPF_SLAB, has
from pipeline.validation.bounds import CountCheck
from pipeline.validation.slub_replay import snapshot_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from allocsim.tables import UInt64
    from pipeline.trace_set.snapshots import SlabCaches

BEYOND = 1 << 62  #: behind every event
_ORDERS = """
SELECT caches.name, caches.object_size, "order", count(*)
FROM pages JOIN page_caches USING (run, page)
JOIN caches ON caches.run = pages.run AND caches.cache = page_caches.cache
WHERE pages.run = ? AND alloc_seq IS NOT NULL
GROUP BY ALL ORDER BY ALL
"""
_PAGE_SIZE = "SELECT page_size FROM runs JOIN traces USING (trace_id) WHERE run = ?"
_SLABS = """
SELECT caches.name, alloc_seq, free_seq, free_ts IS NULL AS open, pfn
FROM pages LEFT JOIN page_caches USING (run, page)
LEFT JOIN caches ON caches.run = pages.run AND caches.cache = page_caches.cache
WHERE pages.run = ? AND page_kind = 'slab'
"""


def slab_shapes(
    connection: duckdb.DuckDBPyConnection, run: int, caches: SlabCaches
) -> Iterator[CountCheck]:
    """Order of each cache's slabs and objects on one, by the slabs allocated in the recording.

    The order is that of most of them: under pressure a slab falls back to a lower one (R3.4).
    """
    [(page_size,)] = connection.execute(_PAGE_SIZE, [run]).fetchall()
    seen: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for name, size, order, count in connection.execute(_ORDERS, [run]).fetchall():
        folder = caches.folder(name)
        if folder is not None and size:
            seen[folder, size][order] += count
    for (folder, size), orders in seen.items():
        order, count = orders.most_common(1)[0]
        note = f"{count} of {orders.total()} slabs."
        yield CountCheck("slab_order", folder, caches.values[folder, "order"], order, note)
        kernel = caches.values[folder, "objs_per_slab"]
        yield CountCheck("objects_per_slab", folder, kernel, (page_size << order) // size)


def slab_counts(
    connection: duckdb.DuckDBPyConnection,
    run: int,
    before: SlabCaches,
    after: SlabCaches,
    flags: UInt64,
) -> Iterator[CountCheck]:
    """Slabs allocated and freed between the two snapshots, by SLUB_STATS and by the page events.

    Only where the recording holds the reads of the first snapshot, so that it can be said which
    slabs each counter had in it: one recorded from boot on. Where it ends before the second, slabs
    freed in between, RCU's among them, are those of its live pages that kpageflags does not call
    slab.

    Args:
        connection: the database.
        run: the run.
        before: the snapshot whose reads the recording holds.
        after: the snapshot behind the recording.
        flags: words of kpageflags, taken with it, by page frame.
    """
    reads = snapshot_reads(connection, run, before, after)
    if reads is None:
        return
    moment = dict(zip(before.stats, reads.seqs, strict=True))
    until = dict(zip(after.stats, reads.after, strict=True)) if reads.after else {}
    last, end = reads.seqs[-1], reads.after[-1] if reads.after else BEYOND
    still_slab = has(flags, KPF_SLAB)

    def within(seq: int | None, key: tuple[str, str]) -> bool:
        return seq is not None and moment.get(key, last) < seq <= until.get(key, end)

    allocated: Counter[str] = Counter()
    freed: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for name, alloc_seq, free_seq, is_open, pfn in connection.execute(_SLABS, [run]).fetchall():
        cache = (before.folder(name) if name else None) or ""
        allocated[cache] += within(alloc_seq, (cache, "alloc_slab"))
        freed[cache] += within(free_seq, (cache, "free_slab"))
        if not reads.after:
            later[cache] += is_open and pfn < len(flags) and not still_slab[pfn]
    note = f"{later.total()} of them freed behind the end of the recording, by kpageflags."
    if reads.after:
        note = "Both snapshots were read within the recording."
    nothing: Counter[str] = Counter()
    yield from _slab_counts("alloc_slab", (before, after), allocated, nothing, "")
    yield from _slab_counts("free_slab", (before, after), freed, later, note)


def _slab_counts(
    quantity: str,
    snapshots: tuple[SlabCaches, SlabCaches],
    counted: Counter[str],
    later: Counter[str],
    note: str,
) -> Iterator[CountCheck]:
    """Rows of one quantity; ``later`` are those of which only kpageflags tells.

    A slab without object events may be any cache's.
    """
    before, after = snapshots
    kernel: Counter[str] = Counter()
    for cache, name in before.stats:
        if name == quantity and (cache, name) in after.values:
            # Objects of copies lie on slabs of one cache here (R3.51).
            kernel[without_copy(cache)] += after.values[cache, name] - before.values[cache, name]
    model, nobodys = counted + later, counted[""] + later[""]
    if nobodys:
        note = f"{nobodys} slabs of no known cache among them. {note}".strip()
    yield CountCheck(quantity, "total", sum(kernel.values()), model.total(), note)
    said = f"Up to {nobodys} slabs more are nobody's." if nobodys else ""
    for cache, count in sorted(kernel.items()):
        if count or model[cache]:
            ends = counted[cache], model[cache] + nobodys
            yield CountCheck(quantity, cache, count, model[cache], said, *ends, unobservable=True)
