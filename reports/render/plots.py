"""Panels of figures as SVG: drawn to scale from zero, with each value on hover.

Nothing is smoothed or left out. Lengths are points: a figure is as wide as the text of a page.
Colours are the names' own; text and axes have the colour of the text around them.
"""

from __future__ import annotations

import math
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from reports.render.colours import colour
from reports.render.document import Bars, Chart, LinePanel, OverTime, Panel, Points
from reports.render.wording import shortened, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 476.0
_LEAST = 1e-9  #: what is not told from zero
_SIZE = 7.0  #: of type
_ROW = 11.0
_PLOT = 92.0  #: height of a panel over time
_NAME, _NOTE = 26, 40  #: characters of a row's name, and of what stands at its end
_SHAPES = ("M-2.4 0h4.8M0-2.4v4.8", "M-2-2l4 4M-2 2l4-4", "M-2-2h4v4h-4z", "M0-2.8l2.6 4.6h-5.2z")


def svg(chart: Chart) -> str:
    """The figure as the text of an SVG file: the same bytes for the same figure."""
    body: list[str] = []
    names = _names(chart.panels)
    shaped = any(isinstance(panel, Points | LinePanel) for panel in chart.panels)
    top = _legend(body, names, shaped=shaped) if len(names) > 1 else 2.0
    lines = [
        chart.panels[at : at + chart.beside] for at in range(0, len(chart.panels), chart.beside)
    ]
    for line in lines:
        top += _line(body, line, chart.beside, top, names)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {top:g}" '
        f'width="{WIDTH:g}pt" height="{top:g}pt" font-family="DejaVu Sans, sans-serif" '
        f'font-size="{_SIZE:g}" fill="currentColor">\n' + "\n".join(body) + "\n</svg>\n"
    )


def _names(panels: Iterable[Panel]) -> list[str]:
    """Everything that has a colour, in the order in which it is met."""
    found: dict[str, None] = {}
    for panel in panels:
        match panel:
            case Bars():
                found |= dict.fromkeys(panel.parts)
            case Points():
                found |= dict.fromkeys(panel.marks)
            case OverTime():
                found |= dict.fromkeys([*panel.areas, *panel.lines])
            case LinePanel():
                found |= dict.fromkeys(panel.lines)
    return list(found)


def _width(text: str) -> float:
    """About how wide a text is set."""
    return sum(1.0 if east_asian_width(char) in "WF" else 0.6 for char in text) * _SIZE


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>'
        f"{escape(visible(text), quote=False)}</text>"
    )


def _rule(x1: float, y1: float, x2: float, y2: float, opacity: float = 0.2) -> str:
    return (
        f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="currentColor" '
        f'stroke-width="0.5" stroke-opacity="{opacity:g}"/>'
    )


def _legend(body: list[str], names: Sequence[str], *, shaped: bool) -> float:
    """A swatch, or a mark, and a word for each name; returns where it ends."""
    x, y = 0.0, 8.0
    for at, name in enumerate(names):
        word = shortened(name, 40)
        if x and x + _width(word) + 14 > WIDTH:
            x, y = 0.0, y + 10
        body.append(
            _mark(name, _SHAPES[at % len(_SHAPES)], x + 4, y - 2.6)
            if shaped
            else f'<rect x="{x:.1f}" y="{y - 5.5:.1f}" width="7" height="5.5" '
            f'fill="{colour(name)}"/>'
        )
        body.append(_text(x + 9.5, y, word))
        x += _width(word) + 20
    return y + 7


def _line(
    body: list[str], panels: Sequence[Panel], beside: int, top: float, names: Sequence[str]
) -> float:
    """Draws panels side by side; returns the height they take."""
    rows = [panel.rows for panel in panels if isinstance(panel, Bars | Points)]
    alike = len(rows) == len(panels) and all(other == rows[0] for other in rows)
    gutter = max(
        (_width(shortened(row, _NAME)) for panel_rows in rows for row in panel_rows), default=26
    )
    gutters = [gutter + 6 if at == 0 or not alike else 6.0 for at in range(len(panels))]
    free = WIDTH - sum(gutters) - 14 * beside - (beside - len(panels)) * gutter * (not alike)
    width = free / beside
    titled = any(getattr(panel, "title", "") for panel in panels)
    height = 0.0
    x = 0.0
    for panel, left in zip(panels, gutters, strict=True):
        x += left
        box = (x, top + 12 * titled, width)
        if titled:
            body.append(_text(x, top + 8, shortened(getattr(panel, "title", ""), int(width / 4))))
        named = left > 6 or not alike
        match panel:
            case Bars():
                tall = _bars(body, panel, box, named=named)
            case Points():
                tall = _points(body, panel, box, names)
            case OverTime():
                tall = _steps(body, panel, box)
            case LinePanel():
                tall = _lines(body, panel, box, names)
        height = max(height, tall + 12 * titled)
        x += width + 14
    return height + 8


