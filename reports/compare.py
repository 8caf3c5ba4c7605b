"""Comparing runs: every quantity of every side, its noise, and what the data support."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reports import comparable, queries, statistics
from reports.comparison import (
    FEWEST,
    Change,
    Compared,
    Comparison,
    Mean,
    Run,
    Side,
    Value,
    Verdict,
)
from reports.measures import BY_NAME, MEASURES, SECONDS, Measure
from reports.quantities import QUANTITIES, Quantity
from reports.statistics import LEVEL, Difference, Estimate, Floats, Sums

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.comparable import Remark

#: item -> its value in each time slice (float64), or in all (one value).
Items = dict[str, Floats]


def checked(sides: Sequence[Side]) -> list[Remark]:
    """What must or should be alike in the recordings, and is not; the heaviest first."""
    return comparable.remarks(
        [
            (
                side.label,
                [
                    comparable.about(run.connection, {**run.row, "own_policy": run.own_policy})
                    for run in side.runs
                ],
            )
            for side in sides
        ]
    )


def compare(sides: Sequence[Side], baseline: int, remarks: Sequence[Remark]) -> Comparison:
    """Compare sides with the baseline.

    Args:
        sides: at least two.
        baseline: number of the side that the others are compared with.
        remarks: of checked(), for the report's head.
    """
    runs = [[measure(run) for run in side.runs] for side in sides]
    names = _names([run for side in runs for run in side])
    measured = [_Measured(side, names) for side in runs]
    base = measured[baseline]
    others = [number for number in range(len(sides)) if number != baseline]
    differences = [measured[side].against(base) for side in others]
    enough = np.array([_enough(names, base, measured[side]) for side in others])
    p = np.where(enough, [spread.p for spread in differences], np.nan)
    q = statistics.corrected(p)
    rows = []
    for at, (quantity, item) in enumerate(names):
        values = tuple(_value(side.estimate, at) for side in measured)
        changes: list[Change | None] = [None] * len(sides)
        for number, side in enumerate(others):
            spread = differences[number]
            changes[side] = _change(
                (values[baseline].value, values[side].value),
                (float(spread.low[at]), float(spread.high[at])),
                (float(p[number, at]), float(q[number, at])),
                enough=bool(enough[number, at]),
                testable=_testable(sides[baseline], sides[side]),
            )
        rows.append(Compared(quantity, item, values, tuple(changes)))
    return Comparison(
        sides=tuple(sides),
        baseline=baseline,
        remarks=tuple(remarks),
        rows=tuple(rows),
        means=tuple(_means(rows, baseline, others)),
        tested=int(np.isfinite(p).sum()),
    )


def _value(estimate: Estimate, at: int) -> Value:
    return Value(float(estimate.value[at]), float(estimate.low[at]), float(estimate.high[at]))


def _testable(base: Side, other: Side) -> bool:
    first, second = len(base.runs), len(other.runs)
    return first == second == 1 or statistics.least_p(first, second) <= LEVEL


def _change(
    values: tuple[float, float],
    interval: tuple[float, float],
    chances: tuple[float, float],
    *,
    enough: bool,
    testable: bool,
) -> Change:
    base, other = values
    p, q = chances
    with np.errstate(divide="ignore", invalid="ignore"):
        change = 0.0 if base == other else float(np.divide(other, base) - 1)
    if np.isnan(base) or np.isnan(other):
        verdict = Verdict.UNTESTED
    elif base == other and (np.isnan(p) or p == 1):
        verdict = Verdict.SAME
    elif not enough:
        verdict = Verdict.FEW
    elif not testable:
        verdict = Verdict.REPEATS
    elif np.isnan(p):
        verdict = Verdict.UNTESTED
    elif p > LEVEL:
        verdict = Verdict.NONE
    else:
        verdict = Verdict.DIFFERS if q <= LEVEL else Verdict.CHANCE
    return Change(change, *interval, p, q, verdict)


def measure(run: Run) -> dict[str, Items]:
    """Every measure of one run that its database can tell: name -> item -> values by slice."""
    slices = int((run.row["last_ts"] - run.row["first_ts"]) // run.row["slice_ns"]) + 1
    there = {
        row["name"]
        for row in queries.rows(
            run.connection,
            "SELECT table_name AS name FROM duckdb_tables()"
            " UNION SELECT view_name FROM duckdb_views()",
        )
    }
    return {
        each.name: _asked(run, each, slices) for each in MEASURES if there.issuperset(each.needs)
    }


def _asked(run: Run, asked: Measure, slices: int) -> Items:
    number = run.row["run"]
    values = {
        "run": number,
        "recorded": run.row.get("of_run") or number,
        "own": run.own_policy,
    }
    used = {name: value for name, value in values.items() if f"${name}" in asked.sql}
    found: Items = {}
    for row in queries.rows(run.connection, asked.sql, **used):
        item, at, value = row["item"], row["slice"], float(row["value"] or 0)
        if at is None:
            found[item] = np.array([value])
        else:
            found.setdefault(item, np.zeros(slices))[min(max(int(at), 0), slices - 1)] += value
    return found


#: What a row is of: a quantity and an item, '' for all of them together.
_Name = tuple[Quantity, str]


def _names(runs: Sequence[Mapping[str, Items]]) -> list[_Name]:
    """The rows: what any run has, items by size, except policies that not every run has."""
    names: list[_Name] = []
    for quantity in QUANTITIES:
        if not all(quantity.part in run and quantity.whole in run for run in runs):
            continue
        if not quantity.items:
            # Nothing anywhere: most likely it was not recorded.
            if any(values.any() for run in runs for values in run[quantity.part].values()):
                names.append((quantity, ""))
            continue
        sizes: dict[str, float] = {}
        for run in runs:
            for item, values in run[quantity.part].items():
                sizes[item] = sizes.get(item, 0) + float(values.sum())
        ordered = sorted((item for item in sizes if sizes[item]), key=lambda i: (-sizes[i], i))
        if quantity.part == "policy_locked":
            ordered = [item for item in ordered if all(item in run[quantity.part] for run in runs)]
        names += [(quantity, item) for item in ordered]
    return names


def _total(items: Items, item: str | None, size: int) -> Floats:
    """The values of one item, or of all together (None); zeros where there is none."""
    if item is not None:
        return items.get(item, np.zeros(size))
    total: Floats = np.sum([np.zeros(size), *items.values()], axis=0)
    return total


def _sums(run: Mapping[str, Items], names: Sequence[_Name]) -> Sums:
    """All rows of one run by slice; what is one total stands in the first."""
    slices = len(run[SECONDS][""])
    part, whole = np.zeros((len(names), slices)), np.zeros((len(names), slices))
    for at, (quantity, item) in enumerate(names):
        for sums, name, of in (
            (part, quantity.part, item if quantity.items else None),
            (whole, quantity.whole, item if quantity.own_whole else None),
        ):
            size = slices if BY_NAME[name].sliced else 1
            values = _total(run[name], of, size)
            if quantity.sliced:
                sums[at] = values
            else:
                sums[at, 0] = values.sum()
        part[at] *= quantity.scale
    return Sums(part, whole)


class _Measured:
    """All rows of one side: their sums in each run, and what follows from them."""

    def __init__(self, runs: Sequence[Mapping[str, Items]], names: Sequence[_Name]) -> None:
        sums = [_sums(run, names) for run in runs]
        self.values = np.array([each.ratio() for each in sums]).T
        self.estimate: Estimate
        if len(runs) == 1:
            [only] = sums
            sliced = np.array([quantity.sliced for quantity, _ in names])
            self.estimate = statistics.without_error(statistics.within_run(only), ~sliced)
        else:
            self.estimate = statistics.over_repeats(self.values)
        scale = np.array([quantity.scale for quantity, _ in names])
        self.part: Floats = np.sum([each.part.sum(axis=1) for each in sums], axis=0) / scale
        self.whole: Floats = np.sum([each.whole.sum(axis=1) for each in sums], axis=0)

    def against(self, base: _Measured) -> Difference:
        """The change from the baseline: within the two runs, or over repeats if there are any."""
        if self.values.shape[1] == base.values.shape[1] == 1:
            return statistics.compare_runs(base.estimate, self.estimate)
        return statistics.compare_repeats(base.values, self.values)


def _enough(names: Sequence[_Name], base: _Measured, other: _Measured) -> npt.NDArray[np.bool_]:
    """Which rows have counts enough on both sides."""
    counted = np.array([quantity.counted for quantity, _ in names])
    enough = (base.part >= FEWEST) | (other.part >= FEWEST)
    return ~counted | (enough & (base.whole >= FEWEST) & (other.whole >= FEWEST))


def _means(rows: Sequence[Compared], baseline: int, others: Sequence[int]) -> list[Mean]:
    """Geometric means over the items of each quantity that has any."""
    found = []
    for quantity in (quantity for quantity in QUANTITIES if quantity.items):
        of_it = [row for row in rows if row.quantity is quantity]
        for side in others:
            ratios = [
                row.values[side].value / row.values[baseline].value
                for row in of_it
                if row.values[baseline].value > 0
                and row.values[side].value > 0
                and (change := row.changes[side]) is not None
                and change.verdict is not Verdict.FEW
            ]
            if len(ratios) > 1:
                mean = statistics.geometric_mean(np.array(ratios))
                found.append(Mean(quantity, side, mean, len(ratios), len(of_it) - len(ratios)))
    return found
