"""Comparing runs: every quantity of every side, its noise, and what the data support."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reports.compare import comparable, statistics
from reports.compare.comparison import (
    FEWEST,
    Change,
    ChangeVerdict,
    Compared,
    Comparison,
    Distribution,
    Mean,
    Side,
    Value,
)
from reports.compare.measure import BINS, BINS_PER_DECADE, MEASURES
from reports.compare.measured import Items, end_of, measured
from reports.compare.quantity import DISTRIBUTIONS, QUANTITIES, Quantity
from reports.compare.statistics import LEVEL, Difference, Estimate, Floats, Sums
from reports.render.wording import ENDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.compare.comparable import Remark


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
    identity, runs = measured(sides, baseline)
    names = _names([run for side in runs for run in side])
    numbers = [_Measured(side, names) for side in runs]
    base = numbers[baseline]
    others = [number for number in range(len(sides)) if number != baseline]
    differences = [
        numbers[side].against(base, paired=sides[side].same_recording(sides[baseline]))
        for side in others
    ]
    tested = np.array([quantity.tested for quantity, _ in names])
    enough = np.array([_enough(names, base, numbers[side]) for side in others])
    by_rule = np.array([_by_rule(names, base, numbers[side]) for side in others])
    assumed = np.array([base.assumed | numbers[side].assumed for side in others])
    p = np.where(
        tested & enough & ~by_rule & ~assumed, [spread.p for spread in differences], np.nan
    )
    q = statistics.corrected(p)
    effects = [_effects(names, base, numbers[side]) for side in others]
    rows = []
    for at, (quantity, item) in enumerate(names):
        values = tuple(side.told(at) for side in numbers)
        changes: list[Change | None] = [None] * len(sides)
        for number, side in enumerate(others):
            spread = differences[number]
            interval = (float(spread.low[at]), float(spread.high[at]))
            if assumed[number, at]:
                paired = sides[side].same_recording(sides[baseline])
                interval = _between(base.ends[:, at], numbers[side].ends[:, at], paired=paired)
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
                effect=float(effects[number][at]),
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
        objects=tuple(round(side.objects) for side in numbers),
        identity=identity,
    )


def _effects(names: Sequence[_Name], base: _Measured, other: _Measured) -> Floats:
    """Of each row, how much of all that its quantity counts it moves, an object: 0 to 1."""
    parts = [side.part / np.maximum(side.objects, 1) for side in (base, other)]
    quantities = {quantity: at for at, quantity in enumerate(dict.fromkeys(q for q, _ in names))}
    of = np.array([quantities[quantity] for quantity, _ in names], np.int64)
    total = np.maximum(*(np.bincount(of, part, minlength=len(quantities)) for part in parts))
    moved = np.abs(parts[1] - parts[0])
    effect = np.array([bool(quantity.effect) for quantity, _ in names], np.bool_)
    return np.where(effect, moved / np.maximum(total[of], 1e-300), 0.0)


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
    effect: float,
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
    return Change(change, *interval, p, q, verdict, effect)


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
    slices = len(run["seconds"][""])
    part, whole = np.zeros((len(names), slices)), np.zeros((len(names), slices))
    for at, (quantity, item) in enumerate(names):
        for sums, name, of in (
            (part, quantity.part, item if quantity.items else None),
            (whole, quantity.whole, item if quantity.own_whole else None),
        ):
            size = slices if MEASURES[name].sliced else 1
            at_end = end and name == quantity.part and MEASURES[name].ranged
            values = _total(run[end_of(name, end) if at_end else name], of, size)
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
    return run[quantity.bins].get(item, np.zeros((BINS, len(run["seconds"][""]))))


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
        self.objects = sum(float(run["objects"].get("", np.zeros(1)).sum()) for run in runs)
        #: Events behind each row.
        self.events: Floats = np.array(
            [
                sum(_total(run[quantity.counts], item, 1).sum() for run in runs)
                if quantity.counts
                else part
                for (quantity, item), part in zip(names, self.part, strict=True)
            ]
        )
        #: In how many slices of all runs together there is anything to divide by.
        self.slices = np.sum([(each.whole > 0).sum(axis=1) for each in sums], axis=0)
        #: Lives that a quantile is one of; infinite for rows that are no quantiles.
        self.lives: Floats = np.sum([_lives(run, names) for run in runs], axis=0)
        #: Kinds of page that have no count in any of the runs, and those that have none in some.
        self.frozen = set(runs[0]["frozen"]).intersection(*(run["frozen"] for run in runs))
        self.not_counted = {item for run in runs for item in run["frozen"]}

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
    enough = (base.events >= FEWEST) | (other.events >= FEWEST)
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
    for name, binned in DISTRIBUTIONS.items():
        empty = np.zeros((BINS, 1))
        counts = [
            np.sum([run[binned].get("", empty).sum(axis=1) for run in side], axis=0)
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
