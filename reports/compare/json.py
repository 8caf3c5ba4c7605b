"""A comparison as JSON: every row, with its numbers as they are."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from reports.compare.comparison import MEANINGS
from reports.compare.measure import BINS_PER_DECADE
from reports.compare.quantity import KNOWN
from reports.compare.statistics import LEVEL
from reports.render.wording import ENDS

if TYPE_CHECKING:
    from reports.compare.comparison import Change, Compared, Comparison, Distribution, Side

FORMAT = 3  #: version of what is written


def to_json(comparison: Comparison, version: str) -> str:
    """The whole comparison. What is not known, and a ratio to zero, is null."""
    labels = [side.label for side in comparison.sides]
    content = {
        "format": FORMAT,
        "allocsim_version": version,
        "baseline": comparison.baseline,
        "level": LEVEL,
        "tested": comparison.tested,
        "correction": "Benjamini-Hochberg over all tested rows",
        "noise": _noise(comparison),
        "verdicts": {verdict.value: meaning for verdict, meaning in MEANINGS.items()},
        "known": KNOWN,
        "sides": [_side(side) for side in comparison.sides],
        "remarks": [
            {"weight": remark.weight.value, "text": remark.text} for remark in comparison.remarks
        ],
        "objects": comparison.objects,
        "changed_objects": comparison.identity.changes if comparison.identity else [],
        "left_out": [
            {"name": each.name, "why": each.why.value, "objects": each.objects}
            for each in (comparison.identity.left_out if comparison.identity else ())
        ],
        "rows": [_row(row, labels) for row in comparison.rows],
        "geometric_means": [
            {
                "group": mean.quantity.group,
                "quantity": mean.quantity.name.rstrip(",:"),
                "unit": mean.quantity.unit,
                "side": mean.side,
                "ratio": _number(mean.ratio),
                "items": mean.items,
                "left_out": mean.left_out,
            }
            for mean in comparison.means
        ],
        "distributions": [_distribution(each, labels) for each in comparison.distributions],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _side(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "runs": [
            {
                "run": run.row["run"],
                "trace": run.row["trace"],
                "kernel_release": run.row["kernel_release"],
                "own_policy": run.own_policy,
                "cpus": run.row["cpus"],
                "events": run.row["events"],
                "lost_events": run.row["lost_events"],
                "source_sha256": run.row["source_sha256"],
            }
            for run in side.runs
        ],
    }


def _noise(comparison: Comparison) -> str:
    """What the intervals are of."""
    if any(len(side.runs) > 1 for side in comparison.sides):
        return "between repeats"
    if all(comparison.paired(side) for side in comparison.others):
        return "of the change within one recording"
    return "within run"


def _distribution(distribution: Distribution, labels: list[str]) -> dict[str, Any]:
    """How many lie from ``10 ** (from / bins_per_decade)`` ns to the next bin; 0 has none."""
    sides = zip(labels, distribution.counts, strict=True)
    return {
        "name": distribution.name,
        "unit": "ns",
        "bins_per_decade": BINS_PER_DECADE,
        "sides": [
            {
                "label": label,
                "bins": [
                    {"from": at, "count": int(count)} for at, count in enumerate(counts) if count
                ],
            }
            for label, counts in sides
        ],
    }


def _row(row: Compared, labels: list[str]) -> dict[str, Any]:
    return {
        "group": row.quantity.group,
        "quantity": row.quantity.name.rstrip(",:"),
        "item": row.item,
        "unit": row.quantity.unit,
        "known": row.quantity.known,
        "sides": [
            {
                "label": label,
                **{name: _number(getattr(value, name)) for name in ("value", *ENDS)},
                "assumed": value.assumed,
                "against_baseline": _change(change),
            }
            for label, value, change in zip(labels, row.values, row.changes, strict=True)
        ],
    }


def _change(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    numbers = asdict(change)
    verdict = numbers.pop("verdict")
    return {**{name: _number(number) for name, number in numbers.items()}, "verdict": verdict.value}


def _number(number: float) -> float | None:
    """In ten digits: what lies behind them depends on the order of a sum."""
    return float(f"{number:.10g}") if isfinite(number) else None
