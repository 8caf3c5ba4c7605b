"""Rows of a table while it is collected: numbers for combinations of keys, and sums by these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.trace_set.interning import Interner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Array, Bools, Columns, Int64

_PAIR = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)


class Groups:
    """Numbers the combinations of some keys 0, 1, 2, ... over all windows.

    Args:
        width: how many keys make a combination; 0: all is one.
    """

    def __init__(self, width: int) -> None:
        self._of_key = [Interner() for _ in range(width)]
        self._pairs = [Interner() for _ in range(max(width - 1, 0))]

    def __len__(self) -> int:
        return len((self._pairs or self._of_key)[-1]) if self._of_key else 1

    def codes(self, keys: Sequence[Array], rows: int) -> Int64:
        """The combination of each row (i8); new ones are taken in.

        Args:
            keys: an array each, signed ones as two's complement.
            rows: how long they are.
        """
        if not keys:
            return np.zeros(rows, np.int64)
        found = [
            interner.codes(np.ascontiguousarray(key).astype(np.int64, copy=False).view(np.uint64))
            for interner, key in zip(self._of_key, keys, strict=True)
        ]
        codes = found[0].astype(np.int64)
        for pairs, code in zip(self._pairs, found[1:], strict=True):
            both = (codes.view(np.uint64) << _PAIR) | code.astype(np.uint64)
            codes = pairs.codes(both).astype(np.int64)
        return codes

    def values(self) -> list[Int64]:
        """Of each key its value in every combination (i8, bits of u8 ones)."""
        if not self._of_key:
            return []
        codes = np.arange(len(self))
        found = []
        for pairs, interner in zip(reversed(self._pairs), reversed(self._of_key), strict=False):
            both = pairs.values[codes]
            found.append(interner.values[(both & _LOW).astype(np.int64)].view(np.int64))
            codes = (both >> _PAIR).astype(np.int64)
        found.append(self._of_key[0].values[codes].view(np.int64))
        return found[::-1]


class GroupSums:
    """A sum of each figure for each combination.

    Args:
        names: the figures.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.of: Columns = {name: np.zeros(0, np.int64) for name in names}

    def add(self, name: str, groups: Int64, values: Array | None = None, sign: int = 1) -> None:
        """Add to a figure of some combinations.

        Args:
            name: the figure.
            groups: the combinations; one may come several times.
            values: what to add to each, sums up to 2^53; None: 1.
            sign: -1 subtracts.
        """
        if not len(groups):
            return
        counted = np.bincount(groups, weights=values)
        have = self.of[name]
        if len(counted) > len(have):
            have = np.concatenate(
                [have, np.zeros(max(len(counted), 2 * len(have)) - len(have), np.int64)]
            )
        have[: len(counted)] += sign * counted.astype(np.int64)
        self.of[name] = have

    def arrays(self, groups: int) -> Columns:
        """All figures, one value a combination."""
        return {
            name: np.concatenate([have, np.zeros(max(groups - len(have), 0), np.int64)])[:groups]
            for name, have in self.of.items()
        }


def merged(keys: Sequence[Array], figures: Columns, some: Bools) -> tuple[list[Array], Columns]:
    """Rows with the same keys as one, in the order of these; figures are summed.

    Args:
        keys: an array each; the first counts most.
        figures: what is summed.
        some: the rows to take.
    """
    rows = np.flatnonzero(some)
    if not keys:
        return [], {name: values[rows].sum(keepdims=True) for name, values in figures.items()}
    order = rows[np.lexsort([key[rows] for key in reversed(keys)])]
    new = np.zeros(len(order), bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    at = np.flatnonzero(new)
    sums = {
        name: np.add.reduceat(values[order], at) if len(at) else values[order]
        for name, values in figures.items()
    }
    return [key[order[at]] for key in keys], sums
