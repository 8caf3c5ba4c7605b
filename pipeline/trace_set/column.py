"""A column of one window of events on its way into a file: what is not null, and where that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Array, Bools


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a column.

    Attributes:
        values: those that are not null, in row order; where there is a dictionary, their codes.
        valid: bool, one a row: which rows have a value; None: all.
        dictionary: what the codes stand for; it may have more than this window's values, and the
            next window's begins with the same.
    """

    values: Array
    valid: Bools | None = None
    dictionary: Array | Sequence[str] | None = None


def join(parts: Sequence[tuple[int, Values | None]]) -> Values:
    """One column of several windows as one; each part is its number of rows and its values.

    A window without the column (None) has nulls there. At least one part must have values.
    """
    values = [part.values for _, part in parts if part is not None]
    dictionary = [part.dictionary for _, part in parts if part is not None][-1]
    if all(part is not None and part.valid is None for _, part in parts):
        return Values(np.concatenate(values), None, dictionary)
    valid = [_mask(rows, part) for rows, part in parts]
    return Values(np.concatenate(values), np.concatenate(valid), dictionary)


def _mask(rows: int, part: Values | None) -> Bools:
    if part is None:
        return np.zeros(rows, np.bool_)
    return np.ones(rows, np.bool_) if part.valid is None else part.valid
