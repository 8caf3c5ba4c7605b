"""What can be said on freezing a group of pages, from the lives that page_ref events tell whole.

A life that begins and ends in the recording and in which nobody took a reference beyond the one
it was born with can do without a count: nothing but its own birth and end ever looked at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """Codes of the verdicts."""

    FROZEN = 0
    FREEZABLE = 1
    NEARLY = 2
    NEEDED = 3
    UNSEEN = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """One verdict, and when it is given.

    Args:
        code: the verdict.
        name: what it is called in results.
        max_extra_pct: highest share of whole lives with an extra reference that it allows, in
            percent; the first that allows the share stands. None: it does not go by that.
        doc: what it says.
    """

    code: Verdict
    name: str
    max_extra_pct: float | None
    doc: str


# Nearly: at one life in a hundred, the callers that take the references are few enough to be
# looked at one by one, as nvme-tcp's were in 6.14. A choice, not a measurement.
VERDICTS: tuple[Rule, ...] = (
    Rule(Verdict.FROZEN, "frozen already", None, "No whole life was given a count."),
    Rule(Verdict.FREEZABLE, "freezable", 0.0, "No whole life had an extra reference."),
    Rule(Verdict.NEARLY, "nearly", 1.0, "At most 1 % of the whole lives had one: few to fix."),
    Rule(Verdict.NEEDED, "needs its count", 100.0, "More of them had an extra reference."),
    Rule(Verdict.UNSEEN, "not known", None, "No life both began and ended in the recording."),
)
