"""What is drawn into the axes of each kind of panel, with what is said of it on hover."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import ceil, log2
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.render.colours import colour
from reports.render.document import Bars, Curves, LinePanel, OverTime, Panel, Points, Ratios
from reports.render.wording import shortened, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

SAID = "said "  #: how the id of a group begins whose rest is said on hover
SIZE = 7.0  #: of type in points
ROW = 11.0  #: height of a row in points
INK = "black"  #: text and axes
NAME, NOTE = 26, 40  #: characters of a row's name, and of what stands at its end
_LEAST = 1e-9  #: what is not told from zero
_FARTHEST = 5  #: powers of two that a ratio is drawn out to
_SIGNS = "os^DvP"
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":")


def draw(axes: Axes, panel: Panel, names: Sequence[str], room: float) -> None:
    """Draws a panel into axes.

    Args:
        axes: empty ones, of height().
        panel: what is drawn.
        names: of the whole figure, in the order of their marks.
        room: width of the axes in points, about; the same whatever is in the panel.
    """
    match panel:
        case Bars() | Points() | Ratios():
            axes.set_ylim(max(len(panel.rows), 1) - 0.5, -0.5)
            axes.set_yticks(range(len(panel.rows)), row_names(panel))
            axes.xaxis.set(**_ticks(room / 60))
            axes.grid(axis="x")
            across = panel.label
        case _:
            axes.yaxis.set(**_ticks(4))
            axes.grid(axis="y")
            across = panel.across
    axes.set_xlabel(shortened(visible(across), int(room / 4)), loc="left")
    match panel:
        case Bars():
            _bars(axes, panel)
        case Points():
            _points(axes, panel, names)
        case Ratios():
            _ratios(axes, panel, names)
        case OverTime():
            _over_time(axes, panel, room)
        case LinePanel():
            _lines(axes, panel, names)
        case Curves():
            _curves(axes, panel, names)


def height(panel: Panel) -> float:
    """How high the axes of a panel are, in points."""
    match panel:
        case Bars() | Points():
            return ROW * max(len(panel.rows), 1)
        case Ratios():  # with a row of heads
            return max(ROW, 8.0 * len(panel.marks)) * max(len(panel.rows), 1) + ROW
        case _:
            return 92.0


def named(row: str, most: int = NAME) -> str:
    """What a row is called in the figure."""
    return shortened(visible(row), most)


def row_names(panel: Bars | Points | Ratios) -> list[str]:
    """What stands before each row."""
    return [named(row, NOTE if isinstance(panel, Ratios) else NAME) for row in panel.rows]


def aside(panel: Panel) -> list[float]:
    """The widths, in points, of columns of words behind a panel's rows."""
    match panel:
        case Bars(notes=notes) if notes:
            return [max(width(shortened(note, NOTE)) for note in notes) + 4]
        case Ratios():
            return [
                max(width(named(word)) for word in (head, *column)) + 8
                for head, column in panel.columns.items()
            ]
        case _:
            return []


def width(text: str) -> float:
    """About how wide a text is set, in points."""
    return sum(1.0 if east_asian_width(char) in "WF" else 0.6 for char in text) * SIZE


def mark(at: int, *, solid: bool = False) -> dict[str, Any]:
    """How the marks of a figure's name at this place look."""
    return {"marker": _SIGNS[at % len(_SIGNS)]} | ({} if solid else {"markerfacecolor": "none"})


def dash(panel: OverTime | Curves, name: str) -> dict[str, Any]:
    """How a line looks where lines may have one colour, or cross."""
    return {"linestyle": _DASHES[list(panel.lines).index(name) % len(_DASHES)]}


def _say(artist: Artist, text: str) -> None:
    artist.set_gid(f"{SAID}{visible(text)}")


def _tick(value: float, _: object = None) -> str:
    """A tick: 250k, 1.5M."""
    for size, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{word}"
    return f"{value:.4g}"


def _ticks(about: float) -> dict[str, Any]:
    return {
        "major_locator": MaxNLocator(max(int(about), 2), steps=[1, 2, 5, 10]),
        "major_formatter": FuncFormatter(_tick),
    }


