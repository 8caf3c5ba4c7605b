"""Encoding structures in Thrift's compact protocol, as far as Parquet's metadata needs it.

Source: thrift-compact-protocol.md of Apache Thrift 0.21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRUE, _FALSE, _I8, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 3, 5, 6, 8, 9, 12
_LONGEST_SHORT_LIST = 14


def varint(value: int) -> bytes:
    """A number from 0 on, seven bits a byte, the lowest first."""
    if value <= 0x7F:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    if len(items) <= _LONGEST_SHORT_LIST:
        head = bytes([len(items) << 4 | kind])
    else:
        head = bytes([0xF0 | kind]) + varint(len(items))
    return head + b"".join(items)


class Struct:
    """A structure under construction. Fields must be added in the order of their numbers."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._last = 0

    def _field(self, number: int, kind: int, body: bytes) -> Self:
        step = number - self._last
        if not 0 < step <= 15:
            raise ValueError(f"field {number} cannot follow field {self._last}")
        self._out += bytes([step << 4 | kind]) + body
        self._last = number
        return self

    def i8(self, number: int, value: int) -> Self:
        """Add a number of one byte."""
        return self._field(number, _I8, value.to_bytes(1, "little", signed=True))

    def i32(self, number: int, value: int) -> Self:
        """Add a number of 32 bits."""
        return self._field(number, _I32, _zigzag(value))

    def i64(self, number: int, value: int) -> Self:
        """Add a number of 64 bits."""
        return self._field(number, _I64, _zigzag(value))

    def boolean(self, number: int, value: bool) -> Self:
        """Add a truth value."""
        return self._field(number, _TRUE if value else _FALSE, b"")

    def binary(self, number: int, value: bytes) -> Self:
        """Add bytes."""
        return self._field(number, _BINARY, varint(len(value)) + value)

    def text(self, number: int, value: str) -> Self:
        """Add text."""
        return self.binary(number, value.encode())

    def struct(self, number: int, value: Struct) -> Self:
        """Add a structure."""
        return self._field(number, _STRUCT, value.encode())

    def structs(self, number: int, values: Sequence[Struct]) -> Self:
        """Add a list of structures."""
        return self._field(number, _LIST, _list(_STRUCT, [value.encode() for value in values]))

    def i32s(self, number: int, values: Sequence[int]) -> Self:
        """Add a list of numbers of 32 bits."""
        return self._field(number, _LIST, _list(_I32, [_zigzag(value) for value in values]))

    def texts(self, number: int, values: Sequence[str]) -> Self:
        """Add a list of texts."""
        items = [value.encode() for value in values]
        return self._field(
            number, _LIST, _list(_BINARY, [varint(len(item)) + item for item in items])
        )

    def encode(self) -> bytes:
        """The structure's bytes."""
        return bytes(self._out) + b"\0"
