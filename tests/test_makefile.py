"""The targets of the Makefile, with an allocsim that only says what it was called with."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Tells of its call, and makes what --db and -o name; fails where it is told to.
_STAND_IN = """#!/bin/sh
echo "$@" >> "$LOG"
said=
for word in "$@"; do
    case "$said" in --db|-o) test -e "$word" || echo new > "$word" ;; esac
    said=$word
done
test "$1" != "$FAILING"
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment that make takes for complete."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in ("bin/python", ".run", ".dev"):
        (folder / name).touch()
    (folder / "bin" / "allocsim").write_text(_STAND_IN)
    (folder / "bin" / "allocsim").chmod(0o755)
    return folder


def make(venv: Path, *arguments: str, failing: str = "") -> tuple[int, list[str]]:
    """What make ends with, and the calls of allocsim."""
    log = venv.parent / "log"
    log.touch()
    done = subprocess.run(
        ["make", f"VENV={venv}", f"OUT={venv.parent / 'out'}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "LOG": str(log), "FAILING": failing},
    )
    return done.returncode, log.read_text().splitlines()


def test_replay_puts_a_new_database_in_place_of_the_old_one(venv: Path) -> None:
    out = venv.parent / "out"
    out.mkdir()
    (out / "results.duckdb").write_text("old")
    (out / ".results.duckdb.part").write_text("left by a replay that was interrupted")
    code, calls = make(venv, "replay", "TRACES=some trace")
    assert code == 0
    assert calls[0].endswith("some trace")
    assert (out / "results.duckdb").read_text() == "new\n"
    assert sorted(path.name for path in out.iterdir()) == ["report.pdf", "results.duckdb"]


def test_a_replay_that_fails_leaves_the_old_database(venv: Path) -> None:
    out = venv.parent / "out"
    out.mkdir()
    (out / "results.duckdb").write_text("old")
    code, calls = make(venv, "replay", failing="replay")
    assert code != 0
    assert len(calls) == 1
    assert (out / "results.duckdb").read_text() == "old"


def test_compare_is_one_call_with_repeats_put_together(venv: Path) -> None:
    code, [call] = make(venv, "compare", "A=a1 a2", "B=b")
    assert code == 0
    assert call.startswith("compare --force a1,a2 b -o ")
    out = venv.parent / "out"
    assert {path.name for path in out.iterdir()} == {"compare.txt", "compare.pdf", "compare.html"}


def test_compare_without_sides_says_what_to_say(venv: Path) -> None:
    assert make(venv, "compare", "A=a") == (2, [])