def _count(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.4g}"


def _most(values: Iterable[float]) -> float:
    """Where an axis ends that holds these."""
    most = max(values, default=0)
    return most if most > _LEAST else 1


def _stacked(parts: Iterable[Sequence[float]]) -> list[float]:
    return [sum(values) for values in zip(*parts, strict=True)]


def _bars(axes: Axes, panel: Bars) -> None:
    sums = _stacked(panel.parts.values())
    axes.set_xlim(0, panel.most or _most([*sums, *(high for _, high in panel.ends)]))
    base = [0.0] * len(panel.rows)
    for name, values in panel.parts.items():
        for at, value in enumerate(values):
            if value:
                bar = Rectangle((base[at], at - 0.36), value, 0.72, color=colour(name), lw=0)
                _say(axes.add_artist(bar), f"{panel.rows[at]}, {name}: {_count(value)}")
        base = _stacked([base, values])
    for at, (low, high) in enumerate(panel.ends):
        if low < high:
            [line] = axes.plot([low, high], [at, at], color=INK, lw=0.5)
            _say(line, f"{panel.rows[at]}: {_count(low)} to {_count(high)}")
    for at, note in enumerate(panel.notes):
        reach = max([base[at], *(panel.ends[at] if panel.ends else ())])
        _write(axes, shortened(note, NOTE), (reach, at), 3)


def _write(axes: Axes, text: str, place: tuple[float, float], beyond: float, **how: Any) -> None:  # noqa: ANN401 - as matplotlib has it
    """Words ``beyond`` points to the right of a place in a row."""
    how["va"] = "center_baseline"
    axes.annotate(visible(text), place, (beyond, 0), textcoords="offset points", **how)


def _points(axes: Axes, panel: Points, names: Sequence[str]) -> None:
    told = [each for marks in panel.marks.values() for each in marks if each]
    least = min([0.0, *(low for _, low, _ in told)])
    span = _most([high - least for _, _, high in told] + [-least])
    axes.set_xlim(least - span / 80, least + span + span / 80)
    for name, marks in panel.marks.items():
        for at, each in enumerate(marks):
            if each is None:
                continue
            middle, low, high = each
            said = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            look = {"color": colour(name), "markevery": [1], **mark(names.index(name))}
            [line] = axes.plot([low, middle, high], [at] * 3, clip_on=False, **look)
            _say(line, f"{panel.rows[at]}, {name}: {said}")


def _ratios(axes: Axes, panel: Ratios, names: Sequence[str]) -> None:
    told = [each for marks in panel.marks.values() for each in marks if each]
    powers = [abs(log2(end)) for each in told for end in each[:3] if end]
    reach = ceil(min(max([1.0, *powers]), _FARTHEST))
    ticks = range(-reach, reach + 1)
    axes.set_xscale("log", base=2)
    axes.set_xlim(2.0 ** (-reach - 0.15), 2.0 ** (reach + 0.15))
    words = [f"1/{2**-at}" if at < 0 else f"{2**at}" for at in ticks]
    axes.set_xticks([2.0**at for at in ticks], words)
    heads = -0.5 - ROW / (height(panel) - ROW) * len(panel.rows)
    axes.set_ylim(len(panel.rows) - 0.5, heads)
    axes.axvline(1, color=INK, lw=0.7)
    for side, (name, marks) in enumerate(panel.marks.items()):
        for at, each in enumerate(marks):
            if each is None:
                continue
            place = at + 0.8 * ((side + 0.5) / len(panel.marks) - 0.5)
            ink = colour(panel.rows[at] if panel.by_row else name)
            if each.low is not None and each.high is not None:
                axes.plot([max(each.low, 2.0**-99), each.high], [place] * 2, color=ink)
            if not each.ratio or abs(log2(each.ratio)) > reach:
                whose = f"{name}: " * (len(panel.marks) > 1)
                _write(axes, f"{whose}{each.said}", (1, place), 4)
                continue
            look = mark(names.index(name), solid=each.solid)
            _point(axes, (each.ratio, place), f"{panel.rows[at]}, {name}: {each.said}", ink, look)
    right: dict[str, Any] = {"ha": "right", "xycoords": ("axes fraction", "data")}
    ends = accumulate(aside(panel))
    for end, (head, column) in zip(ends, panel.columns.items(), strict=True):
        _write(axes, named(head), (1, heads / 2 - 0.25), end, weight="bold", **right)
        for row, word in enumerate(column):
            _write(axes, named(word), (1, row), end, **right)


