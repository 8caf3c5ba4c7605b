"""What a package of the project holds: every file of data, not only every module."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def test_every_file_of_data_is_in_a_package() -> None:
    listed = {
        path
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package).glob(pattern)
    }
    there = {
        path
        for package in SETUPTOOLS["package-data"]
        for path in (ROOT / package).rglob("*.*")
        if path.suffix != ".py" and path.parent.name != "__pycache__"
    }
    assert len(there) > 60
    assert listed == there


def test_every_folder_of_modules_is_a_package() -> None:
    for top in SETUPTOOLS["package-data"]:
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_every_spec_is_in_the_package() -> None:
    patterns = SETUPTOOLS["data-files"]["share/allocsim/specs"]
    listed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert listed == set((ROOT / "traces" / "specs").iterdir())


def test_every_extra_is_described() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "docs" / "installing.md").read_text("utf-8")
    for extra in project["optional-dependencies"]:
        assert f"| `allocsim[{extra}]` |" in text, extra


def built(what: str, source: Path, into: Path) -> Path:
    """The one package that is built of a tree, with the tools that are installed."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{what}", "--outdir", str(into)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    [package] = into.iterdir()
    return package


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as file:
        return {
            info.filename: hashlib.sha256(file.read(info)).hexdigest() for info in file.infolist()
        }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git has of the tree, as it lies there now."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    copy = tmp_path_factory.mktemp("tree") / "allocsim"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.mark.slow
def test_a_source_package_has_the_whole_tree_and_gives_the_same_wheel(
    tree: Path, tmp_path: Path
) -> None:
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    sdist = built("sdist", tree, tmp_path / "sdist")
    with tarfile.open(sdist) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
        assert files - packed == set()
        file.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    from_sdist = contents(built("wheel", unpacked, tmp_path / "from_sdist"))
    from_tree = contents(built("wheel", tree, tmp_path / "from_tree"))
    lists = {name for name in from_tree if name.endswith(("/RECORD", "/SOURCES.txt"))}
    assert from_sdist.keys() == from_tree.keys()
    assert {name for name in from_tree if from_tree[name] != from_sdist[name]} <= lists
    assert any(name.endswith("share/man/man1/allocsim.1") for name in from_tree)
    assert {"pipeline/commands/record.sh", "allocsim/py.typed"} <= from_tree.keys()
    assert not any(name.startswith(("tests/", "traces/", "docs/")) for name in from_tree)
