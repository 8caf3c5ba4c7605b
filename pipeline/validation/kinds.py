"""Kinds of page against the flags the kernel exported for them (/proc/kpageflags)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.trace_set.snapshots import SLAB_FLAG
from pipeline.validation.bounds import CountCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import numpy.typing as npt

# include/uapi/linux/kernel-page-flags.h
_LRU, _MMAP, _ANON, _SWAPBACKED, _THP, _PGTABLE = 5, 11, 12, 14, 22, 26

_LIVE_AT_END = """
SELECT pfn, page_kind::VARCHAR AS kind FROM pages
WHERE run = ? AND alloc_seq IS NOT NULL AND free_ts IS NULL
"""
_NAMED = "SELECT count(symbol) > 0 FROM call_sites WHERE run = ?"


def kind_by_flags(flags: npt.NDArray[np.uint64]) -> npt.NDArray[np.object_]:
    """Kind that the exported flags of a page show; empty where they show none of these.

    Args:
        flags: words of /proc/kpageflags of first pages of blocks.
    """

    def has(bit: int) -> npt.NDArray[np.bool_]:
        shown: npt.NDArray[np.bool_] = flags >> np.uint64(bit) & np.uint64(1) == 1
        return shown

    file = (has(_LRU) | has(_MMAP)) & ~has(_ANON)
    kind = np.full(len(flags), "", object)
    kind[file & ~has(_SWAPBACKED)] = "page_cache"
    kind[file & has(_SWAPBACKED)] = "shmem"
    kind[has(_ANON)] = "anon"
    kind[has(_ANON) & has(_THP)] = "thp"
    kind[has(SLAB_FLAG)] = "slab"
    kind[has(_PGTABLE)] = "page_table"
    return kind


def page_kinds(
    connection: duckdb.DuckDBPyConnection, run: int, flags: npt.NDArray[np.uint64]
) -> Iterator[CountCheck]:
    """Of the pages that the kernel flags as a kind, how many the model calls that kind too.

    Only pages allocated in the recording and live at its end; flags show six of the kinds. Without
    the kernel's functions nothing tells shmem from anonymous pages before they are freed: those
    called anonymous then stand in the range that the recording leaves open.

    Args:
        connection: the database.
        run: the run.
        flags: words of the snapshot behind the recording, by page frame.
    """
    lives = connection.execute(_LIVE_AT_END, [run]).fetchnumpy()
    pfn, said = np.asarray(lives["pfn"], np.int64), np.asarray(lives["kind"], object)
    [named] = connection.execute(_NAMED, [run]).fetchall()[0]
    inside = pfn < len(flags)
    shown = kind_by_flags(flags[pfn[inside]])
    said = said[inside]
    for kind in sorted(set(shown) - {""}):
        models = said[shown == kind]
        others = Counter(models[models != kind].tolist())
        note = ", ".join(f"{count} called {name}" for name, count in others.most_common(3))
        agreed = int((models == kind).sum())
        compared = CountCheck("page_kind", kind, len(models), agreed, f"{note}." if note else "")
        if kind == "shmem" and not named:
            compared = replace(
                compared, low=agreed, high=agreed + others["anon"], unobservable=True
            )
        yield compared