def _over_time(axes: Axes, panel: OverTime, room: float) -> None:
    edges = panel.edges
    series = {**panel.areas, **panel.lines}
    tops: list[Sequence[float]] = [_stacked(panel.areas.values()), *panel.lines.values()]
    most = _most(value for values in tops for value in values)
    if panel.ticks:
        axes.set_xscale("log")
        axes.set_xticks(list(panel.ticks), list(panel.ticks.values()))
        axes.minorticks_off()
    else:
        axes.xaxis.set(**_ticks(room / 50))
    axes.set_xlim(edges[0], edges[-1] if edges[-1] > edges[0] else edges[0] + 1)
    axes.set_ylim(0, most * 1.04)
    axes.set_ylabel(named(panel.label))
    base = [0.0] * (len(edges) - 1)
    for name, area in panel.areas.items():
        top = _stacked([base, area])
        axes.stairs(top, edges, baseline=base, fill=True, color=colour(name), lw=0)
        base = top
    for name, line in panel.lines.items():
        axes.stairs(line, edges, baseline=None, color=colour(name), lw=1, **dash(panel, name))
    for place, (left, right) in enumerate(pairwise(edges)):
        column = Rectangle((left, 0), right - left, most, facecolor="none", lw=0)
        told = ", ".join(f"{name}: {_count(values[place])}" for name, values in series.items())
        begins = panel.slices[place] if panel.slices else f"{left:.4g}"
        _say(axes.add_artist(column), f"{begins}: {told}")


def _lines(axes: Axes, panel: LinePanel, names: Sequence[str]) -> None:
    values = [value for line in panel.lines.values() for value in line if value is not None]
    axes.set_xlim(-0.5, max(len(panel.places), 1) - 0.5)
    axes.set_ylim(0, _most(values) * 1.04)
    axes.set_xticks(range(len(panel.places)), [named(place) for place in panel.places])
    if panel.marked is not None:
        axes.axvline(panel.marked, color=INK, lw=0.5, alpha=0.9)
    for name, line in panel.lines.items():
        known = [(at, value) for at, value in enumerate(line) if value is not None]
        _join(axes, name, [each for each in known if each[0] != panel.marked])
        for at, value in known:
            said = f"{name}, {panel.places[at]}: {_count(value)}"
            _point(axes, (at, value), said, colour(name), mark(names.index(name)))


def _join(axes: Axes, name: str, points: Sequence[tuple[float, float]], **how: Any) -> None:  # noqa: ANN401 - as matplotlib has it
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour(name), **how)


def _point(axes: Axes, at: tuple[float, float], said: str, ink: str, look: dict[str, Any]) -> None:
    [point] = axes.plot(*([end] for end in at), color=ink, linestyle="", clip_on=False, **look)
    _say(point, said)


def _curves(axes: Axes, panel: Curves, names: Sequence[str]) -> None:
    everywhere = [point for line in panel.lines.values() for point in line]
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, _most(across for across, _ in everywhere) * 1.1)
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.margins(y=0.06)
    axes.grid(axis="x")
    for name, line in panel.lines.items():
        _join(axes, name, line, **dash(panel, name))
        for at, (across, up) in enumerate(line):
            said = f"{name}: {_count(up)} at {_count(across)}"
            look = mark(names.index(name), solid=at == panel.solid.get(name))
            _point(axes, (across, up), said, colour(name), look)
            if at == panel.ringed.get(name):
                ring = {"marker": "o", "markersize": 9, "markerfacecolor": "none"}
                _point(axes, (across, up), said, colour(name), ring)
