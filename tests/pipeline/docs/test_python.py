"""docs/python.md and its notebook do what they say."""

from __future__ import annotations

import doctest
import re
import runpy
import sys
from typing import TYPE_CHECKING

import pytest

import allocsim
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "docs" / "examples" / "notebook.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder beside the shipped trace sets, to be in."""
    (tmp_path / "traces").symlink_to(ROOT / "traces")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_its_examples_print_what_they_show(folder: Path) -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 20
    assert failed == 0
    assert [path.name for path in folder.iterdir()] == ["traces"]


def test_it_names_all_that_is_offered() -> None:
    text = PAGE.read_text("utf-8")
    for name in allocsim.OFFERED:
        assert re.search(rf"`(allocsim\.)?{name}[`(]", text), name


@pytest.mark.slow
def test_the_notebook_runs(folder: Path) -> None:
    pytest.importorskip("marimo", reason="marimo is not installed (allocsim[notebook])")
    app = runpy.run_path(str(NOTEBOOK))["app"]
    outputs, names = app.run()
    assert len(outputs) > 8
    policies, swept = names["policies"], names["swept"]
    assert policies["policy"].to_list()[0] == "refcounted"
    assert swept["capacity"].to_list() == [None, 4, 8, 16, 32, 60]
    assert swept.drop_nulls("capacity")["refills"].is_sorted(descending=True)
    assert sorted(path.name for path in folder.iterdir()) == ["traces"]
    assert "marimo" in sys.modules
