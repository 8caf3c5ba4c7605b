"""A database that is in use is waited for, as long as is said."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import BusyError
from pipeline.store import waiting
from pipeline.store.asking import Question, ask
from pipeline.store.database import reading, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
