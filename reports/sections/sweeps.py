"""Sweeps in a report: what each varied setting does, one figure a setting."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Answer,
    Block,
    Cell,
    Chart,
    Heading,
    LinePanel,
    Table,
    TableColumn,
    Text,
)
from reports.sections import sheaf_tradeoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

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
_OWN = "kernel’s own"  #: what the value of a setting is called that was not set

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
    points = [(json.loads(settings), row) for settings, row in runs.items()]
    keys = sorted({key for settings, _ in points for key in settings})
    varied = [
        key for key in keys if len({settings.get(key) for settings, _ in points} - {None}) > 1
    ]
    if not varied:
        return []
    others = len(varied) < len(keys)
    what_if = next((row["what_if"] for settings, row in points if not settings), None)
    label = f" What if: {what_if}." if what_if else ""
    return [
        Heading("What the settings do"),
        *(_answer(key, points) for key in varied),
        Text(
            f"The same requests simulated with {wording.plural(len(points), 'combination')} of "
            f"settings: {wording.listed(varied)}{', and others of one value each' * others}."
            f"{label} All numbers are the model’s; {_OWN}: the settings of the machine or, where "
            "they are not recorded, of its kernel."
        ),
        *(_figure(key, points) for key in varied),
        _table(varied, points),
        *sheaf_tradeoff.blocks(connection, run),
    ]


def _answer(key: str, points: Sequence[tuple[Point, Row]]) -> Answer:
    """Where the setting takes the fast path and list_lock, and what the kernel's own gives."""
    told = sorted(
        ((settings[key], row) for settings, row in points if key in settings),
        key=lambda point: _place(point[0]),
    )
    best = max(told, key=lambda point: point[1]["fastpath_pct"] or 0)
    worst = min(told, key=lambda point: point[1]["fastpath_pct"] or 0)
    own = [row for settings, row in points if not settings]
    ends = " and ".join(
        f"{wording.percent(row['fastpath_pct'])} at {_shown(value)} (list_lock "
        f"{wording.count(row['list_locks'])} times)"
        for value, row in {best[0]: best, worst[0]: worst}.values()
    )
    beside = "".join(
        f" The {_OWN} gives {wording.percent(row['fastpath_pct'])} (list_lock "
        f"{wording.count(row['list_locks'])} times)."
        for row in own
    )
    return Answer(
        f"Of the values of {key} the share of operations that CPUs serve by themselves is {ends}."
        f"{beside}",
        f"How: modelled, {wording.plural(len(told), 'run')}; shares are lower ends. Caveat: what "
        "sheaves and slabs hold in memory is in the table below.",
        "placement_summary",
    )


def _figure(key: str, points: Sequence[tuple[Point, Row]]) -> Chart:
    """Three panels over one setting, each from zero, a line a combination of the others."""
    values = sorted({settings[key] for settings, _ in points if key in settings}, key=_place)
    own = next((row for settings, row in points if not settings), None)
    lines: dict[str, dict[Value, Row]] = {}
    for settings, row in sorted(points, key=lambda point: _places(point[0], sorted(point[0]))):
        if key in settings:
            others = [
                f"{name} = {value}" for name, value in sorted(settings.items()) if name != key
            ]
            lines.setdefault(", ".join(others) or "all else its own", {})[settings[key]] = row
    slub = sorted({row["slub"] for rows in lines.values() for row in rows.values()})
    of_slub = _BY_GENERATION.get(tuple(slub), _GENERATIONS)
    shown = next((_FIGURES[begin] for begin in _FIGURES if key.startswith(begin)), of_slub)
    return Chart(
        f"What {key} does, each other setting held: a line a combination of the others"
        f"{f'; own: the {_OWN}' if own else ''}.",
        [
            LinePanel(
                [*(["own"] if own else []), *map(_shown, values)],
                {
                    name: [
                        *([own[column]] if own else []),
                        *(rows[value][column] if value in rows else None for value in values),
                    ]
                    for name, rows in lines.items()
                },
                title,
                key,
                0 if own else None,
            )
            for column, title in shown
        ],
        beside=len(shown),
        view="placement_summary",
    )


def _place(value: Value | None) -> tuple[float, ...]:
    """What values of a setting are sorted by; 6.12 lies between 6.2 and 7.2, words behind all."""
    if isinstance(value, str):
        if not value[:1].isdecimal():
            return (inf, *map(ord, value))
        return tuple(float(number) for number in value.split("."))
    return (-1 if value is None else value,)


def _places(settings: Point, keys: Sequence[str]) -> list[tuple[str, tuple[float, ...]]]:
    return [(key, _place(settings.get(key))) for key in keys]


def _shown(value: Value | None) -> str:
    if value is None:
        return _OWN
    return value if isinstance(value, str) else wording.count(value)


def _others(settings: Point, varied: Sequence[str]) -> str:
    """What is set beside the settings that are varied."""
    return ", ".join(f"{key} = {value}" for key, value in settings.items() if key not in varied)


def _table(varied: Sequence[str], points: Sequence[tuple[Point, Row]]) -> Table:
    ordered = sorted(points, key=lambda point: _places(point[0], varied))
    others = [_others(settings, varied) for settings, _ in ordered]
    names = (
        *("refills", "flushes", "barn_traffic", "slab_allocs", "slab_pages_held"),
        *("partial_slabs", "list_locks", "freelist_cmpxchg", "zone_locks"),
    )
    rows: list[list[Cell]] = [
        [
            *(_shown(settings.get(key)) for key in varied),
            *([other] if any(others) else []),
            wording.percent(row["fastpath_pct"]),
            *(wording.count(row[name]) for name in names),
        ]
        for (settings, row), other in zip(ordered, others, strict=True)
    ]
    return Table(
        "Every combination. Fast: share of operations the CPU’s own sheaves or slab served; held: "
        "pages of slabs there at the end, partial: slabs on partial lists then; cmpxchg: locked "
        "ones, of slabs’ free lists. A dash: that kernel has none.",
        (
            *(TableColumn(key.replace(".", ". ")) for key in varied),  # where a head may break
            *([TableColumn("other settings", numeric=False, share=1)] if any(others) else []),
            TableColumn("fast"),
            TableColumn("refills"),
            TableColumn("flushes"),
            TableColumn("barn"),
            TableColumn("slabs made", minor=True),
            TableColumn("pages held"),
            TableColumn("partial", minor=True),
            TableColumn("list_lock"),
            TableColumn("cmpxchg", minor=True),
            TableColumn("zone_lock", minor=True),
        ),
        rows,
        "placement_summary",
    )
