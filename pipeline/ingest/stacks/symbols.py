"""Names for code addresses, from the text of /proc/kallsyms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.raw.unaligned import unaligned
from pipeline.trace_set.parts import Symbols

if TYPE_CHECKING:
    from allocsim.tables import Array, Int64, UInt8, UInt64

# include/linux/kallsyms.h:KSYM_SYMBOL_LEN is less (7.2).
_LONGEST = 1024
_BLOCK = 1 << 14
_NEWLINE, _SPACE, _DOLLAR = b"\n $"


class Kallsyms:
    """The symbols of a kernel and its modules, by address.

    A line is ``address type name``, and ``[module]`` behind a tab. Symbols of type A are absolute:
    per-CPU offsets on x86, no code; names with $ are mapping symbols of other architectures
    (trace-cmd 3.4 lib/trace-cmd/trace-util.c:tracecmd_parse_proc_kallsyms leaves out both).

    Args:
        text: the text; lines that are none of these are passed over.
    """

    def __init__(self, text: memoryview) -> None:
        self._text = text
        data = np.frombuffer(text, np.uint8)
        end = np.flatnonzero(data == _NEWLINE)
        begin = np.concatenate([np.zeros(min(len(end), 1), np.int64), end[:-1] + 1])
        # The kernel prints all addresses with as many digits.
        width = max(bytes(text[:32]).find(b" "), 0)
        fits = end - begin > width + 3
        fits &= (width > 0) & (width <= 16)
        begin = begin[fits]
        texts = unaligned(data, f"V{min(width, 16) or 1}")
        # In blocks that stay in the cache.
        address = np.zeros(len(begin), np.uint64)
        good = np.zeros(len(begin), np.bool_)
        for at in range(0, len(begin), _BLOCK):
            digits = _digits(texts[begin[at : at + _BLOCK]])
            good[at : at + _BLOCK] = (digits < 16).all(axis=1)
            address[at : at + _BLOCK] = _number(digits)
        kind, name = data[begin + width + 1], data[begin + width + 3]
        good &= data[begin + width] == _SPACE
        good &= (kind != ord("A")) & (kind != ord("a")) & (name != _DOLLAR)
        address = address[good]
        # Stable: of symbols at one address, the first in the text stays the first.
        order = np.argsort(address, kind="stable")
        self.address: UInt64 = address[order]
        self._name: Int64 = begin[good][order] + width + 3

    def __len__(self) -> int:
        return len(self.address)

    def resolve(self, addresses: UInt64) -> Symbols:
        """The symbols that ``addresses`` (ascending) lie in.

        A symbol reaches up to the next one. Of several at one address the first in the text is
        taken, as trace-cmd does (libtraceevent 1.8.4 src/event-parse.c:__find_func).
        """
        at = np.searchsorted(self.address, addresses, side="right") - 1
        known = at >= 0
        begin = self.address[at[known]]
        first = np.searchsorted(self.address, begin)
        names = [self._words(int(row)) for row in first]
        symbol: list[str | None] = [None] * len(addresses)
        module: list[str | None] = [None] * len(addresses)
        for row, (name, owner) in zip(np.flatnonzero(known).tolist(), names, strict=True):
            symbol[row], module[row] = name, owner
        offset = np.zeros(len(addresses), np.int64)
        offset[known] = (addresses[known] - begin).astype(np.int64)
        return Symbols(addresses, symbol, offset, module)

    def name(self, address: int) -> str | None:
        """The symbol that ``address`` lies in; None if none is known."""
        at = int(self.address.searchsorted(np.uint64(address), "right")) - 1
        if at < 0:
            return None
        return self._words(int(self.address.searchsorted(self.address[at])))[0]

    def names_at(self, address: int) -> list[str]:
        """The symbols that begin at ``address``."""
        begin, end = (
            int(np.searchsorted(self.address, np.uint64(address), side=side))
            for side in ("left", "right")
        )
        return [self._words(row)[0] for row in range(begin, end)]

    def _words(self, row: int) -> tuple[str, str | None]:
        """Name and module of a symbol."""
        begin = int(self._name[row])
        line = bytes(self._text[begin : begin + _LONGEST]).partition(b"\n")[0]
        name, _, rest = line.decode("utf-8", "replace").partition("\t")
        owner = rest.strip().strip("[]")
        return name.strip(), owner or None


def _digits(texts: Array) -> UInt8:
    """The values of hexadecimal digits (one row a text); above 15 for any other character."""
    characters = texts.view(np.uint8).reshape(len(texts), texts.itemsize)
    decimal = characters - np.uint8(ord("0"))
    letter = (characters | np.uint8(0x20)) - np.uint8(ord("a"))
    return np.where(decimal < 10, decimal, np.where(letter < 6, letter + np.uint8(10), 255))


def _number(digits: UInt8) -> UInt64:
    """The numbers that rows of up to 16 hexadecimal digits make."""
    padded = np.zeros((len(digits), 16), np.uint8)
    padded[:, 16 - digits.shape[1] :] = digits
    pairs = padded[:, 0::2] << 4 | padded[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8")[:, 0].astype(np.uint64)
