"""Sweeps in a report: what each varied setting does, one figure a setting."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from matplotlib.ticker import StrMethodFormatter

from reports import queries
from reports.render import style, wording
from reports.render.document import Block, Cell, Heading, Picture, Table, TableColumn, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection
    from matplotlib.figure import Figure

    from reports.queries import Row

_SHEAVES = (
    ("slab_pages", "pages of slabs made"),
    ("barn_traffic", "sheaves from and to the barn"),
    ("refills_per_1000", "refills per 1,000 operations"),
)
_PAGES = (
    ("zone_locks", "zone->lock taken"),
    ("pcp_refills", "refills of page lists"),
    ("blocks_locked", "blocks taken from the buddy"),
)
_CPU_SLABS = (
    ("slab_pages", "pages of slabs made"),
    ("cpu_partial_moves", "moves on CPUs' partial lists"),
    ("list_locks", "list_lock taken"),
)
_GENERATIONS = (
    ("slab_pages", "pages of slabs made"),
    ("list_locks", "list_lock taken"),
    ("freelist_cmpxchg", "locked cmpxchg of free lists"),
)
_BOTH = (
    ("slab_pages", "pages of slabs made"),
    ("list_locks", "list_lock taken"),
    ("zone_locks", "zone->lock taken"),
)
#: What a setting's figure shows, by what its key begins with; of others, of SLUB's, by generation.
_FIGURES = {
    "cpus": _BOTH,
    "pcp": _PAGES,
    "watermarks": _PAGES,
}
_BY_GENERATION = {
    ("sheaves",): _SHEAVES,
    ("cpu slabs",): _CPU_SLABS,
}
_MARKS = (
    ("o", style.BLUE),
    ("s", style.VERMILLION),
    ("^", style.GREEN),
    ("D", style.BLACK),
    ("v", style.PURPLE),
    ("x", style.ORANGE),
    ("P", style.SKY),
)

_LEGEND = 110  #: characters that fit a legend's line

Value = int | str
Point = dict[str, Value]


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """The sweep of a recorded run: simulated runs that differ in a setting; empty without them."""
    found = queries.rows(
        connection,
        """
        SELECT placement_summary.*, slub FROM placement_summary JOIN runs USING (run)
        WHERE placement_summary.of_run = $run ORDER BY run
        """,
        run=run,
    )
    # The last of several runs with the same settings stands for them.
    runs = {row["settings"]: row for row in found}
    points = [(json.loads(settings), row) for settings, row in runs.items() if settings != "{}"]
    keys = sorted({key for settings, _ in points for key in settings})
    varied = [
        key for key in keys if len({settings.get(key) for settings, _ in points} - {None}) > 1
    ]
    if not varied:
        return []
    what_if = next((row["what_if"] for _, row in points if row["what_if"]), None)
    label = f" What if: {what_if}." if what_if else ""
    return [
        Heading("Sweep of settings"),
        Text(
            f"The same requests simulated with {wording.plural(len(points), 'combination')} of "
            f"settings: {wording.listed(varied)}.{label} All numbers are the model’s."
        ),
        *(_figure(key, points) for key in varied),
        _table(varied, points),
    ]


def _figure(key: str, points: Sequence[tuple[Point, Row]]) -> Picture:
    values = sorted({settings[key] for settings, _ in points if key in settings}, key=_place)
    lines: dict[str, dict[Value, Row]] = {}
    for settings, row in sorted(points, key=lambda point: _places(point[0], sorted(point[0]))):
        if key in settings:
            others = [
                f"{name} = {value}" for name, value in sorted(settings.items()) if name != key
            ]
            lines.setdefault(", ".join(others), {})[settings[key]] = row
    return Picture(
        f"What {key} does, each other setting held: a line a combination of the others.",
        style.svg(sweep(key, values, lines)),
    )


def _place(value: Value | None) -> tuple[float, ...]:
    """What values of a setting are sorted by; 6.12 lies between 6.2 and 7.2."""
    if isinstance(value, str):
        return tuple(float(number) for number in value.split("."))
    return (-1 if value is None else value,)


def _places(settings: Point, keys: Sequence[str]) -> list[tuple[str, tuple[float, ...]]]:
    return [(key, _place(settings.get(key))) for key in keys]


def _shown(value: Value | None) -> str:
    return value if isinstance(value, str) else wording.count(value)


@style.styled
def sweep(key: str, values: Sequence[Value], lines: Mapping[str, Mapping[Value, Row]]) -> Figure:
    """Three panels over one setting, each from zero.

    Args:
        key: the setting.
        values: its values, which stand at equal distances.
        lines: the other settings -> value -> row of placement_summary, with the generation of SLUB.
    """
    figure = style.new_figure(2.1 + 0.06 * (len(lines) > 4) * len(lines))
    slub = sorted({row["slub"] for rows in lines.values() for row in rows.values()})
    of_slub = _BY_GENERATION.get(tuple(slub), _GENERATIONS)
    shown = next((_FIGURES[begin] for begin in _FIGURES if key.startswith(begin)), of_slub)
    panels = figure.subplots(1, len(shown))
    for axes, (column, title) in zip(panels, shown, strict=True):
        largest = 0.0
        for number, (name, rows) in enumerate(lines.items()):
            mark, colour = _MARKS[number % len(_MARKS)]
            at = [place for place, value in enumerate(values) if value in rows]
            found = [rows[values[place]][column] for place in at]
            # What a kernel does not have is no zero.
            numbers = [math.nan if number is None else number for number in found]
            largest = max([largest, *(number for number in found if number is not None)])
            axes.plot(
                at,
                numbers,
                marker=mark,
                color=colour,
                label=name,
                linewidth=0.8,
                markersize=4,
                markerfacecolor="none",
                linestyle="-" if number < len(_MARKS) else "--",
            )
        axes.set_xticks(range(len(values)), [_shown(value) for value in values])
        axes.set_ylim(0, largest * 1.06 or 1)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.set_title(title, loc="left")
        axes.set_xlabel(key)
        axes.grid(visible=True, axis="y")
    if any(lines):
        handles, labels = panels[0].get_legend_handles_labels()
        beside = max(1, min(4, _LEGEND // max(map(len, labels))))
        figure.legend(handles, labels, loc="outside upper left", ncols=beside)
    return figure


def _table(varied: Sequence[str], points: Sequence[tuple[Point, Row]]) -> Table:
    ordered = sorted(points, key=lambda point: _places(point[0], varied))
    names = (
        *("refills", "flushes", "barn_traffic", "slab_allocs", "slab_pages_held"),
        *("partial_slabs", "list_locks", "freelist_cmpxchg", "zone_locks"),
    )
    rows: list[list[Cell]] = [
        [
            *(_shown(settings.get(key)) for key in varied),
            wording.percent(row["fastpath_pct"]),
            *(wording.count(row[name]) for name in names),
        ]
        for settings, row in ordered
    ]
    return Table(
        "Every combination. Fast: share of operations the CPU’s own sheaves or slab served; held: "
        "pages of slabs there at the end, partial: slabs on partial lists then; cmpxchg: locked "
        "ones, of slabs’ free lists. A dash: that kernel has none.",
        (
            *(TableColumn(key.replace(".", ". ")) for key in varied),  # where a head may break
            TableColumn("fast"),
            TableColumn("refills"),
            TableColumn("flushes"),
            TableColumn("barn"),
            TableColumn("slabs made"),
            TableColumn("pages held"),
            TableColumn("partial"),
            TableColumn("list_lock"),
            TableColumn("cmpxchg"),
            TableColumn("zone_lock"),
        ),
        rows,
    )
