"""A report as PDF: typst sets the page, from the template beside this file.

Nothing is read but the template and the fonts that the matplotlib and typst wheels carry, and
nothing depends on the clock: the same report gives the same bytes.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import typst
from matplotlib import get_data_path

from reports.render import plots
from reports.render.document import (
    Answer,
    Bar,
    Block,
    Bullets,
    Cell,
    Chart,
    Heading,
    Mono,
    Report,
    Strong,
    Table,
    Text,
)
from reports.render.wording import visible

_FONTS = f"{get_data_path()}/fonts/ttf"


def render(report: Report) -> bytes:
    """The report as the bytes of a PDF file."""
    content = {
        "title": report.title,
        "footer": report.footer,
        "sections": [
            {
                "title": section.title,
                "subtitle": section.subtitle,
                "flows": section.flows,
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in report.sections
        ],
    }
    return typst.compile(
        resources.files("reports.render").joinpath("report.typ").read_bytes(),
        sys_inputs={"report": json.dumps(_visible(content))},
        font_paths=typst.Fonts(include_system_fonts=False, font_paths=[_FONTS]),
    )


def _visible(content: object) -> object:
    """The content, its texts without what a page cannot hold; figures have seen to theirs."""
    match content:
        case str():
            return visible(content)
        case list():
            return [_visible(item) for item in content]
        case dict():
            return {key: item if key == "svg" else _visible(item) for key, item in content.items()}
        case _:
            return content


def _block(block: Block) -> dict[str, Any]:
    """One block as the template reads it."""
    match block:
        case Chart():
            return {"type": "figure", "svg": plots.svg(block), "caption": block.caption}
        case Table():
            columns = [
                {"title": column.title, "numeric": column.numeric, "share": column.share}
                for column in block.columns
            ]
            rows = [[_cell(cell) for cell in row] for row in block.rows]
            return {"type": "table", "caption": block.caption, "columns": columns, "rows": rows}
        case Heading():
            return {"type": "heading", "text": block.text}
        case Text():
            return {"type": "text", "text": block.text}
        case Bullets():
            return {"type": "list", "items": block.items}
        case Answer():
            return {"type": "answer", "text": block.text, "note": block.note, "view": block.view}


def _cell(cell: Cell) -> str | dict[str, Any]:
    match cell:
        case str():
            return cell
        case Mono():
            return {"style": "mono", "text": cell.text}
        case Strong():
            return {"style": "strong", "text": cell.text}
        case Bar():
            return {"style": "bar", "share": cell.share}
