"""Page frames of kernels whose page events have a pointer to struct page, and no frame number.

Up to 4.0 mm_page_alloc and its like record ``page`` (include/trace/events/kmem.h, 3.10; the pfn
came with 4.1). With CONFIG_SPARSEMEM_VMEMMAP the struct of frame n lies at vmemmap + n *
sizeof(struct page); on x86-64 vmemmap began at one address on all kernels of that age, for they do
not randomise it (Documentation/x86/x86_64/mm.txt, 3.10). The size depends on the configuration: it
is the one with which pages and the objects on them agree on where the direct map begins
(allocsim.recording.direct_map).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.direct_map import DirectMapVote
from allocsim.trace.events import Ev
from pipeline.ingest.columns import Gatherer
from pipeline.ingest.raw.struct_page import StructPages

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.formats import Field
    from pipeline.ingest.reader import Reader

_VMEMMAP = {"x86_64": 0xFFFF_EA00_0000_0000}
_BYTES = np.uint64(1 << 40)  # of it
_SIZES = range(56, 136, 8)  # bytes of a struct page: 56 to 64, more with debugging
_POINTER = "page"


def has_pointers(types: EventTypes) -> bool:
    """Whether page events of a recording have pointers and no frame numbers."""
    return bool(_pointers(types))


def _pointers(types: EventTypes) -> dict[int, Field]:
    """By slot, the fields that stand for frame numbers."""
    found = {}
    for slot, kept in enumerate(types.kept):
        field = kept.format.fields.get(_POINTER)
        lacks = "pfn" in kept.event.columns and "pfn" not in kept.columns
        if lacks and field is not None and field.kind == "number" and field.size == 8:
            found[slot] = field
    return found


def use(types: EventTypes, pages: StructPages | None) -> None:
    """Let page events have the frame numbers of their pointers."""
    if pages is None:
        return
    types.struct_pages = pages
    for slot, field in _pointers(types).items():
        types.kept[slot].columns["pfn"] = field


def find(reader: Reader, beside: Callable[[], memoryview], budget: int) -> StructPages | None:
    """Where the structs lie; None where it cannot be told.

    Args:
        reader: a recording that has pointers, which is read to its end.
        beside: the kallsyms beside it, for formats that need them.
        budget: bytes decoded at once.

    Raises:
        InputError: the recording is damaged.
    """
    reader.symbols(beside)
    types = reader.types
    for slot, field in _pointers(types).items():
        types.kept[slot].columns["pfn"] = field
    gatherer = Gatherer(types)
    wanted = np.zeros(256, np.bool_)
    codes = gatherer.event_codes
    wanted[: len(codes)] = np.isin(codes, [Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC, Ev.MM_PAGE_ALLOC])
    sizes = {size: DirectMapVote(reader.page_size) for size in _SIZES}
    streams = reader.streams(budget)
    base = None
    for stream in streams:
        base = base or _VMEMMAP.get(reader.facts().arch or "")
        if base is None:
            return None
        record = np.flatnonzero(stream.inside & wanted.take(stream.slot))
        columns = gatherer.plain(stream, record, ("pfn", "order", "ptr"))
        page = columns["event"] == Ev.MM_PAGE_ALLOC
        pointer = columns["pfn"].view(np.uint64)
        offset = pointer[page & (pointer != 0)] - np.uint64(base)
        inside = not np.any(offset >= _BYTES)
        for size in [size for size in sizes if not inside or np.any(offset % np.uint64(size))]:
            del sizes[size]
        for size, vote in sizes.items():
            pfn = StructPages(base, size, 0).frames(pointer)
            vote.window(columns | {"pfn": np.where(page, pfn, 0)})
        if not sizes:
            return None
    return _chosen(base, sizes, reader.facts().arch)


def _chosen(
    base: int | None, sizes: dict[int, DirectMapVote], arch: str | None
) -> StructPages | None:
    """The size most allocations agree on; without any, the only one that pointers allow."""
    if base is None:
        return None
    votes = {size: vote.result(arch).votes for size, vote in sizes.items()}
    best = max(votes, key=lambda size: (votes[size], -size))
    alone = sum(count == votes[best] for count in votes.values()) == 1
    return StructPages(base, best, votes[best]) if alone else None
