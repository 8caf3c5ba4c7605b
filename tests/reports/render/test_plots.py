"""Figures: lengths are to scale, each value can be read, nothing leaves the page."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.recording.page_kinds import PageKind
from reports.render.colours import colour
from reports.render.document import Bars, Chart, LinePanel, OverTime, Panel, Points
from reports.render.plots import WIDTH, svg

SVG = "{http://www.w3.org/2000/svg}"
BARS = Bars(
    ["slab", "anon"], {"done": [100, 30], "removed": [0, 50]}, "locked", notes=["100", "80"]
)
POINTS = Points(["a", "b"], {"linux-7.2": [(12.5, 8, 20), None], "own": [(-1, -1, -1), None]}, "%")
TIME = OverTime([0, 1, 2, 2.5], {"slab": [5, 0, 1], "anon": [1, 2, 3]}, {}, "locked", "s")
LINES = LinePanel(["own", "30", "60"], {"all": [3, None, 1]}, "refills", "sheaf.capacity", 0)


def drawn(*panels: Panel, beside: int = 1) -> ET.Element:
    return ET.fromstring(svg(Chart("", panels, beside)))  # noqa: S314 - made by the line itself


def hovers(root: ET.Element) -> dict[str, list[ET.Element]]:
    """What is said on hover -> the shapes it is said of."""
    return {
        str(group[0].text): list(group)[1:]
        for group in root.iter(f"{SVG}g")
        if len(group) and group[0].tag == f"{SVG}title"
    }


def test_bars_are_to_scale_and_one_behind_the_other() -> None:
    said = hovers(drawn(BARS))
    assert set(said) == {"slab, done: 100", "anon, done: 30", "anon, removed: 50"}
    slab, done, removed = ({k: float(v) for k, v in each[0].attrib.items() if k in {"x", "width"}}
                           for each in said.values())  # fmt: skip
    assert done["width"] / slab["width"] == pytest.approx(0.3, rel=1e-3)
    assert removed["width"] / slab["width"] == pytest.approx(0.5, rel=1e-3)
    assert removed["x"] == pytest.approx(done["x"] + done["width"], abs=0.02)
    assert slab["x"] == pytest.approx(done["x"])


def test_a_range_is_drawn_from_least_to_most_and_said() -> None:
    said = hovers(drawn(Bars(["anon", "slab"], {"p": [5, 3]}, "", ends=[(2, 8), (3, 3)])))
    assert set(said) == {"anon, p: 5", "slab, p: 3", "anon: 2 to 8"}
    ends = [
        float(number) for number in re.findall(r"[ML]([\d.]+)", said["anon: 2 to 8"][0].attrib["d"])
    ]
    bar = said["anon, p: 5"][0].attrib
    a_unit = float(bar["width"]) / 5
    assert [(end - float(bar["x"])) / a_unit for end in ends] == pytest.approx([2, 8], abs=0.02)


def test_points_leave_out_what_is_not_there_and_say_ranges() -> None:
    assert set(hovers(drawn(POINTS))) == {"a, linux-7.2: 8 to 20", "a, own: -1"}


def test_areas_are_stacked_and_each_slice_says_its_values() -> None:
    root = drawn(TIME)
    assert list(hovers(root)) == [
        "0: slab: 5, anon: 1", "1: slab: 0, anon: 2", "2: slab: 1, anon: 3"
    ]  # fmt: skip
    slab, anon = (
        [float(y) for y in re.findall(r" ([\d.]+)(?=[LZ])", path.attrib["d"])]
        for path in root.iter(f"{SVG}path")
        if path.attrib.get("fill") in {colour("slab"), colour("anon")}
    )
    # Tops, then floors from the right: three slices of two points each.
    assert anon[6:] == slab[:6][::-1]
    floor = slab[6]
    assert (floor - anon[0]) / (floor - slab[0]) == pytest.approx(6 / 5, rel=0.01)


def test_the_kernel_s_own_value_is_marked() -> None:
    upright = [p.attrib["d"] for p in drawn(LINES).iter(f"{SVG}path")
               if p.attrib.get("stroke-opacity") == "0.9"]  # fmt: skip
    [(x, other)] = [re.findall(r"[ML]([\d.]+)", path) for path in upright]
    own = next(text for text in drawn(LINES).iter(f"{SVG}text") if text.text == "own")
    assert x == other == own.attrib["x"]
    assert set(hovers(drawn(LINES))) == {"all, own: 3", "all, 60: 1"}
    joined = LinePanel(["own", "30", "60"], {"all": [3, 2, 1]}, "", "", 0)
    [line] = [
        path.attrib["d"]
        for path in drawn(joined).iter(f"{SVG}path")
        if path.attrib.get("stroke") == colour("all") and "transform" not in path.attrib
    ]
    assert line.count("L") == 1  # from 30 to 60 only


@pytest.mark.parametrize("panels", [[BARS], [POINTS], [TIME], [LINES], [BARS, BARS], [TIME, LINES]])
def test_nothing_leaves_the_figure_and_it_is_the_same_each_time(panels: list[Panel]) -> None:
    root = drawn(*panels, beside=len(panels))
    tall = float(root.attrib["viewBox"].split()[3])
    assert len(list(root.iter(f"{SVG}text"))) > 4
    for text in root.iter(f"{SVG}text"):
        across = (
            len(text.text or "")
            * 7
            * 0.6
            * {"start": 0, "middle": 0.5, "end": 1}[text.attrib["text-anchor"]]
        )
        assert float(text.attrib["x"]) - across >= -8 or "transform" in text.attrib
        assert float(text.attrib["x"]) <= WIDTH
        assert 0 < float(text.attrib["y"]) < tall
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= WIDTH
    assert svg(Chart("", panels)) == svg(Chart("", panels))


@given(st.text(), st.floats(0, 1e15), st.integers(0, 3))
def test_any_name_and_any_number_is_a_figure(name: str, value: float, rows: int) -> None:
    names = [f"{name}{at}" for at in range(rows)]
    numbers = [value] * rows
    drawn(Bars(names, {name: numbers}, name, name, names, [(0.0, value)] * rows))
    drawn(Points(names, {name: [(value, 0.0, value)] * rows}, name))
    drawn(LinePanel(names, {name: numbers}, name, name))
    drawn(OverTime([*range(rows + 1), rows + 1], {name: [*numbers, 0.0]}, {}, name, name))


def test_every_kind_of_page_has_a_colour_of_its_own() -> None:
    colours = [colour(kind.name.lower()) for kind in PageKind if kind.name != "OTHER"]
    assert len(set(colours)) == len(colours)


def test_a_name_has_one_colour_whatever_stands_beside_it() -> None:
    alone = drawn(Bars(["x"], {"anon": [1]}, ""))
    [bar] = alone.iter(f"{SVG}rect")
    both = drawn(OverTime([0, 1], {"slab": [1], "anon": [1]}, {}, "", ""))
    fills = [path.attrib["fill"] for path in both.iter(f"{SVG}path") if "fill" in path.attrib]
    assert bar.attrib["fill"] == fills[-1] == colour("anon") != colour("slab")
    assert colour("somebody's own policy") == colour("somebody's own policy")
