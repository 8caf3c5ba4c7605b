"""A database that is in use is waited for, as long as is said."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from pipeline.api import runs as replays
from pipeline.cli.typer_app import typer_app
from pipeline.errors import BusyError, UsageError
from pipeline.store import waiting
from pipeline.store.adding import writing
from pipeline.store.asking import Question, ask
from pipeline.store.database import reading
from pipeline.synth.spec.changes import changed
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.spec.patterns import read_spec
from pipeline.synth.write import write_trace_set
from pipeline.validation import run as validation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from pipeline.replay.done import Done

#: Has a database open until it gets a line.
BUSY = """
import sys, duckdb
with duckdb.connect(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "results.duckdb"
    with writing(path):
        pass
    return path


@pytest.fixture
def busy(db: Path) -> Iterator[subprocess.Popen[str]]:
    with opened_by_another(db) as process:
        yield process


@contextmanager
def opened_by_another(db: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, str(db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        if process.poll() is None:
            process.communicate("\n")


def test_without_patience_it_is_said_at_once(db: Path, busy: subprocess.Popen[str]) -> None:
    for opening in (reading, writing):
        with pytest.raises(BusyError, match=f"in use by process {busy.pid}; try again"):  # noqa: SIM117
            with opening(db):
                pass
    with pytest.raises(BusyError, match="in use"):
        ask(Question(str(db), "select 1", "csv", 60, None), sys.stdout.buffer)


def test_it_is_opened_when_it_is_free(
    db: Path,
    busy: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(waiting._Patience, "seconds", 60)

    def done(_: float) -> None:
        busy.communicate("\n")

    monkeypatch.setattr(waiting.time, "sleep", done)
    with writing(db):
        pass
    said = f"allocsim: {db}: in use by process {busy.pid}; waiting up to 60 s\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("seconds", ["inf", "nan", "-1", "86401"])
def test_a_wait_is_a_day_at_most(db: Path, seconds: str) -> None:
    said = CliRunner().invoke(typer_app(), ["report", "--db", str(db), f"--wait={seconds}"])
    assert isinstance(said.exception, UsageError)
    assert str(said.exception).startswith(f"--wait {seconds}: from 0 to 86400 seconds (a day)")


@pytest.mark.parametrize(
    ("command", "module", "function", "added"),
    [
        ("replay", replays, "replay_all", "runs 1, 2"),
        ("validate", validation, "validate_traces", "run 1"),
    ],
)
def test_a_command_says_what_is_in_where_it_cannot_print_it(
    command: str,
    module: ModuleType,
    function: str,
    added: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = read_spec("producer-consumer")
    trace = write_trace_set(changed(parse_spec(text, "x"), events=2000), text, tmp_path / "sets")
    db = tmp_path / "results.duckdb"
    really = getattr(module, function)
    with ExitStack() as stack:

        def then_busy(*args: Any, **more: Any) -> Done:
            done: Done = really(*args, **more)
            stack.enter_context(opened_by_another(db))
            return done

        monkeypatch.setattr(module, function, then_busy)
        said = CliRunner().invoke(
            typer_app(), [command, str(trace), "--db", str(db), "--wait", "0"]
        )
    assert isinstance(said.exception, BusyError)
    assert str(said.exception).endswith(f"; added to {db} before that: {added}")
