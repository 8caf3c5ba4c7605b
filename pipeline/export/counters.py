"""What a run holds and does over time, as counters: the changes of each, asked for in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.queries import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from allocsim.tables import Columns
    from pipeline.export.run_pair import RunPair

_BATCH = 1 << 16  #: samples at a time


@dataclass(frozen=True, slots=True)
class CounterGroup:
    """Counters of one kind.

    Args:
        name: what they are together.
        doc: what they count, and of what not.
        bytes: they are bytes; else they count.
        changes: a SELECT of (key, ts, delta): a change of the counter of this number.
        names: a SELECT of (key, part, name): what the counter of this number is called, and the
            part of the group it belongs to, NULL where there are none.

    In both ``$run`` is the recorded run, ``$model`` one simulated of it.
    """

    name: str
    doc: str
    bytes: bool
    changes: str
    names: str


_TIMES = """(
    SELECT facts.seq, facts.ts, origins.cache
    FROM internal.object_facts AS facts
    INNER JOIN internal.object_origins AS origins USING (origin)
    WHERE facts.run = $run
    UNION ALL
    SELECT seq, ts, NULL FROM page_events WHERE run = $run
)"""
_PATHS = "(SELECT unnest(enum_range(NULL::path)) AS path)"

GROUPS = (
    CounterGroup(
        "Live bytes of objects, by cache",
        "Bytes given to objects allocated in the recording and not freed yet; older objects are"
        " left out. A free without an event counts when it shows: at the latest.",
        True,
        """
        WITH lives AS (
            SELECT coalesce(cache, if(cache_how IS NULL, -1, -2)) AS key, * FROM object_lives
            WHERE run = $run
        )
        SELECT key, alloc_ts AS ts, bytes_alloc AS delta FROM lives
        UNION ALL
        SELECT key, end_ts, -bytes_alloc FROM lives
        """,
        """
        SELECT cache AS key, NULL AS part, name FROM caches WHERE run = $run
        UNION ALL VALUES (-1, NULL, 'large kmalloc'), (-2, NULL, 'cache not known')
        """,
    ),
    CounterGroup(
        "Live bytes of pages, by kind",
        "Bytes of page blocks allocated in the recording and not freed yet; older blocks are left"
        " out. A free without an event counts when its pages are allocated again.",
        True,
        """
        WITH blocks AS (
            SELECT pages.*, traces.page_size
            FROM pages INNER JOIN runs USING (run) INNER JOIN traces USING (trace_id)
            WHERE run = $run AND alloc_ts IS NOT NULL
        )
        SELECT enum_code(page_kind) AS key, alloc_ts AS ts, page_size << "order" AS delta
        FROM blocks
        UNION ALL
        SELECT enum_code(blocks.page_kind), events.ts, -(page_size << events."order")
        FROM page_events AS events INNER JOIN blocks USING (run, page)
        WHERE events.event = 'mm_page_free'
        UNION ALL
        SELECT enum_code(page_kind), free_ts, -page_size * ((1 << "order") - pages_freed)
        FROM blocks WHERE free_ts IS NOT NULL
        """,
        """
        SELECT enum_code(name::page_kind) AS key, NULL AS part, name
        FROM (SELECT unnest(enum_range(NULL::page_kind)) AS name)
        """,
    ),
    CounterGroup(
        "Model: requests so far, by the way they were served",
        "Recorded allocations and frees that the simulated run served so, from the first event on;"
        " a counter's rate is its traffic. The table paths says what each way is.",
        False,
        f"""
        SELECT enum_code(placed.path) AS key, times.ts, 1 AS delta
        FROM placed_events AS placed INNER JOIN {_TIMES} AS times USING (seq)
        WHERE placed.run = $model
        """,
        f"""
        SELECT enum_code(path::path) AS key, paths.layer AS part, path AS name
        FROM {_PATHS} INNER JOIN paths USING (path)
        """,
    ),
    CounterGroup(
        "Model: traffic of sheaves, barn and slabs so far, by cache",
        "The same of one cache, of the ways that moved a sheaf or a slab: all but the CPU's own"
        " main sheaf, or its own slab.",
        False,
        f"""
        SELECT times.cache * 256 + enum_code(placed.path) AS key, times.ts, 1 AS delta
        FROM placed_events AS placed INNER JOIN {_TIMES} AS times USING (seq)
        WHERE placed.run = $model AND times.cache IS NOT NULL
            AND placed.path NOT IN ('main_hit', 'main_push', 'cpu_slab_hit', 'cpu_slab_push')
        """,
        f"""
        SELECT caches.cache * 256 + enum_code(path::path) AS key, caches.name AS part, path AS name
        FROM caches CROSS JOIN {_PATHS} WHERE caches.run = $run
        """,
    ),
    CounterGroup(
        "Model: free blocks, by zone",
        "Blocks on the free lists of the buddy allocator, by order and migratetype, when a time"
        " slice begins; those on the CPUs' lists are left out.",
        False,
        """
        WITH states AS (
            SELECT (zone * 16 + "order") * 16 + enum_code(migratetype) AS key, blocks,
                if(slice IS NULL, last_ts, first_ts + slice * slice_ns) AS ts
            FROM internal.free_blocks INNER JOIN runs USING (run) WHERE run = $model
        ), filled AS (
            SELECT lists.key, times.ts, coalesce(states.blocks, 0) AS blocks
            FROM (SELECT DISTINCT key FROM states) AS lists
            CROSS JOIN (SELECT DISTINCT ts FROM states) AS times
            LEFT JOIN states USING (key, ts)
        )
        SELECT key, ts, blocks - lag(blocks, 1, 0) OVER (PARTITION BY key ORDER BY ts) AS delta
        FROM filled
        """,
        """
        SELECT (zone * 16 + "order") * 16 + enum_code(mt::migratetype) AS key, zones.name AS part,
            'order ' || "order" || ', ' || mt AS name
        FROM zones CROSS JOIN (SELECT unnest(range(11)) AS "order")
        CROSS JOIN (SELECT unnest(enum_range(NULL::migratetype)) AS mt)
        WHERE zones.run = $model
        """,
    ),
)

# Ends that are not known have no time. A value is that after the last change of its step, and
# stands at the time of that change, so that no value is wrong for its moment.
_SAMPLES = """
    CREATE OR REPLACE TEMP TABLE samples_of_counters AS
    WITH stepped AS (
        SELECT key, max(ts) AS ts, sum(delta)::BIGINT AS delta
        FROM ({changes}) WHERE ts IS NOT NULL AND delta <> 0
        GROUP BY key, (ts - $first) // $step
    )
    SELECT key, ts, sum(delta) OVER (PARTITION BY key ORDER BY ts)::BIGINT AS value
    FROM stepped
