"""A report as JSON: its sections and blocks as they are, with the numbers behind its figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.render.document import Block, Report


def to_json(report: Report) -> str:
    """The report as one JSON object.

    Each block has its "type" and the fields of its class in document.py; "sources" has the SQL of
    the views that blocks name. Cells of tables are written as they are read: for numbers to count
    with, ask the view.
    """
    content = {
        "title": report.title,
        "footer": report.footer,
        "sections": [
            {
                "title": section.title,
                "subtitle": section.subtitle,
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in report.sections
        ],
        "sources": [asdict(source) for source in report.sources],
    }
    return json.dumps(content, indent=1) + "\n"


def _block(block: Block) -> dict[str, Any]:
    return {"type": type(block).__name__.lower(), **asdict(block)}
