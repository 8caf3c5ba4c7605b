"""ARCHITECTURE, CONTRIBUTING and CHANGELOG name files that exist, and rooms that there are."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.test_imports import ROOMS

PAPERS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/reading-the-model.md")
#: What a trip would make.
TO_COME = {"allocsim/refcount/policies/linux-7.4.toml"}


@pytest.mark.parametrize("paper", PAPERS)
def test_the_files_named_exist(paper: str) -> None:
    text = (ROOT / paper).read_text("utf-8")
    tops = "allocsim|pipeline|reports|tests|docs|bench|traces"
    named = set(re.findall(rf"(?<![\w./-])((?:{tops})/[\w./-]*\w)", text))
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    missing = {
        *(name for name in named - TO_COME if not (ROOT / name).exists()),
        *(link for link in links if not (ROOT / paper).parent.joinpath(link).exists()),
    }
    assert not {name for name in missing if not (ROOT / f"{name}.py").exists()}


def test_every_room_has_its_line() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for room in ROOMS["allocsim"]:
        if (ROOT / "allocsim" / room).is_dir():
            assert f"| allocsim/{room} |" in text
