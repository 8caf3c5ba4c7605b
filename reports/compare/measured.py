"""What runs answer to the questions of a comparison."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reports import queries
from reports.compare.identity import Identity, Label, identify
from reports.compare.measure import BINS, MEASURES, TABLES, WINDOWS, Measure
from reports.compare.units import UNKNOWN, recorded, together
from reports.render.wording import ENDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.compare.comparison import Run, Side
    from reports.compare.units import AllocatedUnits

#: item -> its value in each time slice (float64 [slices], [BINS, slices] if binned), or in all.
Items = dict[str, npt.NDArray[np.float64]]

_NONE = Label("", matched=False, counted=False)  #: of what is in no row
_WINDOW = 1 << 21  #: events that requests are counted of at a time
_NOT_SEEN = -1  #: origin of what was allocated before the recording
_ORIGINS = """
    CREATE OR REPLACE TEMP TABLE compared_origins AS SELECT
        unnest($origins::int[]) AS origin, unnest($items::text[]) AS item,
        unnest($functions::text[]) AS function, unnest($matched::bool[]) AS matched,
        unnest($counted::bool[]) AS counted
"""
_SLABS = """
    CREATE OR REPLACE TEMP TABLE compared_slabs AS SELECT run, cache, item
    FROM caches JOIN (SELECT unnest($names::text[]) AS name, unnest($items::text[]) AS item)
    USING (name) WHERE run IN ($recorded, $run)
"""
_LAST = """
    SELECT coalesce(max(seq), -1) AS last FROM (
        SELECT max(seq) AS seq FROM internal.object_facts WHERE run = $recorded
        UNION ALL SELECT max(seq) FROM page_events WHERE run = $recorded
    )
"""


def measured(
    sides: Sequence[Side], baseline: int
) -> tuple[Identity | None, list[list[dict[str, Items]]]]:
    """What the sides have in common, and the measures of each run of each side by name.

    Returns:
        The identity, None where all sides are of one recording; a measure, and where it is ranged
        its ``end_of`` low and high, as item -> values by slice.
    """
    runs = [[recorded(run.connection, run.recorded) for run in side.runs] for side in sides]
    one = all(side.same_recording(sides[baseline]) for side in sides)
    identity = None if one else identify([together(several) for several in runs], baseline)
    answers: list[list[dict[str, Items]]] = []
    for at, (side, several) in enumerate(zip(sides, runs, strict=True)):
        answers.append([])
        for run, units in zip(side.runs, several, strict=True):
            _make_tables(run, units, identity, at)
            answers[-1].append(_answers(run))
    return identity, answers


def end_of(name: str, end: str) -> str:
    """What the least or the most of a ranged measure is called."""
    return f"{name} {end}"


def _make_tables(run: Run, units: AllocatedUnits, identity: Identity | None, side: int) -> None:
    if identity is None:
        labels = {unit: Label(unit.cache or UNKNOWN) for unit in units.objects}
        rows = queries.rows(run.connection, "SELECT DISTINCT name FROM caches")
        slabs = {row["name"]: row["name"] for row in rows}
    else:
        labels, slabs = identity.labels[side], identity.slabs[side]
    origins: list[tuple[int, str | None, str | None, bool, bool]] = [
        (origin, label.item, unit.function, label.matched, label.counted)
        for origin, unit in units.origins.items()
        if (label := labels.get(unit, _NONE))
    ]
    origins.append((_NOT_SEEN, None, None, identity is None, False))
    columns = ("origins", "items", "functions", "matched", "counted")
    values = dict(zip(columns, map(list, zip(*origins, strict=True)), strict=True))
    _execute(run, _ORIGINS, values)
    _execute(run, _SLABS, {"names": list(slabs), "items": list(slabs.values())})
    for statement in TABLES:
        _execute(run, statement, {})
    [ends] = _execute(run, _LAST, {})
    for begin in range(0, ends["last"] + 1, _WINDOW):
        for statement in WINDOWS:
            _execute(run, statement, {"begin": begin, "last": begin + _WINDOW - 1})


def _execute(run: Run, sql: str, values: Mapping[str, object]) -> list[queries.Row]:
    """The rows of a statement, with those of its parameters that it has."""
    known = {"run": run.row["run"], "recorded": run.recorded, "own": run.own_policy, **values}
    used = {name: value for name, value in known.items() if re.search(rf"\${name}\b", sql)}
    return queries.rows(run.connection, sql, **used)


def _answers(run: Run) -> dict[str, Items]:
    slices = int((run.row["last_ts"] - run.row["first_ts"]) // run.row["slice_ns"]) + 1
    answers: dict[str, Items] = {}
    for each in MEASURES.values():
        rows = _execute(run, each.sql, {})
        for column in ("value", *(ENDS if each.ranged else ())):
            items = _items(rows, each, column, slices)
            if items or not each.optional:
                answers[each.name if column == "value" else end_of(each.name, column)] = items
    return answers


def _items(rows: Sequence[queries.Row], asked: Measure, column: str, slices: int) -> Items:
    found: Items = {}
    for row in rows:
        item, at, value = row["item"], row["slice"], float(row[column] or 0)
        if at is None:
            found[item] = np.array([value])
            continue
        inside = min(max(int(at), 0), slices - 1)
        if asked.binned:
            found.setdefault(item, np.zeros((BINS, slices)))[row["bin"], inside] += value
        else:
            found.setdefault(item, np.zeros(slices))[inside] += value
    return found
