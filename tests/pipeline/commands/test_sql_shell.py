"""The shell of allocsim sql on a terminal of its own, and where a statement ends."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.sql_shell import is_complete, is_empty
from pipeline.store.adding import writing
from tests.conftest import ROOT, examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT, MORE = "allocsim> ", "     ...> "
ENDLESS = "SELECT count(*) FROM range(1_000_000_000_000) AS a JOIN range(1000) AS b ON a != b;"
LONGEST_S = 40


class Terminal:
    """A shell on a pseudo-terminal.

    Args:
        db: the results database.
        home: the user's folder.
        args: of the command besides.
    """

    def __init__(self, db: Path, home: Path, *args: str) -> None:
        self._pid, self._fd = pty.fork()
        if not self._pid:
            for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
                os.environ.pop(name, None)
            os.environ |= {"HOME": str(home), "TERM": "dumb", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
            os.chdir(ROOT)
            command = [sys.executable, "-m", "pipeline", "sql", "--db", str(db), *args]
            os.execv(sys.executable, command)  # noqa: S606 - the command itself

    def read(self, until: str | None) -> str:
        """What is shown up to a text, which is taken away; None: up to the end."""
        shown, deadline = "", time.monotonic() + LONGEST_S
        while until is None or not shown.endswith(until):
            ready, _, _ = select.select([self._fd], [], [], deadline - time.monotonic())
            try:
                more = os.read(self._fd, 1) if ready else b""
            except OSError:  # the other end is closed
                more = b""
            if not more:
                assert until is None, f"ended or silent behind {shown!r}"
                break
            while True:
                try:
                    shown += more.decode()
                    break
                except UnicodeDecodeError:
                    more += os.read(self._fd, 1)
        return shown.replace("\r\n", "\n").removesuffix(until or "")

    def type(self, keys: str, until: str | None = PROMPT) -> str:
        """What is shown after some keys, up to a text; without the keys themselves."""
        os.write(self._fd, keys.encode())
        shown = self.read(until)
        return shown.removeprefix(keys)

    def end(self) -> int:
        """The exit code, once it has ended."""
        self.read(None)
        _, status = os.waitpid(self._pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)

    def kill(self, number: int) -> None:
        """Send a signal until something becomes of it.

        Python's readline does not see one that comes between its prompt and its select.
        """
        os.kill(self._pid, number)
        while not select.select([self._fd], [], [], 2)[0]:
            os.kill(self._pid, number)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shell") / "x.db"
    with writing(path) as connection:
        connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash')")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def terminal(db: Path, home: Path) -> Iterator[Terminal]:
    shell = Terminal(db, home)
    assert "x.db has 0 runs. .help says more." in shell.read(PROMPT)
    yield shell
    assert shell.end() == 0


@pytest.mark.slow
def test_a_statement_of_several_lines_is_answered(terminal: Terminal, home: Path) -> None:
    terminal.type("SELECT comm, -- its name;\n", MORE)
    terminal.type("  'a;b' AS text\n", MORE)
    assert terminal.type("FROM tasks; SELECT pid FROM tasks;\n").endswith(
        "comm  text\n----  ----\nbash  a;b\n\npid\n---\n 42\n"
    )
    assert "Did you mean" in terminal.type("FROM task;\n")
    assert terminal.type("\n") == ""
    assert "COPY: can do more than read" in terminal.type("COPY tasks TO 'x';\n")
    assert "  .describe NAME  " in terminal.type(".help\n")
    listed = terminal.type(".tables\n")
    assert listed.startswith("Views:\n")
    assert "policy_summary" in listed
    assert "\nTables:\n" in listed
    assert "object_facts" not in listed
    assert max(map(len, listed.splitlines())) <= 80
    described = terminal.type(".describe tasks\n")
    assert described == (
        "One row is one task of one run.\n"
        "  run   INTEGER  Replay of one trace (runs.run).\n"
        "  pid   INTEGER  Its pid.\n"
        "  comm  VARCHAR  Its name, as far as the recording says.\n"
    )
    assert "One row is what is its own" in terminal.type(".describe Internal.Object_Facts\n")
    assert "it'{s: no such table or view" in terminal.type(".describe it'{s\n")
    assert ".describe takes a name" in terminal.type(".describe\n")
    assert ".nothing: not known; see .help" in terminal.type(".nothing\n")
    terminal.type(".quit\n", None)
    kept = home / ".local/state/allocsim/sql_history"
    assert kept.read_text().splitlines()[:3] == [
        "SELECT comm, -- its name;", "  'a;b' AS text", "FROM tasks; SELECT pid FROM tasks;",
    ]  # fmt: skip
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_an_interrupt_ends_what_runs_or_is_typed_and_no_more(terminal: Terminal) -> None:
    terminal.type(ENDLESS + "\n", "\n")
    assert "interrupted" in terminal.type("\x03")
    terminal.type("SELECT 1 +\n", MORE)
    terminal.type("\x03")
    assert terminal.type("SELECT 2 AS a;\n") == "\na\n-\n2\n"[1:]
    terminal.type("SELECT 'half\x03")
    terminal.type("\x04", None)


@pytest.mark.slow
def test_lines_of_an_earlier_shell_come_back(db: Path, home: Path) -> None:
    for keys in ("SELECT 3 AS b;\n", "\x10\n"):  # Ctrl-P: the line before
        shell = Terminal(db, home)
        shell.read(PROMPT)
        shell.type(keys, f"b\r\n-\r\n3\r\n{PROMPT}")
        shell.type("\x04", None)
        assert shell.end() == 0


@pytest.mark.slow
def test_where_home_takes_no_files_none_is_made_and_a_signal_ends_it(
    db: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    shell = Terminal(db, tmp_path / "file" / "home")
    shell.read(PROMPT)
    assert shell.type("SELECT 3 AS b;\n") == "b\n-\n3\n"
    shell.kill(signal.SIGTERM)
    assert shell.end() == 128 + signal.SIGTERM
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.slow
def test_parquet_is_not_for_terminals(db: Path, home: Path) -> None:
    shell = Terminal(db, home, "FROM tasks", "--format", "parquet")
    assert "parquet is not for terminals; write it to a file: > FILE" in shell.read(None)
    assert shell.end() == 2


COMPLETE = [
    ";",
    "SELECT 1;",
    "SELECT 1; -- and;",
    "SELECT ';' AS \"a;\";\n/* ; */ ",
    "SELECT 'it''s';",
    "SELECT e'it\\'s;';",
    "SELECT $$;$$;",
    "SELECT $a$;$$;$a$;",
    "SELECT $1 - 2 / 3;",
    "-- it's\nSELECT 1;",
]
OPEN = [
    "SELECT 1",
    "SELECT ';",
    'SELECT ";',
    "SELECT 1 -- ;",
    "SELECT 1; /* ;",
    "SELECT $$;",
    "SELECT $a$;$$;",
    "SELECT 'it''s;",
    "SELECT 1; SELECT 2",
    "SELECT 'a''; -- ;",
]


@pytest.mark.parametrize("text", COMPLETE)
def test_a_statement_is_complete(text: str) -> None:
    assert is_complete(text)
    assert not is_empty(text)


@pytest.mark.parametrize("text", OPEN)
def test_a_statement_is_not_complete(text: str) -> None:
    assert not is_complete(text)
    assert not is_empty(text)


@pytest.mark.parametrize("text", ["", " \n", "-- nothing;", "/* no\n; */ -- thing"])
def test_there_is_nothing_to_run(text: str) -> None:
    assert is_empty(text)


@given(st.text("ab;'\"-/*$\n \\", max_size=40))
@examples(100)
def test_a_quotation_that_is_closed_has_no_end_of_a_statement(text: str) -> None:
    quoted = text.replace("'", "''")
    assert is_complete(f"SELECT '{quoted}';")
    assert not is_complete(f"SELECT '{quoted}")
