"""What a comparison asks of recorded runs, as data: a question a measure."""

from __future__ import annotations

from reports.compare.measure import BINS, BINS_PER_DECADE, SLICE, Measure

EVENTS = "events"
SECONDS = "seconds"
ONE = "one"
FROZEN = "frozen"  #: kinds of page without a count under the policy of the recorded kernel

_ALLOCS = "('kmalloc', 'kmem_cache_alloc')"
_FREES = "('kfree', 'kmem_cache_free')"
_OBJECTS = f"""
    SELECT coalesce(caches.name, if(cache_how IS NULL, '(large kmalloc)', '(not known)')) AS item,
        {SLICE} AS slice, {{value}} AS value
    FROM object_events JOIN runs USING (run) LEFT JOIN caches USING (run, cache)
    WHERE run = $recorded AND event IN {{events}} GROUP BY ALL
"""
# kfree(NULL) frees no object (T4): such rows have none.
_SITES = f"""
    SELECT coalesce(regexp_replace(symbol, '_noprof$', ''), '(not resolved)') AS item,
        {SLICE} AS slice, {{value}} AS value
    FROM object_events JOIN runs USING (run) LEFT JOIN call_sites USING (run, call_site)
    WHERE run = $recorded AND event IN {{events}} AND object IS NOT NULL GROUP BY ALL
"""
_PAIRS = f"""
    SELECT coalesce(caches.name, if(gone.cache_how IS NULL, '(large kmalloc)', '(not known)'))
            AS item,
        (gone.ts - first_ts) // slice_ns AS slice, {{value}} AS value
    FROM object_events AS gone
    JOIN object_events AS born ON born.run = gone.run AND born.seq = gone.object
    JOIN runs ON runs.run = gone.run
    LEFT JOIN caches ON caches.run = gone.run AND caches.cache = gone.cache
    WHERE gone.run = $recorded AND gone.event IN {_FREES} AND born.event IN {_ALLOCS} GROUP BY ALL
"""
_KINDS = """
    SELECT page_kind AS item, slice, sum({value}) AS value,
        sum({value} - locked_ops + locked_ops_low) AS low,
        sum({value} - locked_ops + locked_ops_high) AS high
    FROM timeline
    WHERE run = $recorded AND policy = $own GROUP BY ALL
"""
_PAGES = """
    SELECT page_kind AS item, slice, sum({value}) AS value
    FROM samples WHERE run = $recorded GROUP BY ALL
"""
_RECORDED = f"""
    SELECT coalesce(page_kind, '(no page)') AS item, {SLICE} AS slice,
        sum({{value}}) AS value
    FROM page_events JOIN runs USING (run)
    WHERE run = $recorded AND event BETWEEN 'page_ref_set'::event AND 'page_ref_unfreeze'::event
    GROUP BY ALL
"""
_NAMED = f"""
    SELECT '' AS item, {SLICE} AS slice, count(*) AS value
    FROM page_events JOIN runs USING (run)
    WHERE run = $recorded AND event = '{{name}}' GROUP BY ALL
"""
_SLABS = """
    SELECT coalesce(caches.name, '(not known)') AS item,
        ({when} - first_ts) // slice_ns AS slice, {value} AS value
    FROM pages JOIN runs USING (run) LEFT JOIN caches USING (run, cache)
    WHERE run = $recorded AND page_kind = 'slab' AND {seen} IS NOT NULL GROUP BY ALL
"""
# Length of a life by how it is asked for: of objects, and of pages.
_OBJECT_LIVES = f"""
    SELECT run, cache, cache_how, ts, lifetime AS lived FROM object_events
    WHERE run = $recorded AND event IN {_FREES} AND lifetime >= 0
"""
_PAGE_LIVES = """
    SELECT run, free_ts AS ts, free_ts - alloc_ts AS lived FROM pages
    WHERE run = $recorded AND free_ts >= alloc_ts
"""
_BINNED = f"""
    SELECT {{item}} AS item, {SLICE} AS slice,
        least(floor({BINS_PER_DECADE} * log10(greatest(lived, 1))), {BINS - 1})::int AS bin,
        count(*) AS value
    FROM ({{lives}}) JOIN runs USING (run) {{names}} GROUP BY ALL
"""
# In two looks, for quantile_disc would hold every life there is: lives are counted in bins of a
# hundredth of their length, then those of the bin that the quantile is in are ranked.
_QUANTILE = """
    WITH lives AS (
        SELECT {item} AS item, lived, floor(100 * ln(1 + lived)) AS bin FROM ({lives}) {names}
    ), binned AS (
        SELECT item, bin, count(*) AS here FROM lives GROUP BY ALL
    ), ranked AS (
        SELECT *, sum(here) OVER (PARTITION BY item) AS every,
            greatest(every - floor(every - {quantile} * every), 1) - 1 AS rank,
            sum(here) OVER (PARTITION BY item ORDER BY bin) - here AS below
        FROM binned QUALIFY rank BETWEEN below AND below + here - 1
    ), found AS (
        SELECT item, lived, rank, below, count(*) AS here
        FROM lives JOIN ranked USING (item, bin) GROUP BY ALL
    ), placed AS (
        SELECT *, below + sum(here) OVER (PARTITION BY item ORDER BY lived) AS upto FROM found
    )
    SELECT item, NULL AS slice, min(lived) / 1000 AS value
    FROM placed WHERE upto > rank GROUP BY ALL
"""
_OF_CACHE = {
    "item": "coalesce(caches.name, if(cache_how IS NULL, '(large kmalloc)', '(not known)'))",
    "names": "LEFT JOIN caches USING (run, cache)",
}
_OF_ALL = {"item": "''", "names": ""}
# What a band of lifetimes is called, and the ns it ends below; in order.
_BANDS = {
    "< 1 us": 1e3,
    "1 - 10 us": 1e4,
    "10 - 100 us": 1e5,
    "100 us - 1 ms": 1e6,
    "1 - 10 ms": 1e7,
    "10 - 100 ms": 1e8,
    "100 ms - 1 s": 1e9,
    "1 s or more": None,
}
BANDS = tuple(_BANDS)
_BAND = " ".join(
    f"WHEN lived < {end:.0f} THEN '{name}'" if end else f"ELSE '{name}'"
    for name, end in _BANDS.items()
)
_BANDED = f"""
    SELECT CASE {_BAND} END AS item, {SLICE} AS slice, count(*) AS value
    FROM ({{lives}}) JOIN runs USING (run) GROUP BY ALL
"""
#: Quantiles that lifetimes are compared at, and what they are called.
QUANTILES = {0.5: "median", 0.9: "90th percentile", 0.99: "99th percentile"}

