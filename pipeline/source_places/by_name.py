"""Source files of kernel functions by name, where nothing better is known.

The table is made of kernel sources by pipeline.source_places.scan. What it says of a recorded
kernel is inferred: a distribution may have moved a function, and a module that is not in the
sources may have one of the same name.
"""

from __future__ import annotations

import lzma
import re
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("functions.txt.xz")

_NUMBERS = re.compile(r"\d+")
# Entries of a system call that the kernel makes by macro beside the function that has its body
# (arch/x86/include/asm/syscall_wrapper.h, arch/arm64/include/asm/syscall_wrapper.h).
_ENTRY = re.compile(r"__(?:x64|ia32|arm64|se)_(compat_)?sys_(\w+)")


def versions() -> list[str]:
    """The versions whose sources the table was made of, the oldest first."""
    return _text().partition("\n")[0].split()


def nearest(release: str) -> str:
    """Of these versions the newest that is not newer than a release; the oldest for older ones."""
    known = versions()
    wanted = _number(release)
    return max((each for each in known if _number(each) <= wanted), key=_number, default=known[0])


@cache
def places(version: str) -> dict[str, str]:
    """File of each function of one of these versions; a folder, with a slash behind, if only that.

    Functions of other versions stand in it too, where their place never differed.
    """
    bit = 1 << versions().index(version)
    lasting, moved = _table()
    return lasting | {name: path for name, versions, path in moved if versions & bit}


def function_of(symbol: str) -> str:
    """The source's name of a symbol: without what the compiler or a macro put around it."""
    name = symbol.partition(".")[0]
    entry = _ENTRY.fullmatch(name)
    return f"__do_{entry[1] or ''}sys_{entry[2]}" if entry else name


def _number(release: str) -> tuple[int, ...]:
    """Version and patchlevel of a release: (6, 12) of 6.12.107-1."""
    return tuple(map(int, _NUMBERS.findall(release)[:2]))


@cache
def _table() -> tuple[dict[str, str], list[tuple[str, int, str]]]:
    """Places by name of every version; of others each name, its bits of versions, and its place."""
    lasting: dict[str, str] = {}
    moved = []
    path = ""
    for line in _text().splitlines()[1:]:
        if line[0] != " ":
            path = line
        elif (end := line.rfind(" ")) > 0:
            moved.append((line[1:end], int(line[end:], 16), path))
        else:
            lasting[line[1:]] = path
    return lasting, moved


@cache
def _text() -> str:
    return lzma.decompress(TABLE.read_bytes()).decode()
