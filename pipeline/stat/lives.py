"""A selection of what a results database tells: lives of pages and objects, by their allocation.

While it holds, the views that are made of lives see those only whose allocation is selected, each
whole: its kind, its cache, its end and all operations on its count stay what they are. What sums
of more than lives are made of (the simulated placement, what is over time, what operations take)
cannot be selected from, and is not to be shown.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.untrusted import MOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from pipeline.stat.selection import Selection

# Which cache a page is of follows from all its objects: told before objects are selected.
_PAGE_CACHES = "CREATE TEMP TABLE page_caches AS FROM page_caches"
_PAGES = """
    CREATE TEMP TABLE selected_pages AS
    SELECT lives.run, lives.page
    FROM pages AS lives
    INNER JOIN temp.selected_times AS times USING (run)
    LEFT JOIN page_events AS events ON lives.run = events.run AND lives.alloc_seq = events.seq
    LEFT JOIN page_caches AS of_cache ON lives.run = of_cache.run AND lives.page = of_cache.page
    LEFT JOIN caches ON of_cache.run = caches.run AND of_cache.cache = caches.cache
    WHERE lives.alloc_ts IS NOT NULL AND
"""
_OBJECTS = """
    CREATE TEMP TABLE selected_objects AS
    SELECT lives.run, lives.seq AS object
    FROM object_events AS lives
    INNER JOIN temp.selected_times AS times USING (run)
    LEFT JOIN caches ON lives.run = caches.run AND lives.cache = caches.cache
    WHERE lives.event IN ('kmalloc', 'kmem_cache_alloc') AND
"""
# Views of the session come before tables and views of the same name, in views too.
_SHADOWS = {
    "pages": "FROM {main}.pages SEMI JOIN temp.selected_pages USING (run, page)",
    "object_events": (
        "FROM {main}.object_events SEMI JOIN temp.selected_objects USING (run, object)"
    ),
}


@contextmanager
def selected_lives(connection: DuckDBPyConnection, selection: Selection) -> Iterator[None]:
    """While the block runs, views are of the selected lives.

    Args:
        connection: a results database, which is not changed.
        selection: which allocations; one that selects nothing apart leaves all as it is.
    """
    if not selection:
        yield
        return
    tables = ("page_caches", "selected_times", "selected_pages", "selected_objects")
    made = [("TABLE", name) for name in tables]
    connection.execute(_PAGE_CACHES)
    _times(connection, selection)
    for query, columns in ((_PAGES, ("alloc_ts", "alloc_cpu")), (_OBJECTS, ("ts", "cpu"))):
        ts, cpu = (f"lives.{column}" for column in columns)
        pid = "events.pid" if query is _PAGES else "lives.pid"
        conditions, values = _conditions(selection, ts, cpu, pid)
        connection.execute(query + " AND ".join(conditions), values)
    row = connection.execute("SELECT current_database()").fetchone()
    database = row[0] if row else ""
    for name, query in _SHADOWS.items():
        main = f'"{database}".main'
        connection.execute(f"CREATE TEMP VIEW {name} AS {query.format(main=main)}")
        made.insert(0, ("VIEW", name))
    try:
        yield
    finally:
        for kind, name in made:
            connection.execute(f"DROP {kind} temp.{name}")


def _conditions(
    selection: Selection, ts: str, cpu: str, pid: str
) -> tuple[list[str], dict[str, object]]:
    """What SQL asks of an allocation, and the values of its parameters."""
    conditions = [f"{ts} BETWEEN times.since AND times.until"]
    values: dict[str, object] = {}
    for name, column, wanted in (
        ("cpus", cpu, selection.cpus),
        ("pids", pid, selection.pids),
        ("caches", "caches.name", selection.caches),
    ):
        if wanted:
            conditions.append(f"list_contains(${name}, {column})")
            values[name] = list(wanted)
    return conditions, values


def _times(connection: DuckDBPyConnection, selection: Selection) -> None:
    """The selection's ends on the clock of each run's recording."""
    connection.execute("CREATE TEMP TABLE selected_times (run INTEGER, since BIGINT, until BIGINT)")
    runs = connection.execute("SELECT run, first_ts, meta FROM runs JOIN traces USING (trace_id)")
    for run, first, meta in runs.fetchall():
        unit = json.loads(meta)["ts_unit"]
        since, until = (
            other if moment is None else moment.ticks(first, unit)
            for moment, other in ((selection.since, -MOST), (selection.until, MOST))
        )
        connection.execute(
            "INSERT INTO temp.selected_times VALUES ($1, $2, $3)", [run, since, until]
        )
