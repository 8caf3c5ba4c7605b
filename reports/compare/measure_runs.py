"""Comparing runs: every quantity of every side, its noise, and what the data support."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reports import queries
from reports.compare import comparable, statistics
from reports.compare.all_measures import BY_NAME, MEASURES
from reports.compare.all_quantities import DISTRIBUTIONS, QUANTITIES
from reports.compare.comparison import (
    FEWEST,
    Change,
    ChangeVerdict,
    Compared,
    Comparison,
    Distribution,
    Mean,
    Run,
    Side,
    Value,
)
from reports.compare.measure import BINS, BINS_PER_DECADE, Measure
from reports.compare.quantity import Quantity
from reports.compare.recorded_measures import FROZEN, SECONDS
from reports.compare.statistics import LEVEL, Difference, Estimate, Floats, Sums
from reports.render.wording import ENDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.compare.comparable import Remark

#: item -> its value in each time slice (float64 [slices], [BINS, slices] if binned), or in all.
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
    differences = [
        measured[side].against(base, paired=sides[side].same_recording(sides[baseline]))
        for side in others
    ]
    enough = np.array([_enough(names, base, measured[side]) for side in others])
    by_rule = np.array([_by_rule(names, base, measured[side]) for side in others])
    assumed = np.array([base.assumed | measured[side].assumed for side in others])
    p = np.where(enough & ~by_rule & ~assumed, [spread.p for spread in differences], np.nan)
    q = statistics.corrected(p)
    rows = []
    for at, (quantity, item) in enumerate(names):
        values = tuple(side.told(at) for side in measured)
        changes: list[Change | None] = [None] * len(sides)
        for number, side in enumerate(others):
            spread = differences[number]
            interval = (float(spread.low[at]), float(spread.high[at]))
            if assumed[number, at]:
                paired = sides[side].same_recording(sides[baseline])
                interval = _between(base.ends[:, at], measured[side].ends[:, at], paired=paired)
            changes[side] = _change(
                (values[baseline].value, values[side].value),
                interval,
                (float(p[number, at]), float(q[number, at])),
                untested=_untested(
                    by_rule=bool(by_rule[number, at]),
                    assumed=bool(assumed[number, at]) and interval != (0, 0),
                    enough=bool(enough[number, at]),
                    testable=_testable(sides[baseline], sides[side]),
                ),
            )
        rows.append(Compared(quantity, item, values, tuple(changes)))
    return Comparison(
        sides=tuple(sides),
        baseline=baseline,
        remarks=tuple(remarks),
        rows=tuple(rows),
        means=tuple(_means(rows, baseline, others)),
        distributions=tuple(_distributions(runs)),
        tested=int(np.isfinite(p).sum()),
    )


def _between(base: Floats, other: Floats, *, paired: bool) -> tuple[float, float]:
    """Least and most change that ranges on two sides allow.

    Args:
        base: the least and the most of one side.
        other: those of the other.
        paired: both are of one recording: what is assumed is at the same end on both.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.divide(other, base if paired else base[::-1]) - 1
    return float(changes.min()), float(changes.max())


def _testable(base: Side, other: Side) -> bool:
    first, second = len(base.runs), len(other.runs)
    return first == second == 1 or statistics.least_p(first, second) <= LEVEL


def _untested(
    *, by_rule: bool, assumed: bool, enough: bool, testable: bool
) -> ChangeVerdict | None:
    """Why a row cannot be tested; None if it can."""
    if by_rule:
        return ChangeVerdict.FROZEN
    if assumed:
        return ChangeVerdict.ASSUMED
    if not enough:
        return ChangeVerdict.FEW
    return None if testable else ChangeVerdict.REPEATS


