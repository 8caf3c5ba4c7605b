"""Finding small codes for columns of numbers that have few distinct values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import distinct
from pipeline.trace_set.column import Values
from pipeline.trace_set.interning import Interner

if TYPE_CHECKING:
    from allocsim.tables import Array, Bools, UInt64

# A range so small that its numbers are a dictionary, used or not.
_SMALL_RANGE = 1 << 10
# Of this many values looked at, so many may be distinct for interning to be tried.
_SAMPLE, _FEW = 1024, 256
# With more distinct values than this a column is written as it is.
_MANY = 1 << 11


class Coder:
    """Codes the columns of one file; remembers what it has learnt of each."""

    def __init__(self) -> None:
        self._interners: dict[str, Interner | None] = {}

    def coded(self, name: str, values: Values) -> Values:
        """The column ``name`` with a dictionary, if that makes it smaller."""
        numbers = values.values
        if values.dictionary is not None or numbers.dtype.kind == "b" or not len(numbers):
            return values
        low, high = int(numbers.min()), int(numbers.max())
        if high - low < _SMALL_RANGE:
            return Values(*_from_low(numbers, low, high, values.valid))
        interner = self._interner(name, numbers)
        if interner is None:
            return values
        codes = interner.codes(_as_uint64(numbers))
        if len(interner) > _MANY:
            self._interners[name] = None
            return values
        return Values(codes, values.valid, interner.values.astype(numbers.dtype))

    def _interner(self, name: str, numbers: Array) -> Interner | None:
        if name not in self._interners:
            sample = distinct(numbers[:: max(len(numbers) // _SAMPLE, 1)])
            few = len(numbers) > _SAMPLE and len(sample) <= _FEW
            self._interners[name] = Interner() if few else None
        return self._interners[name]


def _as_uint64(numbers: Array) -> UInt64:
    return numbers.view(np.uint64) if numbers.itemsize == 8 else numbers.astype(np.uint64)


def _from_low(
    numbers: Array, low: int, high: int, valid: Bools | None
) -> tuple[Array, Bools | None, Array]:
    # Modulo 2^64, so that nothing is too large for it: neither the ends nor their difference.
    base = np.uint64(low % (1 << 64))
    code = np.dtype("u1" if high - low < 1 << 8 else "u2")
    dictionary = (np.arange(high - low + 1, dtype=np.uint64) + base).astype(numbers.dtype)
    return (numbers.astype(np.uint64, copy=False) - base).astype(code), valid, dictionary
