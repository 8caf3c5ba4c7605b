"""docs/record.sh refuses what it cannot do, before it touches the tracer."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ROOT / "docs" / "record.sh"


def run(folder: Path, *arguments: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
    """The script with a PATH on which there is nothing but id, which says who calls."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "id").write_text(f"#!/bin/sh\necho {uid}\n", "utf-8")
    (tools / "id").chmod(0o755)
    shell = shutil.which("sh") or "/bin/sh"
    (tools / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    return subprocess.run(
        [shell, str(SCRIPT), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PATH": str(tools)},
    )


@pytest.mark.parametrize("arguments", [(), ("-o", "x"), ("-z", "true")])
def test_without_a_command_it_says_how_it_is_called(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage: record.sh [-o FOLDER]" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("uid", "message"),
    [(1000, "only root may trace the kernel"), (0, "there is no trace-cmd")],
)
def test_what_is_missing_is_told_in_a_line(tmp_path: Path, uid: int, message: str) -> None:
    done = run(tmp_path, "-o", "recording", "true", uid=uid)
    assert (done.returncode, done.stderr) == (1, f"record.sh: {message}\n")
    assert not (tmp_path / "recording").exists()
