"""A report as one HTML file: no network, sortable tables, figures inline, readable on a phone."""

from __future__ import annotations

import re
from html import escape as escaped
from importlib import resources
from typing import TYPE_CHECKING

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
    Source,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterable


def to_html(report: Report) -> str:
    """The report as the text of an HTML file; nothing in it refers to anything outside it."""
    page = resources.files("reports.render")
    style = page.joinpath("report.css").read_text("utf-8")
    script = page.joinpath("report.js").read_text("utf-8")
    charts = 0
    parts = []
    for section in report.sections:
        parts.append(f"<section>\n<h1>{escape(section.title)}</h1>")
        parts.append(f'<p class="subtitle">{escape(section.subtitle)}</p>')
        for block in section.blocks:
            charts += isinstance(block, Chart)
            parts.append(_block(block, charts))
        parts.append("</section>")
    if report.sources:
        parts.append(
            f"<section>\n<h1>Where the numbers are from</h1>\n{_views(report.sources)}</section>"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<footer>{escape(report.footer)}</footer>\n<script>\n{script}</script>\n"
        "</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """Text of a page: nothing in it is markup, or steers the eye."""
    return escaped(visible(text))


def _views(sources: Iterable[Source]) -> str:
    """The views, to be unfolded: ``allocsim sql "from NAME"`` asks them."""

    def sql(text: str) -> str:
        return "\n".join(map(escape, text.split("\n")))

    return "".join(
        f'<details id="view-{escape(each.view)}"><summary><code>{escape(each.view)}</code>: '
        f"{escape(each.row)}</summary>\n<pre>{sql(each.sql)}</pre></details>\n"
        for each in sources
    )


def _from(view: str) -> str:
    """A link to the view that numbers are of."""
    return f' <a class="view" href="#view-{escape(view)}">{escape(view)}</a>' if view else ""


def _block(block: Block, chart: int) -> str:
    match block:
        case Heading():
            return f"<h2>{escape(block.text)}</h2>"
        case Text():
            return f"<p>{escape(block.text)}</p>"
        case Bullets():
            items = "".join(f"<li>{escape(item)}</li>\n" for item in block.items)
            return f"<ul>\n{items}</ul>"
        case Answer():
            return (
                f'<div class="answer"><p>{escape(block.text)}</p>'
                f'<p class="note">{escape(block.note)}{_from(block.view)}</p></div>'
            )
        case Table():
            return _table(block)
        case Chart():
            caption = f"<figcaption>{escape(block.caption)}{_from(block.view)}</figcaption>"
            figure = f"<figure>\n{_inline(plots.svg(block), chart)}{caption}</figure>"
    return figure


def _inline(svg: str, number: int) -> str:
    """An SVG file as an element: its ids made its own, for all figures share the page's."""
    return re.sub(r'(<path id="|href="#|<clipPath id="|url\(#)', rf"\1f{number}-", svg)


def _table(table: Table) -> str:
    heads = "".join(_head(column) for column in table.columns)
    titled = any(column.title for column in table.columns)
    head = f"<thead><tr>{heads}</tr></thead>\n" if titled else ""
    rows = "".join(f"<tr>{_cells(row, table.columns)}</tr>\n" for row in table.rows)
    caption = f'<p class="caption">{escape(table.caption)}{_from(table.view)}</p>'
    return f'{caption}\n<div class="wide"><table>\n{head}<tbody>\n{rows}</tbody>\n</table></div>'


def _head(column: TableColumn) -> str:
    kind = ' class="number"' if column.numeric else ""
    title = escape(column.title)
    return f'<th scope="col"{kind}><button type="button">{title or "&nbsp;"}</button></th>'


def _cells(row: Iterable[Cell], columns: Iterable[TableColumn]) -> str:
    kinds = (' class="number"' if column.numeric else "" for column in columns)
    return "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))


def _cell(cell: Cell) -> str:
    match cell:
        case str():
            return escape(cell)
        case Mono():
            return f"<code>{escape(cell.text)}</code>"
        case Strong():
            return f"<strong>{escape(cell.text)}</strong>"
        case Bar():
            return f'<span class="bar" style="width:{100 * cell.share:.1f}%"></span>'
