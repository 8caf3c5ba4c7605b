"""Addresses for functions that are named in text, and names for these addresses.

tracefs prints where code lies as ``function+0xOFFSET/0xSIZE [module]`` (%pS), trace-cmd without the
size and, of frames, as ``function (ADDRESS)``, perf as ``ADDRESS function+0xOFFSET (FILE)``. Where
the address is not there the kernel's own kallsyms gives it back; without, one is made up, which no
kernel can have: functions are told apart by their names alone.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.stacks.symbols import Kallsyms
from pipeline.trace_set.parts import Symbols
from pipeline.untrusted import MOST, number

if TYPE_CHECKING:
    from allocsim.tables import UInt64

_PLACE = re.compile(
    r"^(?P<symbol>[^\s+]+)(?:\+0x(?P<offset>[0-9a-f]+)(?:/0x(?P<size>[0-9a-f]+))?)?"
    r"(?: \[(?P<module>[^\]]+)\])?(?: [<(](?P<address>[0-9a-f]{8,16})[>)])?$"
)
_ADDRESS_FIRST = re.compile(
    r"^(?P<address>[0-9a-f]{1,16}) (?P<symbol>[^\s+]+)(?:\+0x(?P<offset>[0-9a-f]+))?"
    r"(?: \((?P<module>[^)]*)\))?$"
)
_KERNEL, _UNKNOWN = "[kernel.", "[unknown]"
_ADDRESS = re.compile(r"^(?:0x)?([0-9a-f]{8,16})$")
# Made-up addresses lie where neither the kernel nor a program has code.
_MADE_UP = 1 << 60

Function = tuple[str, int, str | None]  # symbol, offset, module


class TextSymbols:
    """Gives every place in code that a text names an address, the same one each time.

    Args:
        text: the kernel's kallsyms; may be empty.
        where: what to call the text that names places, in errors.

    Attributes:
        made_up: places whose address is not the kernel's.
        unclear: places of functions of which kallsyms has several that fit; the first is taken.
    """

    def __init__(self, text: memoryview, where: str = "the text") -> None:
        self._where = where
        self._kallsyms = Kallsyms(text)
        self._text = text
        self._known: dict[str, int] = {}
        self._functions: dict[int, Function] = {}
        self.made_up = 0
        self.unclear = 0

    def __len__(self) -> int:
        return len(self._kallsyms)

    def address(self, place: str) -> int:
        """The address of a place in code."""
        if place not in self._known:
            self._known[place] = self._find(place)
        return self._known[place]

    def learn(self, address: int, place: str) -> int:
        """The address of a place in code that the text says itself; as 64 bits without a sign."""
        address %= 1 << 64
        match = _PLACE.match(place)
        if match is not None and not _ADDRESS.match(place):
            self._functions.setdefault(address, self._function(match))
        return address

    def _function(self, match: re.Match[str]) -> Function:
        """The function that a place is in, and where in it.

        Raises:
            InputError: a function of such a size cannot be.
        """
        offset = number(match["offset"] or "0", 16, MOST >> 8)
        if offset is None:
            raise InputError(
                f"{self._where}: {match['symbol'][:40]}+0x{match['offset'][:20]}...: no place in "
                "code can be so far into a function; the text is damaged"
            )
        return match["symbol"], offset, match["module"]

    def _find(self, place: str) -> int:
        if bare := _ADDRESS.match(place):
            return int(bare[1], 16)
        if first := _ADDRESS_FIRST.match(place):
            return self._address_first(first)
        match = _PLACE.match(place)
        if match is None:
            return self._make_up((place, 0, None))
        function = self._function(match)
        offset, size = function[1], number(match["size"] or "0", 16) or 0
        if match["address"]:
            address = int(match["address"], 16)
            # Without its place in the function kallsyms, if it is there, says more.
            if match["offset"] or self._kallsyms.name(address) is None:
                self._functions.setdefault(address, function)
            return address
        begins = self._begins.get((match["symbol"], match["module"]), [])
        if len(begins) > 1 and size:
            begins = [begin for begin in begins if self._size(begin) == size] or begins
        if not begins:
            return self._make_up(function)
        self.unclear += len(begins) > 1
        address = (begins[0] + offset) % (1 << 64)
        self._functions[address] = function
        return address

    def _address_first(self, match: re.Match[str]) -> int:
        """The address of a frame as perf prints it."""
        address = int(match["address"], 16)
        symbol, offset, module = self._function(match)
        if symbol != _UNKNOWN and self._kallsyms.name(address) is None:
            inside = module and module.startswith("[") and not module.startswith(_KERNEL)
            module = module.strip("[]") if module and inside else None
            self._functions.setdefault(address, (symbol, offset, module))
        return address

    def _make_up(self, function: Function) -> int:
        self.made_up += 1
        address = _MADE_UP + self.made_up
        self._functions[address] = function
        return address

    def _size(self, begin: int) -> int:
        """Bytes of the symbol at ``begin``: up to the next one."""
        addresses = self._kallsyms.address
        at = int(np.searchsorted(addresses, np.uint64(begin), side="right"))
        return int(addresses[at]) - begin if at < len(addresses) else 0

    @cached_property
    def _begins(self) -> dict[tuple[str, str | None], list[int]]:
        """Where the symbols of a name and module begin."""
        begins: dict[tuple[str, str | None], list[int]] = {}
        lines = bytes(self._text).decode("utf-8", "replace").splitlines()
        for count, line in enumerate(lines, 1):
            words = line.split()
            if len(words) in (3, 4) and words[1] not in "Aa":
                module = words[3].strip("[]") if len(words) == 4 else None
                begin = number(words[0], 16, (1 << 64) - 1)
                if begin is None:
                    raise InputError(
                        f"{self._where}: line {count} of the kallsyms beside it has no address: it "
                        "is damaged; copy /proc/kallsyms again, or remove it"
                    )
                begins.setdefault((words[2], module), []).append(begin)
        return begins

    def name(self, address: int) -> str | None:
        """The symbol that ``address`` lies in; None if none is known."""
        if address in self._functions:
            return self._functions[address][0]
        return self._kallsyms.name(address)

    def resolve(self, addresses: UInt64) -> Symbols:
        """The symbols that ``addresses`` (ascending) lie in: as the text has them."""
        plain = self._kallsyms.resolve(addresses)
        symbol, offset, module = list(plain.symbol), plain.offset.copy(), list(plain.module)
        for row, address in enumerate(addresses.tolist()):
            if address in self._functions:
                symbol[row], offset[row], module[row] = self._functions[address]
        return Symbols(addresses, symbol, offset, module)