RECORDED_MEASURES = (
    Measure(
        EVENTS,
        # The events that every kernel and every recording has. How many others there are depends
        # on the kernel, page_ref events most of all, and must not scale the rows.
        f"""
        SELECT '' AS item, {SLICE} AS slice, count(*) AS value
        FROM (
            SELECT run, ts FROM object_events
            UNION ALL
            SELECT run, ts FROM page_events
            WHERE event IN ('mm_page_alloc', 'mm_page_free')
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
    Measure("own_locked", _KINDS.format(value="locked_ops"), optional=True, ranged=True),
    Measure("own_plain", _KINDS.format(value="plain_ops"), optional=True),
    Measure("own_ops", _KINDS.format(value="plain_ops + locked_ops"), optional=True, ranged=True),
    Measure(
        "policy_locked",
        """
        SELECT policy AS item, slice, sum(locked_ops) AS value, sum(locked_ops_low) AS low,
            sum(locked_ops_high) AS high
        FROM timeline WHERE run = $recorded GROUP BY ALL
        """,
        ranged=True,
    ),
    Measure("recorded_locked", _RECORDED.format(value="locked_ops")),
    Measure("recorded_plain", _RECORDED.format(value="plain_ops")),
    Measure("page_allocs", _PAGES.format(value="page_allocs")),
    Measure("page_frees", _PAGES.format(value="page_frees")),
    Measure("zone_locked", _NAMED.format(name="mm_page_alloc_zone_locked")),
    Measure("pcpu_drain", _NAMED.format(name="mm_page_pcpu_drain")),
    Measure("batched_frees", _NAMED.format(name="mm_page_free_batched")),
    Measure("fallbacks", _NAMED.format(name="mm_page_alloc_extfrag")),
    Measure("object_allocs", _OBJECTS.format(events=_ALLOCS, value="count(*)")),
    Measure("object_frees", _OBJECTS.format(events=_FREES, value="count(*)")),
    Measure("bytes_given", _OBJECTS.format(events=_ALLOCS, value="sum(bytes_alloc)")),
    Measure(
        "bytes_wasted",
        _OBJECTS.format(events=_ALLOCS, value="sum(bytes_alloc - bytes_req)"),
    ),
    Measure("known_frees", _PAIRS.format(value="count(*)")),
    Measure("remote_frees", _PAIRS.format(value="count(*) FILTER (gone.cpu <> born.cpu)")),
    Measure("slab_allocs", _SLABS.format(when="alloc_ts", seen="alloc_seq", value="count(*)")),
    Measure(
        "slab_pages", _SLABS.format(when="alloc_ts", seen="alloc_seq", value='sum(1 << "order")')
    ),
    Measure("slab_frees", _SLABS.format(when="free_ts", seen="free_seq", value="count(*)")),
    Measure("object_lives", _BANDED.format(lives=_OBJECT_LIVES)),
    Measure("page_lives", _BANDED.format(lives=_PAGE_LIVES)),
    *(
        Measure(
            f"{what}_lives_{quantile}",
            _QUANTILE.format(lives=lives, quantile=quantile, **_OF_ALL),
            sliced=False,
        )
        for what, lives in (("object", _OBJECT_LIVES), ("page", _PAGE_LIVES))
        for quantile in QUANTILES
    ),
    Measure(
        "cache_lives_0.5",
        _QUANTILE.format(lives=_OBJECT_LIVES, quantile=0.5, **_OF_CACHE),
        sliced=False,
    ),
    Measure("object_bins", _BINNED.format(lives=_OBJECT_LIVES, **_OF_ALL), binned=True),
    Measure("page_bins", _BINNED.format(lives=_PAGE_LIVES, **_OF_ALL), binned=True),
    Measure("cache_bins", _BINNED.format(lives=_OBJECT_LIVES, **_OF_CACHE), binned=True),
    Measure("site_allocs", _SITES.format(events=_ALLOCS, value="count(*)")),
    Measure(
        FROZEN,
        """
        SELECT DISTINCT page_kind AS item, NULL AS slice, 1 AS value
        FROM policies JOIN policy_ops USING (run, policy)
        WHERE run = $recorded AND policies.name = $own AND frozen
        """,
        sliced=False,
    ),
)
