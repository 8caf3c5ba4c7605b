"""Kinds of page against the flags the kernel exported for them (/proc/kpageflags)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.kpageflags import (
    KPF_ANON,
    KPF_LRU,
    KPF_MMAP,
    KPF_PGTABLE,
    KPF_SLAB,
    KPF_SWAPBACKED,
    KPF_THP,
    has,
)
from pipeline.validation.bounds import CountCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import numpy.typing as npt

    from allocsim.tables import U8

_LIVE_AT_END = """
SELECT pfn, page_kind::VARCHAR AS kind FROM pages
WHERE run = ? AND alloc_seq IS NOT NULL AND free_ts IS NULL
"""
_NAMED = "SELECT count(symbol) > 0 FROM call_sites WHERE run = ?"


def kind_by_flags(flags: U8) -> npt.NDArray[np.object_]:
    """Kind that the exported flags of a page show; empty where they show none of these.

    Args:
        flags: words of /proc/kpageflags of first pages of blocks.
    """
    anon, swapbacked = has(flags, KPF_ANON), has(flags, KPF_SWAPBACKED)
    file = (has(flags, KPF_LRU) | has(flags, KPF_MMAP)) & ~anon
    kind = np.full(len(flags), "", object)
    kind[file & ~swapbacked] = "page_cache"
    kind[file & swapbacked] = "shmem"
    kind[anon] = "anon"
    kind[anon & has(flags, KPF_THP)] = "thp"
    kind[has(flags, KPF_SLAB)] = "slab"
    kind[has(flags, KPF_PGTABLE)] = "page_table"
    return kind


def page_kinds(connection: duckdb.DuckDBPyConnection, run: int, flags: U8) -> Iterator[CountCheck]:
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
