"""What can be said on freezing a group of pages: from lives, and from the kernel's sources.

A life that begins and ends in the recording and in which nobody took a reference beyond the one
it was born with could do without a count, as far as events tell. Reading a count fires none, so
what the sources allow (count_readers) goes beside it, and the stricter of the two stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """Codes of the verdicts; of two between FROZEN and UNSEEN the higher is the stricter."""

    FROZEN = 0
    FREEZABLE = 1
    ONCE = 2
    NEARLY = 3
    NEEDED = 4
    UNSEEN = 5


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """One verdict, and when it is given.

    Args:
        code: the verdict.
        name: what it is called in results.
        max_extra_pct: highest share of whole lives with an extra reference that it allows, in
            percent; the first that allows the share stands. None: lives do not give it.
        doc: what it says.
    """

    code: Verdict
    name: str
    max_extra_pct: float | None
    doc: str


# Nearly: at one life in a hundred, the callers that take the references are few enough to be
# looked at one by one, as nvme-tcp's were in 6.14. A choice, not a measurement.
VERDICTS: tuple[VerdictRule, ...] = (
    VerdictRule(Verdict.FROZEN, "frozen already", None, "No whole life was given a count."),
    VerdictRule(
        Verdict.FREEZABLE,
        "freezable",
        0.0,
        "No whole life had an extra reference, and in the sources nobody reads the count.",
    ),
    VerdictRule(
        Verdict.ONCE,
        "freezable once readers change",
        None,
        "As freezable, but functions that can be named read the count, take references or map the"
        " pages to user space (count_readers).",
    ),
    VerdictRule(
        Verdict.NEARLY, "nearly", 1.0, "At most 1 % of the whole lives had one: few to fix."
    ),
    VerdictRule(
        Verdict.NEEDED,
        "needs its count",
        100.0,
        "More of them had an extra reference, or the sources live by the count.",
    ),
    VerdictRule(
        Verdict.UNSEEN,
        "not known",
        None,
        "No life both began and ended in the recording, or whose pages they are is not known well"
        " enough to say who reads the count.",
    ),
)
