"""What the command line changes in a spec, and that the trace set says so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.synth.spec import Spec


def changed(
    spec: Spec,
    *,
    events: int | None = None,
    seed: int | None = None,
    rate: float | None = None,
    name: str | None = None,
) -> Spec:
    """The spec with other numbers, where they are given.

    Args:
        spec: the spec.
        events: of the whole trace.
        seed: of all that is random.
        rate: factor on the rate of every phase.
        name: of the trace set.

    Raises:
        UsageError: a name that is no file name.
    """
    if name is not None and (not name or name.startswith(".") or "/" in name):
        raise UsageError(f"--name {name!r}: a plain file name is wanted")
    phases = spec.phases
    if rate is not None:
        factor = Decimal(str(rate))
        phases = tuple(replace(phase, rate=phase.rate * factor) for phase in phases)
    return replace(
        spec,
        events=spec.events if events is None else events,
        seed=spec.seed if seed is None else seed,
        phases=phases,
        name=spec.name if name is None else name,
    )
