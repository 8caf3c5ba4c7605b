"""What is compared, and how far model and kernel may be apart: the shipped bounds.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import TYPE_CHECKING, Any

from reports.rules import with_titles
from reports.sections.validation.standings import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CountCheck:
    """One quantity as the kernel counted it and as the model says it.

    Args:
        quantity: what is compared.
        scope: of what: ``total``, or a cache, a kind of page, an order.
        kernel: the kernel's figure.
        model: the model's.
        note: what else there is to know; empty if nothing.
        low: the least that the model may say, where the recording leaves something open.
        high: the most.
        unobservable: which of low to high it is the recording cannot tell at all, so that the bound
            is for what the kernel's figure lies outside of them. Otherwise it is for ``model``.
    """

    quantity: str
    scope: str
    kernel: float
    model: float
    note: str = ""
    low: float | None = None
    high: float | None = None
    unobservable: bool = False

    @classmethod
    def of(cls, quantity: str, scope: str, figures: Sequence[int], note: str) -> CountCheck:
        """Of the kernel's figure, the model's, and those it has with frees at other moments."""
        kernel, model = figures[:2]
        return cls(quantity, scope, kernel, model, note, min(figures[1:]), max(figures[1:]))


@dataclass(frozen=True, slots=True)
class Bound:
    """How far model and kernel may be apart.

    Args:
        quantities: the quantities it is for; ``*`` stands for any letters.
        scopes: their scopes; ``*``: all.
        pct: difference allowed, in percent of the kernel's figure; None: there is no bound.
        slack: absolute difference allowed, whatever it is in percent.
        reason: why so much and no more, or why there is no bound.
        apart: what the comparison is counted as while it is within the bound, because it is so by
            itself; None: it is a check.
    """

    quantities: tuple[str, ...]
    scopes: frozenset[str]
    pct: float | None
    slack: float
    reason: str
    apart: Standing | None

    def covers(self, comparison: CountCheck) -> bool:
        """Whether it is a bound for this comparison."""
        named = self.scopes & {comparison.scope, "*"}
        return bool(named) and any(fnmatchcase(comparison.quantity, of) for of in self.quantities)


@functools.cache
def shipped_bounds() -> tuple[Bound, ...]:
    """The bounds that come with allocsim, in the order in which they are asked."""
    text = resources.files(__package__).joinpath("bounds.toml").read_text("utf-8")
    return tuple(
        Bound(
            tuple(entry["quantity"]),
            frozenset(entry["scopes"]),
            entry.get("pct"),
            entry.get("slack", 0),
            with_titles(entry["reason"]),
            Standing(entry["apart"]) if "apart" in entry else None,
        )
        for entry in tomllib.loads(text)["bound"]
    )


def judged(comparison: CountCheck) -> dict[str, Any]:
    """A row of the table ``validation``, without run and trace.

    ``error_pct`` is None where the kernel counted nothing and the model something; ``bound_pct``,
    ``miss`` and ``allowed`` are None where there is no bound. ``ok`` is None of all that is counted
    apart. ``note`` is the comparison's own, ``reason`` the bound's.
    """
    bound = next(bound for bound in shipped_bounds() if bound.covers(comparison))
    kernel, model = comparison.kernel, comparison.model
    error = 100 * (model - kernel) / kernel if kernel else (None if model else 0.0)
    miss = allowed = percent = None
    if bound.pct is not None:
        percent = max(bound.pct, 100 * bound.slack / kernel if kernel else 0.0)
        allowed = max(bound.slack, kernel * bound.pct / 100)
        low, high = _open(comparison)
        miss = max(0.0, low - kernel, kernel - high)
    standing = _standing(comparison, bound, miss, allowed)
    return {
        "quantity": comparison.quantity,
        "scope": comparison.scope,
        "kernel": kernel,
        "model": model,
        "model_low": comparison.low,
        "model_high": comparison.high,
        "error_pct": error,
        "bound_pct": percent,
        "miss": miss,
        "allowed": allowed,
        "standing": standing,
        "ok": {Standing.WITHIN: True, Standing.BEYOND: False}.get(standing),
        "note": comparison.note,
        "reason": bound.reason,
    }


def _open(comparison: CountCheck) -> tuple[float, float]:
    """Least and largest figure of the model that the bound is for."""
    if comparison.unobservable and comparison.low is not None and comparison.high is not None:
        return comparison.low, comparison.high
    return comparison.model, comparison.model


def _standing(
    comparison: CountCheck, bound: Bound, miss: float | None, allowed: float | None
) -> Standing:
    """What a comparison came to.

    It is no check if a model that says nothing at all would have been within the bound: what is
    allowed, or that and the width of the interval, is the kernel's figure or more. Where the kernel
    counted 0 that is one, so that a median error of 0 and something is a check still.
    """
    if miss is None or allowed is None:
        return Standing.NO_BOUND
    if miss > allowed:
        return Standing.BEYOND
    if bound.apart is not None:
        return bound.apart
    all_of_it = comparison.kernel or 1
    if allowed >= all_of_it:
        return Standing.WIDE_BOUND
    low, high = _open(comparison)
    return Standing.WIDE_INTERVAL if high - low + allowed >= all_of_it else Standing.WITHIN
