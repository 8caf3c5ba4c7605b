"""The shell of allocsim sql: statements typed on a terminal, each answered when it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from allocsim import __version__
from pipeline.errors import AllocsimError, UsageError
from pipeline.processes import signals
from pipeline.processes.user_folders import user_folder
from pipeline.store.asking import ask, begin
from pipeline.terminal import complain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen
    from typing import BinaryIO

    from pipeline.store.asking import Question

_PROMPT, _MORE = "allocsim> ", "     ...> "
_HISTORY = "sql_history"
_HISTORY_LINES = 1000
_LEAST_WIDTH = 40

_HELP = """\
A statement ends with ; and may have several lines. Up and down bring back what was typed.
  .tables         the views and tables of the database
  .describe NAME  what one of them is, and its columns
  .help           this
  .quit           end, as Ctrl-D does
Ctrl-C ends the statement that runs, or drops what is being typed.
"""

_NAMES = """
    SELECT view_name AS name, 'Views' AS kind FROM duckdb_views() WHERE NOT internal
    UNION ALL SELECT table_name, 'Tables' FROM duckdb_tables() WHERE schema_name = 'main'
    ORDER BY kind DESC, name
"""
_COLUMNS = """
    SELECT column_name, regexp_replace(data_type, '[(].*', '') AS type, comment
    FROM duckdb_columns() WHERE {table} ORDER BY column_index
"""
_ROW = """
    SELECT comment FROM duckdb_views() WHERE {view}
    UNION ALL SELECT comment FROM duckdb_tables() WHERE {table}