"""
_COUNTERS = """
    CREATE OR REPLACE TEMP TABLE counters_of_group AS
    SELECT key, part, name, row_number() OVER (ORDER BY part NULLS FIRST, highest DESC, name) - 1
        AS number
    FROM (SELECT key, max(value) AS highest FROM samples_of_counters GROUP BY key)
    INNER JOIN ({names}) USING (key)
"""
_NUMBERED = """
    SELECT counters.number AS counter, samples.ts, samples.value
    FROM samples_of_counters AS samples INNER JOIN counters_of_group AS counters USING (key)
    ORDER BY samples.ts, counters.number
"""


class CounterSamples:
    """The counters of one group, sampled.

    Args:
        connection: a results database, for reading.
        group: which counters.
        pair: of which runs.
        step: ns; of changes within one step the last stands.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, group: CounterGroup, pair: RunPair, step: int
    ) -> None:
        values = {"run": pair.recorded, "model": pair.model, "first": pair.first_ts, "step": step}
        self._connection = connection
        for query in (
            _SAMPLES.format(changes=group.changes),
            _COUNTERS.format(names=group.names),
        ):
            used = {name: value for name, value in values.items() if f"${name}" in query}
            connection.execute(query, used)

    def counters(self) -> list[tuple[str | None, str]]:
        """Part and name of each counter, by its number from 0; the largest of a part first."""
        found = rows(self._connection, "FROM counters_of_group ORDER BY number")
        return [(row["part"], row["name"]) for row in found]

    def batches(self) -> Iterator[Columns]:
        """Some samples at a time: counter (its number), ts (ns) and value, each i8."""
        for batch in self._connection.sql(_NUMBERED).to_arrow_reader(_BATCH):
            yield {name: batch[name].to_numpy() for name in ("counter", "ts", "value")}
