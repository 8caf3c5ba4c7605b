"""What a recording's snapshots hold: attributes and counters of slab caches, flags of pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from allocsim.slub.counters import STATS
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.tables import U8


@dataclass(slots=True)
class SlabCaches:
    """Every attribute of every cache under /sys/kernel/slab.

    Attributes:
        values: (cache, attribute) -> its number.
        aliases: name of a cache that was merged -> name of the folder it stands for.
        stats: (cache, attribute) of each SLUB_STATS counter, in the order in which it was read.
    """

    values: dict[tuple[str, str], int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    stats: list[tuple[str, str]] = field(default_factory=list)

    def folder(self, cache: str) -> str | None:
        """The folder of a cache, by any of its names; None if there is none."""
        name = self.aliases.get(cache, cache)
        return name if (name, "order") in self.values else None


def slab_caches(path: Path) -> SlabCaches | None:
    """The caches of a snapshot's sysfs_slab.txt; None if it has none.

    Raises:
        InputError: a line that is neither "cache attribute value ..." nor "alias -> cache".
    """
    if not path.is_file():
        return None
    caches = SlabCaches()
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if len(words) < 3:
            raise InputError(f"{path}: line {number} is not of a slab cache: {line!r}")
        cache, attribute, value = words[:3]
        if attribute == "->":
            caches.aliases[cache] = value
            continue
        # 350(12) is slabs_cpu_partial: objects, and slabs they lie on.
        digits = value.partition("(")[0]
        if is_count(digits):
            caches.values[cache, attribute] = int(digits)
        # By name: a script that takes them with grep or find has them in the order of the folder's
        # hash.
        if attribute in STATS:
            caches.stats.append((cache, attribute))
    return caches


def is_count(word: str) -> bool:
    """Whether a word is a number that a kernel's counter of 64 bits can have."""
    return word.isdecimal() and word.isascii() and len(word) < 19


def page_flags(path: Path) -> U8 | None:
    """The words of a snapshot's kpageflags.zst, by page frame (u8); None if it has none.

    Raises:
        InputError: it cannot be decompressed.
    """
    if not path.is_file():
        return None
    try:
        with pa.input_stream(str(path), compression="zstd") as stream:
            data = stream.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    return np.frombuffer(data[: len(data) // 8 * 8], np.uint64)
