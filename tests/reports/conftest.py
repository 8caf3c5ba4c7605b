"""A small results database, made by hand: every number in it can be checked on paper."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from allocsim.kernels.release import kernel_of
from allocsim.refcount.alloc_levels import LEVELS
from allocsim.refcount.freezability import VERDICTS, Verdict
from pipeline.store.adding import counter_rows, roadmap_rows
from pipeline.store.arrow import arrow_type
from pipeline.store.schema import create_tables
from pipeline.store.schema.dimensions import COUNTERS, ROADMAP_STEPS
from pipeline.store.schema.recorded import OBJECT_FACTS, OBJECT_ORIGINS
from pipeline.store.schema.table import from_loaded
from reports.rules import titled
from reports.views import create_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("slab", "large_kmalloc", "page_table", "anon", "other")
#: policy -> kind -> plain stores and locked instructions at allocation, use and free.
COUNTED = {"alloc": (1, 0), "use": (0, 0), "free": (0, 1)}
FROZEN = {"alloc": (0, 0), "use": (0, 0), "free": (0, 0)}
ANON = {"alloc": (1, 0), "use": (0, 3), "free": (0, 1)}
POLICIES = {
    "refcounted": {"anon": ANON},
    "linux-6.12": {"anon": ANON},
    "linux-7.2": {
        "slab": FROZEN,
        "large_kmalloc": FROZEN,
        "anon": ANON | {"use": (0, 4)},
    },
}
#: What the sources allow of each kind.
BY_SOURCE = dict.fromkeys(KINDS[:3], Verdict.FREEZABLE) | {
    "anon": Verdict.NEEDED,
    "other": Verdict.UNSEEN,
}
#: kind, how its kind is known, cache, allocated, freed, recorded locked instructions in use.
Life = tuple[str, str, int | None, bool, int, int | None]
LIVES: tuple[Life, ...] = (
    ("slab", "observed", 0, True, 1, None),
    ("slab", "observed", 0, True, 1, None),
    ("slab", "observed", 1, True, 0, None),
    ("slab", "inferred", None, True, 1, None),
    ("large_kmalloc", "observed", None, True, 1, None),
    ("page_table", "inferred", None, True, 1, None),
    ("page_table", "inferred", None, False, 1, None),
    ("anon", "inferred", None, True, 1, None),
    ("anon", "assumed", None, True, 1, None),
)


def insert(connection: duckdb.DuckDBPyConnection, table: str, **values: object) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


_ORIGIN = [column for column in OBJECT_ORIGINS.columns if column.name not in {"origin", "run"}]
#: Columns of the view object_events.
OBJECT_EVENTS = pa.schema(
    (column.name, arrow_type(column))
    for column in (*OBJECT_FACTS.columns, *_ORIGIN)
    if column.name != "origin"
)


def insert_object_events(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    """Put rows of the view object_events, or some columns of them, into the tables behind it.

    Of an ENUM they have the codes.
    """
    for field in OBJECT_EVENTS:
        if field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
    parts = ["run", *(column.name for column in _ORIGIN)]
    names = ", ".join(parts)
    connection.register("coded", rows)
    stored = ", ".join(
        f"{from_loaded(column, column.name)} AS {column.name}"
        for column in (*OBJECT_FACTS.columns, *_ORIGIN)
        if column.name != "origin"
    )
    connection.execute(f"CREATE TEMP TABLE made AS SELECT {stored} FROM coded")
    connection.execute(
        "INSERT INTO internal.object_origins BY NAME"
        f" SELECT (SELECT count(*) FROM internal.object_origins) + row_number() OVER () AS origin,"
        f" {names} FROM (SELECT DISTINCT {names} FROM made)"
    )
    same = " AND ".join(f"made.{name} IS NOT DISTINCT FROM o.{name}" for name in parts)
    facts = ", ".join(column.name for column in OBJECT_FACTS.columns if column.name != "run")
    connection.execute(
        f"INSERT INTO internal.object_facts BY NAME SELECT made.run, {facts}"
        f" FROM made INNER JOIN internal.object_origins AS o ON {same}"
    )
    connection.execute("DROP TABLE made")
    connection.unregister("coded")


def _add_run(
    connection: duckdb.DuckDBPyConnection,
    run: int,
    trace: str,
    *,
    policies: dict[str, dict[str, Any]] = POLICIES,
    lives: tuple[Life, ...] = LIVES,
    stacks: bool = True,
    objects: bool = True,
    kernel: str = "6.12.107",
    by_source: dict[str, Verdict] = BY_SOURCE,
) -> None:
    """One run of ``lives``; each begins in slice 0 and ends, if it does, in slice 1."""
    _add_trace(connection, run, trace, kernel)
    if objects:
        _add_objects(connection, run)
    _add_pages(connection, run, lives, stacks=stacks)
    _add_policies(connection, run, policies)
    _add_sources(connection, run, by_source)
    for name, value in (("unknown_frees", 1), ("reallocations", 2)):
        insert(connection, "quality_counts", run=run, name=name, value=value)


def _add_trace(connection: duckdb.DuckDBPyConnection, run: int, trace: str, kernel: str) -> None:
    meta = {
        "source": {"format": "trace.dat", "version": 7, "files": ["trace.dat"]},
        "events": {"mm_page_alloc": 8, "mm_page_free": 8, "kmalloc": 3, "kfree": 2},
    }
    insert(
        connection,
        "traces",
        trace_id=run,
        trace=trace,
        kernel_release=kernel,
        arch="x86_64",
        cpus=2,
        page_size=4096,
        clock="mono",
        source_format="trace.dat",
        source_sha256="ab" * 32,
        lost_events=0,
        lost_gaps=0,
        duplicates_dropped=1,
        direct_map_base=0xFFFF888000000000,
        direct_map_votes=98,
        direct_map_candidates=100,
        direct_map_share=0.98,
        direct_map_how="vote",
        meta=json.dumps(meta),
    )
    insert(
        connection,
        "runs",
        run=run,
        trace_id=run,
        started="2026-11-23T09:00:00Z",
        allocsim_version="0.1.0",
        window_rows=1 << 20,
        events=21,
        first_ts=5_000_000_000,
        last_ts=5_015_000_000,
        slice_ns=10_000_000,
        use_how="assumed",
        own_policy=kernel_of(kernel).policy,
        own_note=kernel_of(kernel).policy_note or None,
        placement="recorded",
    )


def _add_objects(connection: duckdb.DuckDBPyConnection, run: int) -> None:
    for cache, (name, size) in enumerate((("kmalloc-64", 64), ("dentry", 192))):
        insert(connection, "caches", run=run, cache=cache, name=name, object_size=size)
    for event, (symbol, offset) in enumerate((("alloc_skb#$_*@\\", 28), ("do_exit", 4))):
        site = 4096 + event
        insert(connection, "call_sites", run=run, call_site=site, symbol=symbol, offset=offset)
        rows = [
            {
                "run": run,
                "seq": 10 * event + seq,
                "ts": 5_000_000_000 + seq,
                "cpu": 0,
                "pid": 1,
                "event": event,
                "call_site": site,
                "object": seq,
                "cache": cache,
                "cache_how": 0,
                "bytes_req": asked if event == 0 else None,
                "bytes_alloc": given if event == 0 else None,
                "lifetime": 1_000_000 if seq else None,
            }
            for seq, (asked, given, cache) in enumerate(((50, 64, 0), (60, 64, 0), (180, 192, 1)))
        ]
        insert_object_events(connection, pa.Table.from_pylist(rows, OBJECT_EVENTS))


def _add_pages(
    connection: duckdb.DuckDBPyConnection, run: int, lives: tuple[Life, ...], *, stacks: bool
) -> None:
    if stacks:
        insert(connection, "stacks", run=run, stack=0, caller="pte_alloc_one", frames="a;b")
    for page, (kind, how, cache, allocated, frees, used) in enumerate(lives):
        at = 100 * page
        insert(
            connection,
            "pages",
            run=run,
            page=page,
            pfn=page,
            order=0,
            page_kind=kind,
            kind_how=how,
            cache=cache,
            alloc_seq=at if allocated else None,
            alloc_ts=5_000_000_000 if allocated else None,
            free_seq=at + 1 if frees else None,
            free_ts=5_010_000_000 if frees else None,
            stack=0 if stacks and allocated and kind == "page_table" else None,
            frees=frees,
            pages_freed=frees,
            ref_plain=None if used is None else int(allocated),
            ref_locked=None if used is None else used + frees,
            ref_use_plain=None if used is None else 0,
            ref_use_locked=used,
            ref_takes=None if used is None else used // 2,
            peak_count=None if used is None else 1 + used // 2,
        )
    connection.execute(
        """
        INSERT INTO internal.samples
        SELECT run, 0, page_kind, count(*), 0, count(*), 0, count(*) - count(ref_use_locked),
            count(*) - count(ref_use_locked), 0, coalesce(sum(ref_use_locked), 0)
        FROM pages WHERE run = $run AND alloc_seq IS NOT NULL GROUP BY run, page_kind
        UNION ALL
        SELECT run, 1, page_kind, 0, sum(frees), 0, count(*), 0, 0, 0, 0
        FROM pages WHERE run = $run AND frees > 0 GROUP BY run, page_kind
        """,
        {"run": run},
    )


def _add_policies(
    connection: duckdb.DuckDBPyConnection, run: int, policies: dict[str, dict[str, Any]]
) -> None:
    for number, (policy, kinds) in enumerate(policies.items()):
        insert(
            connection,
            "policies",
            run=run,
            policy=number,
            name=policy,
            doc=f"What {policy} is.",
            source="shipped",
        )
        for kind in KINDS:
            for stage, (plain, locked) in kinds.get(kind, COUNTED).items():
                insert(
                    connection,
                    "policy_ops",
                    run=run,
                    policy=number,
                    page_kind=kind,
                    stage=stage,
                    frozen=kinds.get(kind) is FROZEN,
                    plain_ops=plain,
                    locked_ops=locked,
                    plain_ops_per_page=0,
                    locked_ops_per_page=0,
                    entry={"alloc": "__alloc_pages", "free": "__free_pages"}.get(stage),
                    depth="prep_new_page" if stage == "alloc" else None,
                    rule=titled("R1.20"),
                    kernel_function=f"mm/page_alloc.c:{stage} (6.12)",
                )


def _add_sources(
    connection: duckdb.DuckDBPyConnection, run: int, by_source: dict[str, Verdict]
) -> None:
    for kind, verdict in by_source.items():
        insert(
            connection,
            "source_verdicts",
            run=run,
            page_kind=kind,
            verdict=VERDICTS[verdict].name,
            kernel="6.12",
            frozen_later=False,
            doc=f"What {kind} is like.",
        )
        if verdict in {Verdict.ONCE, Verdict.NEEDED}:
            insert(
                connection,
                "kind_readers",
                run=run,
                page_kind=kind,
                does="reads",
                kernel_function="reader",
                source="mm/reader.c:reader (6.12)",
                doc="reads it",
            )


def empty_database() -> duckdb.DuckDBPyConnection:
    """Tables and views, the fixed dimensions, and no run."""
    connection = duckdb.connect()
    create_tables(connection)
    create_views(connection)
    for kind in KINDS:
        insert(connection, "page_kinds", page_kind=kind, doc="")
    for level, about in enumerate(LEVELS):
        insert(connection, "call_levels", level=level, name=about.name, source=about.source)
    for rule in VERDICTS:
        insert(
            connection,
            "verdicts",
            verdict=rule.name,
            max_extra_pct=rule.max_extra_pct,
            doc=rule.doc,
        )
    for row in counter_rows():
        columns = (column.name for column in COUNTERS.columns)
        insert(connection, "counters", **dict(zip(columns, row, strict=True)))
    for row in roadmap_rows():
        columns = (column.name for column in ROADMAP_STEPS.columns)
        insert(connection, "roadmap_steps", **dict(zip(columns, row, strict=True)))
    return connection


@pytest.fixture
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with empty_database() as connection:
        yield connection


@pytest.fixture
def small() -> Iterator[duckdb.DuckDBPyConnection]:
    """One run of the trace 'small'."""
    with empty_database() as connection:
        _add_run(connection, 1, "small")
        yield connection


@pytest.fixture
def add_run() -> Callable[..., None]:
    """The function that adds a run to a database."""
    return _add_run


def same_as_golden(name: str, text: str) -> None:
    """ALLOCSIM_GOLDEN=write in the environment writes the golden files anew."""
    path = GOLDEN / name
    if os.environ.get("ALLOCSIM_GOLDEN") == "write":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")
