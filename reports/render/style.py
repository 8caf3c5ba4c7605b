"""What all figures share: size, type, colours, and bytes that are the same every time.

Colours are Okabe and Ito's (2008), told apart with any colour vision; where areas touch, they are
ordered so that neighbours differ in lightness and the order can be read in grey.
Only matplotlib's own DejaVu fonts are used, and typst is given the same files.
"""

from __future__ import annotations

import io
import warnings

from matplotlib.figure import Figure
from matplotlib.style import context

from reports.render.wording import visible

TEXT_WIDTH = 6.61  #: width of the page's text block in inches (A4 with 21 mm margins)

BLACK, DARK, GREY, PALE = "#000000", "#404040", "#8c8c8c", "#d9d9d9"
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"

styled = context(
    [
        "default",
        {
            "svg.fonttype": "none",  # text stays text: typst sets it, and a reader can search it
            "svg.hashsalt": "allocsim",
            "text.parse_math": False,  # a name may hold a dollar sign
            "font.family": "DejaVu Sans",
            "font.size": 7,
            "axes.titlesize": 7,
            "axes.labelsize": 7,
            "xtick.labelsize": 6.5,
            "ytick.labelsize": 6.5,
            "legend.fontsize": 6.5,
            "legend.frameon": False,
            "axes.linewidth": 0.5,
            "axes.edgecolor": DARK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.linewidth": 0.4,
            "grid.color": PALE,
            "xtick.major.width": 0.5,
            "ytick.major.width": 0.5,
            "xtick.major.size": 2.5,
            "ytick.major.size": 0,
            "hatch.linewidth": 0.5,
        },
    ]
)
"""Decorator: a function that draws does so in this style, whatever the caller's settings are."""


def new_figure(height: float) -> Figure:
    """An empty figure as wide as the text, ``height`` inches high, laid out without overlaps."""
    return Figure(figsize=(TEXT_WIDTH, height), layout="constrained")


@styled
def svg(figure: Figure) -> str:
    """The figure as SVG with live text: the same bytes for the same figure, without a date."""
    out = io.StringIO()
    with warnings.catch_warnings():  # of letters that its font lacks: the reader's may have them
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    # Names in it may hold what no XML can.
    return "\n".join(visible(line) for line in out.getvalue().split("\n"))
