"""What is thrown away: by its owner, by the next run where that was killed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.outputs import SPEC, claimed
from pipeline.processes.scratch import MARK, part_in, scratch
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NAME = "allocsim-0123456789abcdef"

#: Makes a scratch folder and a part in a folder, says which, and is killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.processes.scratch import part_in, scratch
where = Path(sys.argv[1])
with scratch(where) as folder, part_in(where) as (part, _):
    (folder / "much").mkdir()
    (folder / "much" / "data").touch()
    print(folder, part, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def killed(where: Path) -> list[str]:
    """Names of what a killed process has left in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(where)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == -9
    return done.stdout.split()


def test_a_folder_is_removed_however_its_block_ends(tmp_path: Path) -> None:
    with scratch() as first, scratch() as second:
        (first / "file").touch()
        assert first != second
    with pytest.raises(FileExistsError), scratch() as folder:
        (folder / MARK).mkdir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, part = killed(tmp_path)
    assert {str(path) for path in tmp_path.iterdir()} == {folder, part}
    with scratch(tmp_path) as own:
        assert {str(path) for path in tmp_path.iterdir()} == {part, str(own)}
    claimed(tmp_path / "a.toml", SPEC, force=False).write(b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]
    said = "allocsim: removed what a killed run had left: "
    assert capsys.readouterr().err == f"{said}{folder}\n{said}{part}\n"


def test_what_lives_or_is_not_ours_is_let_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (NAME, "allocsim-results0123456", "allocsim-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes").write_text("precious")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / MARK).touch()
    (tmp_path / NAME.replace("f", "e")).symlink_to(outside)
    (tmp_path / ".allocsim-notes.part").write_text("precious")
    before = set(tmp_path.rglob("*"))
    with scratch() as alive, part_in(tmp_path) as (part, _):
        with scratch(), part_in(tmp_path):
            pass
        assert alive.is_dir()
        assert part.is_file()
    assert set(tmp_path.rglob("*")) == before
    assert capsys.readouterr().err == ""


def test_where_a_folder_cannot_be_written_to_another_serves(tmp_path: Path) -> None:
    with scratch(tmp_path / "no such folder") as folder:
        assert folder.parent == tmp_path
