"""What a package of the project holds: every file of data, not only every module."""

from __future__ import annotations

import tomllib

from tests.conftest import ROOT

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
        if path.suffix not in {".py", ".pyc"}
    }
    assert len(there) > 60
    assert listed == there


def test_every_folder_of_modules_is_a_package() -> None:
    for top in SETUPTOOLS["package-data"]:
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_every_spec_is_in_the_package() -> None:
    [patterns] = SETUPTOOLS["data-files"].values()
    listed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert listed == set((ROOT / "traces" / "specs").iterdir())
