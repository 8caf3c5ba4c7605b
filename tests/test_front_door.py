"""import allocsim is light, and says so where another package lies over one of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def python(*arguments: str, path: list[Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=os.devnull.rpartition("/")[0],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
    )


def test_importing_it_imports_nothing_else() -> None:
    done = python(
        "-c",
        "import sys; before = set(sys.modules); import allocsim; dir(allocsim)\n"
        "print(sorted(set(sys.modules) - before))",
        path=[ROOT],
    )
    assert (done.stdout, done.stderr) == ("['allocsim']\n", "")


@pytest.mark.parametrize("name", ["pipeline", "reports"])
@pytest.mark.parametrize(
    "content",
    ['"""Reports for everybody."""\n', "import something_that_is_not_there\n", "1 / 0\n", None],
    ids=["another", "lacking", "failing", "gone"],
)
def test_another_package_over_ours_is_told(name: str, content: str | None, tmp_path: Path) -> None:
    package = tmp_path / name
    package.mkdir()
    if content is not None:  # else what an uninstalled one leaves: ours without __init__.py
        (package / "__init__.py").write_text(content, "utf-8")
    else:
        (package / "cli.py").write_text("", "utf-8")
        (tmp_path / "allocsim").symlink_to(ROOT / "allocsim")
    path = [tmp_path] if content is None else [tmp_path, ROOT]
    if content is None and name == "reports":
        (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    done = python("-S", "-m", "allocsim", "--version", path=path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"allocsim: the package {name} is not allocsim's (")
    assert "pipx install allocsim" in done.stderr
    in_python = python("-S", "-c", "import allocsim; allocsim.replay", path=path)
    assert in_python.stderr.splitlines()[-1].startswith(f"ImportError: the package {name} is not")