"""

# What a statement is made of, as far as a ; in it need not be its end.
_TOKEN = re.compile(
    r"""(?P<whole> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
      | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
    | (?P<space> --[^\n]*(?:\n|$) | /\*.*?\*/ | \s+ )
    | (?P<open> ['"] | /\* | \$(?:[^\W\d]\w*)?\$ )
    | (?P<end> ; )
    | \w+ | .""",
    re.VERBOSE | re.DOTALL,
)


def is_complete(text: str) -> bool:
    """Whether what was typed ends with a ; that is none of a text's, a name's or a comment's."""
    ended = False
    for token in _TOKEN.finditer(text):
        if token["open"]:
            return False
        if not token["space"]:
            ended = token["end"] is not None
    return ended


def is_empty(text: str) -> bool:
    """Whether there is nothing but space and comments."""
    return all(token["space"] for token in _TOKEN.finditer(text))


def run_shell(question: Question) -> None:
    """Answer what is typed up to the end of the input.

    Args:
        question: as each is asked, but for the statement.

    Raises:
        AllocsimError: the database cannot be used at all.
    """
    with signals.undoing(), signals.interrupting(), _history():
        shell = _Shell(question)
        try:
            shell.greet()
            while shell.turn():
                pass
        finally:
            shell.close()


@contextmanager
def _history() -> Iterator[None]:
    """Lines of earlier shells at hand, and those of this one kept; where the user can keep any."""
    try:
        import readline
    except ImportError:  # a Python without it: lines are typed all the same
        yield
        return
    folder = user_folder("XDG_STATE_HOME")
    if folder is None:
        yield
        return
    path = folder / _HISTORY
    readline.set_history_length(_HISTORY_LINES)
    with suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
            readline.write_history_file(path)


class _Shell:
    """What a shell knows between two lines."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._ahead: Popen[bytes] | None = None
        self._typed = ""

    def greet(self) -> None:
        """Say what is asked here.

        Raises:
            AllocsimError: the database cannot be asked.
        """
        [row] = self._rows("SELECT count(*) AS runs FROM runs")
        runs = f"{row['runs']} run{'s'[: row['runs'] != 1]}"
        _print(f"allocsim {__version__}: {self._question.db} has {runs}. .help says more.\n")

    def turn(self) -> bool:
        """Take a line, and answer if it ends something; False: it was the last one."""
        try:
            return self._turn()
        except KeyboardInterrupt:  # in an answer, or between the line and it
            self._give_up("interrupted")
            return True

    def _turn(self) -> bool:
        self._begin_ahead()
        try:
            line = input(_MORE if self._typed else _PROMPT)
        except EOFError:
            _print("\n")
            return False
        except KeyboardInterrupt:
            self._give_up("")
            return True
        if not self._typed and line.lstrip().startswith("."):
            return self._answer_command(*line.split())
        self._typed += f"{line}\n"
        if is_empty(self._typed):
            self._typed = ""
        elif is_complete(self._typed):
            text, self._typed = self._typed, ""
            with _answering():
                self._ask(replace(self._question, sql=text), sys.stdout.buffer)
        return True

    def close(self) -> None:
        """End the process that waits for a statement."""
        if self._ahead is not None:
            self._ahead.kill()
            self._ahead.communicate()

    def _answer_command(self, name: str, *args: str) -> bool:
        with _answering():
            match name, args:
                case ((".quit" | ".exit"), ()):
                    return False
                case ".help", ():
                    _print(_HELP)
                case ".tables", ():
                    _print(_listed(self._rows(_NAMES)))
                case ".describe", (table,):
                    _print(self._described(table))
                case ".describe", _:
                    raise UsageError(".describe takes a name, such as: .describe cache_summary")
                case _:
                    raise UsageError(f"{' '.join((name, *args))}: not known; see .help")
        return True

    def _described(self, name: str) -> str:
        schema, _, table = name.lower().removesuffix(";").rpartition(".")
        quoted = [part.replace("'", "''") for part in (schema or "main", table)]
        of = {
            kind: "NOT internal AND (schema_name, lower({}_name)) = ('{}', '{}')".format(
                kind, *quoted
            )
            for kind in ("table", "view")
        }
        columns = self._rows(_COLUMNS.format(**of))
        if not columns:
            raise UsageError(f"{name}: no such table or view; .tables lists them")
        [row] = self._rows(_ROW.format(**of))
        return _description(row["comment"], columns)

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        out = BytesIO()
        self._ask(replace(self._question, sql=sql, format="json"), out)
        rows: list[dict[str, Any]] = json.loads(out.getvalue())
        return rows

    def _ask(self, question: Question, out: BinaryIO) -> None:
        sys.stdout.flush()
        ask(question, out, self._process)

    def _process(self) -> Popen[bytes]:
        process, self._ahead = self._ahead or begin(), None
        return process

    def _begin_ahead(self) -> None:
        """Have the process of the next statement ready while it is typed."""
        if self._ahead is None:
            self._ahead = begin()

    def _give_up(self, said: str) -> None:
        """Drop what is typed or runs, unless it is the process that is to end."""
        if signals.received() is not None:
            raise KeyboardInterrupt
        self._typed = ""
        _print(f"\n{said}\n" if said else "\n")


@contextmanager
def _answering() -> Iterator[None]:
    """An error that a statement ends with is said, and ends nothing else."""
    try:
        yield
    except AllocsimError as error:
        complain(str(error))


def _width() -> int:
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


def _listed(rows: list[dict[str, Any]]) -> str:
    """Names in columns, those of each kind below its heading."""
    text = ""
    for kind in dict.fromkeys(row["kind"] for row in rows):
        names = [row["name"] for row in rows if row["kind"] == kind]
        cell = max(map(len, names)) + 2
        count = -(-len(names) // max((_width() - 2) // cell, 1))
        lines = ["".join(name.ljust(cell) for name in names[at::count]) for at in range(count)]
        text += "\n".join([f"{kind}:", *(f"  {line}".rstrip() for line in lines), ""])
    return text


def _description(row: str, columns: list[dict[str, Any]]) -> str:
    """What a table is, and a line or more for each column, as wide as the terminal."""
    names, types = (max(len(each[of]) for each in columns) for of in ("column_name", "type"))
    lines = textwrap.wrap(row, _width())
    for each in columns:
        head = f"  {each['column_name']:{names}}  {each['type']:{types}}  "
        rest = " " * len(head)
        lines += textwrap.wrap(
            each["comment"], _width(), initial_indent=head, subsequent_indent=rest
        )
    return "\n".join([*lines, ""])


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
