"""What a user's SQL can do to files: nothing, by each of three layers alone, over all of DuckDB.

The statements are made of DuckDB's own lists: kinds of statements, functions and their parameters.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.sql import sql
from pipeline.errors import StoreError, UsageError
from pipeline.store.adding import writing
from pipeline.store.asking import Question, _error, ask
from pipeline.store.query import _writer
from tests.conftest import ROOT, examples
from tests.pipeline.store.asked import answer
from tests.pipeline.store.sql_attacks import EVENTS, KINDS, MARKER, NO_RIGHTS_TO_LOSE, targets


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made")
    with writing(path / "x.db") as connection:
        connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash')")
    (path / "secret.csv").write_text(f"one,two\n{MARKER},{MARKER}\n")
    (path / "secret.json").write_text(json.dumps([{"a": MARKER}]))
    with duckdb.connect() as connection:
        target = path / "secret.parquet"
        connection.execute(f"COPY (SELECT '{MARKER}' AS a) TO '{target}'")
    with duckdb.connect(path / "secret.duckdb") as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{MARKER}' AS a")
    (path / "set").mkdir()
    with duckdb.connect() as connection:
        target = path / "set" / "events.parquet"
        rows = f"SELECT range::BIGINT AS ts, range::UBIGINT AS ptr FROM range({EVENTS})"
        connection.execute(f"COPY ({rows}) TO '{target}'")
    (path / "set" / "secret.csv").symlink_to("../secret.csv")
    return path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A folder with a results database and files that nobody asks for."""
    return Path(shutil.copytree(made, tmp_path / "folder", symlinks=True))


def state(folder: Path) -> dict[str, str]:
    """Every file below a folder, with a hash of what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


NEVER_PARSED = {
    "ANALYZE", "CREATE_FUNC", "EXTENSION", "INVALID", "LOGICAL_PLAN", "RELATION", "VARIABLE_SET",
}  # fmt: skip

READING = [
    "from tasks",
    "SELECT pid FROM tasks UNION ALL SELECT pid FROM tasks",
    "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 5) FROM r",
    "WITH w AS MATERIALIZED (SELECT 1) FROM w",
    "VALUES (1), (2)",
    "TABLE tasks",
    "DESCRIBE tasks",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SUMMARIZE tasks",
    "SELECT column_name FROM (DESCRIBE tasks)",
    "EXPLAIN FROM tasks",
    " -- plain\n explain\nSELECT 1",
    "PIVOT tasks ON comm IN ('bash') USING count(*)",
    "UNPIVOT tasks ON pid INTO NAME n VALUE v",
    "FROM query('SELECT 1')",
    "FROM pragma_table_info('tasks')",
    "SELECT list_transform([1], lambda x: x + 1), {'a': 1}.a, 'copy' AS \"COPY_QUERY_NODE\"",
    'SELECT \'{"type": "COPY_QUERY_NODE"}\'',
    "SELECT 1;",
]


def refusal(db: Path, sql: str) -> str:
    with pytest.raises(UsageError) as caught, answer(db, sql) as (_, rows):
        list(rows)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("sql", READING)
def test_what_reads_is_run(folder: Path, sql: str) -> None:
    with answer(folder / "x.db", sql) as (names, rows):
        assert all(len(row) == len(names) for row in rows)


def test_every_kind_of_statement_is_tried() -> None:
    parsed = {name for name in dir(duckdb.StatementType) if name.isupper()}
    assert parsed == set(KINDS) | NEVER_PARSED
    with duckdb.connect() as connection:
        for kind, statements in KINDS.items():
            for text in statements:
                [statement] = connection.extract_statements(text.format(path="x"))
                assert kind in (statement.type.name, "COPY_DATABASE")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_only_read_is_refused_by_its_parse(folder: Path, kind: str) -> None:
    before = state(folder)
    for text in KINDS[kind]:
        for path in targets(folder):
            said = refusal(folder / "x.db", text.format(path=path))
            assert "is not run here" in said or "EXPLAIN" in said or "PIVOT" in said
    assert state(folder) == before


WRAPPED = st.recursive(
    st.sampled_from(["SELECT 1 AS a", "FROM w", "VALUES (1)"]),
    lambda inner: st.one_of(
        inner.map(lambda sql: f"SELECT * FROM ({sql})"),
        inner.map(lambda sql: f"SELECT ({sql} LIMIT 1) AS a"),
        inner.map(lambda sql: f"WITH v AS ({sql}) FROM v"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) UNION ALL ({pair[1]})"),
        inner.map(lambda sql: f"SELECT 1 AS a WHERE EXISTS ({sql})"),
    ),
    max_leaves=6,
)


@given(WRAPPED, st.sampled_from(["INSERT INTO t VALUES (1)", "COPY t TO 'x'", "DELETE FROM t"]))
@examples(60)
def test_a_write_is_found_in_any_query(query: str, write: str) -> None:
    with duckdb.connect() as connection:
        assert _writer(connection, f"WITH w AS (SELECT 1 AS a) FROM ({query})") is None
        written = _writer(connection, f"WITH w AS ({write}) FROM ({query})")
        assert written == write.partition(" ")[0]


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["duckdb", "system"])
def test_no_function_or_statement_reaches_a_file(folder: Path, layer: str) -> None:
    before = state(folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.store.sql_attacks", layer, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode == NO_RIGHTS_TO_LOSE:
        pytest.skip("this system takes no rights away (Landlock)")
    assert done.returncode == 0, done.stderr
    *reached, counts = done.stdout.splitlines()
    assert reached == []
    functions, tried, failed = map(int, counts.split())
    assert tried > failed > functions > 1000
    assert state(folder) == before


def asked(db: Path, sql: str, **more: object) -> str:
    """What the command line is answered, as CSV."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        limits = {"seconds": 60.0, "memory": None} | more
        with writer:
            ask(Question(str(db), sql, "csv", **limits), writer)  # type: ignore[arg-type]
        return reader.read().decode()


