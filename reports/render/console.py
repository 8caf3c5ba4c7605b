"""Text for a terminal or a mail: at most 100 columns, nothing cut short, nothing that steers."""

from __future__ import annotations

import json
from textwrap import fill, wrap
from typing import TYPE_CHECKING

from reports.render.wording import NARROW, unbroken

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

WIDTH = 100
INDENT = "  "  #: of a table


def printable(text: str) -> str:
    """The text with control characters and line breaks escaped, which would steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == NARROW else json.dumps(char)[1:-1] for char in text
    )


def wrapped(text: str, first: str = "", then: str = INDENT) -> str:
    """A sentence in lines, ended; numbers keep their units, names stay whole.

    Args:
        text: the sentence.
        first: what its first line begins with.
        then: what the others begin with.
    """
    lines = fill(
        unbroken(printable(text)),
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_on_hyphens=False,
    )
    return lines.replace(NARROW, " ") + "\n"


def aligned(table: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """A table without its empty columns: a text a row, the heads' first, each of whole lines.

    A first cell that leaves too little room for the others stands on lines of its own.

    Args:
        table: its heads, then its rows.
        left: columns of words, by number; the others are numbers and stand to the right.
    """
    used = [place for place in range(len(table[0])) if any(row[place] for row in table[1:])]
    rows = [[printable(row[place]).replace(NARROW, " ") for place in used] for row in table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], WIDTH - len(INDENT) - sum(width + 2 for width in widths[1:]))
    texts = []
    for name, *rest in rows:
        above = wrap(name, WIDTH - len(INDENT)) if len(name) > widths[0] else []
        cells = [
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, cell, width in zip(used[1:], rest, widths[1:], strict=True)
        ]
        last = "  ".join([("" if above else name).ljust(widths[0]), *cells])
        texts.append("".join(f"{INDENT}{line}".rstrip() + "\n" for line in (*above, last)))
    return texts