def _change(
    values: tuple[float, float],
    interval: tuple[float, float],
    chances: tuple[float, float],
    *,
    untested: ChangeVerdict | None,
) -> Change:
    base, other = values
    p, q = chances
    with np.errstate(divide="ignore", invalid="ignore"):
        change = 0.0 if base == other else float(np.divide(other, base) - 1)
    if np.isnan(base) or np.isnan(other):
        verdict = ChangeVerdict.UNTESTED
    elif base == other and (np.isnan(p) or p == 1) and untested is not ChangeVerdict.ASSUMED:
        verdict = ChangeVerdict.SAME
    elif untested is not None:
        verdict = untested
    elif np.isnan(p):
        verdict = ChangeVerdict.UNTESTED
    elif p > LEVEL:
        verdict = ChangeVerdict.NONE
    else:
        verdict = ChangeVerdict.DIFFERS if q <= LEVEL else ChangeVerdict.CHANCE
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
    answers: dict[str, Items] = {}
    for each in MEASURES:
        if not there.issuperset(each.needs):
            continue
        rows = _asked(run, each)
        for column in ("value", *(ENDS if each.ranged else ())):
            items = _items(rows, each, column, slices)
            if items or not each.optional:
                answers[each.name if column == "value" else _end(each.name, column)] = items
    return answers


def _end(name: str, end: str) -> str:
    """What the least or the most of a ranged measure is called."""
    return f"{name} {end}"


def _asked(run: Run, asked: Measure) -> list[queries.Row]:
    number = run.row["run"]
    values = {
        "run": number,
        "recorded": run.row.get("of_run") or number,
        "own": run.own_policy,
    }
    used = {name: value for name, value in values.items() if f"${name}" in asked.sql}
    return queries.rows(run.connection, asked.sql, **used)


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
        ordered = [item for item in quantity.order if sizes.get(item)] or sorted(
            (item for item in sizes if sizes[item]), key=lambda i: (-sizes[i], i)
        )
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


def _sums(run: Mapping[str, Items], names: Sequence[_Name], end: str = "") -> Sums:
    """All rows of one run by slice; what is one total stands in the first.

    Args:
        run: its measures.
        names: the rows.
        end: of ENDS: parts that are ranged are at that end.
    """
    slices = len(run[SECONDS][""])
    part, whole = np.zeros((len(names), slices)), np.zeros((len(names), slices))
    for at, (quantity, item) in enumerate(names):
        for sums, name, of in (
            (part, quantity.part, item if quantity.items else None),
            (whole, quantity.whole, item if quantity.own_whole else None),
        ):
            size = slices if BY_NAME[name].sliced else 1
            at_end = end and name == quantity.part and BY_NAME[name].ranged
            values = _total(run[_end(name, end) if at_end else name], of, size)
            if quantity.sliced:
                sums[at] = values
            else:
                sums[at, 0] = values.sum()
        if quantity.listed and item not in run[quantity.part]:
            whole[at] = 0
        if quantity.bins and not part[at].any():
            whole[at] = 0  # there is no quantile of nothing
        part[at] *= quantity.scale
    return Sums(part, whole)


def _bins(run: Mapping[str, Items], name: _Name) -> Floats | None:
    """What the quantile of a row is one of: float64 [BINS, slices]; None if it is no quantile."""
    quantity, item = name
    if not quantity.bins:
        return None
    return run[quantity.bins].get(item, np.zeros((BINS, len(run[SECONDS][""]))))


def _within_run(run: Mapping[str, Items], sums: Sums, names: Sequence[_Name]) -> Estimate:
    """All rows of a run with their variation within it, as far as it is known."""
    estimate = statistics.within_run(sums)
    slices = sums.part.shape[1]
    times = statistics.draw_weights(slices)
    draws = estimate.draws.copy()
    for at, name in enumerate(names):
        bins = _bins(run, name)
        if bins is not None:
            drawn = statistics.quantile_of_bins(bins @ times, name[0].quantile)
            # From bins of the logarithm to the quantity itself, whose exact value is known.
            middle = statistics.quantile_of_bins(bins.sum(axis=1)[:, None], name[0].quantile)
            draws[at] = estimate.value[at] * 10 ** ((drawn - middle) / BINS_PER_DECADE)
    constant = np.array([not quantity.varies for quantity, _ in names])
    return statistics.without_error(statistics.of_draws(estimate.value, draws, slices), constant)


