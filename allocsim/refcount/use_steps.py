"""Steps in the use of a page that kernels do with different operations, as page_ref events show.

What a policy says of a step (its tables ``steps``) is how many operations its kernel needs for it.
So a recording of one kernel tells what another would have done: the recorded operations, and for
each step the difference.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UseStep:
    """One such step.

    Args:
        name: its name, in policies and results.
        doc: what happens in it.
    """

    name: str
    doc: str


STEPS: tuple[UseStep, ...] = (
    UseStep(
        "lru_insertion", "A folio is put on the LRU, through its CPU's batch, and outlives it."
    ),
    UseStep("fault_around", "A page fault maps a cached folio of one page that lies near by."),
    UseStep("fault_around_large", "A page fault maps pages of a cached folio of several pages."),
)
STEP_NAMES = tuple(step.name for step in STEPS)
