"""Figures as SVG: matplotlib draws their panels to scale, with each value on hover.

Nothing is smoothed or left out. Lengths are points: a figure is as wide as the text of a page, and
where a panel lies is known before it is drawn. Colours are the names' own; text and axes have the
colour of the text around them. Type is matplotlib's own DejaVu Sans; typst is given the same files.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.style import context

from reports.render.colours import colour
from reports.render.document import (
    Bars,
    Chart,
    Curves,
    LinePanel,
    OverTime,
    Panel,
    Points,
    Ratios,
)
from reports.render.panels import (
    INK,
    NOTE,
    SAID,
    SIZE,
    aside,
    dash,
    draw,
    height,
    mark,
    row_names,
    width,
)
from reports.render.wording import shortened, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 476.0

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: typst sets it, and a reader can search it
    "svg.hashsalt": "allocsim",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.family": "DejaVu Sans",
    "font.size": SIZE,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "legend.fontsize"), SIZE),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), SIZE),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    "axes.titlepad": 4,
    "axes.labelpad": 2,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "grid.linewidth": 0.5,
    "lines.linewidth": 0.9,
    "lines.markersize": 4,
    "lines.markeredgewidth": 0.9,
    "path.simplify": False,
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.2,
    "legend.labelspacing": 0.3,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.5,
}

#: What matplotlib writes -> what stands in its place: titles for hover, no other names of groups,
#: ink in the colour of the text around; what is the same of all text is said once.
_REWRITTEN = (
    (rf"""<g id=(["']){SAID}(.*?)\1>""", r'<g pointer-events="all"><title>\2</title>'),
    (r"""<g id=(["'])[^"']*\1 ?/>\n""", ""),
    (r"""<g id=(["'])[^"']*\1>""", "<g>"),
    ("stroke: #000000", "stroke: currentColor"),
    (
        r"""font-size: 7px; font-family: 'DejaVu Sans'(; )?|^ +| transform="rotate\(-0 [^)]*\)\"""",
        "",
    ),
    ("^<svg ", '<svg fill="currentColor" font-family="DejaVu Sans, sans-serif" font-size="7" '),
)


def svg(chart: Chart) -> str:
    """The figure as the text of an SVG file: the same bytes for the same figure."""
    names = _names(chart.panels)
    lines = [
        chart.panels[at : at + chart.beside] for at in range(0, len(chart.panels), chart.beside)
    ]
    words = [shortened(visible(chart.words.get(name, name)), NOTE) for name in names]
    most = max(int(WIDTH / (max(map(width, words), default=0) + 20)), 1)
    legend = -(-len(names) // most) if len(names) > 1 else 0
    top = 4.0 + 10 * legend if legend else 2.0
    tall = top + sum(map(_tall, lines))
    # Warnings tell of letters that the font lacks: who shows the SVG has others.
    with context(_STYLE, after_reset=True), warnings.catch_warnings(action="ignore"):
        figure = Figure((WIDTH / 72, tall / 72), facecolor="none")
        if legend:
            handles = [_handle(chart.panels, name, at) for at, name in enumerate(names)]
            figure.legend(handles, words, loc="upper left", ncols=-(-len(names) // legend))
        for line in lines:
            _line(figure, line, chart.beside, top, names)
            top += _tall(line)
        out = io.StringIO()
        unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=unsaid)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for found, instead in _REWRITTEN:
        text = re.sub(found, instead, text, flags=re.MULTILINE)
    return text


def _names(panels: Iterable[Panel]) -> list[str]:
    """Everything that has a colour, in the order in which it is met."""
    found: dict[str, None] = {}
    for panel in panels:
        match panel:
            case Bars():
                found |= dict.fromkeys(panel.parts)
            case Points() | Ratios():
                found |= dict.fromkeys(panel.marks)
            case OverTime():
                found |= dict.fromkeys([*panel.areas, *panel.lines])
            case LinePanel() | Curves():
                found |= dict.fromkeys(panel.lines)
    return list(found)


def _handle(panels: Sequence[Panel], name: str, at: int) -> Patch | Line2D:
    """A swatch, a line or a mark, as the first panel has it that draws the name."""
    panel = next(panel for panel in panels if name in _names([panel]))
    if isinstance(panel, Bars) or (isinstance(panel, OverTime) and name in panel.areas):
        return Patch(color=colour(name))
    if isinstance(panel, OverTime):
        return Line2D([], [], color=colour(name), **dash(panel, name))
    ink = INK if isinstance(panel, Ratios) and panel.by_row else colour(name)
    return Line2D([], [], color=ink, linestyle="", **mark(at))


def _tall(panels: Sequence[Panel]) -> float:
    """How high panels side by side are, with titles above and an axis below."""
    return max(map(height, panels)) + 12 * any(map(_title, panels)) + 29


def _title(panel: Panel) -> str:
    return getattr(panel, "title", "")


def _line(
    figure: Figure, panels: Sequence[Panel], beside: int, top: float, names: Sequence[str]
) -> None:
    """Draws panels side by side; rows that are the same stand once, before the first."""
    rows = [row_names(panel) for panel in panels if isinstance(panel, Bars | Points | Ratios)]
    alike = len(rows) == len(panels) and all(other == rows[0] for other in rows)
    gutter = 6 + max((width(row) for each in rows for row in each), default=30)
    gutters = [gutter if at == 0 or not alike else 6.0 for at in range(len(panels))]
    free = WIDTH - sum(gutters) - 14 * beside - (beside - len(panels)) * (not alike) * gutter
    room = free / beside
    top += 12 * any(map(_title, panels))
    across = 0.0
    tall = figure.get_figheight() * 72
    for panel, left in zip(panels, gutters, strict=True):
        across += left
        high, wide = height(panel), max(room - sum(aside(panel)), 20)
        axes = figure.add_axes((across / WIDTH, 1 - (top + high) / tall, wide / WIDTH, high / tall))
        axes.set_title(shortened(visible(_title(panel)), int((room + 14) / 4)), loc="left")
        draw(axes, panel, names, WIDTH / beside)
        if alike and panel is not panels[0]:
            axes.set_yticks([])
        across += room + 14