class _Measured:
    """All rows of one side: their sums in each run, and what follows from them."""

    def __init__(self, runs: Sequence[Mapping[str, Items]], names: Sequence[_Name]) -> None:
        sums = [_sums(run, names) for run in runs]
        self.values = np.array([each.ratio() for each in sums]).T
        self.estimate: Estimate
        if len(runs) == 1:
            self.estimate = _within_run(runs[0], sums[0], names)
        else:
            self.estimate = statistics.over_repeats(self.values)
        #: float64 [2, rows]: least and most; both the value where nothing is assumed.
        self.ends: Floats = np.array(
            [np.median([_sums(run, names, end).ratio() for run in runs], axis=0) for end in ENDS]
        )
        self.assumed = self.ends[0] < self.ends[1]
        scale = np.array([quantity.scale for quantity, _ in names])
        self.part: Floats = np.sum([each.part.sum(axis=1) for each in sums], axis=0) / scale
        self.whole: Floats = np.sum([each.whole.sum(axis=1) for each in sums], axis=0)
        #: In how many slices of all runs together there is anything to divide by.
        self.slices = np.sum([(each.whole > 0).sum(axis=1) for each in sums], axis=0)
        #: Lives that a quantile is one of; infinite for rows that are no quantiles.
        self.lives: Floats = np.sum([_lives(run, names) for run in runs], axis=0)
        #: Kinds of page that have no count in any of the runs, and those that have none in some.
        self.frozen = set(runs[0][FROZEN]).intersection(*(run[FROZEN] for run in runs))
        self.not_counted = {item for run in runs for item in run[FROZEN]}

    def told(self, at: int) -> Value:
        """The quantity of a row."""
        estimate = self.estimate
        ends = self.ends[:, at] if self.assumed[at] else (estimate.low[at], estimate.high[at])
        low, high = map(float, ends)
        return Value(float(estimate.value[at]), low, high, bool(self.assumed[at]))

    def against(self, base: _Measured, *, paired: bool) -> Difference:
        """The change from the baseline: within the two runs, or over repeats if there are any."""
        if paired:
            return statistics.compare_paired(base.estimate, self.estimate)
        if self.values.shape[1] == base.values.shape[1] == 1:
            return statistics.compare_runs(base.estimate, self.estimate)
        return statistics.compare_repeats(base.values, self.values)


def _lives(run: Mapping[str, Items], names: Sequence[_Name]) -> Floats:
    bins = [_bins(run, name) for name in names]
    return np.array([np.inf if each is None else each.sum() for each in bins])


def _enough(names: Sequence[_Name], base: _Measured, other: _Measured) -> npt.NDArray[np.bool_]:
    """Which rows have counts enough on both sides, and not all of them in a few slices."""
    sliced = np.array([quantity.sliced for quantity, _ in names])
    spread = ~sliced | (np.minimum(base.slices, other.slices) >= FEWEST)
    counted = np.array([quantity.counted for quantity, _ in names])
    enough = (base.part >= FEWEST) | (other.part >= FEWEST)
    # Of a quantile, as many lie beyond it.
    tail = np.array([min(each.quantile, 1 - each.quantile) or 1 for each, _ in names])
    lives = np.minimum(base.lives, other.lives) * tail >= FEWEST
    result: npt.NDArray[np.bool_] = lives & (
        ~counted | (spread & enough & (base.whole >= FEWEST) & (other.whole >= FEWEST))
    )
    return result


def _by_rule(names: Sequence[_Name], base: _Measured, other: _Measured) -> npt.NDArray[np.bool_]:
    """Which rows are of kinds of page that one side has frozen and the other has not.

    Only where the frozen side has none of it indeed: a recorded operation on a frozen page is a
    difference like any other.
    """
    rows: list[bool] = [
        quantity.kinds
        and any(
            item in frozen.frozen and item not in counted.not_counted and not frozen.part[at]
            for frozen, counted in ((base, other), (other, base))
        )
        for at, (quantity, item) in enumerate(names)
    ]
    result: npt.NDArray[np.bool_] = np.array(rows, np.bool_)
    return result


def _distributions(runs: Sequence[Sequence[Mapping[str, Items]]]) -> list[Distribution]:
    """The distributions that every side has anything of."""
    found = []
    for name, measured in DISTRIBUTIONS.items():
        empty = np.zeros((BINS, 1))
        counts = [
            np.sum([run[measured].get("", empty).sum(axis=1) for run in side], axis=0)
            for side in runs
        ]
        if all(each.any() for each in counts):
            found.append(Distribution(name, tuple(counts)))
    return found


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
                and change.verdict is not ChangeVerdict.FEW
            ]
            if len(ratios) > 1:
                mean = statistics.geometric_mean(np.array(ratios))
                found.append(Mean(quantity, side, mean, len(ratios), len(of_it) - len(ratios)))
    return found
