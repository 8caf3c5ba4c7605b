"""Runs that are made from Python are those that the commands make."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest

import allocsim
from tests.conftest import ROOT
from tests.pipeline.api.conftest import TRACE

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "allocsim", *map(str, arguments)],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )


def test_without_a_file_the_database_is_temporary() -> None:
    with allocsim.replay(TRACE, placement="recorded", policies=["linux-7.2"]) as results:
        path = results.path
        assert path.is_file()
        assert results.asked == results.added == (1,)
        policies = results.view("policy_summary").select("policy").collect().to_series().to_list()
        assert policies == ["refcounted", "linux-6.18", "linux-7.2"]
    assert not path.parent.exists()


def test_a_run_that_is_there_is_not_made_again(replayed: Path) -> None:
    with allocsim.replay([TRACE], replayed) as results:
        assert (results.asked, results.added) == ((1, 2), ())


@pytest.mark.slow
def test_a_shipped_trace_comes_out_as_by_the_command(tmp_path: Path) -> None:
    trace = ROOT / "traces" / "7.2n-numa-huge"
    theirs = tmp_path / "command.duckdb"
    command("replay", trace, "--db", theirs, "--set", "sheaf.capacity=8", "--policy", "linux-7.3")
    with (
        allocsim.open(theirs) as by_command,
        allocsim.replay(trace, settings={"sheaf.capacity": 8}, policies=["linux-7.3"]) as results,
    ):
        assert results.asked == (1, 2)
        for name in results.views:
            mine, other = results.view(name).collect(), by_command.view(name).collect()
            if "started" not in mine.columns:
                assert mine.sort(pl.all()).equals(other.sort(pl.all())), name


def test_the_simulated_placement_is_that_of_the_run(replayed: Path) -> None:
    frame = allocsim.simulate(TRACE, db=replayed)
    with allocsim.open(replayed) as results:
        expected = results.view("placements").collect()
    assert frame.collect().sort("seq").equals(expected.sort("seq"))
    assert expected.height > 10_000


def test_a_temporary_simulation_is_there_as_long_as_its_frame() -> None:
    frame = allocsim.simulate(TRACE, {"kernel": "7.2", "sheaf.capacity": 4})
    assert frame.select(pl.col("slab").n_unique()).collect().item() > 10
    [results] = [each for each in gc.get_objects() if isinstance(each, allocsim.Results)]
    folder = results.path.parent
    assert folder.is_dir()
    del results, frame
    gc.collect()
    assert not folder.exists()


@pytest.mark.slow
def test_a_sweep_has_the_rows_of_the_command(tmp_path: Path) -> None:
    theirs = tmp_path / "command.duckdb"
    vary = {"sheaf.capacity": ["default", 4, 60]}
    command("sweep", TRACE, "--db", theirs, "--vary", "sheaf.capacity=default,4,60", "--jobs", "1")
    mine = allocsim.sweep(TRACE, vary, jobs=1).collect()
    with allocsim.open(theirs) as results:
        assert mine.sort("run").equals(results.view("placement_summary").collect().sort("run"))
        by_cache = allocsim.sweep(TRACE, vary, theirs, by="cache").collect()
        assert by_cache.sort(pl.all()).equals(
            results.view("sheaf_tradeoff").collect().sort(pl.all())
        )
    # In the order of the combinations: the kernel's own, the one that is varied from, then each.
    assert mine["settings"].to_list()[-2:] == ['{"sheaf.capacity": 4}', '{"sheaf.capacity": 60}']


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"settings": {"sheaf.capacty": 8}}, "no such key .did you mean sheaf.capacity"),
        ({"settings": {"kernel": 7.2}}, "write a version as text"),
        ({"settings": {"pcp.batch": True}}, "pcp.batch"),
        ({"settings": {"pcp.batch": 31}, "placement": "recorded"}, "simulated placement"),
        ({"placement": "both"}, "placement 'both': say simulated or recorded"),
        ({"policies": ["linux-7.22"]}, "did you mean linux-7.2"),
        ({"schemes": ["folio"]}, "--scheme folio: not known"),
        ({"costs": "mine"}, "--costs mine: not known"),
        ({"instance": "top"}, "a trace set holds one trace instance"),
    ],
)
def test_a_wrong_argument_is_told(given: dict[str, object], says: str, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    with pytest.raises(allocsim.UsageError, match=says):
        allocsim.replay(TRACE, db, **given)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_is_not_there_is_told(tmp_path: Path) -> None:
    for make in (allocsim.replay, allocsim.simulate, allocsim.read_trace, allocsim.info):
        with pytest.raises(allocsim.InputError, match="no such trace set or recording"):
            make(tmp_path / "nothing")
    with pytest.raises(allocsim.UsageError, match="no trace was named"):
        allocsim.replay([])
    with pytest.raises(allocsim.UsageError, match="by 'slab': say run or cache"):
        allocsim.sweep(TRACE, {"pcp.batch": [1]}, by="slab")
