"""What lay free on slabs when a synthetic trace begins: a text beside its other snapshots.

No kernel has such a file: which places of a recording's older slabs were free shows only in what it
allocates there. A synthetic trace knows them all, so that a replay begins as it was made.

A line is ``cache address cpu``: the next one to be taken first, and the CPU that freed it;
-1 if it lies in no sheaf, however much that holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.replay.world import SYNTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Columns
    from pipeline.trace_set.reader import TraceSet

FILE = "free_places.txt"
_WORDS = 3


def free_places_text(free: Columns, names: Sequence[str]) -> str:
    """The text of free places.

    Args:
        free: ``ptr``, ``cache`` and ``cpu``, in the order they are taken.
        names: of the caches.
    """
    columns = (free[name].tolist() for name in ("cache", "ptr", "cpu"))
    return "".join(
        f"{names[cache]} {ptr:#x} {cpu}\n" for cache, ptr, cpu in zip(*columns, strict=True)
    )


def free_places(trace: TraceSet, names: Sequence[str]) -> Columns | None:
    """The free places a synthetic trace set lists, as FirstSeen takes them; None if it has none.

    Their events have numbers below 0. Places of caches that the trace does not name are left out.

    Raises:
        InputError: the file is damaged.
    """
    text = trace.snapshot_text(FILE) if trace.meta["source"]["format"] == SYNTH else None
    if text is None:
        return None
    lines = [line.split() for line in text.splitlines()]
    number = {name: at for at, name in enumerate(names)}
    cpus = trace.meta["cpus"]
    for at, words in enumerate(lines):
        if len(words) != _WORDS or not _is_place(words[1]) or not _below(words[2], cpus):
            raise InputError(
                f"{trace.snapshot(FILE)}: line {at + 1} is not a cache, an address and a CPU"
            )
    known = [words for words in lines if words[0] in number]
    return {
        "ptr": np.array([int(words[1], 16) for words in known], np.uint64),
        "seq": np.arange(-len(known), 0, dtype=np.int64),
        "cache": np.array([number[words[0]] for words in known], np.int32),
        "cpu": np.array([int(words[2]) for words in known], np.int16),
        "live": np.zeros(len(known), np.bool_),
    }


def _is_place(text: str) -> bool:
    try:
        return 0 <= int(text, 16) < 1 << 64
    except ValueError:
        return False


def _below(text: str, limit: int) -> bool:
    return text == "-1" or (text.isascii() and text.isdecimal() and int(text) < limit)
