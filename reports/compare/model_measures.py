"""What a comparison asks of simulated runs, as data: a question a measure.

A run that was not simulated has none of these; a sweep stores neither events nor slabs, so its runs
have only those of counters and free blocks.
"""

from __future__ import annotations

from reports.compare.measure import SLICE, Measure

# Which of the CPU's own sheaves served a request hangs on what lay in them long before.
_SERVED = """
    CASE WHEN path IN ('main_hit', 'main_push', 'spare_swap', 'install_empty')
        THEN 'own sheaves' ELSE path END
"""
# Requests of objects and pages as the model served them. An object's event says whether it was an
# allocation: the path spare_swap serves both.
_PLACED = f"""
    SELECT run, ts, cache, layer, {_SERVED} AS served,
        CASE WHEN event IN ('kmalloc', 'kmem_cache_alloc') THEN 'alloc'
            WHEN event IN ('kfree', 'kmem_cache_free') THEN 'free' ELSE way END AS way
    FROM placed_events JOIN paths USING (path)
    JOIN (
        SELECT seq, ts, event, cache FROM object_events WHERE run = $recorded
        UNION ALL SELECT seq, ts, NULL, NULL FROM page_events WHERE run = $recorded
    ) USING (seq)
    WHERE run = $run
"""
# What the CPU's own sheaves, or its own slab, could not serve.
_WAYS = "refill|flush|barn|slow|cpu_partial|cpu_slab_refill|node_partial|new_slab|free_frozen|slab_"
_NOT_ALONE = f"regexp_matches(served, '^({_WAYS})')"
_OF_CACHE = "coalesce(caches.name, '(not known)')"
_NAMED_CACHE = "LEFT JOIN caches USING (run, cache)"
# Slabs are made and freed by object events.
_SLABS = f"""
    SELECT {{item}} AS item, {SLICE} AS slice, {{value}} AS value
    FROM placed_slabs JOIN runs USING (run) {{names}}
    JOIN (SELECT seq, ts FROM object_events WHERE run = $recorded) ON seq = {{seq}}
    WHERE run = $run GROUP BY ALL
"""
_PLACED_TABLES = ("placed_events", "paths")

MODEL_MEASURES = (
    Measure(
        "path_requests",
        f"""
        SELECT layer || ' ' || way || ', ' || served AS item, {SLICE} AS slice, count(*) AS value
        FROM ({_PLACED}) JOIN runs USING (run) GROUP BY ALL
        """,
        needs=_PLACED_TABLES,
        optional=True,
    ),
    Measure(
        "path_ways",
        # For each path, taken or not, all requests of its layer and way: it is a share of them.
        f"""
        SELECT layer || ' ' || way || ', ' || served AS item, slice, value
        FROM (SELECT DISTINCT layer, {_SERVED} AS served FROM paths)
        JOIN (
            SELECT layer, way, {SLICE} AS slice, count(*) AS value
            FROM ({_PLACED}) JOIN runs USING (run) GROUP BY ALL
        ) USING (layer)
        """,
        needs=_PLACED_TABLES,
        optional=True,
    ),
    Measure(
        "placed_objects",
        f"""
        SELECT '' AS item, {SLICE} AS slice, count(*) AS value
        FROM ({_PLACED}) JOIN runs USING (run) WHERE layer = 'object' GROUP BY ALL
        """,
        needs=_PLACED_TABLES,
        optional=True,
    ),
    Measure(
        "sheaf_moves",
        f"""
        SELECT CASE WHEN served LIKE 'refill%' THEN 'sheaf refills'
                WHEN served LIKE 'flush%' THEN 'sheaf flushes'
                WHEN served LIKE 'barn%' THEN 'barn gets and puts'
                WHEN served LIKE 'cpu_partial%' THEN 'partial lists of CPUs'
                ELSE 'straight from or to a slab' END AS item,
            {SLICE} AS slice, count(*) AS value
        FROM ({_PLACED}) JOIN runs USING (run)
        WHERE layer = 'object' AND {_NOT_ALONE} GROUP BY ALL
        """,
        needs=_PLACED_TABLES,
        optional=True,
    ),
    Measure(
        "cache_placed",
        f"""
        SELECT {_OF_CACHE} AS item, {SLICE} AS slice, count(*) AS value
        FROM ({_PLACED}) {_NAMED_CACHE} JOIN runs USING (run) WHERE layer = 'object' GROUP BY ALL
        """,
        needs=_PLACED_TABLES,
        optional=True,
    ),
    Measure(
        "cache_past_sheaves",
        f"""
        SELECT {_OF_CACHE} AS item, {SLICE} AS slice, count(*) AS value
        FROM ({_PLACED}) {_NAMED_CACHE} JOIN runs USING (run)
        WHERE layer = 'object' AND {_NOT_ALONE} GROUP BY ALL
        """,
        needs=_PLACED_TABLES,
        optional=True,
    ),
    *(
        Measure(
            name,
            _SLABS.format(item=item, names=names, value=value, seq=seq),
            needs=("placed_slabs",),
            optional=True,
        )
        for name, item, names, value, seq in (
            ("model_slabs", "''", "", "count(*)", "alloc_seq"),
            ("model_slabs_freed", "''", "", "count(*)", "free_seq"),
            ("cache_model_slabs", _OF_CACHE, _NAMED_CACHE, "count(*)", "alloc_seq"),
            ("cache_model_pages", _OF_CACHE, _NAMED_CACHE, 'sum(1 << "order")', "alloc_seq"),
        )
    ),
    Measure(
        "cache_counters",
        # What the generation of SLUB does not keep is no zero.
        """
        SELECT counters.name AS item, NULL AS slice, coalesce(sum(value), 0) AS value
        FROM runs JOIN counters USING (slub)
        LEFT JOIN cache_counters USING (run, name)
        WHERE run = $run AND run IN (SELECT run FROM placed_caches)
        GROUP BY ALL
        """,
        needs=("cache_counters", "counters", "placed_caches"),
        optional=True,
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
        optional=True,
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
        optional=True,
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
        optional=True,
    ),
)
