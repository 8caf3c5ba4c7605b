"""What a results database says of itself, and the empty one that is kept to begin others with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import StoreError
from pipeline.store.adding import writing
from pipeline.store.database import reading
from pipeline.store.empty import all_views
from pipeline.store.schema import TABLES

SAID = """
    SELECT table_name, column_name, comment FROM duckdb_columns()
    WHERE NOT internal AND database_name = current_database() ORDER BY ALL
"""
VIEWS = {each.name for each in all_views()}
ADD = "INSERT INTO tasks VALUES (1, 42, 'bash')"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is kept, in which the first database was made."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        made(folder / "x.db")
    return folder


@pytest.fixture
def kept(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the empty database that is kept."""
    folder = tmp_path / "cache" / "allocsim"
    shutil.copytree(first / "allocsim", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def made(path: Path) -> Path:
    with writing(path) as connection:
        connection.execute(ADD)
    return path


def catalog(db: Path) -> list[object]:
    """All that a database is, but for rows; in views' texts sets of names have no order."""
    asked = [
        "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns()",
        "SELECT view_name, comment, len(sql) FROM duckdb_views()",
        "SELECT schema_name, table_name, comment FROM duckdb_tables()",
        "SELECT type_name, comment, labels FROM duckdb_types()",
    ]
    ours = "WHERE database_name = current_database() AND NOT internal ORDER BY ALL"
    with reading(db) as connection:
        return [connection.execute(f"{each} {ours}").fetchall() for each in asked]


def test_every_table_view_and_column_says_what_it_is(first: Path) -> None:
    with reading(first / "x.db") as connection:
        said = {
            (table, column): text for table, column, text in connection.execute(SAID).fetchall()
        }
        of_tables = dict(
            connection.execute(
                "SELECT table_name, comment FROM duckdb_tables() UNION ALL"
                " SELECT view_name, comment FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
        )
    columns = {(table.name, column.name) for table in TABLES for column in table.columns}
    columns |= {(each.name, column) for each in all_views() for column, _, _ in each.columns}
    assert said.keys() == columns
    assert of_tables.keys() == {table.name for table in TABLES} | VIEWS
    assert all(text and text[-1] in ".?" for text in (*said.values(), *of_tables.values()))
    assert said["pages", "alloc_ts"].startswith("[ns] ")
    assert said["quality", "trace"] == "Name of the trace set."
    assert of_tables["runs"] == "One row is one replay of one trace."


def test_what_only_views_read_is_not_shown(first: Path) -> None:
    with reading(first / "x.db") as connection:
        shown = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
    assert shown == {table.name for table in TABLES if not table.internal} | VIEWS


def test_a_copy_of_the_empty_database_is_as_one_that_was_made(
    first: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = catalog(first / "x.db")
    [file] = kept.iterdir()
    before = file.stat().st_mtime_ns
    assert catalog(made(tmp_path / "again.db")) == copied
    assert [path.stat().st_mtime_ns for path in kept.iterdir()] == [before]
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert catalog(made(tmp_path / "made.db")) == copied


def test_one_of_another_version_is_replaced(kept: Path, tmp_path: Path) -> None:
    [file] = kept.iterdir()
    file.rename(kept / "empty-of-another.duckdb")
    (kept / "notes").write_text("mine")
    made(tmp_path / "x.db")
    assert sorted(kept.iterdir()) == [file, kept / "notes"]


@pytest.mark.parametrize("change", ["mode", "link"])
def test_one_that_another_user_could_have_made_is_not_copied(
    first: Path, kept: Path, tmp_path: Path, change: str
) -> None:
    [file] = kept.iterdir()
    with duckdb.connect(file) as connection:
        connection.execute("CREATE TABLE planted AS SELECT 1 AS one")
    if change == "mode":
        file.chmod(0o646)
    else:
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    assert catalog(made(tmp_path / "y.db")) == catalog(first / "x.db")


@pytest.mark.usefixtures("kept")
def test_a_block_that_fails_leaves_nothing_of_the_copy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on purpose"), writing(tmp_path / "db" / "x.db"):
        raise ValueError("on purpose")
    assert list((tmp_path / "db").iterdir()) == []


def test_what_a_killed_process_began_is_empty_still(kept: Path, tmp_path: Path) -> None:
    [file] = kept.iterdir()
    db = Path(shutil.copy(file, tmp_path / "x.db"))
    with pytest.raises(StoreError, match="holds no run yet"), reading(db):
        pass
    made(db)
    with reading(db) as connection:
        assert connection.execute("FROM tasks").fetchall() == [(1, 42, "bash")]


def test_views_of_other_texts_are_made_anew(first: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(first / "x.db", tmp_path))
    found = catalog(db)
    with duckdb.connect(db) as connection:
        connection.execute("CREATE OR REPLACE VIEW quality AS SELECT 1 AS one")
        connection.execute("UPDATE store_schema SET views = 'of another'")
    made(db)
    assert catalog(db) == found
