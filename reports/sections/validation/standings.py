"""What a comparison with the recorded kernel came to, and which of them are checks at all."""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Standing(StrEnum):
    """How a comparison stands to its bound: column ``standing`` of the table ``validation``.

    The first two are of checks: another figure of the model, or of the kernel, would have ended
    beyond the bound. The others are counted apart. One of them that is beyond its bound all the
    same is ``BEYOND``.
    """

    WITHIN = "within"
    BEYOND = "beyond"
    BY_RULE = "by rule"
    WIDE_BOUND = "wide bound"
    WIDE_INTERVAL = "wide interval"
    NO_BOUND = "no bound"


#: Standings that are counted apart, and the column of the view validation_summary with their count.
APART = {
    Standing.BY_RULE: "by_rule",
    Standing.WIDE_BOUND: "wide_bounds",
    Standing.WIDE_INTERVAL: "wide_intervals",
    Standing.NO_BOUND: "without_bound",
}

#: What is said of the rows of each: the rest of a sentence that begins with their number.
WHY_APART = {
    Standing.BY_RULE: "by rule: order and objects of slabs are fixed when a cache is made",
    Standing.WIDE_BOUND: "wide bound: 100 % of the kernel's figure or more, so that 0 would do",
    Standing.WIDE_INTERVAL: "wide interval: of what no event shows; nothing could lie outside",
    Standing.NO_BOUND: "no bound: for the reason that stands beside each",
}


def badness(row: Mapping[str, Any]) -> tuple[float, float]:
    """How bad a check of the table ``validation`` is, to be sorted by: 1 is at its bound.

    The miss by what is allowed, infinite where nothing is; then by the kernel's figure, which tells
    apart those that allow nothing.
    """
    miss, allowed = row["miss"], row["allowed"]
    share = miss / (row["kernel"] or 1)
    return (miss / allowed if allowed else inf if miss else 0.0), share
