"""Opening results databases: the good ones, and every bad one in one clear line."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import AllocsimError, OutputError, StoreError, UsageError
from pipeline.store.adding import writing
from pipeline.store.arrow import arrow_schema
from pipeline.store.database import reading
from pipeline.store.schema import SCHEMA_VERSION, TABLES
from pipeline.store.schema.enums import ENUMS
from pipeline.store.schema.table import duckdb_type, loaded_type
from tests.pipeline.store.asked import answer

if TYPE_CHECKING:
    from pipeline.store.schema.enums import Enum


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "results.duckdb"
    with writing(path) as connection:
        connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash')")
    return path


@pytest.fixture
def db(made: Path, tmp_path: Path) -> Path:
    """A results database without a run but with one task in it."""
    return Path(shutil.copy(made, tmp_path))


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with answer(path, sql) as (_, rows):
        return list(rows)


def add_and_fail(
    connection: duckdb.DuckDBPyConnection, error: type[BaseException], rows: int = 1
) -> None:
    connection.execute("INSERT INTO tasks VALUES (2, 43, 'lost')")
    connection.execute(
        "INSERT INTO internal.samples (run, use_plain)"
        " SELECT 2, (random() * 1e15)::BIGINT FROM range(?)",
        [rows],
    )
    raise error


def refusal(path: Path, sql: str) -> str:
    with pytest.raises(UsageError) as caught:
        ask(path, sql)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_tables_are_those_of_the_schema(db: Path) -> None:
    rows = ask(
        db,
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        " JOIN duckdb_tables() USING (table_name) ORDER BY table_name, column_index",
    )
    names = {enum.name: f"ENUM({_quoted(enum)})" for enum in ENUMS}
    expected = [
        (table.name, column.name, names.get(duckdb_type(column), duckdb_type(column)))
        for table in sorted(TABLES, key=lambda table: table.name)
        for column in table.columns
    ]
    assert rows == expected


def test_arrow_types_are_what_duckdb_makes_of_its_own() -> None:
    with duckdb.connect() as connection:
        for table in TABLES:
            columns = ", ".join(f'NULL::{loaded_type(c)} AS "{c.name}"' for c in table.columns)
            made = connection.sql(f"SELECT {columns}").to_arrow_table()
            assert arrow_schema(table) == made.schema


def _quoted(enum: Enum) -> str:
    return ", ".join(f"'{name}'" for name in enum.codes.values())


def test_of_each_kind_verdict_and_path_something_is_said(db: Path) -> None:
    for table in ("page_kind", "verdict", "path"):
        said = ask(db, f"SELECT {table} FROM {table}s ORDER BY {table}")
        assert said == ask(db, f"SELECT unnest(enum_range(NULL::{table}))::{table}")


def test_a_block_that_fails_leaves_no_new_file(tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    with pytest.raises(ZeroDivisionError), writing(path) as connection:
        add_and_fail(connection, ZeroDivisionError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_a_database_as_it_was(
    db: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error), writing(db) as connection:
        add_and_fail(connection, error)
    assert ask(db, "FROM tasks") == [(1, 42, "bash")]


@pytest.mark.slow
def test_a_database_stands_many_failures_of_much_data(db: Path) -> None:
    size = db.stat().st_size
    for number in range(2, 6):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), writing(db) as connection:
                add_and_fail(connection, ZeroDivisionError, rows=400_000)
            assert db.stat().st_size == size
        with writing(db) as connection:
            connection.execute(
                "INSERT INTO internal.samples (run, slice) SELECT ?, range FROM range(300_000)",
                [number],
            )
        size = db.stat().st_size
        assert ask(db, "SELECT count(*), sum(slice) FROM internal.samples") == [
            ((number - 1) * 300_000, (number - 1) * sum(range(300_000)))
        ]
    assert ask(db, "FROM tasks") == [(1, 42, "bash")]


ENDLESS_QUERY = """
import signal, sys
from pathlib import Path
from typing import TYPE_CHECKING
from pipeline.store.adding import writing
from pipeline.store.database import reading
from pipeline.processes import signals
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
signals.handle()
with signals.undoing(), {opened}(Path(sys.argv[1])) as connection:
    print("asking", flush=True)
    connection.execute(
        "SELECT count(*) FROM range(1_000_000_000_000) AS a JOIN range(1_000) AS b ON a != b"
    )
