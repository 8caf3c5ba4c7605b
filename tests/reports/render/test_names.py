"""A trace, a cache or a symbol may have any name: no layout reads it as anything but text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.render.document import (
    Answer,
    Bars,
    Bullets,
    Chart,
    Heading,
    Mono,
    Report,
    Section,
    Source,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.render.html import to_html
from reports.render.json import to_json
from reports.render.pdf import render
from reports.render.text import WIDTH, to_markdown, to_text

#: Long, unicode, markup, and characters that steer a terminal or a page.
NAMES = st.one_of(
    st.text(max_size=200),
    st.text("\x00\x07\x1b\x7f\u202e\u2028\ud800\r\n\t|`*_<>&#$\\\"'~-[]", max_size=40),
    st.sampled_from(
        ["x" * 300, "</script><b>", "#strong[x] $a$", "| a | b |", "\u6f22\u5b57" * 40]
    ),
)


def report_of(name: str) -> Report:
    """A report in which the name stands wherever a name can stand."""
    columns = (TableColumn(name, numeric=False, share=1), TableColumn("n"), TableColumn(name))
    return Report(
        f"allocsim report: {name}",
        name,
        [
            Section(
                f"allocsim report: {name}",
                name,
                [
                    Heading(name),
                    Answer(name, name, "view"),
                    Text(name),
                    Bullets([name]),
                    Table(name, columns, [[Mono(name), "1", Strong(name)]]),
                    Chart(name, [Bars([name], {name: [1]}, name, name, [name])]),
                ],
            )
        ],
        [Source("view", name, name)],
    )


def steers(text: str) -> list[str]:
    return [char for char in text if category(char) in {"Cc", "Cs"} and char != "\n"]


@given(NAMES)
def test_plain_text_keeps_to_ascii_and_every_paragraph_to_its_width(name: str) -> None:
    text = to_text(report_of(name))
    assert text.isascii()
    assert steers(text) == []
    assert all(len(line) <= WIDTH for line in text.split("\n\n")[0].splitlines())


@given(NAMES)
def test_markdown_has_a_row_a_line_and_as_many_cells_as_heads(name: str) -> None:
    text = to_markdown(report_of(name))
    assert steers(text) == []
    text.encode()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {4}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"text", "path"}:  # ticks: as many as there is room for
            self.tags.append(tag)
        for attr, value in attrs:  # nothing refers to anything outside the page
            assert attr != "src"
            assert attr != "href" or str(value).startswith("#")


def tags(page: str) -> list[str]:
    parser = _Tags()
    parser.feed(page)
    return parser.tags


@given(NAMES.filter(bool))
def test_html_has_the_same_elements_whatever_the_name(name: str) -> None:
    page = to_html(report_of(name))
    page.encode()
    assert [char for char in steers(page) if char not in "\t\r"] == []
    assert tags(page) == tags(to_html(report_of("a")))


@given(NAMES)
def test_json_gives_the_name_back(name: str) -> None:
    content = json.loads(to_json(report_of(name)))
    assert content["footer"] == name
    blocks = content["sections"][0]["blocks"]
    assert [block["type"] for block in blocks] == [
        *("heading", "answer", "text", "bullets", "table", "chart")
    ]
    assert blocks[-1]["panels"][0]["parts"] == {name: [1]}


@pytest.mark.slow
@settings(max_examples=12)
@given(NAMES)
def test_a_pdf_can_be_made_of_any_name(name: str) -> None:
    assert render(report_of(name)).startswith(b"%PDF-")


def test_names_of_functions_break_where_a_column_of_a_pdf_is_narrow() -> None:
    def pages(name: str) -> int:
        columns = (TableColumn("f", numeric=False, share=1), TableColumn("w " * 60, numeric=False))
        rows = [[Mono(name), "w " * 50]] * 120
        sections = [Section("t", "s", [Table("c", columns, rows)])]
        return len(re.findall(rb"/Type\s*/Page\b", render(Report("t", "f", sections, []))))

    assert pages("__a_vmalloc_node_range_noprof") > pages("x" * 29)
