"""From observed lives to the lifetimes of a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from pipeline.fitting.periods import FEW, PERIOD_BIRTHS
from pipeline.fitting.quantile_nodes import by_rank, by_ratio, mid_table, quantile_nodes, within
from pipeline.fitting.quantile_nodes_text import quantile_nodes_text
from pipeline.synth.births import NEVER
from pipeline.synth.spec.units import write_time

if TYPE_CHECKING:
    from allocsim.tables import F8, I8, Bools
    from pipeline.fitting.lives import TracedLives


SHORT = 8  #: what lives for less than this part of its period dies at once
IN_ORDER = 0.5  #: rank correlation from which frees are in order
CLOSE = 0.05  #: how far lifetimes may be off: deciles of a formula, and between quantiles
LEAST_PART = 4  #: lives that are not parted any more
_DECILES = np.arange(1, 10) / 10


def lifetimes(lives: TracedLives, end: int) -> list[dict[str, Any]]:
    """A mixture: what dies within the period, behind it, and never.

    The first by its lifetimes. What lives longer dies with something else, a task or a file, so it
    is told by the time of death, which is behind all births of the period.

    Args:
        lives: lives that began in the period.
        end: the ns behind the period.
    """
    ended = lives.death != NEVER
    lived = lives.death - lives.birth
    late = outlives(lives, end)
    soon = ended & ~late
    parts = []
    for rows, make in (
        (soon, lambda rows: distribution(np.sort(lived[rows]))),
        (late, lambda rows: {"kind": "until"} | times(lives.death[rows], lived[rows], "values")),
        (~ended, lambda _: {"kind": "forever"}),
    ):
        count = int(np.count_nonzero(rows))
        if count:
            parts.append(make(rows) | {"share": count})
    if len(parts) == 1:
        del parts[0]["share"]
    return parts


def outlives(lives: TracedLives, end: int) -> Bools:
    """Which lives a spec tells by their time of death (bool)."""
    ended = lives.death != NEVER
    late: Bools = ended & ((lives.death >= end) | _in_turn(lives))
    return late


def distribution(lived: I8) -> dict[str, Any]:
    """The simplest distribution whose deciles are close to those of a sorted sample."""
    median = int(np.median(lived))
    if lived[0] == lived[-1]:
        return {"kind": "fixed", "after": write_time(max(median, 1))}
    if len(lived) >= PERIOD_BIRTHS:
        deciles = np.quantile(lived, _DECILES)
        mean = int(lived.mean())
        if _close(deciles, -np.log1p(-_DECILES) * mean):
            return {"kind": "exponential", "mean": write_time(mean)}
        normal = special.ndtri(_DECILES)
        sigma = np.polyfit(normal, np.log(np.maximum(deciles, 1)), 1)[0]
        if median > 0 and 0 < sigma < 5 and _close(deciles, np.exp(sigma * normal) * median):
            return {
                "kind": "lognormal",
                "median": write_time(median),
                "sigma": round(float(sigma), 3),
            }
    table = mid_table(lived, lives=True)
    limits = by_ratio(table, CLOSE)
    return {"kind": "quantiles"} | quantile_nodes_text(
        quantile_nodes(table, *limits, lives=True), limits, "values"
    )


def times(when: I8, lived: I8, key: str) -> dict[str, Any]:
    """Quantiles of births or deaths whose lifetimes are to be close to those seen.

    Args:
        when: the births, or the deaths.
        lived: lifetimes; none: those of no matter.
        key: name of the quantiles.
    """
    table = mid_table(np.sort(when))
    limits = by_rank(table, len(when))
    if len(lived):
        # The tenth of the shortest may be off by more.
        limits = within(limits, table, CLOSE / 2 * float(np.quantile(lived, _DECILES[0])))
    return quantile_nodes_text(quantile_nodes(table, *limits), limits, key, since=True)


def in_parts(lives: TracedLives, end: int) -> list[TracedLives]:
    """Lives in parts, in each of which an order of death tells the lifetimes.

    What outlives its period dies in an order, the first first, the last first, or shuffled. Where
    that makes other lifetimes than those seen, the shorter half and the longer have parts of their
    own: the nearer to each other the lifetimes of a part, the less depends on who dies when.
    """
    if not np.all(outlives(lives, end)) or len(lives.birth) < 2 * LEAST_PART:
        return [lives]
    lived = lives.death - lives.birth
    deciles = np.quantile(lived, _DECILES)
    if _close(deciles, np.quantile(_in_order(lives), _DECILES)):
        return [lives]
    by_length = np.argsort(lived, kind="stable")
    half = len(by_length) // 2
    return [
        part
        for rows in (by_length[:half], by_length[half:])
        for part in in_parts(lives.of(np.sort(rows)), end)
    ]


def _in_order(lives: TracedLives) -> I8:
    """Lifetimes if the order of death is that which a spec says (i8)."""
    births, deaths = np.sort(lives.birth), np.sort(lives.death)
    order = order_of(lives)
    if order == "lifo":
        deaths = deaths[::-1]
    elif order == "shuffled":
        deaths = deaths[np.random.default_rng(0).permutation(len(deaths))]
    return deaths - births


def _close(found: F8, by_formula: F8) -> bool:
    return bool(np.all(np.abs(by_formula - found) <= CLOSE * np.maximum(found, 1)))


def _in_turn(lives: TracedLives) -> bool:
    """Whether all lives end in the order in which they began, none of them soon after.

    Quantiles over a period do not tell lives that are short beside it.
    """
    if len(lives.birth) < FEW or np.any(lives.death == NEVER):
        return False
    span = int(np.ptp(lives.birth))
    if int(np.min(lives.death - lives.birth)) * SHORT < span:
        return False
    return _correlation(lives) > IN_ORDER


def _correlation(lives: TracedLives) -> float:
    """Rank correlation of birth and death; 1 where there is none."""
    for moments in (lives.birth, lives.death):
        if len(moments) < 2 or np.all(moments == moments[0]):
            return 1.0
    return float(stats.spearmanr(lives.birth, lives.death).statistic)


def order_of(late: TracedLives) -> str:
    """In which order what outlives a period is freed: by rank correlation of birth and death."""
    found = _correlation(late)
    if found > IN_ORDER:
        return "fifo"
    return "lifo" if found < -IN_ORDER else "shuffled"