"""


@pytest.mark.parametrize("opened", ["reading", "writing"])
def test_an_interrupted_query_is_an_interrupt(db: Path, opened: str) -> None:
    command = [sys.executable, "-c", ENDLESS_QUERY.format(opened=opened), str(db)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"asking\n"
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert ask(db, "FROM tasks") == [(1, 42, "bash")]


def test_an_addition_is_kept(db: Path) -> None:
    with writing(db) as connection:
        connection.execute("INSERT INTO tasks VALUES (2, 43, 'sh')")
    assert ask(db, "SELECT comm FROM tasks ORDER BY run") == [("bash",), ("sh",)]


def test_a_newer_schema_is_refused(db: Path) -> None:
    with duckdb.connect(db) as connection:
        connection.execute(f"UPDATE store_schema SET version = {SCHEMA_VERSION + 1}")
    for opened in (reading, writing):
        with pytest.raises(StoreError, match=f"version {SCHEMA_VERSION + 1} .*update"), opened(db):
            pass


def test_an_older_schema_is_refused(db: Path) -> None:
    with duckdb.connect(db) as connection:
        connection.execute("UPDATE store_schema SET version = 0")
    with pytest.raises(StoreError, match=r"schema version 0 .*replay into a new file"), reading(db):
        pass


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS one")
    for opened in (reading, writing):
        with pytest.raises(StoreError, match=r"not one of allocsim.s results"), opened(path):
            pass
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT one FROM mine").fetchall() == [(1,)]


def test_views_of_somebody_else_are_no_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE VIEW mine AS SELECT 1 AS one")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"not one of allocsim.s results"), writing(path):
        pass
    assert path.read_bytes() == before


def test_an_empty_database_that_was_there_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    duckdb.connect(path).close()
    with pytest.raises(ZeroDivisionError), writing(path) as connection:
        add_and_fail(connection, ZeroDivisionError)
    with duckdb.connect(path) as connection:
        assert connection.execute("FROM duckdb_tables()").fetchall() == []


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFDIR])
def test_what_is_no_regular_file_is_refused_and_left_alone(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "special"
    try:
        path.mkdir() if kind == stat.S_IFDIR else os.mknod(path, kind | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    for name in (path, tmp_path / "link"):
        if name != path:
            name.symlink_to(path)
        with pytest.raises(OutputError, match="not a regular file; choose another"), writing(name):
            pass
        with pytest.raises(StoreError, match="no results database there"), reading(name):
            pass
    assert stat.S_IFMT(path.stat().st_mode) == kind


@pytest.mark.parametrize("content", [b"", b"no database", bytes(range(256)) * 64])
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.duckdb"
    path.write_bytes(content)
    for opened in (reading, writing):
        with pytest.raises(StoreError, match="not a results database"), opened(path):
            pass
    assert path.read_bytes() == content


def test_a_missing_database_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="allocsim replay"), reading(tmp_path / "none.duckdb"):
        pass


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "results.duckdb"
    with writing(path):
        pass
    assert ask(path, "FROM tasks") == []


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="/a: cannot be made"), writing(tmp_path / "a" / "b"):
        pass


def test_a_folder_that_takes_no_files_is_one_line() -> None:
    with pytest.raises(OutputError, match="cannot be written"), writing(Path("/proc/r.duckdb")):
        pass


def test_a_database_in_use_names_the_process(db: Path) -> None:
    hold = (
        "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        for opened in (reading, writing):
            with pytest.raises(StoreError, match=f"in use by process {other.pid}"), opened(db):
                pass
        assert other.stdin is not None
        other.stdin.close()
    assert ask(db, "FROM tasks") == [(1, 42, "bash")]


FULL_DISK = """
import resource, sys
from pathlib import Path
from typing import TYPE_CHECKING
from pipeline.errors import OutputError
from pipeline.store.adding import writing

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    with writing(Path(sys.argv[1])) as connection:
        connection.execute(
            "INSERT INTO tasks SELECT 2, (random() * 1e9)::INTEGER, 'x' FROM range(2_000_000)"
        )
except OutputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
def test_a_full_disk_is_one_line_and_adds_nothing(db: Path, tmp_path: Path, fresh: bool) -> None:
    path = tmp_path / "fresh.duckdb" if fresh else db
    size = db.stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{path}: file too large; what was being added is not in it\n"
    assert done.stderr == ""
    if fresh:
        assert not path.exists()
    else:
        assert path.stat().st_size == size
        assert ask(db, "FROM tasks") == [(1, 42, "bash")]


FORBIDDEN = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_parquet('/etc/passwd')",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('/etc/passwd')",
    "FROM glob('/*')",
    "FROM '/etc/passwd'",
    "FROM 'https://example.org/x.parquet'",
    "COPY tasks TO '{out}'",
    "COPY tasks FROM '/etc/passwd'",
    "EXPORT DATABASE '{out}'",
    "IMPORT DATABASE '{out}'",
    "ATTACH '{out}' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET temp_directory = '{out}'",
    "PRAGMA enable_profiling",
    "INSERT INTO tasks VALUES (9, 9, 'x')",
    "UPDATE tasks SET comm = 'x'",
    "DELETE FROM tasks",
    "DROP TABLE tasks",
    "CREATE TABLE x AS SELECT 1",
    "CREATE OR REPLACE VIEW quality AS SELECT 1",
    "SELECT getenv('HOME')",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_a_query_can_read_the_database_and_nothing_else(db: Path, tmp_path: Path, sql: str) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    refusal(db, sql.format(out=tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == before
    assert ask(db, "FROM tasks") == [(1, 42, "bash")]


def test_a_query_cannot_see_pythons_variables(db: Path) -> None:
    rows = pa.table({"one": [1]})
    assert rows.num_rows == 1
    assert "rows" in refusal(db, "SELECT one FROM rows")


def test_wrong_sql_is_one_line_with_a_near_miss(db: Path) -> None:
    assert 'Did you mean "tasks"' in refusal(db, "FROM task")
    assert 'near "selec"' in refusal(db, "selec 1")
    assert "nothing" in refusal(db, " -- nothing").lower() or refusal(db, "")


def test_the_short_form_of_a_query_works(db: Path) -> None:
    assert ask(db, "from tasks") == [(1, 42, "bash")]
    assert ask(db, "from policy_summary") == []


def test_every_error_here_is_one_a_user_can_read() -> None:
    assert issubclass(StoreError, AllocsimError)
    assert (StoreError.exit_code, UsageError.exit_code) == (1, 2)
