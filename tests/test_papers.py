"""No link of any page is dead; the papers name files that exist, and rooms that there are."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PAPERS = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/comparing.md",
    "docs/limits.md",
    "docs/reading-the-model.md",
    "docs/recording.md",
    "docs/walk.md",
)
#: What a trip would make.
TO_COME = {"allocsim/refcount/policies/linux-7.4.toml"}


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for top in (".", "docs", "bench", "traces")
    for path in (ROOT / top).glob("*.md" if top == "." else "**/*.md")
)


def anchors(page: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/walk.md", "docs/views/README.md", "bench/RESULTS.md"} <= {*PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("paper", PAPERS)
def test_the_files_named_exist(paper: str) -> None:
    text = (ROOT / paper).read_text("utf-8")
    tops = "allocsim|pipeline|reports|tests|docs|bench|traces"
    named = set(re.findall(rf"(?<![\w./-])((?:{tops})/[\w./-]*\w)", text))
    missing = {name for name in named - TO_COME if not (ROOT / name).exists()}
    assert not {name for name in missing if not (ROOT / f"{name}.py").exists()}


def test_every_room_has_its_line() -> None:
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.MULTILINE)
    told = {name for row in rows for name in row.split(", ")}
    for top in ("allocsim", "pipeline", "reports"):
        rooms = {path.parent.name for path in (ROOT / top).glob("*/*.*") if path.suffix != ".pyc"}
        assert {f"{top}/{room}" for room in rooms} <= told
