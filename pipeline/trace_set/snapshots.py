"""What a recording's snapshots hold: attributes and counters of slab caches, flags of pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from allocsim.slub.counters import STATS
from pipeline.errors import InputError
from pipeline.trace_set.side_files import side_text, unfolded
from pipeline.untrusted import shown

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.tables import UInt64

_MOST_FLAGS = 1 << 29  # bytes: those of 256 GiB, all of which are held


@dataclass(slots=True)
class SlabCaches:
    """Every attribute of every cache under /sys/kernel/slab.

    Attributes:
        values: (cache, attribute) -> its number.
        aliases: name of a cache that was merged -> name of the folder it stands for.
        stats: (cache, attribute) of each SLUB_STATS counter, in the order in which it was read.
        constructors: caches whose objects have a constructor.
    """

    values: dict[tuple[str, str], int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    stats: list[tuple[str, str]] = field(default_factory=list)
    constructors: set[str] = field(default_factory=set)

    def folder(self, cache: str) -> str | None:
        """The folder of a cache, by any of its names; None if there is none."""
        name = self.aliases.get(cache, cache)
        return name if (name, "order") in self.values else None


def slab_caches(path: Path) -> SlabCaches | None:
    """The caches of a snapshot's sysfs_slab.txt; None if it has none.

    Raises:
        InputError: a line that is neither "cache attribute value ..." nor "alias -> cache".
    """
    text = side_text(path)
    if text is None:
        return None
    caches = SlabCaches()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 3)
        if len(words) < 3:
            raise InputError(f"{path}: line {number} is not of a slab cache: {shown(line)}")
        cache, attribute, value = words[:3]
        if attribute == "->":
            caches.aliases[cache] = value
            continue
        # 350(12) is slabs_cpu_partial: objects, and slabs they lie on.
        digits = value if value.isdecimal() else value.partition("(")[0]
        if is_count(digits):
            caches.values[cache, attribute] = int(digits)
        if attribute == "ctor":
            caches.constructors.add(cache)
        # By name: a script that takes them with grep or find has them in the order of the folder's
        # hash.
        if attribute in STATS:
            caches.stats.append((cache, attribute))
    return caches


def is_count(word: str) -> bool:
    """Whether a word is a number that a kernel's counter of 64 bits can have."""
    return word.isdecimal() and word.isascii() and len(word) < 19


def page_flags(path: Path) -> UInt64 | None:
    """The words of a snapshot's kpageflags.zst, by page frame (u8); None if it has none.

    Raises:
        InputError: it cannot be decompressed, or is longer.
    """
    data = unfolded(path, _MOST_FLAGS)
    return None if data is None else np.frombuffer(data[: len(data) // 8 * 8], np.uint64)
