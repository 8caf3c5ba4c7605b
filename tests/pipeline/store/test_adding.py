"""Several transactions on one connection: each is durable by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.store.adding import Adding
from tests.pipeline.store.asked import answer

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb


def add(connection: duckdb.DuckDBPyConnection, run: int, rows: int = 1) -> None:
    connection.execute("INSERT INTO tasks VALUES (?, 42, 'bash')", [run])
    connection.execute(
        "INSERT INTO internal.samples (run, use_plain)"
        " SELECT ?, (random() * 1e15)::BIGINT FROM range(?)",
        [run, rows],
    )


def add_and_fail(connection: duckdb.DuckDBPyConnection, run: int, rows: int) -> None:
    add(connection, run, rows)
    raise ZeroDivisionError


def runs(path: Path) -> list[tuple[int, int]]:
    sql = (
        "SELECT run, count(*) FROM internal.samples SEMI JOIN tasks USING (run)"
        " GROUP BY run ORDER BY run"
    )
    with answer(path, sql) as (_, rows):
        return [(run, count) for run, count in rows]


# Fewer rows go to the log, more straight into the file.
@pytest.mark.parametrize("rows", [1, pytest.param(400_000, marks=pytest.mark.slow)])
def test_a_transaction_that_fails_leaves_those_before_it(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "results.duckdb"
    with Adding(path) as results:
        for run in (1, 2):
            with results.transaction() as connection:
                add(connection, run, rows)
        with pytest.raises(ZeroDivisionError), results.transaction() as connection:
            add_and_fail(connection, 3, rows)
    assert runs(path) == [(1, rows), (2, rows)]
    assert list(tmp_path.iterdir()) == [path]
    with Adding(path) as results, results.transaction() as connection:
        add(connection, 3, rows)
    assert runs(path) == [(1, rows), (2, rows), (3, rows)]


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.store.adding import Adding
from tests.pipeline.store.test_adding import add
with Adding(Path(sys.argv[1])) as results:
    for run in (1, 2):
        with results.transaction() as connection:
            add(connection, run, int(sys.argv[2]))
            if run == 2:
                os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("rows", [1, pytest.param(400_000, marks=pytest.mark.slow)])
def test_a_killed_process_has_added_what_it_committed(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "results.duckdb"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(rows)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert runs(path) == [(1, rows)]


FULL = """
import resource, sys
from pathlib import Path
from pipeline.errors import OutputError
from pipeline.store.adding import Adding
from tests.pipeline.store.test_adding import add
path = Path(sys.argv[1])
try:
    with Adding(path) as results:
        for run in (1, 2):
            with results.transaction() as connection:
                if run == 2:
                    most = path.stat().st_size + int(sys.argv[3])
                    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
                add(connection, run, int(sys.argv[2]))
except OutputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 100_000, 1_000_000])
def test_a_disk_that_fills_leaves_what_was_committed(tmp_path: Path, room: int) -> None:
    path = tmp_path / "results.duckdb"
    command = [sys.executable, "-c", FULL, str(path), "400_000", str(room)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == f"{path}: file too large; what was being added is not in it\n"
    assert runs(path) == [(1, 400_000)]
    with Adding(path) as results, results.transaction() as connection:
        add(connection, 2)
    assert runs(path) == [(1, 400_000), (2, 1)]


DIE = """
import os, sys
from pathlib import Path
from pipeline.store.adding import Adding
from tests.pipeline.store.test_adding import add
results = Adding(Path(sys.argv[1]))
with results.transaction() as connection:
    add(connection, 2)
os._exit(0)
"""


@pytest.mark.slow
def test_who_only_asks_takes_in_what_a_killed_one_left_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    with Adding(path) as results, results.transaction() as connection:
        add(connection, 1)
    subprocess.run([sys.executable, "-c", DIE, str(path)], check=True)
    log = path.with_name(f"{path.name}.wal")
    assert log.exists()
    with Adding(path) as results, results.asked() as asked:
        assert asked is not None
        assert asked.execute("SELECT run FROM tasks ORDER BY run").fetchall() == [(1,), (2,)]
    assert not log.exists()
    assert runs(path) == [(1, 1), (2, 1)]


FULL_AT_THE_END = """
import resource, sys
from pathlib import Path
from pipeline.store.adding import Adding
from tests.pipeline.store.test_adding import add
with Adding(Path(sys.argv[1])) as results:
    with results.transaction() as connection:
        add(connection, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
"""


def test_a_log_that_there_is_no_room_for_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    command = [sys.executable, "-c", FULL_AT_THE_END, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr.startswith(f"allocsim: {path}.wal: no room to take it into the database")
    assert done.stderr.count("\n") == 1
    assert runs(path) == [(1, 1)]
    with Adding(path) as results, results.transaction() as connection:
        add(connection, 2)
    assert runs(path) == [(1, 1), (2, 1)]
    assert list(tmp_path.iterdir()) == [path]
