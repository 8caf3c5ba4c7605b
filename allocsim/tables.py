"""Tables as dictionaries of equally long arrays, and the one sort everything is built on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from _typeshed import DataclassInstance

# Arrays by their dtypes, as polars and Arrow name them; docstrings have the codes of numpy.
Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.integer[Any]]
Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Float64 = npt.NDArray[np.float64]

Columns = dict[str, Array]
Rows = TypeVar("Rows", bound=NamedTuple)  #: columns of one length as a type of their own


def empty(dtypes: Mapping[str, str]) -> Columns:
    """A table without rows, one column for each name of ``dtypes``."""
    return {name: np.empty(0, dtype) for name, dtype in dtypes.items()}


def take(table: Mapping[str, Array], rows: Array) -> Columns:
    """The rows of a table that an index or a mask picks."""
    return {name: values[rows] for name, values in table.items()}


def concat(tables: Iterable[Columns]) -> Columns:
    """Tables of the same columns, one below the other."""
    parts = list(tables)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_of(table: Rows, rows: Array | slice) -> Rows:
    """Some rows of columns of one length; columns may be None."""
    return table._make(None if column is None else column[rows] for column in table)


def joined(tables: Sequence[Rows]) -> Rows:
    """Columns of one length of several tables, one below the other."""
    return tables[0]._make(map(np.concatenate, zip(*tables, strict=True)))


def row_of(record: DataclassInstance) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are: dataclasses.asdict copies each in depth."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def column(table: Mapping[str, Array], name: str, rows: Int64) -> Array:
    """Some rows of a column; zeros where the table lacks it."""
    return table[name][rows] if name in table else np.zeros(len(rows), np.int64)


def distinct(values: Array) -> Array:
    """The distinct values of integers, ascending.

    For small tools: np.unique loads numpy's masked arrays first, a tenth of a command's start.
    """
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def stable_order(keys: Ints) -> Int64:
    """Row numbers that sort ``keys``, equal keys in row order (i8, as long as ``keys``).

    numpy sorts 8- and 16-bit keys by radix, many times faster than 64-bit ones, so this goes digit
    by digit of 16 bits from the low end, over as many digits as the spread of the keys has.
    """
    if not len(keys):
        return np.empty(0, np.int64)
    lowest = keys.min()
    if lowest:
        keys = keys - lowest
    top = int(keys.max())
    if top < 1 << 8:
        return np.argsort(keys.astype(np.uint8), kind="stable")
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    shift = 16
    while top >> shift:
        digit = (keys >> keys.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
        shift += 16
    return order


def find(table: Array, values: Array) -> Int64:
    """Row of each value in a sorted column without repeats; -1 where it is not there (i8)."""
    if not len(table):
        return np.full(len(values), -1, np.int64)
    at = np.searchsorted(table, values)
    at[at == len(table)] = 0
    return np.where(table[at] == values, at, -1)


def merge_sorted(table: Columns, new: Columns, key: str) -> Columns:
    """Two tables, each sorted by ``key`` and without a key in common, as one sorted table."""
    at = np.searchsorted(table[key], new[key])
    return {name: np.insert(values, at, new[name]) for name, values in table.items()}
