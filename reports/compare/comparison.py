"""What a comparison is: its sides, its rows, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reports import queries
from reports.compare.quantity import EFFECTS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.compare.comparable import Remark
    from reports.compare.identity import Identity
    from reports.compare.quantity import Quantity
    from reports.queries import Row

SMALLEST = 0.01  #: of all that a quantity counts: what moves less is not told first
FEWEST = 10  #: counts, or slices with any, below which a row is not tested


@dataclass(frozen=True, slots=True)
class Run:
    """One recording of a side.

    Args:
        connection: the results database it is in.
        row: its row of queries.runs.
        own_policy: name of the policy that does what the recorded kernel does.
    """

    connection: DuckDBPyConnection
    row: Row
    own_policy: str

    @property
    def recorded(self) -> int:
        """Number of the recorded run: its own, or of the one that it is a simulation of."""
        return int(self.row.get("of_run") or self.row["run"])


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a label, and one recording or several repeats."""

    label: str
    runs: tuple[Run, ...]

    def same_recording(self, other: Side) -> bool:
        """Whether both are made of one recording, the same one."""
        if len(self.runs) > 1 or len(other.runs) > 1:
            return False
        known = queries.identity(self.runs[0].row)
        return known is not None and known == queries.identity(other.runs[0].row)


class ChangeVerdict(StrEnum):
    """What is said of a difference, as the mark it is printed with."""

    DIFFERS = "*"  #: p after correction is at most LEVEL
    CHANCE = "o"  #: p is at most LEVEL, and is no longer after correction
    NONE = "~"  #: no difference that the data support
    SAME = "="  #: exactly the same
    FEW = "few"  #: too few counts to test
    UNTESTED = "n/a"  #: one total or lasting state a recording, and one recording a side
    REPEATS = "n!"  #: not enough repeats for a test
    FROZEN = "frz"  #: frozen on one side: none by rule
    ASSUMED = "asm"  #: assumed on a side: a range


MEANINGS = {
    ChangeVerdict.DIFFERS: "differs: p after correction is at most 5 %",
    ChangeVerdict.CHANCE: "p is at most 5 %, but not after correction: 1 row in 20 is so by chance",
    ChangeVerdict.NONE: "no difference that the data support",
    ChangeVerdict.SAME: "exactly the same",
    ChangeVerdict.FEW: f"fewer than {FEWEST} counted, or all within a few moments: not tested",
    ChangeVerdict.UNTESTED: "one number a recording, a lasting state, or follows from a tested row",
    ChangeVerdict.REPEATS: "not enough repeats for a test",
    ChangeVerdict.FROZEN: "this kind of page is frozen on one side: none by rule, not tested",
    ChangeVerdict.ASSUMED: "assumed on a side, which has no page_ref events: from least to most,"
    " not tested",
}


@dataclass(frozen=True, slots=True)
class Value:
    """A quantity on one side; NaN where it has none.

    Args:
        value: the quantity; the middle of the range where it is assumed.
        low: lower end of its 95 % interval, or of the range.
        high: upper end.
        assumed: it is a range.
    """

    value: float
    low: float
    high: float
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A quantity on one side against the baseline.

    Args:
        change: relative change: 0.1 is +10 %, -1 gone; infinite where the baseline has none.
        low: lower end of its 95 % interval, or of what ranges on both sides allow; NaN where there
            is none.
        high: upper end.
        p: of the test; NaN where there is none.
        q: p after correction over all rows of the comparison.
        verdict: what is said of it.
        effect: how much of all that its quantity counts the row moves, an object: 0 to 1; 0 where
            the quantity is of nothing that counts by itself.
    """

    change: float
    low: float
    high: float
    p: float
    q: float
    verdict: ChangeVerdict
    effect: float = 0.0

    def supported(self) -> float:
        """The smallest change of the logarithm that the interval allows; 0 if it allows none."""
        if self.verdict is not ChangeVerdict.DIFFERS:
            return 0.0
        if not np.isfinite(self.change) or self.change <= -1:
            return float("inf")
        if not (self.low > -1 and np.isfinite(self.high)):
            return 0.0
        ends = np.log1p([self.low, self.high])
        return 0.0 if ends[0] * ends[1] <= 0 else float(np.abs(ends).min())


@dataclass(frozen=True, slots=True)
class Compared:
    """One row of a comparison: a quantity, of an item if it has items."""

    quantity: Quantity
    item: str
    values: tuple[Value, ...]
    changes: tuple[Change | None, ...]

    @property
    def name(self) -> str:
        """The quantity's name and the item's."""
        return f"{self.quantity.name} {self.item}".strip()


@dataclass(frozen=True, slots=True)
class Mean:
    """Geometric mean over the items of a quantity, for one side against the baseline.

    Args:
        quantity: whose items.
        side: number of the side.
        ratio: the mean of value / baseline.
        items: how many were taken.
        left_out: how many were not: zero on a side, or too few to count.
    """

    quantity: Quantity
    side: int
    ratio: float
    items: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """How something is distributed on each side.

    Args:
        name: what.
        counts: float64 [bins] a side, all its recordings together; bins as measure.py has them.
    """

    name: str
    counts: tuple[npt.NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a comparison says.

    Args:
        sides: what is compared.
        baseline: number of the side that the others are compared with.
        remarks: what must or should be alike in them, and is not.
        rows: quantities in their order, items by size.
        means: geometric means.
        distributions: of lifetimes.
        tested: rows with a p value, over all sides: what the correction is for.
        objects: of each side, allocations of objects that every side shows: what rows are divided
            by.
        identity: what the sides have in common; None where all are of one recording.
    """

    sides: tuple[Side, ...]
    baseline: int
    remarks: tuple[Remark, ...]
    rows: tuple[Compared, ...]
    means: tuple[Mean, ...]
    distributions: tuple[Distribution, ...]
    tested: int
    objects: tuple[int, ...]
    identity: Identity | None = None

    @property
    def others(self) -> list[int]:
        """Numbers of the sides that are compared with the baseline."""
        return [number for number in range(len(self.sides)) if number != self.baseline]

    @property
    def nothing_differs(self) -> bool:
        """Whether every row is exactly the same on every side."""
        changes = [change for row in self.rows for change in row.changes if change is not None]
        return all(change.verdict is ChangeVerdict.SAME for change in changes)

    def paired(self, side: int) -> bool:
        """Whether a side and the baseline are made of one and the same recording."""
        return self.sides[side].same_recording(self.sides[self.baseline])


def movers(comparison: Comparison, side: int, group: str) -> list[Compared]:
    """Rows of a group that differ, by what they do: by EFFECTS in its order, what moves most first.

    Rows of an effect that move less than SMALLEST of all that their quantity counts are left out;
    last come the rows that have none, by the change that the data support.
    """
    order = [*EFFECTS, ""]

    def weight(row: Compared) -> tuple[float, float, float, str]:
        change = row.changes[side]
        if change is None:
            return 0, 0, 0, row.name
        effect = order.index(row.quantity.effect)
        return effect, -change.effect, -change.supported(), row.name

    found = [
        row
        for row in comparison.rows
        if row.quantity.group == group
        and (change := row.changes[side]) is not None
        and change.verdict is ChangeVerdict.DIFFERS
        and (change.effect >= SMALLEST or not row.quantity.effect)
    ]
    return sorted(found, key=weight)
