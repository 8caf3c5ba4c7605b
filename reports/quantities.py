"""What a comparison compares, as data: sums asked of the database, and ratios of them.

A measure is a question whose rows are (item, slice, value): what was counted, of what, in which
time slice of the run; slice is NULL where the database has only a total. A quantity is one
measure per another. A new one is a row in these tables and nothing else; a measure whose tables a
database lacks is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = "events"
SECONDS = "seconds"
ONE = "one"


@dataclass(frozen=True, slots=True)
class Measure:
    """One question to a results database.

    Args:
        name: what quantities call it.
        sql: its rows; $run is the run, $recorded the recorded run that a simulated one was made
            from (the run itself if it is recorded), $own the policy of the recorded kernel.
        needs: tables or views without which it is not asked.
        sliced: the rows say in which slice; False: slice is NULL.
    """

    name: str
    sql: str
    needs: tuple[str, ...] = ()
    sliced: bool = True


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measure per another.

    Args:
        group: heading under which it is shown.
        name: its name; the item's follows it where there are items.
        part: name of the measure above the line.
        whole: name of the measure below it.
        unit: of the quotient times ``scale``.
        doc: one sentence on what it is.
        scale: 1000 for "per 1,000 events", 100 for per cent.
        items: a row for each item of ``part``; one row for all of them together if False.
        own_whole: divide by the same item of ``whole``; by all of them together if False.
        headline: shown on the first page.
        counted: part and whole are counts of events, too few of which are not tested.
    """

    group: str
    name: str
    part: str
    whole: str
    unit: str
    doc: str
    scale: float = 1
    items: bool = False
    own_whole: bool = False
    headline: bool = False
    counted: bool = True

    @property
    def sliced(self) -> bool:
        """Whether it is known by time slice, and so how it varies within a run."""
        return BY_NAME[self.part].sliced and BY_NAME[self.whole].sliced


_SLICE = "(ts - first_ts) // slice_ns"
_OBJECTS = f"""
    SELECT coalesce(caches.name, if(cache_how IS NULL, '(large kmalloc)', '(not known)')) AS item,
        {_SLICE} AS slice, {{value}} AS value
    FROM object_events JOIN runs USING (run) LEFT JOIN caches USING (run, cache)
    WHERE run = $recorded AND event IN {{events}} GROUP BY ALL
"""
# kfree(NULL) frees no object (T4): such rows have none.
_SITES = f"""
    SELECT coalesce(regexp_replace(symbol, '_noprof$', ''), '(not resolved)') AS item,
        {_SLICE} AS slice, {{value}} AS value
    FROM object_events JOIN runs USING (run) LEFT JOIN call_sites USING (run, call_site)
    WHERE run = $recorded AND event IN {{events}} AND object IS NOT NULL GROUP BY ALL
"""
_PAIRS = """
    SELECT coalesce(caches.name, if(gone.cache_how IS NULL, '(large kmalloc)', '(not known)'))
            AS item,
        (gone.ts - first_ts) // slice_ns AS slice, {value} AS value
    FROM object_events AS gone
    JOIN object_events AS born ON born.run = gone.run AND born.seq = gone.object
    JOIN runs ON runs.run = gone.run
    LEFT JOIN caches ON caches.run = gone.run AND caches.cache = gone.cache
    WHERE gone.run = $recorded AND gone.event IN (1, 3) AND born.event IN (0, 2) GROUP BY ALL
"""
_KINDS = """
    SELECT page_kind AS item, slice, sum({value}) AS value FROM timeline
    WHERE run = $recorded AND policy = $own GROUP BY ALL
"""
_RECORDED = f"""
    SELECT coalesce(page_kinds.name, '(no page)') AS item, {_SLICE} AS slice,
        sum({{value}}) AS value
    FROM page_events JOIN runs USING (run) JOIN event_types USING (event)
    LEFT JOIN page_kinds USING (page_kind)
    WHERE run = $recorded AND system = 'page_ref' GROUP BY ALL
"""
_NAMED = f"""
    SELECT '' AS item, {_SLICE} AS slice, count(*) AS value
    FROM page_events JOIN runs USING (run) JOIN event_types USING (event)
    WHERE run = $recorded AND name = '{{name}}' GROUP BY ALL
"""
_SLABS = """
    SELECT coalesce(caches.name, '(not known)') AS item,
        ({when} - first_ts) // slice_ns AS slice, {value} AS value
    FROM pages JOIN runs USING (run) JOIN page_kinds USING (page_kind)
    LEFT JOIN caches USING (run, cache)
    WHERE run = $recorded AND page_kinds.name = 'slab' AND {seen} IS NOT NULL GROUP BY ALL
"""
_BANDS = """
    CASE WHEN {lived} < 1e3 THEN '< 1 us' WHEN {lived} < 1e4 THEN '1 - 10 us'
        WHEN {lived} < 1e5 THEN '10 - 100 us' WHEN {lived} < 1e6 THEN '100 us - 1 ms'
        WHEN {lived} < 1e7 THEN '1 - 10 ms' WHEN {lived} < 1e8 THEN '10 - 100 ms'
        WHEN {lived} < 1e9 THEN '100 ms - 1 s' ELSE '1 s or more' END
"""
_OBJECT_BANDS = f"""
    SELECT {_BANDS.format(lived="lifetime")} AS item, {_SLICE} AS slice, count(*) AS value
    FROM object_events JOIN runs USING (run)
    WHERE run = $recorded AND event IN (1, 3) AND lifetime IS NOT NULL GROUP BY ALL
"""
_PAGE_BANDS = f"""
    SELECT {_BANDS.format(lived="(free_ts - alloc_ts)")} AS item,
        (free_ts - first_ts) // slice_ns AS slice, count(*) AS value
    FROM pages JOIN runs USING (run)
    WHERE run = $recorded AND free_ts IS NOT NULL AND alloc_ts IS NOT NULL GROUP BY ALL
"""
_QUANTILES = """
    SELECT percent || ' %' AS item, NULL AS slice, value FROM (
        SELECT unnest([50, 90, 99]) AS percent,
            unnest(quantile_disc({lived}, [0.5, 0.9, 0.99])) / 1000 AS value
        FROM {table} WHERE run = $recorded AND {where}
    ) WHERE value IS NOT NULL
"""