def _ticks(most: float, about: int) -> list[float]:
    """Round numbers from 0 to ``most``, about so many."""
    if most < _LEAST:
        return [0.0, 1.0]
    rough = most / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough * 0.999)
    return [step * at for at in range(int(most / step + 1e-9) + 1)]


def _short(value: float) -> str:
    """A tick: 250k, 1.5M."""
    for size, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{word}"
    return f"{value:.4g}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.4g}"


def _hover(shape: str, text: str) -> str:
    return f"<g><title>{escape(visible(text), quote=False)}</title>{shape}</g>"


def _axis(
    body: list[str], box: tuple[float, float, float], tall: float, most: float, label: str
) -> float:
    """The axis below a panel of rows; returns points a unit."""
    x, y, width = box
    scale = width / (most if most > _LEAST else 1)
    for tick in _ticks(most, max(2, int(width / 60))):
        at = x + tick * scale
        body.append(_rule(at, y, at, y + tall))
        body.append(_text(at, y + tall + 8, _short(tick), "middle"))
    body.append(_text(x, y + tall + 17, label))
    return scale


def _row_names(body: list[str], rows: Sequence[str], x: float, y: float) -> None:
    body += [
        _text(x - 4, y + _ROW * (at + 0.72), shortened(row, _NAME), "end")
        for at, row in enumerate(rows)
    ]


def _bars(body: list[str], panel: Bars, box: tuple[float, float, float], *, named: bool) -> float:
    x, y, width = box
    tall = _ROW * len(panel.rows)
    sums = [sum(values) for values in zip(*panel.parts.values(), strict=True)]
    most = panel.most or max([*sums, *(high for _, high in panel.ends)], default=0)
    notes = [shortened(note, _NOTE) for note in panel.notes]
    noted = max(map(_width, notes), default=0) + 4 * bool(notes)
    scale = _axis(body, (x, y, width - noted), tall, most, panel.label)
    if named:
        _row_names(body, panel.rows, x, y)
    for at, row in enumerate(panel.rows):
        from_left = 0.0
        for name, values in panel.parts.items():
            value = values[at]
            if value:
                shape = (
                    f'<rect x="{x + from_left * scale:.2f}" y="{y + _ROW * at + 1.6:.1f}" '
                    f'width="{max(value * scale, 0.3):.2f}" height="{_ROW - 3.2:.1f}" '
                    f'fill="{colour(name)}"/>'
                )
                body.append(_hover(shape, f"{row}, {name}: {_count(value)}"))
            from_left += value
        if panel.ends and panel.ends[at][0] < panel.ends[at][1]:
            low, high = panel.ends[at]
            bar = _rule(
                x + low * scale, y + _ROW * (at + 0.5), x + high * scale, y + _ROW * (at + 0.5), 1
            )
            body.append(_hover(bar, f"{row}: {_count(low)} to {_count(high)}"))
        if notes:
            reach = max([from_left, *(panel.ends[at] if panel.ends else ())])
            body.append(_text(x + reach * scale + 3, y + _ROW * (at + 0.72), notes[at]))
    return tall + 19


def _points(
    body: list[str], panel: Points, box: tuple[float, float, float], names: Sequence[str]
) -> float:
    x, y, width = box
    tall = _ROW * len(panel.rows)
    told = [mark for marks in panel.marks.values() for mark in marks if mark]
    least = min([0.0, *(low for _, low, _ in told)])
    most = max([0.0, *(high for _, _, high in told)])
    scale = width / (most - least if most - least > _LEAST else 1)
    zero = x - least * scale
    _axis(body, (zero, y, most * scale), tall, most, panel.label)
    _row_names(body, panel.rows, x, y)
    for name, marks in panel.marks.items():
        shape = _SHAPES[names.index(name) % len(_SHAPES)]
        for at, mark in enumerate(marks):
            if mark is None:
                continue
            middle, low, high = mark
            height = y + _ROW * (at + 0.5)
            drawn = (
                f'<path d="M{zero + low * scale:.1f} {height:.1f}H{zero + high * scale:.1f}" '
                f'stroke="{colour(name)}" stroke-width="0.9"/>'
                + _mark(name, shape, zero + middle * scale, height)
            )
            told_range = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            body.append(_hover(drawn, f"{panel.rows[at]}, {name}: {told_range}"))
    return tall + 19


