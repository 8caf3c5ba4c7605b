"""Bytes seen as numbers that may begin anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from allocsim.tables import U1, Array


def unaligned(data: U1, dtype: str, at: int = 0) -> Array:
    """``data`` from byte ``at`` on, seen as numbers of ``dtype`` that begin at every byte.

    Nothing is copied. Element i is made of the bytes from ``at + i`` on.
    """
    kind = np.dtype(dtype)
    count = len(data) - at - kind.itemsize + 1
    if count <= 0:
        return np.zeros(0, kind)
    return as_strided(data[at : at + kind.itemsize].view(kind), (count,), (1,), writeable=False)