MEASURES = (
    Measure(
        EVENTS,
        # The events that every kernel and every recording has. How many others there are depends
        # on the kernel, page_ref events most of all, and must not scale the rows.
        f"""
        SELECT '' AS item, {_SLICE} AS slice, count(*) AS value
        FROM (
            SELECT run, ts FROM object_events
            UNION ALL
            SELECT run, ts FROM page_events JOIN event_types USING (event)
            WHERE name IN ('mm_page_alloc', 'mm_page_free')
        ) JOIN runs USING (run) WHERE run = $recorded GROUP BY ALL
        """,
    ),
    Measure(
        SECONDS,
        """
        SELECT '' AS item, unnest(range(0, (last_ts - first_ts) // slice_ns + 1)) AS slice,
            slice_ns / 1e9 AS value
        FROM runs WHERE run = $recorded
        """,
    ),
    Measure(ONE, "SELECT '' AS item, NULL AS slice, 1 AS value", sliced=False),
    Measure("own_locked", _KINDS.format(value="locked_ops")),
    Measure("own_plain", _KINDS.format(value="plain_ops")),
    Measure("own_ops", _KINDS.format(value="plain_ops + locked_ops")),
    Measure(
        "policy_locked",
        """
        SELECT policy AS item, slice, sum(locked_ops) AS value FROM timeline
        WHERE run = $recorded GROUP BY ALL
        """,
    ),
    Measure("recorded_locked", _RECORDED.format(value="locked_ops")),
    Measure("recorded_plain", _RECORDED.format(value="plain_ops")),
    Measure("page_allocs", _KINDS.format(value="page_allocs")),
    Measure("page_frees", _KINDS.format(value="page_frees")),
    Measure("zone_locked", _NAMED.format(name="mm_page_alloc_zone_locked")),
    Measure("pcpu_drain", _NAMED.format(name="mm_page_pcpu_drain")),
    Measure("batched_frees", _NAMED.format(name="mm_page_free_batched")),
    Measure("fallbacks", _NAMED.format(name="mm_page_alloc_extfrag")),
    Measure("object_allocs", _OBJECTS.format(events="(0, 2)", value="count(*)")),
    Measure("object_frees", _OBJECTS.format(events="(1, 3)", value="count(*)")),
    Measure("bytes_given", _OBJECTS.format(events="(0, 2)", value="sum(bytes_alloc)")),
    Measure(
        "bytes_wasted",
        _OBJECTS.format(events="(0, 2)", value="sum(bytes_alloc - bytes_req)"),
    ),
    Measure("known_frees", _PAIRS.format(value="count(*)")),
    Measure("remote_frees", _PAIRS.format(value="count(*) FILTER (gone.cpu <> born.cpu)")),
    Measure("slab_allocs", _SLABS.format(when="alloc_ts", seen="alloc_seq", value="count(*)")),
    Measure(
        "slab_pages", _SLABS.format(when="alloc_ts", seen="alloc_seq", value='sum(1 << "order")')
    ),
    Measure("slab_frees", _SLABS.format(when="free_ts", seen="free_seq", value="count(*)")),
    Measure("object_lives", _OBJECT_BANDS),
    Measure("page_lives", _PAGE_BANDS),
    Measure(
        "object_lifetimes",
        _QUANTILES.format(
            lived="lifetime", table="object_events", where="event IN (1, 3) AND lifetime >= 0"
        ),
        sliced=False,
    ),
    Measure(
        "page_lifetimes",
        _QUANTILES.format(lived="free_ts - alloc_ts", table="pages", where="free_ts >= alloc_ts"),
        sliced=False,
    ),
    Measure("site_allocs", _SITES.format(events="(0, 2)", value="count(*)")),
    Measure(
        "path_requests",
        f"""
        SELECT layer || ' ' || way || ', ' || name AS item, {_SLICE} AS slice, count(*) AS value
        FROM placed_events JOIN paths USING (path)
        JOIN (
            SELECT seq, ts FROM object_events WHERE run = $recorded
            UNION ALL SELECT seq, ts FROM page_events WHERE run = $recorded
        ) USING (seq)
        JOIN runs USING (run) WHERE run = $run GROUP BY ALL
        """,
        needs=("placed_events", "paths"),
    ),
    Measure(
        "cache_counters",
        """
        SELECT name AS item, NULL AS slice, sum(value) AS value
        FROM cache_counters WHERE run = $run GROUP BY ALL
        """,
        needs=("cache_counters",),
        sliced=False,
    ),
    Measure(
        "object_requests",
        """
        SELECT '' AS item, NULL AS slice, count(*) AS value
        FROM object_events WHERE run = $recorded
        """,
        sliced=False,
    ),
    Measure(
        "zone_counters",
        """
        SELECT name AS item, NULL AS slice, sum(value) AS value
        FROM zone_counters WHERE run = $run GROUP BY ALL
        """,
        needs=("zone_counters",),
        sliced=False,
    ),
    Measure(
        "page_requests",
        """
        SELECT '' AS item, NULL AS slice, sum(page_allocs + page_frees) AS value
        FROM samples WHERE run = $recorded
        """,
        sliced=False,
    ),
    Measure(
        "free_pages",
        """
        SELECT '' AS item, slice, sum(blocks << "order") AS value
        FROM free_blocks WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
        """,
        needs=("free_blocks",),
    ),
    Measure(
        "unusable_pages",
        """
        SELECT 'for order ' || wanted AS item, slice,
            sum(CASE WHEN "order" < wanted THEN blocks << "order" ELSE 0 END) AS value
        FROM free_blocks, (SELECT unnest([3, 9]) AS wanted)
        WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
        """,
        needs=("free_blocks",),
    ),
)

