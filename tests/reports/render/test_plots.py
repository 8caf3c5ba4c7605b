"""Figures: lengths are to scale, each value can be read, nothing leaves the page."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocsim.recording.page_kinds import PageKind
from reports.render.colours import colour
from reports.render.document import (
    Bars,
    Chart,
    Curves,
    LinePanel,
    OverTime,
    Panel,
    Points,
    Ratio,
    Ratios,
)
from reports.render.plots import WIDTH, svg

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {f"{SVG}path", f"{SVG}use"}
BARS = Bars(
    ["slab", "anon"], {"done": [100, 30], "removed": [0, 50]}, "locked", notes=["100", "80"]
)
POINTS = Points(["a", "b"], {"linux-7.2": [(12.5, 8, 20), None], "own": [(-1, -1, -1), None]}, "%")
TIME = OverTime([0, 1, 2, 2.5], {"slab": [5, 0, 1], "anon": [1, 2, 3]}, {}, "locked", "s")
LINES = LinePanel(["own", "30", "60"], {"all": [3, None, 1]}, "refills", "sheaf.capacity", 0)
RATIOS = Ratios(
    ["slab", "anon", "thp"],
    {"B": [Ratio(2, 0.5, 4, True, "+100%"), Ratio(None, None, None, False, "gone: frozen"), None]},
    "times A",
    {"A": ["10", "20", "30"], "B": ["20", "0", "-"]},
    by_row=True,
)
CURVES = Curves({"dentry": [(1, 50), (10, 60), (100, 90)]}, "served, %", "KiB held", {"dentry": 1},
                {"dentry": 2})  # fmt: skip


def drawn(*panels: Panel, beside: int = 1) -> ET.Element:
    return ET.fromstring(svg(Chart("", panels, beside)))  # noqa: S314 - made by the line itself


def hovers(root: ET.Element) -> dict[str, list[ET.Element]]:
    """What is said on hover -> the shapes it is said of."""
    return {
        str(group[0].text): [
            each for each in group.iter() if each.tag in SHAPES and "id" not in each.attrib
        ]
        for group in root.iter(f"{SVG}g")
        if len(group) and group[0].tag == f"{SVG}title"
    }


def style(shape: ET.Element) -> dict[str, str]:
    parts = shape.attrib.get("style", "").split("; ")
    return dict(part.split(": ", 1) for part in parts if part)


def places(shape: ET.Element) -> list[tuple[float, float]]:
    """Where the corners of a path lie, or a mark."""
    if shape.tag == f"{SVG}use":
        return [(float(shape.attrib["x"]), float(shape.attrib["y"]))]
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", shape.attrib["d"])]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def across(shape: ET.Element) -> tuple[float, float]:
    """From where to where a shape reaches."""
    xs = [x for x, _ in places(shape)]
    return min(xs), max(xs)


def painted(root: ET.Element, how: str, name: str) -> list[ET.Element]:
    """The paths filled, or drawn, in the colour of a name."""
    found = (path for path in root.iter(f"{SVG}path") if "d" in path.attrib)
    return [path for path in found if style(path).get(how, "").upper() == colour(name).upper()]


def test_bars_are_to_scale_and_one_behind_the_other() -> None:
    said = hovers(drawn(BARS))
    assert set(said) == {"slab, done: 100", "anon, done: 30", "anon, removed: 50"}
    slab, done, removed = (across(shape) for [shape] in said.values())
    length = slab[1] - slab[0]
    assert (done[1] - done[0]) / length == pytest.approx(0.3, rel=1e-3)
    assert (removed[1] - removed[0]) / length == pytest.approx(0.5, rel=1e-3)
    assert removed[0] == pytest.approx(done[1], abs=0.02)
    assert slab[0] == pytest.approx(done[0])


def test_a_range_is_drawn_from_least_to_most_and_said() -> None:
    said = hovers(drawn(Bars(["anon", "slab"], {"p": [5, 3]}, "", ends=[(2, 8), (3, 3)])))
    assert set(said) == {"anon, p: 5", "slab, p: 3", "anon: 2 to 8"}
    [bar], [ends] = said["anon, p: 5"], said["anon: 2 to 8"]
    start, end = across(bar)
    a_unit = (end - start) / 5
    assert [(each - start) / a_unit for each in across(ends)] == pytest.approx([2, 8], abs=0.02)


def test_points_leave_out_what_is_not_there_and_say_ranges() -> None:
    assert set(hovers(drawn(POINTS))) == {"a, linux-7.2: 8 to 20", "a, own: -1"}


def test_areas_are_stacked_and_each_slice_says_its_values() -> None:
    root = drawn(TIME)
    assert list(hovers(root)) == [
        "0: slab: 5, anon: 1", "1: slab: 0, anon: 2", "2: slab: 1, anon: 3"
    ]  # fmt: skip
    # The last is the legend's.
    [slab, _], [anon, _] = (
        [places(path) for path in painted(root, "fill", name)] for name in ("slab", "anon")
    )
    # What lies on another stands on its top.
    floor = max(y for _, y in slab)
    tops = {x: y for x, y in slab if y < floor}
    assert tops
    assert all((x, y) in anon for x, y in tops.items())
    heights = [floor - min(y for _, y in path) for path in (anon, slab)]
    assert heights[0] / heights[1] == pytest.approx(6 / 5, rel=0.01)


def test_the_kernel_s_own_value_is_marked() -> None:
    root = drawn(LINES)
    [upright] = [p for p in root.iter(f"{SVG}path") if style(p).get("stroke-opacity") == "0.9"]
    own = next(text for text in root.iter(f"{SVG}text") if text.text == "own")
    assert across(upright) == (float(own.attrib["x"]),) * 2
    assert set(hovers(root)) == {"all, own: 3", "all, 60: 1"}
    [mark] = hovers(root)["all, own: 3"]
    assert places(mark)[0][0] == float(own.attrib["x"])
    joined = drawn(LinePanel(["own", "30", "60"], {"all": [3, 2, 1]}, "", "", 0))
    marks = [places(mark)[0] for [mark] in hovers(joined).values()]
    [line] = [places(path) for path in painted(joined, "stroke", "all") if "id" not in path.attrib]
    assert line == marks[1:]  # from 30 to 60 only


def test_a_ratio_lies_as_far_from_one_as_its_inverse_and_words_stand_where_there_is_none() -> None:
    root = drawn(RATIOS)
    assert set(hovers(root)) == {"slab, B: +100%"}
    ticks = {
        text.text: float(text.attrib["x"])
        for text in root.iter(f"{SVG}text")
        if text.text in {"1/4", "1/2", "1", "2", "4"}
    }
    assert ticks["1"] - ticks["1/4"] == pytest.approx(ticks["4"] - ticks["1"], abs=0.01)
    [mark] = hovers(root)["slab, B: +100%"]
    assert places(mark)[0][0] == pytest.approx(ticks["2"], abs=0.01)
    assert style(mark)["fill"].upper() == colour("slab").upper()  # solid, and its row's colour
    [interval] = [path for path in painted(root, "stroke", "slab") if "id" not in path.attrib]
    assert across(interval) == pytest.approx((ticks["1/2"], ticks["4"]), abs=0.01)
    told = [text.text for text in root.iter(f"{SVG}text")]
    assert {"gone: frozen", "10", "30", "-"} <= set(told)
    hollow = RATIOS.marks["B"][0]
    assert hollow
    open_mark = replace(RATIOS, marks={"B": [hollow._replace(solid=False), None, None]})
    [mark] = hovers(drawn(open_mark))["slab, B: +100%"]
    assert "fill" not in style(mark)


def test_a_ratio_beyond_the_axis_is_told_in_words() -> None:
    far = Ratio(1e6, 10, 1e9, True, "x1000000")
    root = drawn(Ratios(["slab"], {"B": [far]}, "times A", {}))
    assert "x1000000" in [text.text for text in root.iter(f"{SVG}text")]


def test_curves_say_each_point_and_mark_the_solid_and_the_ringed() -> None:
    said = hovers(drawn(CURVES))
    assert list(said) == ["dentry: 50 at 1", "dentry: 60 at 10", "dentry: 90 at 100"]
    solid = ["fill" in style(marks[0]) for marks in said.values()]
    assert solid == [False, True, False]
    one, ten, hundred = (places(marks[0])[0][0] for marks in said.values())
    assert hundred - ten == pytest.approx(ten - one, rel=0.01)


def test_a_line_over_a_logarithm_has_its_steps_at_its_edges() -> None:
    ticks = {1.0: "1 ns", 100.0: "100 ns"}
    root = drawn(
        OverTime([1, 10, 100], {}, {"A": [20, 80]}, "%", "lived", "", ticks, ["10 ns", "100 ns"])
    )
    assert list(hovers(root)) == ["10 ns: A: 20", "100 ns: A: 80"]
    first, second = (across(shape) for [shape] in hovers(root).values())
    assert first[1] - first[0] == pytest.approx(second[1] - second[0], abs=0.01)


ALL: list[list[Panel]] = [
    [BARS], [POINTS], [TIME], [LINES], [RATIOS], [CURVES], [BARS, BARS], [TIME, LINES]
]  # fmt: skip


@pytest.mark.parametrize("panels", ALL)
def test_nothing_leaves_the_figure_and_it_is_the_same_each_time(panels: list[Panel]) -> None:
    root = drawn(*panels, beside=len(panels))
    tall = float(root.attrib["viewBox"].split()[3])
    assert len(list(root.iter(f"{SVG}text"))) > 4
    for text in root.iter(f"{SVG}text"):
        anchor = style(text)["text-anchor"]
        length = len(text.text or "") * 7 * 0.6 * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert float(text.attrib["x"]) - length >= -8 or "transform" in text.attrib
        assert float(text.attrib["x"]) <= WIDTH
        assert 0 < float(text.attrib["y"]) < tall
    for shape in root.iter():
        if shape.tag in SHAPES and "id" not in shape.attrib:
            assert -0.01 <= across(shape)[0] <= across(shape)[1] <= WIDTH + 0.01
    assert svg(Chart("", panels)) == svg(Chart("", panels))


@pytest.mark.parametrize("panels", ALL)
def test_text_and_axes_have_the_colour_of_the_text_around(panels: list[Panel]) -> None:
    text = svg(Chart("", panels))
    assert 'fill="currentColor"' in text
    assert "stroke: currentColor" in text
    assert not re.search(r"#(?:000000|ffffff)", text)


@given(st.text(), st.floats(0, 1e15), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_any_name_and_any_number_is_a_figure(name: str, value: float, rows: int) -> None:
    names = [f"{name}{at}" for at in range(rows)]
    numbers = [value] * rows
    drawn(Bars(names, {name: numbers}, name, name, names, [(0.0, value)] * rows))
    drawn(Points(names, {name: [(value, 0.0, value)] * rows}, name))
    drawn(Ratios(names, {name: [Ratio(value, 0.0, value, True, name)] * rows}, name, {name: names}))
    drawn(LinePanel(names, {name: numbers}, name, name))
    drawn(Curves({name: list(enumerate(numbers))}, name, name, {name: 0}, {name: 1}))
    drawn(OverTime([*range(rows + 1), rows + 1], {name: [*numbers, 0.0]}, {}, name, name))


def test_every_kind_of_page_has_a_colour_of_its_own() -> None:
    colours = [colour(kind.name.lower()) for kind in PageKind if kind.name != "OTHER"]
    assert len(set(colours)) == len(colours)


def test_a_name_has_one_colour_whatever_stands_beside_it() -> None:
    alone = drawn(Bars(["x"], {"anon": [1]}, ""))
    both = drawn(OverTime([0, 1], {"slab": [1], "anon": [1]}, {}, "", ""))
    assert len(painted(alone, "fill", "anon")) == 1
    assert painted(alone, "fill", "slab") == []
    area, _swatch = painted(both, "fill", "anon")
    assert set(places(area)) & set(places(painted(both, "fill", "slab")[0]))  # one on the other
    assert colour("anon") != colour("slab")
    assert colour("somebody's own policy") == colour("somebody's own policy")
