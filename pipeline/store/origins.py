"""What object events have in common, stored once a run: tracepoint, call site, sizes and cache.

Millions of events share some thousand origins; stored event by event they would be half of what a
replay has to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from allocsim.tables import Columns, Int32, Int64, Ints

#: Columns of events that make an origin. All between the event and its cache may be absent.
PARTS = (
    *("event", "call_site", "bytes_req", "bytes_alloc", "asks_charge", "accounted"),
    *("cache", "cache_how"),
)


class Origins:
    """The origins of one run.

    Args:
        first: number of the first.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._number: dict[tuple[int, ...], int] = {}
        self._absent = set(PARTS[1:-2])

    def of(self, events: Columns) -> Int32:
        """The origin of each event; numbers are given in the order in which origins come up.

        Args:
            events: columns of PARTS, as far as the trace has them; -1: no cache.
        """
        rows = len(events["event"])
        self._absent -= events.keys()
        parts = [events[name] if name in events else np.zeros(rows, np.int64) for name in PARTS]
        codes, count = _codes(*parts)
        first = np.empty(count, np.int64)
        first[codes[::-1]] = np.arange(rows - 1, -1, -1)
        keys = zip(*(part[first].tolist() for part in parts), strict=True)
        return np.array([self._of(key) for key in keys], np.int32)[codes]

    def changed(self, origin: Int64, cache: Int64, cache_how: Int64) -> Int32:
        """The origins of events like those of others, but of another cache."""
        known = list(self._number)
        return np.array(
            [
                self._of((*known[number - self._first][:-2], *told))
                for number, *told in zip(
                    origin.tolist(), cache.tolist(), cache_how.tolist(), strict=True
                )
            ],
            np.int32,
        )

    def columns(self) -> Columns:
        """All origins so far: their numbers, and those of PARTS that the trace has."""
        parts = np.array([[*key] for key in self._number], object).reshape(-1, len(PARTS)).T
        dtypes = {"call_site": np.uint64, "asks_charge": np.bool_, "accounted": np.bool_}
        return {"origin": np.array(list(self._number.values()), np.int32)} | {
            name: part.astype(dtypes.get(name, np.int64))
            for name, part in zip(PARTS, parts, strict=True)
            if name not in self._absent
        }

    def _of(self, key: tuple[int, ...]) -> int:
        return self._number.setdefault(key, self._first + len(self._number))


def _codes(event: Int64, *others: Int64) -> tuple[Int64, int]:
    """A code for each row, below the count returned; rows have one if all they have is equal."""
    *large, asks_charge, accounted, cache, how = others
    # Codes of events and rules fit a byte each, and object events have the lowest.
    small = (cache.astype(np.int64) + 1) << 16 | (how.astype(np.int64) + 1) << 8
    codes, count = _encoded(small | asks_charge << 7 | accounted << 6 | event)
    for values in large:
        more, size = _encoded(values)
        codes, count = _encoded(codes.astype(np.int64) * size + more)
    return codes, count


def _encoded(values: Ints) -> tuple[Int64, int]:
    encoded = pa.array(values).dictionary_encode()
    return encoded.indices.to_numpy(), len(encoded.dictionary)
