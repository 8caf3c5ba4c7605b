"""Quantiles as a spec has them: a text of numbers with one unit, no longer than need be."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.synth.spec.units import TIMES

if TYPE_CHECKING:
    from allocsim.tables import F8
    from pipeline.fitting.quantile_nodes import QuantileNodes


_KEY = len(', since = ""')
FINE = 20  #: times are rounded to this part of what they may be off by, and of what parts them


def quantile_nodes_text(
    nodes: QuantileNodes, limits: tuple[F8, F8], key: str, *, since: bool = False
) -> dict[str, Any]:
    """The keys of a spec that say these quantiles.

    Args:
        nodes: the quantiles.
        limits: between which values each place may lie.
        key: name of the quantiles.
        since: they may be counted from the first of them, which is then said.
    """
    low, high = (each[nodes.at] for each in limits)
    # A burst stays as long as it was: all of it at one moment would all be alive at once.
    gaps = np.diff(nodes.values).astype(np.float64)
    gaps[gaps == 0] = np.inf
    nearest = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    allowed = np.minimum(high - low, nearest) / FINE
    unit = 10 ** np.floor(np.log10(np.maximum(allowed, 1))).astype(np.int64)
    values = (nodes.values + unit // 2) // unit * unit
    # Rounded by more or less, a value may come to lie behind the next.
    values = np.maximum.accumulate(values)
    text = times_text(values.tolist())
    found: dict[str, Any] = {key: text}
    if since:
        first = int(values[0])
        begin, later = times_text([first]), times_text((values - first).tolist())
        if len(begin) + len(later) + _KEY < len(text):
            found = {"since": begin, key: later}
    return found | ({"at": nodes.at.tolist()} if len(nodes.at) > 2 else {})


def times_text(values: list[int]) -> str:
    """Times in that unit in which they are shortest."""
    texts = []
    for name, size in TIMES.items():
        numbers = [f"{Decimal(value) / size:f}" for value in values]
        texts.append(" ".join([*numbers, name]))
    return min(texts, key=len)
