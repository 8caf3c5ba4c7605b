"""Folders that are no units, or damaged ones: a line each, and nothing of them in the database."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.errors import AllocsimError, InputError, OutputError
from pipeline.processes.progress import Progress
from pipeline.replay.units.merges import merge_all
from pipeline.replay.units.replays import Where
from tests.pipeline.replay.units.conftest import replayed, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def kept(traces: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two units of one trace: the recorded run, and the simulated one; not to be changed."""
    folder = tmp_path_factory.mktemp("kept")
    replayed(traces[1:2], folder / "results.duckdb", Where(units=str(folder / "units")))
    return folder / "units"


def of_recorded(units: Path) -> Path:
    [unit] = units.glob("trace=*/settings=recorded-*")
    return unit


def of_simulated(units: Path) -> Path:
    [unit] = units.glob("trace=*/settings=default-*")
    return unit


def about(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A change of unit.json."""

    def made(unit: Path) -> None:
        path = unit / "unit.json"
        said = json.loads(path.read_text())
        change(said)
        path.write_text(json.dumps(said))

    return made


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    """A change of a table."""

    def made(unit: Path) -> None:
        path = unit / f"{name}.parquet"
        parquet.write_table(change(parquet.read_table(path)), path)

    return made


def column(name: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    """All values of a column one and the same."""

    def made(rows: pa.Table) -> pa.Table:
        at = rows.column_names.index(name)
        kind = rows.schema.field(at).type
        return rows.set_column(at, name, pa.array([value] * len(rows), kind))

    return made


def linked(unit: Path) -> None:
    elsewhere = unit.parent.parent.parent / "elsewhere.parquet"
    (unit / "pages.parquet").rename(elsewhere)
    (unit / "pages.parquet").symlink_to(elsewhere)


def linked_whole(unit: Path) -> None:
    elsewhere = unit.parent.parent.parent / "elsewhere"
    unit.rename(elsewhere)
    unit.symlink_to(elsewhere)


def fifo(unit: Path) -> None:
    (unit / "pages.parquet").unlink()
    os.mkfifo(unit / "pages.parquet")


def cut(unit: Path) -> None:
    path = unit / "object_facts.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def hole(unit: Path) -> None:
    path = unit / "object_facts.parquet"
    whole = bytearray(path.read_bytes())
    whole[40:4000] = b"\xff" * (min(4000, len(whole)) - 40)
    path.write_bytes(whole)


def not_utf8(unit: Path) -> None:
    path = unit / "caches.parquet"
    whole = parquet.read_table(path)
    bad = pa.array([b"\xff\xfe"] * len(whole), pa.binary()).view(pa.string())
    parquet.write_table(whole.set_column(whole.column_names.index("name"), "name", bad), path)


SPOILT: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing table", lambda unit: (unit / "pages.parquet").unlink(), "pages.parquet: is missing"),
    ("missing head", lambda unit: (unit / "unit.json").unlink(), "unit.json: cannot be read"),
    ("foreign file", lambda unit: (unit / "x.txt").touch(), "x.txt: is no part of a unit"),
    ("foreign folder", lambda unit: (unit / ".git").mkdir(), ".git: is no part of a unit"),
    ("a link", linked, "pages.parquet: cannot be read"),
    ("a link for a folder", linked_whole, "not a folder of a unit"),
    ("a FIFO", fifo, "pages.parquet: not a regular file"),
    ("another name", lambda unit: unit.rename(f"{unit}0"), "another run than its name says"),
    ("cut off", cut, "object_facts.parquet: damaged"),
    ("overwritten", hole, "object_facts.parquet: damaged"),
    ("no Parquet", lambda unit: (unit / "pages.parquet").write_text("PAR1"), "pages.parquet: dam"),
    ("not UTF-8", not_utf8, "caches.parquet: damaged"),
    ("no JSON", lambda unit: (unit / "unit.json").write_text("[" * 100_000), "not the description"),
    ("a list", lambda unit: (unit / "unit.json").write_text("[]"), "not the description"),
    ("other schema", about(lambda said: said.update(schema_version=17)), "of schema version 17"),
    ("other trace", about(lambda said: said["trace"].update(cpus=3)), "another run than"),
    ("no trace", about(lambda said: said.update(trace=3)), "trace is not as allocsim writes"),
    ("no meta", about(lambda said: said["trace"].update(meta="3")), "trace.meta is not"),
    ("little meta", about(lambda said: said["trace"].update(meta="{}")), "unit.json"),
    ("many CPUs", about(lambda said: said["trace"].update(cpus=1 << 40)), "trace.cpus is not"),
    ("no number", about(lambda said: said["trace"].update(cpus="9")), "trace.cpus is not"),
    ("settings", about(lambda said: said.update(settings="nonsense")), "another run than"),
    ("settings too", about(lambda said: said.update(settings=3)), "settings is not"),
    ("topology", about(lambda said: said.update(topology=[[1]])), "topology is not"),
    ("turn", about(lambda said: said.update(turn="1")), "turn is not"),
    ("rows", about(lambda said: said["rows"].update(pages=0)), "rows is not"),
    ("more rows", about(lambda said: said["rows"].update(pages=7)), "and unit.json says 7"),
    ("two runs", about(lambda said: said["rows"].update(runs=2)), "rows is not"),
    (
        "other column",
        table("pages", lambda rows: rows.rename_columns(["x", *rows.column_names[1:]])),
        "not the columns of this table",
    ),
    (
        "other type",
        table("caches", lambda rows: rows.cast(_wider(rows.schema))),
        "not the columns of this table",
    ),
    ("no such kind", table("pages", column("page_kind", "dragon")), "pages.parquet: "),
    ("another's origins", table("object_facts", column("origin", 1 << 20)), "not its own"),
    ("one origin", table("object_origins", column("origin", 1)), "not its own"),
    ("other settings", table("runs", column("settings", "{}")), "another one than it says"),
]


def _wider(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, _wide(field.type)) for field in schema])


def _wide(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_integer(kind) else kind


@pytest.mark.parametrize(("spoil", "says"), [each[1:] for each in SPOILT], ids=lambda _: "")
def test_a_spoilt_unit_is_a_line_and_nothing_of_it_is_in(
    kept: Path, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    units, db = tmp_path / "units", tmp_path / "results.duckdb"
    shutil.copytree(kept, units)
    spoil(of_recorded(units))
    # With it goes what simulates it.
    with_none = merged(units, db)
    assert any(says in line for line in with_none), with_none
    assert len(with_none) == 2
    assert not db.exists()


def merged(units: Path, db: Path) -> list[str]:
    done = merge_all(str(units), db, Progress())
    lines = [str(error) for error in done.failed]
    assert not done.runs
    assert all(isinstance(error, InputError) and "\n" not in str(error) for error in done.failed)
    return lines


def test_the_others_are_in(kept: Path, tmp_path: Path) -> None:
    units, db = tmp_path / "units", tmp_path / "results.duckdb"
    shutil.copytree(kept, units)
    cut_off = of_simulated(units) / "placed_events.parquet"
    cut_off.write_bytes(cut_off.read_bytes()[:1000])
    done = merge_all(str(units), db, Progress())
    assert (done.added, len(done.failed)) == ([1], 1)
    there = rows(db)
    assert [len(there[name]) for name in ("runs", "placed_events")] == [1, 0]
    # Mended, it goes in behind it.
    shutil.copy(of_simulated(kept) / cut_off.name, cut_off)
    assert merge_all(str(units), db, Progress()).added == [2]
    shutil.rmtree(of_simulated(units))
    assert merge_all(str(units), db, Progress()).added == []


def test_what_a_killed_process_leaves_is_no_unit(kept: Path, tmp_path: Path) -> None:
    """It is in a hidden folder up to its rename."""
    units = tmp_path / "units"
    shutil.copytree(kept, units)
    left = units / f".allocsim-{0:016x}"
    left.mkdir()
    shutil.move(of_simulated(units), left / "unit-2")
    assert merge_all(str(units), tmp_path / "results.duckdb", Progress()).added == [1]


@pytest.mark.parametrize(
    "made", [lambda _: None, lambda path: path.mkdir(), lambda path: path.touch()]
)
def test_no_folder_of_units_is_one_line(tmp_path: Path, made: Callable[[Path], object]) -> None:
    made(tmp_path / "units")
    with pytest.raises(AllocsimError) as caught:
        merge_all(str(tmp_path / "units"), tmp_path / "results.duckdb", Progress())
    assert isinstance(caught.value, InputError | OutputError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results.duckdb").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("none", "no such folder; allocsim replay --units"), ("file", "a file, where")],
)
def test_no_folder_is_said_in_words(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").write_text("no units\n")
    with pytest.raises(OutputError, match=says):
        merge_all(str(tmp_path / name), tmp_path / "out.duckdb", Progress())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
