"""What names stand for in allocsim compare, and what the command says of those that do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.commands.compare import Format, compare
from pipeline.errors import AllocsimError, InputError, OutputError, UsageError
from pipeline.progress import Progress
from pipeline.sides import opened_sides
from pipeline.store.database import writing
from tests.conftest import RECORDINGS
from tests.reports.synthetic import Workload, add_seed

if TYPE_CHECKING:
    from pathlib import Path


def database(path: Path, *seeds: int, **about: object) -> Path:
    with writing(path) as connection:
        for run, seed in enumerate(seeds, start=1):
            add_seed(connection, run, seed, Workload(births=300), **about)
    return path


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Runs 1 and 2 are replays of seed 5, run 3 of seed 6, runs 4 to 6 of others."""
    return database(tmp_path / "several.duckdb", 5, 5, 6, 7, 8, 9)


def numbers(names: list[str], db: Path) -> list[list[int]]:
    with opened_sides(names, db, [], Progress()) as sides:
        return [[run.row["run"] for run in side.runs] for side in sides]


def test_a_name_is_a_run_a_trace_or_a_file(several: Path, tmp_path: Path) -> None:
    one = database(tmp_path / "one.duckdb", 1)
    names = ["3", "seed-5", f"{several}:seed-6", f"{several}:4", str(one), f"{several}:*"]
    assert numbers(names, several) == [[3], [2], [3], [4], [1], [2, 3, 4, 5, 6]]


def test_commas_separate_repeats(several: Path) -> None:
    assert numbers(["seed-5, 3", "4,5,6"], several) == [[2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("seed-77", "no run or trace"),
        ("{db}", "name one with"),
        ("{db}:77", "no run or trace"),
        (" , ", "names nothing"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_clear_line(
    several: Path, name: str, said: str
) -> None:
    with pytest.raises(AllocsimError, match=said):
        numbers([name.format(db=several), "3"], several)


def test_without_a_database_it_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trace set, recording or results file"):
        numbers(["this", "that"], tmp_path / "absent.duckdb")


def test_a_recording_with_itself_is_all_the_same(
    several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(["3", "3"], db=several, format_=Format.JSON)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows
    assert {row["sides"][1]["against_baseline"]["verdict"] for row in rows} == {"="}


def test_what_cannot_be_compared_is_refused_unless_forced(
    several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = database(tmp_path / "other.duckdb", 1, cpus=64)
    with pytest.raises(InputError, match=r"not comparable: CPUs not the same .*--force"):
        compare(["3", str(other)], db=several)
    assert capsys.readouterr().out == ""
    compare(["3", str(other)], db=several, force=True)
    assert "FORCED, must be alike and is not: CPUs" in capsys.readouterr().out


def test_the_baseline_may_be_any_side(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(["3", "4", "5"], db=several, baseline="4", format_=Format.JSON)
    assert json.loads(capsys.readouterr().out)["baseline"] == 1
    with pytest.raises(UsageError, match="--baseline 6: not one of"):
        compare(["3", "4"], db=several, baseline="6")


def test_three_repeats_are_not_enough_and_four_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = database(tmp_path / "repeats.duckdb", *range(8))
    compare(["1,2,3", "5,6,7"], db=path)
    assert "Not enough repeats" in capsys.readouterr().out
    compare(["1,2,3,4", "5,6,7,8"], db=path)
    assert "Not enough repeats" not in capsys.readouterr().out


def test_one_side_is_bad_usage(several: Path) -> None:
    with pytest.raises(UsageError, match="two sides"):
        compare(["3"], db=several)
    with pytest.raises(UsageError, match="name a file with -o"):
        compare(["3", "4"], db=several, format_=Format.PDF)


@pytest.mark.parametrize(
    ("format_", "start"),
    [(Format.PDF, b"%PDF-"), (Format.HTML, b"<!DOCTYPE html>"), (Format.MARKDOWN, b"# ")],
)
def test_output_goes_to_the_file(
    several: Path, tmp_path: Path, format_: Format, start: bytes
) -> None:
    output = tmp_path / "new" / "compared"
    compare(["3", "4"], db=several, format_=format_, output=output)
    assert output.read_bytes().startswith(start)
    before = several.read_bytes()
    with pytest.raises(OutputError, match="results database"):
        compare(["3", "4"], db=several, format_=format_, output=several)
    assert several.read_bytes() == before


@pytest.mark.parametrize("names", [("6.12p-net-gt", "7.2p-net-gt")])
def test_frozen_slabs_and_large_kmalloc_vanish_from_612_to_72(
    names: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [RECORDINGS / name for name in names]
    if not all(path.is_dir() for path in paths):
        pytest.skip("the recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    compare([str(path) for path in paths], db=tmp_path / "none", format_=Format.JSON)
    content = json.loads(capsys.readouterr().out)
    rows = {(row["quantity"], row["item"], row["unit"]): row["sides"] for row in content["rows"]}
    for quantity in ("all, own policy", "plain, recorded", "locked, recorded"):
        for kind in ("slab", "large_kmalloc"):
            before, after = rows[quantity, kind, "per 1,000 events"]
            assert before["value"] > 0
            assert after["value"] == 0
    change = rows["all, own policy", "large_kmalloc", "per 1,000 events"][1]["against_baseline"]
    assert change["verdict"] == "*"
    for kind in ("anon", "skb_frag", "page_table"):
        change = rows["all, own policy", kind, "per 1,000 events"][1]["against_baseline"]
        assert change["verdict"] == "~"
