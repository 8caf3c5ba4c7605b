"""A kernel image with its symbols and DWARF, and where a recorded kernel had it.

A recorded kernel may have lain elsewhere than it was linked (CONFIG_RANDOMIZE_BASE). All of it is
moved by one distance (arch/x86/boot/compressed/kaslr.c:choose_random_location (6.12, 7.3)), which
the functions of the recording's call sites tell: each lies so far from where the image has it. An
image of another kernel has hardly two of them at one distance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from pipeline.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import NoteSection

    from pipeline.source_places.dwarf import Position
    from pipeline.trace_set.parts import Symbols

_AGREE = 0.95  #: share of the functions that must lie at one distance
_SYMBOL = np.dtype(
    [
        ("name", "u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("section", "u2"),
        ("value", "u8"),
        ("size", "u8"),
    ]
)
_FUNCTION = 2  # STT_FUNC


class Found(NamedTuple):
    """What an image says of a recording's addresses.

    Args:
        positions: file and line by address; some are not known.
        build_id: of the image; empty: it has none.
    """

    positions: dict[int, Position]
    build_id: str


def find_positions(
    path: Path, symbols: Symbols, done: Callable[[float], None] = lambda _: None
) -> Found:
    """File and line of a recording's code addresses, by the image of its kernel.

    Args:
        path: the image: ELF, with DWARF.
        symbols: the recording's addresses and the functions they lie in; those of modules are in
            no vmlinux.
        done: told the part that is done, 0 to 1.

    Raises:
        InputError: the image cannot be read, has no DWARF, or is not the recorded kernel's.
        UsageError: pyelftools is not there.
    """
    with _reading(path):
        from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - of an extra

        from pipeline.source_places.dwarf import Lines  # noqa: PLC0415

        with path.open("rb") as file:
            image = ELFFile(file)
            if not image.has_dwarf_info(strict=True):
                raise InputError(
                    f"{path}: has no DWARF; take the vmlinux of a build with CONFIG_DEBUG_INFO, or"
                    " of a distribution's package of debug symbols"
                )
            distance = _distance(path, image, symbols)
            # A call site is where the call returns to: the call is the instruction before it.
            wanted = {
                address - distance - 1: address
                for address, module in zip(symbols.address.tolist(), symbols.module, strict=True)
                if module is None
            }
            # The kernel keeps its relocations (CONFIG_RELOCATABLE), which the linker has applied.
            lines = Lines(image.get_dwarf_info(relocate_dwarf_sections=False))
            found = lines.positions(wanted, done)
            positions = {wanted[address]: position for address, position in found.items()}
            return Found(positions, _build_id(image))


def _distance(path: Path, image: ELFFile, symbols: Symbols) -> int:
    """How far the recorded kernel lay from where the image was linked to lie."""
    linked = _functions(path, image, {symbol for symbol in symbols.symbol if symbol})
    votes: Counter[int] = Counter()
    asked = 0
    for address, symbol, offset, module in zip(
        symbols.address.tolist(),
        symbols.symbol,
        symbols.offset.tolist(),
        symbols.module,
        strict=True,
    ):
        if module is None and symbol:
            asked += 1
            votes.update({address - offset - start for start in linked.get(symbol, ())})
    if not asked:
        raise InputError(
            f"{path}: the recording has no symbols of its kernel, which would tell where it lay;"
            " import it with a kallsyms beside it"
        )
    [(distance, agree)] = votes.most_common(1) or [(0, 0)]
    if agree < _AGREE * asked:
        raise InputError(
            f"{path}: not the recorded kernel's: of {asked} code addresses {agree} are where it has"
            " their functions; take the vmlinux of that very build"
        )
    return distance


def _functions(path: Path, image: ELFFile, names: set[str]) -> dict[str, list[int]]:
    """Where the image has functions, by name; several may have one."""
    table = image.get_section_by_name(".symtab")
    if table is None or image.elfclass != 64:
        raise InputError(
            f"{path}: has no symbols of a 64-bit kernel; take one that is not stripped"
        )
    data = table.data()
    rows = np.frombuffer(data, _SYMBOL.newbyteorder("<" if image.little_endian else ">"))
    rows = rows[rows["info"] & 0xF == _FUNCTION]
    text = image.get_section(table["sh_link"]).data()
    found = defaultdict(list)
    for at, value in zip(rows["name"].tolist(), rows["value"].tolist(), strict=True):
        name = text[at : text.index(b"\0", at)].decode("utf-8", "replace")
        if name in names:
            found[name].append(value)
    return found


def _build_id(image: ELFFile) -> str:
    """What its linker called it; empty: nothing."""
    for section in image.iter_sections("SHT_NOTE"):
        for note in cast("NoteSection", section).iter_notes():
            if (note["n_name"], note["n_type"]) == ("GNU", "NT_GNU_BUILD_ID"):
                return str(note["n_desc"])
    return ""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What is wrong with an image as one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            "--vmlinux needs pyelftools; install it with: pip install 'allocsim[vmlinux]'"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pyelftools raises whatever damage makes of it
        raise InputError(f"{path}: not an ELF image that can be read: {error}") from error
