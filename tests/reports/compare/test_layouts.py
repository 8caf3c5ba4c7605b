"""A comparison as people read it: golden files, 80 columns, a page in a real browser, a PDF."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.compare import report as differences
from reports.compare.brief import LINES, brief
from reports.compare.comparable import Remark, Weight
from reports.compare.comparison import Comparison, Run, Side
from reports.compare.identity import Identity, LeftOut, Why
from reports.compare.json import to_json
from reports.compare.measure_runs import checked, compare
from reports.queries import runs
from reports.render.document import Chart
from reports.render.html import to_html
from reports.render.pdf import render
from reports.render.text import WIDTH, ascii_only, to_markdown, to_text
from tests.reports.conftest import empty_database, same_as_golden
from tests.reports.synthetic import Workload, add_seed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    """Three sides: a kernel that counts slabs, one that does not, and one with lost events."""
    with empty_database() as connection:
        add_seed(connection, 1, 1, Workload(births=900), kernel_release="6.12.107")
        add_seed(connection, 2, 2, Workload(births=900, order=1))
        add_seed(connection, 3, 3, Workload(births=900, tenth_remote=True), lost_events=7)
        sides = [
            Side(row["trace"], (Run(connection, row, own),))
            for row, own in zip(
                runs(connection), ("linux-6.12", "linux-7.2", "linux-7.2"), strict=True
            )
        ]
        yield compare(sides, 0, checked(sides))


@pytest.fixture(scope="module")
def two_sides(comparison: Comparison) -> Comparison:
    sides = comparison.sides[:2]
    return compare(sides, 0, checked(sides))


def test_text_is_the_golden_file(comparison: Comparison) -> None:
    same_as_golden("compare.txt", to_text(differences.report(comparison, "0.1.0", narrow=True)))


def test_the_brief_screen_is_the_golden_file(two_sides: Comparison) -> None:
    text = to_text(brief(two_sides, "0.1.0"))
    same_as_golden("compare-brief.txt", text)
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= WIDTH


def test_markdown_is_the_golden_file(comparison: Comparison) -> None:
    same_as_golden("compare.md", to_markdown(differences.report(comparison, "0.1.0")))


def test_json_is_the_golden_file(comparison: Comparison) -> None:
    same_as_golden("compare.json", to_json(comparison, "0.1.0"))


def test_text_survives_a_mailer(comparison: Comparison) -> None:
    text = to_text(differences.report(comparison, "0.1.0", narrow=True))
    assert text.isascii()
    assert "\t" not in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_a_name_of_any_length_and_script_stays_in_its_column(comparison: Comparison) -> None:
    assert ascii_only("3\u202f% \u2212 1 µs \x1b[0m") == "3 % - 1 us ?[0m"
    long = Side("\u00e9" * 300, comparison.sides[1].runs)
    sides = (comparison.sides[0], long, comparison.sides[2])
    wide = replace(comparison, sides=sides, remarks=())
    text = to_text(differences.report(wide, "0.1.0", narrow=True))
    assert max(map(len, text.splitlines())) <= WIDTH


def test_json_has_every_row_and_side(comparison: Comparison) -> None:
    content = json.loads(to_json(comparison, "0.1.0"))
    assert len(content["rows"]) == len(comparison.rows)
    assert {len(row["sides"]) for row in content["rows"]} == {3}
    assert [row["sides"][0]["against_baseline"] for row in content["rows"]] == [None] * len(
        comparison.rows
    )


def test_markdown_rows_have_as_many_cells_as_their_heads(comparison: Comparison) -> None:
    text = to_markdown(differences.report(comparison, "0.1.0"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        bars = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(bars)) == 1


def test_html_refers_to_nothing_outside_itself(comparison: Comparison) -> None:
    page = to_html(differences.report(comparison, "0.1.0"))
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert 'name="viewport"' in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)  # noqa: S314 - our own text
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)


def test_the_report_has_a_figure_of_operations_memory_and_lives(comparison: Comparison) -> None:
    report = differences.report(comparison, "0.1.0")
    captions = [
        re.split("[,:]", each.caption)[0]
        for each in report.sections[0].blocks
        if isinstance(each, Chart)
    ]
    assert captions == [
        "Reference operations by kind of page",
        "Memory of objects",
        "Lives that began and ended in the recordings",
    ]


# Clicks the head of the first column of the first long table twice, and says what it finds.
_PROBE = """
<script>
const table = [...document.querySelectorAll("table")].find((each) => each.rows.length > 9);
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
const head = table.tHead.rows[0].cells[0];
const before = names();
head.click(); const up = names(); head.click(); const down = names();
const sorted = [...before].sort((a, b) => a.localeCompare(b));
const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "A");
table.tHead.rows[0].cells[column].click();
const values = [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
const change = [...table.tHead.rows[0].cells].find((cell) => cell.textContent === "change");
parent.document.title = JSON.stringify({
  up: String(up) === String(sorted),
  turned: down[0] === sorted.at(-1) && down.at(-1) === sorted[0],
  numbers: values.filter((value) => value !== "-").map((v) => Number(v.replaceAll(",", ""))),
  width: innerWidth,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  change: change.getBoundingClientRect().right,
  small: Math.min(...[...document.querySelectorAll("p, li, td")].map(
    (each) => Number.parseFloat(getComputedStyle(each).fontSize))),
  figures: document.querySelectorAll("figure svg").length,
});
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
@pytest.mark.parametrize("width", [375, 1200])
def test_the_page_sorts_and_fits_in_a_browser(
    two_sides: Comparison, tmp_path: Path, width: int
) -> None:
    page = to_html(differences.report(two_sides, "0.1.0")).replace("</body>", _PROBE)
    # A window is never as narrow as a phone; a frame in it is.
    frame = f'<iframe srcdoc="{escape(page)}" style="width:{width}px;height:700px;border:0">'
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><title></title><body>{frame}</iframe></body>", "utf-8")
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,800"]
    options += ["--no-first-run", "--disable-background-networking"]
    done = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={tmp_path}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title
    found = json.loads(unescape(title[1]))
    assert found["up"]
    assert found["turned"]
    assert found["numbers"] == sorted(found["numbers"])
    assert len(found["numbers"]) > 5
    assert found["width"] == width
    assert found["wide"] <= 0  # tables and figures scroll, the page does not
    assert found["change"] <= width
    assert found["small"] >= 12
    assert found["figures"] == 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="there is no pdftotext")
