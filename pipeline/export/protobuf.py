"""Protocol Buffers' wire format, written a column at a time.

https://protobuf.dev/programming-guides/encoding. A varint may be longer than its value needs: a
decoder ends at the first byte without its highest bit. So all messages of one layout are made
equally long, and an array of bytes holds one a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import UInt8, UInt64

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A number not below zero, or the bytes of a string or message: the same in every row. Or an
#: array: a number a row; of two dimensions, a message a row.
Value = int | bytes | UInt64 | UInt8

_VARINT, _LENGTH = 0, 2  # wire types


def messages(rows: int, fields: Mapping[int, Value]) -> UInt8:
    """Messages of one layout.

    Args:
        rows: how many.
        fields: value of each field by its number, in the order in which they are written.

    Returns:
        An array of shape (rows, bytes of a message).
    """
    parts = [np.broadcast_to(part, (rows, part.shape[1])) for part in _parts(fields)]
    return np.hstack(parts) if parts else np.empty((rows, 0), np.uint8)


def message(fields: Mapping[int, Value]) -> bytes:
    """One message; as :func:`messages`, of constant values."""
    return messages(1, fields).tobytes()


def _parts(fields: Mapping[int, Value]) -> list[UInt8]:
    """The fields' bytes, each of one row or of all."""
    parts = []
    for number, value in fields.items():
        if isinstance(value, bytes):
            parts += [_tag(number, _LENGTH), _number(len(value))]
            parts.append(np.frombuffer(value, np.uint8)[None])
        elif isinstance(value, int):
            parts += [_tag(number, _VARINT), _number(value)]
        elif value.ndim == 1:
            parts += [_tag(number, _VARINT), _varints(value.astype(np.uint64, copy=False))]
        else:
            parts += [_tag(number, _LENGTH), _number(value.shape[1]), value.astype(np.uint8)]
    return parts


def _tag(number: int, wire_type: int) -> UInt8:
    return _number(number << 3 | wire_type)


def _number(value: int) -> UInt8:
    return _varints(np.array([value], np.uint64))


def _varints(values: UInt64) -> UInt8:
    """Varints as long as the largest of them needs."""
    bits = int(values.max()).bit_length() if len(values) else 0
    width = max(1, -(-bits // 7))
    shifts = np.arange(0, 7 * width, 7, dtype=np.uint64)
    coded = (values[:, None] >> shifts & np.uint64(0x7F)).astype(np.uint8)
    coded[:, :-1] |= 0x80
    return coded
