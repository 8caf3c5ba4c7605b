"""What a comparison asks of a results database, as data: a question a measure.

The rows of a measure are (item, slice, value): what was counted, of what, in which time slice of
the run; slice is NULL where the database has only a total. A measure whose tables a database lacks
is left out.
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