@pytest.mark.slow
def test_the_command_line_asks_what_reads_and_nothing_else(folder: Path) -> None:
    db = folder / "x.db"
    before = state(folder)
    assert asked(db, "from tasks") == "run,pid,comm\n1,42,bash\n"
    for text in (KINDS["COPY"][0], KINDS["EXPLAIN"][0], KINDS["SELECT"][0]):
        with pytest.raises(UsageError, match=r"COPY: can do more than read|EXPLAIN is run"):
            asked(db, text.format(path=db))
    assert state(folder) == before
    assert db.stat().st_mode & 0o200
    db.chmod(0o400)
    assert asked(db, "select count(*) as n from tasks") == "n\n1\n"


WRITE_AND_DIE = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO tasks VALUES (2, 43, 'logged')")
os._exit(0)
"""


@pytest.mark.slow
def test_what_a_killed_writer_left_in_the_log_is_read(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, folder / "x.db"], check=True)
    before = state(folder)
    assert "x.db.wal" in before
    (folder / "sub").mkdir()
    link = folder / "sub" / "link.db"
    link.symlink_to(folder / "x.db")
    for db in (folder / "x.db", link):
        assert asked(db, "SELECT comm FROM tasks ORDER BY run") == "comm\nbash\nlogged\n"
    link.unlink()
    link.parent.rmdir()
    assert state(folder) == before


@pytest.mark.slow
def test_values_of_every_type_are_written(folder: Path) -> None:
    sql = (
        "SELECT 1.5::DECIMAL(4, 1) AS a, DATE '2026-01-02' AS b, TIME '01:02:03' AS c,"
        " INTERVAL 1 DAY AS d, '\\x00'::BLOB AS e, [1, 2] AS f, {'a': NULL} AS g, 'é' AS h,"
        " TIMESTAMP '2026-01-02 03:04:05' AS i, '[1]'::JSON AS j,"
        " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS k"
    )
    [_, row] = asked(folder / "x.db", sql).splitlines()
    assert row.startswith('1.5,2026-01-02,01:02:03,"1 day, 0:00:00",')
    assert row.endswith(",a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    with pytest.raises(UsageError, match="with a time zone cannot be shown; write them as"):
        asked(folder / "x.db", "SELECT now()")


ENDLESS = "SELECT count(*) FROM range(1_000_000_000_000) AS a JOIN range(1000) AS b ON a != b"


@pytest.mark.slow
@pytest.mark.parametrize("sql", [ENDLESS, "SELECT length(repeat('x', 4_000_000_000))"])
def test_a_statement_that_takes_too_long_is_ended(folder: Path, sql: str) -> None:
    begun = time.monotonic()
    with pytest.raises(
        StoreError, match=r"x.db: no answer within 0.5 s; ask for less, or .*--time"
    ):
        asked(folder / "x.db", sql, seconds=0.5, memory=12 << 30)
    assert time.monotonic() - begun < 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM (SELECT DISTINCT range || 'abcdefghijklmnop' FROM range(30_000_000))",
        "SELECT repeat('x', 3_000_000_000)",
        "SELECT list(repeat('x', 1000)) FROM range(3_000_000)",
    ],
)
def test_a_statement_that_takes_too_much_is_ended(folder: Path, sql: str) -> None:
    before = state(folder)
    with pytest.raises(StoreError, match=r"x.db: .* more memory than it may .*--memory"):
        asked(folder / "x.db", sql, memory=64 << 20)
    assert state(folder) == before


def test_a_process_that_breaks_is_one_line(folder: Path) -> None:
    question = Question(str(folder / "x.db"), "from tasks", "csv", 60, None)
    said = str(_error(question, -signal.SIGSEGV, ""))
    assert said.endswith("x.db: DuckDB broke on this statement (SIGSEGV); the file is as it was")
    assert "--memory" in str(_error(question, -signal.SIGKILL, ""))


@pytest.mark.slow
@pytest.mark.parametrize("deep", ["1" + "+1" * 20_000, "(" * 20_000 + "1" + ")" * 20_000])
def test_a_text_deep_in_itself_is_one_line(folder: Path, deep: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*depth[^\n]*$"):
        asked(folder / "x.db", f"SELECT {deep}")


def test_what_is_not_utf8_is_one_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        asked(folder / "x.db", "SELECT '\udcff'")


@pytest.mark.slow
def test_what_asks_is_gone_with_who_asked(folder: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "sql", ENDLESS, "--db", str(folder / "x.db")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        if not children.exists():
            pytest.skip("no /proc that tells children")
        deadline = time.monotonic() + 30
        while not (found := children.read_text().split()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.5)
        parent.kill()
    [child] = found
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("size", ["2", "much", "1 KiB", "5000 TiB", "0.1 B"])
def test_a_size_of_memory_that_cannot_be_is_bad_usage(folder: Path, size: str) -> None:
    with pytest.raises(UsageError, match=r"^--memory "):
        sql("from tasks", db=folder / "x.db", memory=size)


@pytest.mark.slow
def test_the_folder_of_the_question_is_no_place_for_modules(folder: Path) -> None:
    for name in ("duckdb", "json", "pipeline"):
        (folder / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    script = shutil.which("allocsim", path=Path(sys.executable).parent)
    if script is None:
        pytest.skip("allocsim is not installed here")
    done = subprocess.run(
        [script, "sql", "from tasks", "--db", "x.db", "-f", "csv"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "run,pid,comm\n1,42,bash\n", "")
