"""A results database as an object: what it gives is what SQL gives, and misuse is told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

import allocsim
from tests.conftest import ROOT
from tests.pipeline.api.conftest import TRACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def results(replayed: Path) -> Iterator[allocsim.Results]:
    with allocsim.open(replayed) as results:
        yield results


@pytest.fixture
def plain(replayed: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB's own connection to a copy: nothing of ours in between."""
    copy = replayed.with_name("copy.duckdb")
    shutil.copy(replayed, copy)
    with duckdb.connect(copy, read_only=True) as connection:
        yield connection


def counted(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return connection.execute(sql).fetchall()


def test_every_view_and_table_is_what_sql_gives(
    results: allocsim.Results, plain: duckdb.DuckDBPyConnection
) -> None:
    there = counted(
        plain, "SELECT table_name FROM information_schema.tables WHERE table_schema='main'"
    )
    assert sorted(results.views + results.tables) == sorted(name for (name,) in there)
    for name in ("policy_summary", "cache_summary", "page_kind_summary", "quality"):
        assert results.view(name).collect().rows() == counted(plain, f"FROM {name}"), name
    for name in ("runs", "traces", "caches"):
        assert results.table(name).collect().rows() == counted(plain, f"FROM {name}"), name
        assert results.arrow(name).num_rows == len(counted(plain, f"FROM {name}"))


def test_columns_filters_and_first_rows_are_those_of_sql(
    results: allocsim.Results, plain: duckdb.DuckDBPyConnection
) -> None:
    events = results.view("events")
    large = events.filter(pl.col("event") == "kmalloc", pl.col("bytes_alloc") > 1024)
    assert large.select("seq", "bytes_alloc").sort("seq").collect().rows() == counted(
        plain,
        "SELECT seq, bytes_alloc FROM events WHERE event = 'kmalloc' AND bytes_alloc > 1024"
        " ORDER BY seq",
    )
    # What DuckDB cannot be asked in SQL polars filters itself.
    pages = events.filter(pl.col("event").cast(pl.String).str.starts_with("mm_page"))
    assert (
        pages.select(pl.len()).collect().item()
        == counted(
            plain, "SELECT count(*) FROM events WHERE starts_with(event::VARCHAR, 'mm_page')"
        )[0][0]
    )
    last = events.sort("seq", descending=True).head(3).select("seq").collect().rows()
    assert last == counted(plain, "SELECT seq FROM events ORDER BY seq DESC LIMIT 3")
    assert events.head(5).collect().height == 5
    by_event = events.group_by("event").len().sort(pl.col("event").cast(pl.String))
    assert by_event.collect(engine="streaming").rows() == counted(
        plain, "SELECT event::VARCHAR AS event, count(*) FROM events GROUP BY ALL ORDER BY event"
    )


def test_a_frame_joins_itself(results: allocsim.Results, plain: duckdb.DuckDBPyConnection) -> None:
    objects = results.view("object_events").select("run", "object", "event", "lifetime")
    allocs = objects.filter(pl.col("event") == "kmem_cache_alloc")
    frees = objects.filter(pl.col("event") == "kmem_cache_free")
    pairs = allocs.join(frees, on=["run", "object"]).select(pl.len()).collect().item()
    assert (
        pairs
        == counted(
            plain,
            "SELECT count(*) FROM object_events AS a JOIN object_events AS f USING (run, object)"
            " WHERE a.event = 'kmem_cache_alloc' AND f.event = 'kmem_cache_free'",
        )[0][0]
    )
    assert pairs > 1000


def test_threads_ask_at_the_same_time(
    results: allocsim.Results, plain: duckdb.DuckDBPyConnection
) -> None:
    events = results.view("events")
    names = ["kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free"]

    def count(name: str) -> int:
        with allocsim.open(results.path) as mine:
            again = mine.view("events").filter(pl.col("event") == name).select(pl.len()).collect()
        found = events.filter(pl.col("event") == name).select(pl.len()).collect()
        assert found.item() == again.item()
        return int(found.item())

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(names, pool.map(count, names), strict=True))
    assert found == {
        name: counted(plain, f"SELECT count(*) FROM events WHERE event = '{name}'")[0][0]
        for name in names
    }


