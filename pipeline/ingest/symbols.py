"""Names for code addresses, from the text of /proc/kallsyms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.trace_set import Symbols

if TYPE_CHECKING:
    import numpy.typing as npt

_NEWLINE, _SPACE, _TAB, _DOLLAR = b"\n \t$"
# Hexadecimal digits by character; 255: none.
_DIGIT = np.full(256, 255, np.uint8)
_DIGIT[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_DIGIT[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)


class Kallsyms:
    """The symbols of a kernel and its modules, by address.

    A line is ``address type name``, and ``[module]`` behind a tab. Symbols of type A are absolute:
    per-CPU offsets on x86, no code; names with $ are mapping symbols of other architectures
    (trace-cmd 3.4 lib/trace-cmd/trace-util.c:tracecmd_parse_proc_kallsyms leaves out both).

    Args:
        text: the text; lines that are none of these are passed over.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        data = np.frombuffer(text, np.uint8)
        end = np.flatnonzero(data == _NEWLINE)
        begin = np.concatenate([np.zeros(min(len(end), 1), np.int64), end[:-1] + 1])
        # The kernel prints all addresses with as many digits.
        width = max(text.find(b" "), 0)
        fits = end - begin > width + 3
        fits &= (width > 0) & (width <= 16)
        begin = begin[fits]
        digits = _DIGIT[data[begin[:, np.newaxis] + np.arange(min(width, 16))]]
        kind, name = data[begin + width + 1], data[begin + width + 3]
        good = (digits < 16).all(axis=1) & (data[begin + width] == _SPACE)
        good &= (kind != ord("A")) & (kind != ord("a")) & (name != _DOLLAR)
        address = _number(digits[good])
        # Stable: of symbols at one address, the first in the text stays the first.
        order = np.argsort(address, kind="stable")
        self.address: npt.NDArray[np.uint64] = address[order]
        self._name: npt.NDArray[np.int64] = begin[good][order] + width + 3

    def __len__(self) -> int:
        return len(self.address)

    def resolve(self, addresses: npt.NDArray[np.uint64]) -> Symbols:
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
        return self.resolve(np.array([address], np.uint64)).symbol[0]

    def _words(self, row: int) -> tuple[str, str | None]:
        """Name and module of a symbol."""
        begin = int(self._name[row])
        line = self._text[begin : self._text.find(b"\n", begin)].decode("utf-8", "replace")
        name, _, rest = line.partition("\t")
        owner = rest.strip().strip("[]")
        return name.strip(), owner or None


def _number(digits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The numbers that rows of up to 16 hexadecimal digits make."""
    padded = np.zeros((len(digits), 16), np.uint8)
    padded[:, 16 - digits.shape[1] :] = digits
    pairs = padded[:, 0::2] << 4 | padded[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8")[:, 0].astype(np.uint64)
