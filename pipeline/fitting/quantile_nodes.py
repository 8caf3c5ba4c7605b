"""Quantiles of a sample as few nodes, between which the rest lies within given limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.synth.tables import BINS, FAR

if TYPE_CHECKING:
    from allocsim.tables import F8, I8, Bools


RANKS = 64  #: a moment of a birth or a death may be off by this part of all of them
_AHEAD = 32
_LEAST = 1e-3  # ns: so that there is a logarithm


class QuantileNodes(NamedTuple):
    """Quantiles.

    Args:
        at: their places, rising from 0 to BINS (i8).
        values: the quantiles (i8).
    """

    at: I8
    values: I8


def mid_table(values: I8, *, lives: bool = False) -> I8:
    """Quantiles of a sorted sample at BINS + 1 places, each value amid its part of them (i8).

    Args:
        values: the sample.
        lives: between two that are far apart the logarithm is uniform (synth.tables).
    """
    at = np.clip(np.arange(BINS + 1) * (len(values) / BINS) - 0.5, 0, len(values) - 1)
    below = np.floor(at).astype(np.int64)
    low, high = values[below], values[np.minimum(below + 1, len(values) - 1)]
    part = at - below
    table = low + (high - low) * part
    if lives:
        far = (low > 0) & (high > FAR * low)
        table[far] = low[far] * (high[far] / low[far]) ** part[far]
    found: I8 = table.round().astype(np.int64)
    return found


def by_ratio(table: I8, part: float) -> tuple[F8, F8]:
    """Limits of a table whose values may be off by a part of themselves, or by 1 ns."""
    exact = table.astype(np.float64)
    slack = np.maximum(exact * part, 1)
    return exact - slack, exact + slack


def by_rank(table: I8, count: int) -> tuple[F8, F8]:
    """Limits of a table of ``count`` values that may be half a value away, or 1/RANKS of all."""
    places = BINS // min(2 * count, RANKS)
    padded = np.pad(table.astype(np.float64), places, mode="edge")
    return padded[: len(table)], padded[2 * places :]


def within(limits: tuple[F8, F8], table: I8, distance: float) -> tuple[F8, F8]:
    """Limits that are nowhere farther away than this."""
    return np.maximum(limits[0], table - distance), np.minimum(limits[1], table + distance)


def quantile_nodes(table: I8, low: F8, high: F8, *, lives: bool = False) -> QuantileNodes:
    """As few of a table's values as hold all others between ``low`` and ``high``.

    From each node the next is the last to which the line stays within the limits; so there may be
    ways with fewer, by points that are no values of the table.

    Args:
        table: rising values (i8).
        low: least value of each place.
        high: largest value of each place.
        lives: between nodes that are far apart the logarithm is uniform (synth.tables).
    """
    at = [0]
    columns = [each.astype(np.float64) for each in (table, low, high)]
    logs = [np.log(np.maximum(each, _LEAST)) for each in columns] if lives else []
    while at[-1] < BINS:
        begin, first = at[-1], columns[0][at[-1]]
        ahead, reached = _AHEAD // 2, 0
        # A window, and twice as much as long as all of it is reached.
        while reached in (0, ahead) and begin + reached < BINS:
            ahead *= 2
            rest = slice(begin + 1, begin + 1 + ahead)
            far = columns[0][rest] > FAR * first if lives and first > 0 else None
            reached = _reach(first, [each[rest] for each in columns], far, wanted=False)
            if far is not None:
                by_log = _reach(logs[0][begin], [each[rest] for each in logs], far, wanted=True)
                reached = max(reached, by_log)
        at.append(begin + reached)
    places = np.array(at, np.int64)
    return QuantileNodes(places, table[places])


def _reach(first: float, columns: list[F8], far: Bools | None, *, wanted: bool) -> int:
    """How far a line from ``first`` gets within the limits of all that it passes.

    Args:
        first: where it begins.
        columns: the values behind that, the least and the largest that they may be.
        far: which are far from the first; None: it does not matter.
        wanted: it shall end at one that is far, else at one that is not.
    """
    values, low, high = columns
    run = np.arange(1, len(values) + 1)
    least = np.maximum.accumulate((low - first) / run)
    most = np.minimum.accumulate((high - first) / run)
    slope = (values - first) / run
    # At a node itself the line is where it should be.
    inside = np.ones(len(values), np.bool_)
    inside[1:] = (slope[1:] >= least[:-1]) & (slope[1:] <= most[:-1])
    if far is not None:
        inside &= far == wanted
    found = inside.nonzero()[0]
    return int(found[-1]) + 1 if len(found) else 0