def test_sql_is_what_the_command_prints(results: allocsim.Results) -> None:
    statement = "SELECT policy, locked_ops, frozen_ops_saved FROM policy_summary ORDER BY policy"
    command = [sys.executable, "-m", "allocsim", "sql", "--db", str(results.path), "-f", "csv"]
    printed = subprocess.run(
        [*command, statement], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert results.sql(statement).collect().write_csv() == printed.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("from policy_sumary", "policy_sumary does not exist"),
        ("insert into runs select * from runs", "INSERT: can do more than read"),
        ("copy runs to 'x.csv'", "COPY: can do more than read"),
        ("with x as (delete from runs returning run) from x", "can do more than read"),
        ("from runs; drop table runs", "one SQL statement at a time"),
        ("from read_csv('/etc/passwd')", "a statement reads the results database only"),
        ("attach 'y.duckdb'", "ATTACH: can do more than read"),
        ("select interval 1 day as late", "column late: polars has no INTERVAL"),
    ],
)
def test_what_sql_may_not_do_is_told(
    results: allocsim.Results, statement: str, says: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(allocsim.UsageError, match=says.replace("(", r"\(")):
        results.sql(statement).collect()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_is_told_when_it_is_met(results: allocsim.Results) -> None:
    frame = results.sql("SELECT trace::INTEGER AS number FROM traces")
    with pytest.raises(allocsim.UsageError, match="Could not convert string"):
        frame.collect()


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("view", "policy_sumary", "no view of .*; did you mean policy_summary"),
        ("table", "policy_summary", "no table of "),
        ("view", 'runs" --', "no view of .*; views has their names"),
        ("arrow", "nothing at all", "no view of "),
    ],
)
def test_a_name_that_is_not_there_is_told(
    results: allocsim.Results, kind: str, name: str, says: str
) -> None:
    with pytest.raises(allocsim.UsageError, match=says):
        getattr(results, kind)(name)


def test_what_is_closed_says_so(replayed: Path) -> None:
    results = allocsim.open(replayed)
    frame = results.view("policy_summary")
    results.close()
    results.close()
    assert repr(results).endswith(", closed>")
    for ask in (frame.collect, lambda: results.views, lambda: results.sql("from runs")):
        with pytest.raises(allocsim.StoreError, match="these results are closed"):
            ask()


def test_a_frame_keeps_its_database_open(replayed: Path) -> None:
    frame = allocsim.open(replayed).table("runs")
    assert frame.collect().height == 2


def test_the_file_is_let_go_when_nobody_has_it(replayed: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    shutil.copy(replayed, path)
    first, second = allocsim.open(path), allocsim.open(path)
    first.close()
    assert second.runs.collect().height == 2
    second.close()
    with duckdb.connect(path) as connection:  # with a lock of its own, of other settings
        assert counted(connection, "SELECT count(*) FROM runs") == [(2,)]
    assert [each.name for each in tmp_path.iterdir()] == ["mine.duckdb"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no results database there"), (b"no database", "not a results database")],
)
def test_what_is_no_database_is_told(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(allocsim.StoreError, match=says):
        allocsim.open(path)


def test_runs_can_be_added_while_it_is_open(replayed: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    shutil.copy(replayed, path)
    with allocsim.open(path) as results:
        before = results.table("runs")
        assert before.collect().height == 2
        with allocsim.replay(TRACE, path, placement="recorded", policies=["linux-7.3"]) as more:
            assert more.asked == more.added == (3,)
        assert before.collect().height == 3


def test_runs_are_not_added_while_a_question_is_answered(replayed: Path) -> None:
    with allocsim.open(replayed) as results, results.asking() as connection:
        connection.execute("FROM runs")
        with pytest.raises(allocsim.BusyError, match="this process is reading it"):
            allocsim.replay(TRACE, replayed, placement="recorded", again=True)


def test_the_view_recorded_reads_the_trace_set(results: allocsim.Results) -> None:
    recorded = results.view("recorded").filter(pl.col("event") == "mm_page_alloc")
    told = recorded.select("seq", "order", "migratetype").sort("seq").collect()
    events = allocsim.read_trace(TRACE).with_row_index("seq")
    plain = events.filter(pl.col("event") == "mm_page_alloc").select("seq", "order", "migratetype")
    kinds = {0: "unmovable", 1: "movable", 2: "reclaimable", 3: "highatomic"}
    assert told.rows() == [
        (seq, order, kinds.get(kind, str(kind))) for seq, order, kind in plain.collect().rows()
    ]
    count = "SELECT count(*) FROM recorded WHERE event = 'kmalloc'"
    assert results.sql(count).collect().item() > 100
    assert results.arrow("recorded").num_rows == 30273


def test_a_trace_set_that_has_moved_is_told_and_named(tmp_path: Path) -> None:
    trace, db = tmp_path / TRACE.name, tmp_path / "results.duckdb"
    shutil.copytree(TRACE, trace)
    allocsim.replay(trace, db, placement="recorded", policies=["linux-7.2"]).close()
    moved = trace.rename(tmp_path / "moved")
    with allocsim.open(db) as results:
        frame = results.view("recorded").select("seq")
        with pytest.raises(allocsim.InputError, match=r"is not in \S* any more"):
            frame.collect()
        assert results.runs.collect().height == 1
    with allocsim.open(db, traces=[moved]) as results:
        assert results.view("recorded").select(pl.len()).collect().item() == 30273