def _frame(body: list[str], box: tuple[float, float, float], most: float, label: str) -> float:
    """The upright axis of a panel, and what it counts; returns points a unit."""
    x, y, width = box
    scale = (_PLOT - 4) / (most if most > _LEAST else 1)
    for tick in _ticks(most, 4):
        at = y + _PLOT - tick * scale
        body.append(_rule(x, at, x + width, at))
        body.append(_text(x - 3, at + 2.4, _short(tick), "end"))
    if label:
        turned = f' transform="rotate(-90 {x - 24:.1f} {y + _PLOT / 2:.1f})"'
        body.append(_text(x - 24, y + _PLOT / 2, label, "middle", turned))
    return scale


def _steps(body: list[str], panel: OverTime, box: tuple[float, float, float]) -> float:
    x, y, width = box[0] + 8, box[1], box[2] - 8
    edges = panel.edges
    sums = [sum(values) for values in zip(*panel.areas.values(), strict=True)]
    most = max([*sums, *(value for values in panel.lines.values() for value in values)], default=0)
    scale = _frame(body, (x, y, width), most, panel.label)
    across = width / ((edges[-1] - edges[0]) or 1)
    at = [x + (edge - edges[0]) * across for edge in edges]
    floor = y + _PLOT
    base = [0.0] * (len(edges) - 1)
    for name, values in panel.areas.items():
        top = [low + value for low, value in zip(base, values, strict=True)]
        path = _stairs(at, [floor - value * scale for value in top])
        back = _stairs(at[::-1], [floor - value * scale for value in base[::-1]])
        body.append(f'<path d="M{path}L{back}Z" fill="{colour(name)}"/>')
        base = top
    for name, values in panel.lines.items():
        path = _stairs(at, [floor - value * scale for value in values])
        body.append(f'<path d="M{path}" fill="none" stroke="{colour(name)}" stroke-width="1"/>')
    series = {**panel.areas, **panel.lines}
    for place, (left, right) in enumerate(pairwise(at)):
        told = [f"{name}: {_count(values[place])}" for name, values in series.items()]
        column = (
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{right - left:.2f}" height="{_PLOT:g}" '
            'fill-opacity="0"/>'
        )
        body.append(_hover(column, f"{edges[place]:.4g}: " + ", ".join(told)))
    body += [
        _text(x + tick * across, floor + 9, _short(edges[0] + tick), "middle")
        for tick in _ticks(edges[-1] - edges[0], 6)
    ]
    body.append(_text(x, floor + 18, panel.across))
    return _PLOT + 20


def _stairs(at: Sequence[float], heights: Sequence[float]) -> str:
    """Points of a line that is level between each two places."""
    return "L".join(
        f"{place:.1f} {height:.1f}"
        for (left, right), height in zip(pairwise(at), heights, strict=True)
        for place in (left, right)
    )


def _lines(
    body: list[str], panel: LinePanel, box: tuple[float, float, float], names: Sequence[str]
) -> float:
    x, y, width = box
    values = [value for line in panel.lines.values() for value in line if value is not None]
    scale = _frame(body, box, max(values, default=0), "")
    step = width / max(len(panel.places), 1)
    at = [x + step * (place + 0.5) for place in range(len(panel.places))]
    floor = y + _PLOT
    for place, word in zip(at, panel.places, strict=True):
        body.append(_text(place, floor + 9, word, "middle"))
    if panel.marked is not None:
        body.append(_rule(at[panel.marked], y, at[panel.marked], floor, 0.9))
    for name, line in panel.lines.items():
        known = [
            (at[place], floor - number * scale, f"{name}, {panel.places[place]}: {_count(number)}")
            for place, number in enumerate(line)
            if number is not None
        ]
        joined = known[panel.marked is not None and line[panel.marked] is not None :]
        path = "L".join(f"{across:.1f} {height:.1f}" for across, height, _ in joined)
        if joined:
            body.append(
                f'<path d="M{path}" fill="none" stroke="{colour(name)}" stroke-width="0.9"/>'
            )
        shape = _SHAPES[names.index(name) % len(_SHAPES)]
        body += [_hover(_mark(name, shape, across, height), told) for across, height, told in known]
    body.append(_text(x, floor + 18, panel.across))
    return _PLOT + 20


def _mark(name: str, shape: str, across: float, height: float) -> str:
    return (
        f'<path transform="translate({across:.1f} {height:.1f})" d="{shape}" '
        f'stroke="{colour(name)}" stroke-width="1.2" fill="none"/>'
    )