def test_two_sides_say_it_on_two_pages(comparison: Comparison, tmp_path: Path) -> None:
    sides = comparison.sides[:2]
    path = tmp_path / "compare.pdf"
    path.write_bytes(render(differences.report(compare(sides, 0, checked(sides)), "0.1.0")))
    pages = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True
    ).stdout.split("\f")
    [detail] = [at for at, page in enumerate(pages) if "Every quantity" in page]
    assert detail == 2
    assert "Memory of objects" in pages[0] + pages[1]


MARKUP = ("<script>alert(1)</script>", "a|b`*_~\\", "#let x = [", "$a$ @b <c>", "x" * 300, "\n")
NAMES = st.sampled_from(MARKUP) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200
)


def called(comparison: Comparison, name: str) -> Comparison:
    """A comparison whose sides, kernels, items, objects and remarks are called so."""
    sides = tuple(
        Side(
            name, tuple(replace(run, row={**run.row, "kernel_release": name}) for run in side.runs)
        )
        for side in comparison.sides
    )
    rows = tuple(replace(row, item=name) if row.item else row for row in comparison.rows)
    left_out = [LeftOut(name, why, (7, 70)) for why in Why]
    identity = Identity(
        changes=[{}, {name: f"now in {name}"}], left_out=left_out, allocated=[100, 100]
    )
    remarks = (Remark(Weight.NOTE, name),)
    return replace(comparison, sides=sides, rows=rows, identity=identity, remarks=remarks)


@given(NAMES)
@settings(max_examples=20, deadline=None)
def test_any_name_can_be_laid_out(two_sides: Comparison, name: str) -> None:
    comparison = called(two_sides, name)
    screen = brief(comparison, "0.1.0")
    narrow = differences.report(comparison, "0.1.0", narrow=True)
    assert len(to_text(screen).splitlines()) <= LINES
    for report in (screen, narrow):
        text = to_text(report)
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= WIDTH
        to_markdown(report)
        assert "<script>alert" not in to_html(report)
    assert json.loads(to_json(comparison, "0.1.0"))["left_out"][0]["name"] == name


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKUP)
def test_any_name_can_be_drawn_and_printed(two_sides: Comparison, name: str) -> None:
    report = differences.report(called(two_sides, name), "0.1.0")
    assert "<script>alert" not in to_html(report)
    assert render(report).startswith(b"%PDF")
