"""Runs made in processes, kept as units and merged are those of one process, row by row."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline.processes.progress import Progress
from pipeline.replay.settings import combinations
from pipeline.replay.units import replays
from pipeline.replay.units.driver import pays
from pipeline.replay.units.merges import merge_all
from pipeline.replay.units.replays import Where
from pipeline.replay.units.sweeps import sweep_traces
from tests.conftest import ROOT
from tests.pipeline.replay.units.conftest import replayed, rows
from tests.pipeline.replay.units.killing import killed_once


def test_processes_units_and_merging_give_the_rows_of_one_process(
    traces: list[Path], expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Where(jobs=2, units=str(tmp_path / "units"))
    done = replayed(traces, tmp_path / "kept.duckdb", kept)
    assert (done.runs, done.added, done.failed) == ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [])
    one = rows(expected)
    assert rows(tmp_path / "kept.duckdb") == one
    assert len(one["placed_events"]) > 5000

    merged = merge_all(kept.units or "", tmp_path / "merged.duckdb", Progress())
    assert (merged.added, merged.failed) == ([1, 2, 3, 4, 5, 6], [])
    assert rows(tmp_path / "merged.duckdb") == one
    again = merge_all(kept.units or "", tmp_path / "merged.duckdb", Progress())
    assert (again.runs, again.added) == ([1, 2, 3, 4, 5, 6], [])

    # What is kept is not made again: a process that is asked to would be killed.
    monkeypatch.setattr(replays, "replay_units", killed_once)
    (tmp_path / "killed").touch()
    replayed(traces, tmp_path / "third.duckdb", kept)
    assert rows(tmp_path / "third.duckdb") == one
    files = [path for path in (tmp_path / "units").rglob("*") if path.is_file()]
    assert {path.name for path in files} > {"unit.json", "runs.parquet"}
    # What is asked with DuckDB as it is, by the names of folders.
    found = duckdb.sql(
        f"SELECT DISTINCT trace, settings FROM read_parquet('{tmp_path}/units/*/*/runs.parquet',"
        " hive_partitioning = true)"
    ).fetchall()
    assert len(found) == 6
    assert any(trace.startswith("../a=b%2F 'c' ") for trace, _ in found)


@pytest.mark.slow
def test_views_are_those_of_one_process(
    traces: list[Path], expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "pays", lambda *_, **__: True)
    db = tmp_path / "results.duckdb"
    replayed(traces[:2], db, Where(jobs=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.duckdb"]
    with duckdb.connect(db) as connection:
        connection.execute(f"ATTACH '{expected}' AS one (READ_ONLY)")
        views = connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal AND database_name = 'one'"
        ).fetchall()
        runs = {
            name
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_columns() WHERE database_name = 'one'"
                " AND column_name = 'run'"
            ).fetchall()
        }
        checked = [name for (name,) in views if name in runs]
        for name in checked:
            mine, theirs = (
                connection.execute(f'FROM {where}."{name}" WHERE run <= 4 ORDER BY ALL').fetchall()
                for where in ("results.main", "one.main")
            )
            assert mine == theirs, name
    assert len(checked) > 30


@pytest.mark.slow
def test_a_sweep_in_processes_is_that_of_one(traces: list[Path], tmp_path: Path) -> None:
    wanted = combinations(["sheaf.capacity=4,28"], {"cpus": 2})
    done = {}
    for name, where in (
        ("one", Where(jobs=1)),
        ("kept", Where(jobs=2, units=str(tmp_path / "units"))),
    ):
        db = tmp_path / f"{name}.duckdb"
        done[name] = sweep_traces(traces[:2], db, wanted, where, Progress())
    assert done["one"] == done["kept"]
    assert len(done["one"].runs) == 8
    assert rows(tmp_path / "one.duckdb") == rows(tmp_path / "kept.duckdb")
    # A later one has more combinations, of which some are kept, and some in the database.
    wanted = combinations(["sheaf.capacity=4,12,28"], {"cpus": 2})
    more = [
        sweep_traces(traces[:2], tmp_path / f"{name}.duckdb", wanted, where, Progress())
        for name, where in (
            ("one", Where(jobs=1)),
            ("kept", Where(jobs=2, units=str(tmp_path / "units"))),
        )
    ]
    assert more[0] == more[1]
    assert len(more[0].added) == 2
    assert rows(tmp_path / "one.duckdb") == rows(tmp_path / "kept.duckdb")
    merge_all(str(tmp_path / "units"), tmp_path / "merged.duckdb", Progress())
    assert len(rows(tmp_path / "merged.duckdb")["runs"]) == 12


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_trace_alone(
    traces: list[Path], expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "replay_units", killed_once)
    where = Where(jobs=2, units=str(tmp_path / "units"))
    done = replayed(traces, tmp_path / "results.duckdb", where)
    [error] = done.failed
    assert str(error).startswith(f"{traces[1]}: the process that replayed it was ended")
    assert done.added == [1, 2, 3, 4]
    # The same command once more makes what is missing.
    assert replayed(traces, tmp_path / "results.duckdb", where).added == [5, 6]
    merge_all(str(tmp_path / "units"), tmp_path / "merged.duckdb", Progress())
    assert rows(tmp_path / "merged.duckdb") == rows(expected)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_trace_that_cannot_be_read_is_a_line_at_the_end(
    traces: list[Path], tmp_path: Path, jobs: str
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "meta.json").write_text("{}")
    more = ["--units", str(tmp_path / "units")] if jobs == "2" else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "allocsim", "replay", "--jobs", jobs, *more),
            *("--db", tmp_path / "db", bad, traces[1]),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    [said] = done.stderr.splitlines()
    assert said.startswith(f"allocsim: {bad}")
    assert "run 1" in done.stdout


def test_small_traces_stay_in_one_process(traces: list[Path]) -> None:
    shipped = [path.parent for path in sorted((ROOT / "traces").glob("*/meta.json"))]
    assert len(shipped) == 8
    assert not pays(shipped, 1, 2, apart=False)
    assert not pays(traces[:1] * 2, 1, 8, apart=False)
    assert not pays(traces[:1] * 200, 1, 1, apart=False)
    assert pays(traces[:1] * 200, 1, 8, apart=False)
    assert pays(shipped[:1], 50, 8, apart=True)
    assert not pays(shipped[:1], 50, 8, apart=False)


@pytest.mark.slow
def test_units_and_traces_may_lie_where_there_are_only_uris(
    traces: list[Path], tmp_path: Path
) -> None:
    """As on s3, which is reached in the same way: nothing is renamed, all is copied."""
    # As URIs have it: of letters that mean nothing else in one.
    two = [shutil.copytree(traces[1], tmp_path / "set"), traces[2]]
    remote = [Path(f"file://{path}") for path in two]
    where = Where(jobs=2, units=f"file://{tmp_path}/units")
    db, local = tmp_path / "results.duckdb", tmp_path / "local.duckdb"
    done = replayed(remote, db, where)
    assert (done.added, done.failed) == ([1, 2, 3, 4], [])
    replayed(two, local)
    mine, theirs = rows(db), rows(local)
    whence = [row[2:4] for row in mine["runs"] if row[3]]
    assert whence == [(None, f"file://{path}") for path in two]
    assert all(mine[name] == theirs[name] for name in mine if name != "runs")
    assert merge_all(where.units or "", tmp_path / "merged.duckdb", Progress()).added == done.added
    assert rows(tmp_path / "merged.duckdb") == mine
    assert {path.name for path in tmp_path.iterdir()} == {
        *("results.duckdb", "local.duckdb", "merged.duckdb", "units", "set")
    }
    [error] = replayed([Path(f"file://{tmp_path}/none")], db, where).failed
    assert str(error) == f"file://{tmp_path}/none: no such trace set or recording"
