"""File and line of code addresses, by a kernel image's DWARF.

kmalloc() and its kin are inlined: the code of a call site is mostly that of a header, so what is
wanted is where a source file, not a header, came to it. The frames that the compiler inlined into
one another stand in .debug_info (DWARF 5, 3.3.8), the innermost position in .debug_line (6.2).
"""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from elftools.dwarf.descriptions import describe_form_class
from elftools.dwarf.ranges import BaseAddressEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.dwarf.dwarfinfo import DWARFInfo

Position = tuple[str, int]  #: file, as the sources have it, and line

_INLINED = "DW_TAG_inlined_subroutine"
_WITHIN = frozenset({_INLINED, "DW_TAG_lexical_block"})
_MARK = "init/main.c"  #: every kernel has it (start_kernel): what stands before is where it lay


class Lines:
    """What the DWARF of one image says of code addresses.

    Args:
        dwarf: as pyelftools reads it.
    """

    def __init__(self, dwarf: DWARFInfo) -> None:
        self._dwarf = dwarf
        self._sources: str | None = None

    def positions(
        self, addresses: Iterable[int], done: Callable[[float], None]
    ) -> dict[int, Position]:
        """File and line of addresses, as far as they are known.

        Args:
            addresses: of the image as it was linked.
            done: told the part that is done, 0 to 1.
        """
        units = self._units(addresses)
        found: dict[int, Position] = {}
        for place, (offset, inside) in enumerate(sorted(units.items())):
            found |= _Unit(self._dwarf, self._dwarf.get_CU_at(offset)).positions(inside)
            done((place + 1) / len(units))
        return {address: (self._source(file), line) for address, (file, line) in found.items()}

    def _units(self, addresses: Iterable[int]) -> dict[int, list[int]]:
        """Addresses by the offset of the compile unit that has them."""
        table = self._dwarf.get_aranges()
        units: dict[int, list[int]] = defaultdict(list)
        for address in addresses:
            offset = table.cu_offset_at_addr(address) if table else None
            if offset is not None:
                units[offset].append(address)
        return units

    def _source(self, file: str) -> str:
        """A path within the sources: without the folder where they were compiled."""
        if not file.startswith(("/", "..")):
            return file
        if self._sources is None:
            names = (_text(unit.get_top_DIE(), "DW_AT_name") for unit in self._dwarf.iter_CUs())
            marks = (name.removesuffix(_MARK) for name in names if name.endswith(f"/{_MARK}"))
            self._sources = next(marks, "")
        return file.removeprefix(self._sources).lstrip("./")


class _Unit:
    """One compile unit: the lines of one source file and of what it includes."""

    def __init__(self, dwarf: DWARFInfo, unit: CompileUnit) -> None:
        self._dwarf = dwarf
        self._unit = unit
        self._top = unit.get_top_DIE()
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            raise ValueError("a compile unit has no lines")
        self._program = program
        low = self._top.attributes.get("DW_AT_low_pc")
        self._base = low.value if low else 0

    def positions(self, addresses: list[int]) -> dict[int, Position]:
        """The innermost position in a source file of each address that has one.

        Where all are in headers it is the outermost one.
        """
        found = {}
        rows = self._rows()
        starts = [start for start, _, _ in rows]
        functions = self._functions(addresses)
        for address in addresses:
            at = bisect_right(starts, address) - 1
            if at < 0 or not rows[at][2]:  # before the first, or behind the end of a sequence
                continue
            frames = [(self._file(rows[at][1]), rows[at][2])]
            for die in reversed(self._inlined(functions.get(address), address)):
                file, line = (die.attributes.get(f"DW_AT_call_{what}") for what in ("file", "line"))
                if file and line:
                    frames.append((self._file(file.value), line.value))
            found[address] = next((each for each in frames if each[0].endswith(".c")), frames[-1])
        return found

    def _rows(self) -> list[tuple[int, int, int]]:
        """Address, file and line of each row of the line program, by address; line 0: an end."""
        states = [entry.state for entry in self._program.get_entries() if entry.state is not None]
        # Of rows at one address the last holds; an end comes before a beginning there.
        states.sort(key=lambda state: (state.address, not state.end_sequence))
        return [
            (state.address, state.file, 0 if state.end_sequence else state.line) for state in states
        ]

    def _file(self, number: int) -> str:
        """A file of the line program's header, by its number."""
        header = self._program.header
        first = 0 if header.version >= 5 else 1  # of files; folder 0 is the compiler's in both
        entry = header["file_entry"][number - first]
        folders = header["include_directory"]
        folder = b""
        if entry.dir_index:
            folder = folders[entry.dir_index - first]
        return posixpath.normpath(posixpath.join(folder.decode(), entry.name.decode()))

    def _functions(self, addresses: list[int]) -> dict[int, DIE]:
        """The function that each address lies in."""
        found: dict[int, DIE] = {}
        for die in self._top.iter_children():
            if die.tag == "DW_TAG_subprogram":
                for low, high in self._ranges(die):
                    found |= {address: die for address in addresses if low <= address < high}
        return found

    def _inlined(self, die: DIE | None, address: int) -> list[DIE]:
        """What was inlined into one another at an address, from the outermost."""
        chain = []
        while die is not None:
            die = next(
                (
                    child
                    for child in die.iter_children()
                    if child.tag in _WITHIN
                    and any(low <= address < high for low, high in self._ranges(child))
                ),
                None,
            )
            if die is not None and die.tag == _INLINED:
                chain.append(die)
        return chain

    def _ranges(self, die: DIE) -> Iterator[tuple[int, int]]:
        """Where the code of something lies: from an address up to another."""
        low, high = (die.attributes.get(f"DW_AT_{end}_pc") for end in ("low", "high"))
        if low and high:
            relative = describe_form_class(high.form) == "constant"
            yield low.value, high.value + (low.value if relative else 0)
            return
        ranges, lists = die.attributes.get("DW_AT_ranges"), self._dwarf.range_lists()
        if ranges is None or lists is None:
            return
        base = self._base
        for entry in lists.get_range_list_at_offset(ranges.value, self._unit):
            if isinstance(entry, BaseAddressEntry):
                base = entry.base_address
                continue
            add = 0 if entry.is_absolute else base
            yield entry.begin_offset + add, entry.end_offset + add


def _text(die: DIE, name: str) -> str:
    value: Any = die.attributes.get(name)
    return value.value.decode() if value else ""
