"""What is drawn is what the views say: the artists' data against SQL of the test's own."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from reports.render import style
from reports.sections.figures import timeline as figures

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox


def ranged(middle: float, low: float | None = None, high: float | None = None) -> figures.Ranged:
    """A number, exact where no ends are given."""
    return figures.Ranged(middle, middle if low is None else low, middle if high is None else high)


def widths(axes: Axes) -> dict[str, list[float]]:
    """Label of each set of bars -> their widths."""
    return {str(bars.get_label()): [bar.get_width() for bar in bars] for bars in axes.containers}


@pytest.mark.slow
def test_bars_by_kind_are_the_numbers_of_the_pages(small: DuckDBPyConnection) -> None:
    wanted = {
        policy: dict(rows)
        for policy, rows in {
            # 3 slab frees, 1 large kmalloc, 2 of page tables, 2 anon and 3 or 4 uses of each.
            "refcounted": [("anon", 8), ("slab", 3), ("page_table", 2), ("large_kmalloc", 1)],
            "linux-7.2": [("anon", 10), ("slab", 0), ("page_table", 2), ("large_kmalloc", 0)],
        }.items()
    }
    kinds = list(wanted["refcounted"])
    found = {
        policy: [
            small.execute(
                "SELECT locked_ops FROM page_kind_summary WHERE policy = ? AND page_kind = ?",
                [policy, kind],
            ).fetchall()[0][0]
            for kind in kinds
        ]
        for policy in wanted
    }
    assert found == {policy: list(row.values()) for policy, row in wanted.items()}

    figure = figures.by_kind(kinds, found, found["refcounted"])

    left, right = figure.axes
    assert widths(left) == {"done": [8, 3, 2, 1], "removed": [0] * 4, "added": [0] * 4}
    assert widths(right) == {"done": [8, 0, 2, 0], "removed": [0, 3, 0, 1], "added": [2, 0, 0, 0]}
    assert [label.get_text() for label in left.get_yticklabels()] == kinds


def test_a_large_axis_is_in_thousands_and_says_so() -> None:
    figure = figures.by_kind(["slab"], {"refcounted": [45_678]}, [45_678])
    assert widths(figure.axes[0])["done"] == [45.678]
    assert figure.get_supxlabel() == "locked reference-count instructions (thousands)"


@pytest.mark.parametrize(
    ("baseline", "labels"),
    [
        (None, ["done under the policy"]),
        ([2, 2], ["done under the policy"]),
        ([3, 2], ["done under the policy", "removed against refcounted"]),
        ([2, 1], ["done under the policy", "added against refcounted"]),
    ],
)
def test_the_legend_names_what_is_drawn(baseline: list[int] | None, labels: list[str]) -> None:
    figure = figures.by_kind(["slab", "anon"], {"p": [2, 2]}, baseline)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels


@pytest.mark.parametrize("policies", [1, 2, 5, 7, 9])
def test_every_policy_has_a_panel(policies: int) -> None:
    locked = {f"policy-{number}": [number] for number in range(policies)}
    figure = figures.by_kind(["slab"], locked, None)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == list(locked)


def test_shares_of_how_kinds_are_known_add_up_to_a_hundred_percent() -> None:
    figure = figures.how_known(["slab", "anon"], {"observed": [3, 0], "assumed": [1, 0]})
    assert widths(figure.axes[0]) == {"observed": [75, 0], "assumed": [25, 0]}


def test_layers_over_time_are_stacked_in_their_order() -> None:
    figure = figures.over_time(
        [0, 1, 2, 2.5], {"slab": [5, 0, 1], "anon": [1, 2, 3]}, {"linux-7.2": [1, 2, 3]}
    )
    upper, lower = figure.axes
    slab, anon, line = (patch.get_data() for patch in [*upper.patches, *lower.patches])
    assert list(slab.values) == [5, 0, 1]
    assert list(anon.values) == [6, 2, 4]
    assert list(anon.baseline) == [5, 0, 1]
    assert list(line.values) == [1, 2, 3]
    assert list(line.edges) == [0, 1, 2, 2.5]


def test_times_below_a_second_are_in_milliseconds() -> None:
    axes = figures.over_time([0, 0.25, 0.5], {"slab": [1, 2]}, {"p": [1, 2]}).axes[1]
    assert axes.get_xlabel() == "time since the first event (ms)"
    assert list(axes.patches[0].get_data().edges) == [0, 250, 500]


def test_ranked_bars_carry_their_numbers() -> None:
    axes = figures.ranked(["dentry", "x" * 80], [1_234_567, 1], "frees").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1234.567, 0.001]
    assert {text.get_text() for text in axes.texts} == {"1,234,567", "1"}
    assert len(axes.get_yticklabels()[1].get_text()) == 48


def test_savings_leave_out_runs_without_the_policy() -> None:
    saved = {"linux-7.2": [ranged(12.5, 8, 20), None], "own": [ranged(-1.0), ranged(3.0)]}
    axes = figures.savings(["1 a", "2 b"], saved).axes[0]
    drawn = {line.get_label(): list(line.get_xdata()) for line in axes.lines[1:]}
    assert drawn == {"linux-7.2": [12.5], "own": [-1.0, 3.0]}
    [bars] = axes.collections  # of what is assumed only, from least to most
    assert [path.vertices.tolist() for path in bars.get_paths()] == [[[8, 0], [20, 0]]]


def test_bars_by_kind_show_how_far_what_is_assumed_reaches() -> None:
    ends = {"p": [(2, 8), (3, 3)]}
    axes = figures.by_kind(["anon", "slab"], {"p": [5, 3]}, None, ends).axes[0]
    assert widths(axes)["done"] == [5, 3]
    [bars] = axes.collections
    assert [path.vertices.tolist() for path in bars.get_paths()] == [[[2, 0], [8, 0]]]
    assert axes.get_xlim()[1] >= 8


def every_figure() -> list[Figure]:
    """One of each, with names that could be taken for markup or mathematics."""
    names = [r"a$_{b}$#*@\%&<tag>", "y" * 70, "page table"]
    counts = [123_456_789, 1_000, 0]
    return [
        figures.by_kind(names, {"p" * 60: counts, "q": counts[::-1]}, counts),
        figures.how_known(names, {"observed": counts, "unknown": [0, 1, 0]}),
        figures.over_time([0, 1, 2, 3], dict.fromkeys(names, counts), {"q": counts}),
        figures.ranked(names, counts, "locked"),
        figures.savings(names, {"p" * 60: [ranged(1.0), ranged(2.0, 1.5, 4), None]}),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_a_figure_is_the_same_svg_every_time_and_holds_its_text_as_text(number: int) -> None:
    first, second = (style.svg(every_figure()[number]) for _ in range(2))
    assert first == second
    root = ET.fromstring(first)  # noqa: S314 - made by the line above
    assert r"a$_{b}$#*@\%&<tag>" in " ".join(root.itertext())


def test_a_users_own_settings_of_matplotlib_change_nothing() -> None:
    plain = style.svg(every_figure()[0])
    with rc_context({"axes.facecolor": "red", "font.size": 20, "svg.fonttype": "path"}):
        assert style.svg(every_figure()[0]) == plain


@style.styled
def drawn_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> dict[str, Bbox]:
    """Every text that is really drawn, with the place it takes, in pixels."""
    texts: list[Text] = []
    draw = Text.draw

    def noted(self: Text, renderer: RendererBase) -> None:
        if self.get_visible() and self.get_text():
            texts.append(self)
        draw(self, renderer)

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # lays the figure out
    monkeypatch.setattr(Text, "draw", noted)
    canvas.draw()
    return {f"{i} {text.get_text()}": text.get_window_extent() for i, text in enumerate(texts)}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_no_text_of_a_figure_overlaps_another_or_leaves_the_figure(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = every_figure()[number]
    boxes = drawn_texts(figure, monkeypatch)
    assert len(boxes) > 8
    outside = [
        name
        for name, box in boxes.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    assert outside == []
    over = [
        (one, other)
        for (one, box), (other, second) in combinations(boxes.items(), 2)
        if box.overlaps(second)
    ]
    assert over == []
