"""Putting trace sets in place: one of two wins, and a killed process leaves one or the other."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import OutputError
from pipeline.processes.scratch import MARK
from pipeline.trace_set import aside as module
from pipeline.trace_set.aside import made_aside
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def fill(folder: Path, what: str) -> None:
    folder.mkdir()
    for name in ("events.parquet", "meta.json"):
        (folder / name).write_text(what)


def content(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(
    target: Path, what: str, *, force: bool = False, then: Callable[[], object] = lambda: None
) -> None:
    """Make a trace set; do something before it is put in place."""
    with made_aside(target, force=force) as aside:
        fill(aside / target.name, what)
        then()


@pytest.fixture(params=["exchange", "two renames"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(module, "_renamed", lambda *_: False)


@pytest.mark.usefixtures("_way")
def test_it_is_replaced_when_told(tmp_path: Path) -> None:
    target = tmp_path / "a" / "set"
    make(target, "old")
    with pytest.raises(OutputError, match="/set: already there; --force replaces a trace set"):
        make(target, "new")
    assert content(target) == {"old"}
    make(target, "new", force=True)
    assert content(target) == {"new"}
    assert names(target.parent) == ["set"]


@pytest.mark.usefixtures("_way")
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "set"
    make(target, "old")
    made = tmp_path / ".set.unfinished" / "set"
    with pytest.raises(ZeroDivisionError):
        make(target, "new", force=True, then=lambda: 1 // 0)
    with pytest.raises(OutputError, match="/set: cannot be written"):
        make(target, "new", force=True, then=lambda: made.rename(made.parent / "gone"))
    assert content(target) == {"old"}
    assert names(tmp_path) == ["set"]


@pytest.mark.parametrize("there", ["notes", "meta.json", "link", "dangling", "file"])
def test_nothing_but_a_trace_set_is_replaced(tmp_path: Path, there: str) -> None:
    target = tmp_path / "set"
    fill(tmp_path / "other", "other")
    if there in ("link", "dangling"):
        target.symlink_to(tmp_path / ("other" if there == "link" else "none"))
    elif there == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / there).write_text("precious")
    before = names(tmp_path)
    for force in (False, True):
        with pytest.raises(OutputError, match=r"/set: (not a trace set|a symbolic link), and"):
            make(target, "new", force=force)
    assert names(tmp_path) == before
    assert content(tmp_path / "other") == {"other"}


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("force", [True, False])
def test_what_comes_meanwhile_is_not_lost(tmp_path: Path, force: bool) -> None:
    target = tmp_path / "set"

    def come() -> None:
        target.mkdir()
        (target / "notes").write_text("precious")

    with pytest.raises(OutputError, match="not a trace set"):
        make(target, "new", force=force, then=come)
    assert content(target) == {"precious"}
    assert names(tmp_path) == ["set"]


def test_of_two_at_a_time_one_is_told(tmp_path: Path) -> None:
    target = tmp_path / "set"
    with made_aside(target, force=False) as aside:
        fill(aside / "set", "first")
        for force in (False, True):
            with pytest.raises(OutputError, match="/set: is being made by another process; try"):
                make(target, "second", force=force)
    assert content(target) == {"first"}
    make(target, "second", force=True)
    assert content(target) == {"second"}


MANY = """
import sys
from pathlib import Path
from pipeline.errors import OutputError
from tests.pipeline.trace_set.test_aside import make

sys.stdin.readline()
for _ in range(20):
    try:
        make(Path(sys.argv[1]), sys.argv[2], force=sys.argv[3] == "force")
        print("made")
    except OutputError as error:
        print(str(error).partition(": ")[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("force", ["force", ""])
def test_of_many_at_a_time_each_is_told_what_became_of_it(tmp_path: Path, force: str) -> None:
    target = tmp_path / "set"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, target, str(number), force],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(4)
    ]
    said = [line for each in processes for line in each.communicate("\n")[0].splitlines()]
    assert all(each.returncode == 0 for each in processes)
    allowed = {"made", "is being made by another process; try again when that is done"}
    if not force:
        allowed.add("already there; --force replaces a trace set")
        assert said.count("made") == 1
    assert set(said) <= allowed
    assert len(content(target)) == 1
    assert names(tmp_path) == ["set"]


KILLED = """
import ctypes, os, signal, sys
from pathlib import Path
from pipeline.trace_set import aside
from tests.pipeline.trace_set.test_aside import make

if sys.argv[3] == "two renames":
    aside._renamed = lambda *_: False
left = int(sys.argv[2])

def watch(event, _):
    # Every change to a folder is announced before it is made.
    global left
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open", "ctypes.dlsym"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
make(Path(sys.argv[1]), "new", force=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_kill_at_any_step_leaves_one_or_the_other(tmp_path: Path, way: str) -> None:
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        target = folder / "set"
        make(target, "old")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, target, str(steps), way], check=False, cwd=ROOT
        )
        if way == "exchange":  # at no moment is there none
            assert content(target) in ({"old"}, {"new"})
        if done.returncode == 0:
            assert content(target) == {"new"}
            assert names(folder) == ["set"]
            break
        assert done.returncode == -signal.SIGKILL
        # The next run finds a whole one, and leaves nothing of the killed one.
        with pytest.raises(OutputError, match="already there"):
            make(target, "next")
        assert len(content(target)) == 1
        make(target, "next", force=True)
        assert content(target) == {"next"}
        assert names(folder) == ["set"]
    assert steps > 5


def test_a_folder_planted_under_the_name_is_not_worked_in(tmp_path: Path) -> None:
    target = tmp_path / "sets" / "set"
    target.parent.mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "notes").write_text("precious")
    (target.parent / ".set.unfinished").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="/sets: cannot be written to"):
        make(target, "new")
    assert content(tmp_path / "precious") == {"precious"}
    (target.parent / ".set.unfinished").unlink()
    (target.parent / ".set.unfinished").mkdir()
    (target.parent / ".set.unfinished" / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="unfinished: in the way, and not of this allocsim"):
        make(target, "new")
    (target.parent / ".set.unfinished" / MARK).touch()
    make(target, "new")
    assert content(tmp_path / "precious") == {"precious"}
    assert names(target.parent) == ["set"]
