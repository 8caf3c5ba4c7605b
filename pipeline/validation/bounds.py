"""What is compared, and how far model and kernel may be apart: the shipped bounds.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """One quantity as the kernel counted it and as the model says it.

    Args:
        quantity: what is compared.
        scope: of what: ``total``, or a cache, a kind of page, an order.
        kernel: the kernel's figure.
        model: the model's.
        note: what else there is to know; empty if nothing.
        low: the least that the model may say, where the recording leaves something open.
        high: the most.
        untold: which of low to high it is the recording cannot tell at all, so that the bound is
            for what the kernel's figure lies outside of them. Otherwise it is for ``model``.
    """

    quantity: str
    scope: str
    kernel: float
    model: float
    note: str = ""
    low: float | None = None
    high: float | None = None
    untold: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """How far model and kernel may be apart.

    Args:
        quantities: the quantities it is for.
        scopes: their scopes; ``*``: all.
        pct: difference allowed, in percent of the kernel's figure; None: there is no bound.
        slack: absolute difference allowed, whatever it is in percent.
        reason: why so much and no more, or why there is no bound.
    """

    quantities: frozenset[str]
    scopes: frozenset[str]
    pct: float | None
    slack: float
    reason: str

    def covers(self, comparison: Comparison) -> bool:
        """Whether it is a bound for this comparison."""
        named = self.scopes & {comparison.scope, "*"}
        return comparison.quantity in self.quantities and bool(named)


@functools.cache
def shipped_bounds() -> tuple[Bound, ...]:
    """The bounds that come with allocsim, in the order in which they are asked."""
    text = resources.files(__package__).joinpath("bounds.toml").read_text("utf-8")
    return tuple(
        Bound(
            frozenset(entry["quantity"]),
            frozenset(entry["scopes"]),
            entry.get("pct"),
            entry.get("slack", 0),
            entry["reason"],
        )
        for entry in tomllib.loads(text)["bound"]
    )


def judged(comparison: Comparison) -> dict[str, Any]:
    """A row of the table ``validation``, without run and trace.

    ``error_pct`` is None where the kernel counted nothing and the model something; ``bound_pct``
    and ``ok`` are None where there is no bound. ``note`` is the comparison's own note and the
    reason for the bound.
    """
    bound = next(bound for bound in shipped_bounds() if bound.covers(comparison))
    kernel, model = comparison.kernel, comparison.model
    error = 100 * (model - kernel) / kernel if kernel else (None if model else 0.0)
    allowed = None
    if bound.pct is not None:
        allowed = max(bound.pct, 100 * bound.slack / kernel if kernel else 0.0)
    apart = abs(model - kernel)
    if comparison.untold and comparison.low is not None and comparison.high is not None:
        apart = max(0.0, comparison.low - kernel, kernel - comparison.high)
    within = None if bound.pct is None else apart <= max(bound.slack, kernel * bound.pct / 100)
    return {
        "quantity": comparison.quantity,
        "scope": comparison.scope,
        "kernel": kernel,
        "model": model,
        "model_low": comparison.low,
        "model_high": comparison.high,
        "error_pct": error,
        "bound_pct": allowed,
        "ok": within,
        "note": " ".join(filter(None, [comparison.note, bound.reason])),
    }
