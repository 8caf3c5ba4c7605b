"""Figures: SVG that any reader of XML takes, whatever names are in it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from reports.render.style import new_figure, svg


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["\x1b[31mred", "a\x00\x07b", "<b>&\u202e", "\u6f22\u5b57"])
def test_a_figure_with_any_name_is_xml(name: str) -> None:
    figure = new_figure(1)
    figure.add_subplot().set_title(name)
    text = svg(figure)
    ET.fromstring(text)  # noqa: S314 - made a line above
    assert all(char == "\n" or char.isprintable() for char in text)
