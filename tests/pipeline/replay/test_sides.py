"""What names stand for in allocsim compare, and what the command says of those that do not."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.commands.compare import compare
from pipeline.commands.options.formats import DocumentFormat
from pipeline.errors import AllocsimError, InputError, OutputError, UsageError
from pipeline.processes.progress import Progress
from pipeline.replay.sides import opened_sides
from pipeline.replay.simulated import settings_key
from pipeline.store.adding import writing
from tests.reports.synthetic import Workload, add_seed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

pytestmark = pytest.mark.slow


def database(path: Path, *seeds: int, **about: object) -> Path:
    with writing(path) as connection:
        for run, seed in enumerate(seeds, start=1):
            add_seed(connection, run, seed, Workload(births=300), **about)
    return path


def add_simulated(
    connection: DuckDBPyConnection, run: int, of_run: int, settings: dict[str, int]
) -> None:
    connection.execute(
        """
        INSERT INTO runs BY NAME
        SELECT * REPLACE (? AS run, 'simulated' AS placement, run AS of_run, ? AS settings,
            'linux-7.2' AS profile)
        FROM runs WHERE run = ?
        """,
        [run, settings_key(settings), of_run],
    )


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Runs 1 and 2 are replays of seed 5, run 3 of seed 6, runs 4 to 6 of others."""
    return database(tmp_path / "several.duckdb", 5, 5, 6, 7, 8, 9)


def numbers(names: list[str], db: Path, *, simulated: bool = True) -> list[list[int]]:
    with opened_sides(names, db, [], Progress(), simulated=simulated) as sides:
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
        ("{db}:77", "which has runs 1–6, of seed-5, seed-6, "),
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
    compare(["3", "3"], db=several, format_=[DocumentFormat.JSON])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows
    assert {row["sides"][1]["against_baseline"]["verdict"] for row in rows} == {"="}


def test_what_cannot_be_compared_is_refused_unless_asked_for(
    several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = database(tmp_path / "other.duckdb", 1, cpus=64)
    with pytest.raises(InputError, match=r"not comparable: CPUs not the same .*--incomparable"):
        compare(["3", str(other)], db=several)
    assert capsys.readouterr().out == ""
    compare(["3", str(other)], db=several, incomparable=True)
    assert "FORCED, must be alike and is not: CPUs" in capsys.readouterr().out


def test_the_baseline_may_be_any_side(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(["3", "4", "5"], db=several, baseline="4", format_=[DocumentFormat.JSON])
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
    text = " ".join(capsys.readouterr().out.split())
    assert "Not enough repeats" not in text
    # 2 / (8 over 4) = 0.0286; 2 / (16 over 8) = 0.00016 is the first below 0.05 / tests.
    tests = int(re.search(r"After correction for (\d+) tests", text)[1])
    assert 15 < tests < 320
    assert f"p cannot be below 0.029, so that after correction for {tests} tests" in text
    assert f"only where {math.ceil(tests * 2 / 70 / 0.05)} rows reach it" in text


def test_one_side_is_bad_usage(several: Path) -> None:
    with pytest.raises(UsageError, match="two sides"):
        compare(["3"], db=several)
    with pytest.raises(UsageError, match="name a file with -o"):
        compare(["3", "4"], db=several, format_=[DocumentFormat.PDF])


OUTPUTS = {
    "compared.txt": b"seed-7 against seed-6\n",
    "compared.md": b"# seed-7 against seed-6\n",
    "compared.json": b"{",
    "compared.pdf": b"%PDF-",
    "compared.html": b"<!DOCTYPE html>",
}


def test_each_output_is_written_as_its_suffix_says(several: Path, tmp_path: Path) -> None:
    files = [tmp_path / "new" / name for name in OUTPUTS]
    compare(["3", "4"], db=several, output=files)
    assert {file.name: file.read_bytes()[: len(OUTPUTS[file.name])] for file in files} == OUTPUTS
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(OUTPUTS)
    with pytest.raises(OutputError, match="already there; --force replaces it"):
        compare(["4", "3"], db=several, output=files[3:])
    compare(["4", "3"], db=several, output=files, force=True)  # again, over the old ones


def test_beside_a_stream_the_files_are_named_elsewhere(
    several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.md"
    compare(["3", "4"], db=several, output=[file, Path("-")])
    out = capsys.readouterr()
    assert out.out.startswith("seed-7 against seed-6\n")
    assert out.err == f"{file}\n"


def test_a_format_goes_before_a_suffix(several: Path, tmp_path: Path) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b"]
    compare(
        ["3", "4"], db=several, output=files, format_=[DocumentFormat.HTML, DocumentFormat.JSON]
    )
    assert files[0].read_bytes().startswith(b"<!DOCTYPE")
    assert files[1].read_bytes().startswith(b"{")


@pytest.mark.parametrize(
    ("files", "formats", "said"),
    [
        (["a.png"], [], "a format of that suffix is not known"),
        (["a.txt", "b.txt"], [DocumentFormat.TEXT], "one -f for each -o"),
        (["a.txt", "./a.txt"], [], "one file is named twice"),
        ([], [DocumentFormat.TEXT, DocumentFormat.JSON], "name a file for each"),
        (["several.duckdb"], [DocumentFormat.TEXT], "exists and is not a comparison as text"),
        (["several.duckdb"], [DocumentFormat.PDF], "exists and is not a PDF"),
        (["old.pdf"], [DocumentFormat.HTML], "exists and is not HTML"),
        (
            ["a.txt", "old.pdf"],
            [DocumentFormat.PDF, DocumentFormat.TEXT],
            "exists and is not a comparison",
        ),
        ([""], [DocumentFormat.TEXT], "is a folder"),
        (["several.duckdb/a.txt"], [], "cannot be written"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_anything_is_done(
    several: Path, tmp_path: Path, files: list[str], formats: list[DocumentFormat], said: str
) -> None:
    (tmp_path / "old.pdf").write_bytes(b"%PDF-1.7 an older one")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises((UsageError, OutputError), match=said):
        compare(["no", "such"], several, output=[tmp_path / f for f in files], format_=formats)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_settings_choose_the_simulated_run(tmp_path: Path) -> None:
    path = database(tmp_path / "simulated.duckdb", 5)
    with writing(path) as connection:
        for run, settings in ((2, {}), (3, {"sheaf.capacity": 24}), (4, {"sheaf.capacity": 24})):
            add_simulated(connection, run, of_run=1, settings=settings)
    sides = ["seed-5", "seed-5@sheaf.capacity=24", "1", "3", f"{path}@sheaf.capacity=24"]
    assert numbers(sides, path) == [[2], [4], [2], [3], [4]]
    assert numbers(["seed-5", "1"], path, simulated=False) == [[1], [1]]
    for name, said in (
        ("seed-5@sheaf.capacity=12", "has no simulation of run 1"),
        ("3@sheaf.capacity=24", "run 3 is simulated with"),
        ("seed-5@sheaf.capacitee=12", "sheaf.capacitee"),
        ("seed-5@sheaf.capacity=many", "sheaf.capacity"),
    ):
        with pytest.raises(UsageError, match=said):
            numbers([name, "1"], path)


def test_a_side_without_a_simulation_leaves_the_others_theirs_out(tmp_path: Path) -> None:
    path = database(tmp_path / "simulated.duckdb", 5, 6)
    with writing(path) as connection:
        add_simulated(connection, 3, of_run=1, settings={})
    assert numbers(["1", "2"], path) == [[1], [2]]
    assert numbers(["3", "1"], path) == [[3], [3]]