BY_NAME = {measure.name: measure for measure in MEASURES}

_OPS = "Reference operations"
_PAGES = "Pages and slabs"
_PATHS = "Paths"
_FRAGMENTATION = "Fragmentation"
_LIVES = "Lifetimes"
CACHES = "Caches"
SITES = "Call sites"
MOVERS = (CACHES, SITES)  #: groups with too many rows to print: only what moved is shown

_PER_EVENTS = "per 1,000 events"  # object and page allocations and frees
_PER_ALLOCS = "per 1,000 page allocations"

QUANTITIES = (
    Quantity(
        _OPS,
        "locked, own policy",
        "own_locked",
        EVENTS,
        _PER_EVENTS,
        "Locked instructions on reference counts under the policy of the recorded kernel.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _OPS,
        "locked, own policy",
        "own_locked",
        SECONDS,
        "per second",
        "The same, over the length of the recording.",
        counted=False,
    ),
    Quantity(
        _OPS,
        "plain, own policy",
        "own_plain",
        EVENTS,
        _PER_EVENTS,
        "Plain stores to reference counts under that policy.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _OPS,
        "all, own policy:",
        "own_ops",
        EVENTS,
        _PER_EVENTS,
        "Plain stores and locked instructions by kind of page, under the recorded kernel's policy.",
        scale=1000,
        items=True,
        headline=True,
    ),
    Quantity(
        _OPS,
        "locked, own policy:",
        "own_locked",
        EVENTS,
        _PER_EVENTS,
        "Of these, the locked instructions.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _OPS,
        "locked, recorded:",
        "recorded_locked",
        EVENTS,
        _PER_EVENTS,
        "Locked instructions that page_ref events tell of, by kind of page.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _OPS,
        "plain, recorded:",
        "recorded_plain",
        EVENTS,
        _PER_EVENTS,
        "Plain stores that page_ref events tell of, by kind of page.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _OPS,
        "locked, policy",
        "policy_locked",
        EVENTS,
        _PER_EVENTS,
        "Locked instructions under one and the same policy on both sides.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _PAGES,
        "page allocations",
        "page_allocs",
        EVENTS,
        _PER_EVENTS,
        "mm_page_alloc events, of any order.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PAGES,
        "page allocations",
        "page_allocs",
        SECONDS,
        "per second",
        "mm_page_alloc events, of any order, over the length of the recording.",
        counted=False,
    ),
    Quantity(
        _PAGES,
        "page frees",
        "page_frees",
        EVENTS,
        _PER_EVENTS,
        "mm_page_free events, of any order.",
        scale=1000,
    ),
    Quantity(
        _PAGES,
        "allocated,",
        "page_allocs",
        EVENTS,
        _PER_EVENTS,
        "mm_page_alloc events by kind of page.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _PAGES,
        "slabs made",
        "slab_allocs",
        "object_allocs",
        "per 1,000 objects allocated",
        "Slab pages allocated, of any order.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PAGES,
        "slabs freed",
        "slab_frees",
        "object_frees",
        "per 1,000 objects freed",
        "Slab pages freed, of any order.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PATHS,
        "remote frees",
        "remote_frees",
        "known_frees",
        "% of frees",
        "Objects freed by another CPU than allocated them, where both were seen.",
        scale=100,
        headline=True,
    ),
    Quantity(
        _PATHS,
        "pages from the buddy lists",
        "zone_locked",
        "page_allocs",
        _PER_ALLOCS,
        "mm_page_alloc_zone_locked: pages taken under zone->lock.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PATHS,
        "pages drained to the buddy lists",
        "pcpu_drain",
        "page_allocs",
        _PER_ALLOCS,
        "mm_page_pcpu_drain: pages given back from the CPUs' lists.",
        scale=1000,
    ),
    Quantity(
        _PATHS,
        "pages freed in batches",
        "batched_frees",
        "page_frees",
        "% of page frees",
        "mm_page_free_batched.",
        scale=100,
    ),
    Quantity(
        _PATHS,
        "model:",
        "path_requests",
        EVENTS,
        _PER_EVENTS,
        "Requests by the way in which the simulated allocators served them.",
        scale=1000,
        items=True,
    ),
    Quantity(
        "Sheaves and barns",
        "model:",
        "cache_counters",
        "object_requests",
        "per 1,000 object events",
        "Counters of the simulated caches, by the kernel's name of them.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "bytes given but not asked for",
        "bytes_wasted",
        "bytes_given",
        "% of bytes given",
        "Internal fragmentation: the rest of the slot or page behind each object.",
        scale=100,
        headline=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "fallbacks to another migratetype",
        "fallbacks",
        "page_allocs",
        _PER_ALLOCS,
        "mm_page_alloc_extfrag.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "model: unusable",
        "unusable_pages",
        "free_pages",
        "% of free pages",
        "Free pages in blocks too small for the order, in the simulated page allocator.",
        scale=100,
        items=True,
        headline=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "model:",
        "zone_counters",
        "page_requests",
        "per 1,000 page events",
        "Counters of the simulated zones.",
        scale=1000,
        items=True,
        counted=False,
    ),
    Quantity(
        _LIVES,
        "objects,",
        "object_lives",
        "object_lives",
        "% of objects",
        "Objects that were allocated and freed in the recording, by how long they lived.",
        scale=100,
        items=True,
    ),
    Quantity(
        _LIVES,
        "pages,",
        "page_lives",
        "page_lives",
        "% of page lives",
        "Page lives that began and ended in the recording, by their length.",
        scale=100,
        items=True,
    ),
    Quantity(
        _LIVES,
        "objects, quantile",
        "object_lifetimes",
        ONE,
        "us",
        "Quantiles of the lifetimes of objects.",
        items=True,
        counted=False,
    ),
    Quantity(
        _LIVES,
        "pages, quantile",
        "page_lifetimes",
        ONE,
        "us",
        "Quantiles of the lifetimes of pages.",
        items=True,
        counted=False,
    ),
    Quantity(
        CACHES,
        "allocations,",
        "object_allocs",
        EVENTS,
        _PER_EVENTS,
        "Objects allocated from the cache.",
        scale=1000,
        items=True,
    ),
    Quantity(
        CACHES,
        "remote frees,",
        "remote_frees",
        "known_frees",
        "% of the cache's frees",
        "Objects of the cache freed by another CPU than allocated them.",
        scale=100,
        items=True,
        own_whole=True,
    ),
    Quantity(
        CACHES,
        "slabs made,",
        "slab_allocs",
        EVENTS,
        _PER_EVENTS,
        "Slab pages allocated for the cache, of any order.",
        scale=1000,
        items=True,
    ),
    Quantity(
        CACHES,
        "pages a slab,",
        "slab_pages",
        "slab_allocs",
        "pages",
        "Base pages of a slab of the cache, on average.",
        items=True,
        own_whole=True,
    ),
    Quantity(
        SITES,
        "allocations,",
        "site_allocs",
        EVENTS,
        _PER_EVENTS,
        "Objects allocated by the function, wherever in it.",
        scale=1000,
        items=True,
    ),
)
