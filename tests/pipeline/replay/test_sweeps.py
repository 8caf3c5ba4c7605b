"""Sweeps: every combination once, resumed where they stopped, equal to a replay with --set."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from allocsim.slub.columns import can_compile
from pipeline.errors import AllocsimError, UsageError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.processes.scratch import MARK
from pipeline.replay.recorded import replay_traces
from pipeline.replay.settings import combinations, parse_settings
from pipeline.replay.units import sweeps
from pipeline.replay.units.replays import Where
from pipeline.replay.units.sweeps import sweep_traces
from tests.conftest import RECORDINGS

if TYPE_CHECKING:
    from pathlib import Path

NAME = "7.3-hackbench"
SMALL = ("placed_caches", "cache_counters", "zones", "zone_counters", "internal.free_blocks")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (RECORDINGS / NAME).is_dir():
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    return import_recording(RECORDINGS / NAME, tmp_path_factory.mktemp("traces"))


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_stopped_and_equals_replays(trace: Path, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    first = sweep_traces(
        [trace], db, combinations(["sheaf.capacity=4,28"], {}), Where(2), Progress()
    )
    assert sorted(first.runs) == sorted(first.added) == [2, 3, 4], "the kernel as it was, too"
    wanted = combinations(["sheaf.capacity=default,4,28", "cpus=2,8"], {})
    more = sweep_traces(
        [trace], db, combinations(["sheaf.capacity=4,12,28"], {}), Where(2), Progress()
    )
    assert (more.added, set(first.runs) < set(more.runs), max(more.runs)) == ([5], True, 5)
    both = sweep_traces([trace], db, wanted, Where(2), Progress())
    assert (len(both.runs), len(both.added)) == (7, 6)
    again = sweep_traces([trace], db, wanted, Where(2), Progress())
    assert (again.runs, again.added) == (both.runs, [])
    settings = dict(ask(db, "SELECT run, settings FROM runs WHERE placement = 'simulated'"))
    assert [json.loads(settings[run]) for run in both.runs] == wanted
    assert wanted[0] == {}
    assert ask(db, "SELECT count(*) FROM runs WHERE placement = 'recorded'") == [(1,)]

    other = tmp_path / "other.duckdb"
    replay_traces([trace], other, [], Progress(), {"sheaf.capacity": 4})
    [swept] = ask(db, "SELECT run FROM runs WHERE settings = '{\"sheaf.capacity\": 4}'")
    for table in SMALL:
        there, here = (
            ask(path, f"SELECT * EXCLUDE (run) FROM {table} WHERE run = {run} ORDER BY ALL")
            for path, run in ((db, swept[0]), (other, 2))
        )
        assert there == here
        assert there


@pytest.mark.slow
def test_what_was_done_before_an_interrupt_stays(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "results.duckdb"
    wanted = combinations(["sheaf.capacity=4,12,28"], {})
    add, calls = sweeps._add, []

    def interrupted(*given: Any) -> int:
        if calls:
            raise KeyboardInterrupt
        calls.append(given)
        return add(*given)

    monkeypatch.setattr(sweeps, "_add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep_traces([trace], db, wanted, Where(1), Progress())
    assert ask(db, "SELECT run, placement FROM runs ORDER BY run") == [
        (1, "recorded"),
        (2, "simulated"),
    ]
    monkeypatch.setattr(sweeps, "_add", add)
    assert len(sweep_traces([trace], db, wanted, Where(1), Progress()).added) == 3
    # What one has left that was killed when it had stored all goes though nothing is added.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"allocsim-{0:016x}"
    left.mkdir()
    (left / MARK).touch()
    assert sweep_traces([trace], db, wanted, Where(1), Progress()).added == []
    assert not left.exists()


def test_wrong_settings_end_a_sweep_before_it_begins(trace: Path, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    with pytest.raises(UsageError, match=r"did you mean .*skbuff_head_cache"):
        sweep_traces(
            [trace], db, combinations(["slab.order.skbuf_head=1,2"], {}), Where(1), Progress()
        )
    assert not db.exists()


@pytest.mark.parametrize(
    ("vary", "fixed", "says"),
    [
        (["sheaf.capacity=4,x"], [], "whole number"),
        (["sheaf.capacity"], [], "whole number"),
        (["sheaf.capacitty=4"], [], "did you mean sheaf.capacity"),
        (["cpus=2,2"], [], "a value is given twice"),
        (["cpus=default,default"], [], "a value is given twice"),
        (["sheaf.capacitty=default"], [], "did you mean sheaf.capacity"),
        (["cpus=2", "cpus=4"], [], "cpus is given twice"),
        (["cpus=2"], ["cpus=4"], "cpus is given twice"),
        ([], ["pcp.batch=4", "pcp.batch=5"], "pcp.batch is given twice"),
    ],
)
def test_a_bad_setting_is_one_line(vary: list[str], fixed: list[str], says: str) -> None:
    with pytest.raises(AllocsimError, match=says) as caught:
        combinations(vary, parse_settings(fixed))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_every_combination_in_the_order_given() -> None:
    assert combinations(["cpus=2,8", "pcp.batch=1,2"], {"min_partial": 3}) == [
        {"min_partial": 3},
        *(
            {"min_partial": 3, "cpus": cpus, "pcp.batch": batch}
            for cpus in (2, 8)
            for batch in (1, 2)
        ),
    ]


def test_default_is_a_value_and_no_two_combinations_say_the_same() -> None:
    varied = combinations(["sheaf.capacity=default,4", "cpus=8,default"], {})
    assert varied == [
        *({}, {"cpus": 8}),
        *({"sheaf.capacity": 4, "cpus": 8}, {"sheaf.capacity": 4}),
    ]
    old, new = parse_settings(["kernel=6.12"]), parse_settings(["kernel=7.2"])
    assert combinations(["kernel=6.12,7.2"], {}) == [new, old], "7.2 is modelled by default"


def test_millions_of_combinations_are_refused_with_their_number() -> None:
    numbers = ",".join(map(str, range(1, 3001)))
    with pytest.raises(UsageError, match="9000000 combinations of pcp"):
        combinations([f"pcp.batch={numbers}", f"sheaf.capacity={numbers}"], {})


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
def test_a_compiled_sweep_gives_the_same(trace: Path, tmp_path: Path) -> None:
    plain, fast = tmp_path / "plain.duckdb", tmp_path / "fast.duckdb"
    wanted = [{}, parse_settings(["kernel=6.12"]), parse_settings(["sheaf.capacity=4"])]
    sweep_traces([trace], plain, wanted, Where(2), Progress())
    sweep_traces([trace], fast, wanted, Where(2), Progress(), fast=True)
    for table in SMALL:
        rows, compiled = (
            ask(
                path,
                f"SELECT settings, t.* EXCLUDE (run) FROM {table} AS t JOIN runs USING (run)"
                " ORDER BY ALL",
            )
            for path in (plain, fast)
        )
        assert rows == compiled, table
        assert len({settings for settings, *_ in rows}) == len(wanted)


def test_what_is_to_be_compiled_needs_numba(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "can_compile", lambda: False)
    with pytest.raises(UsageError, match=r"allocsim\[fast\]"):
        sweep_traces([tmp_path], tmp_path / "results.duckdb", [{}], Where(1), Progress(), fast=True)
