"""The tables of a run that are the kernel's own accounts: sysfs, allocinfo, page_owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from allocsim.page_alloc.gfp import migratetypes
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.recording.opening_stock import OpeningStock
from allocsim.recording.page_owner import opening_kinds
from pipeline.store.schema.recorded import KERNEL_SLABS
from pipeline.trace_set.allocinfo import Tagged, allocinfo
from pipeline.trace_set.snapshots import SlabCaches, slab_caches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.kernels.release import Kernel
    from allocsim.recording.interpret import RecordingFacts
    from pipeline.trace_set.page_owner import PageOwners
    from pipeline.trace_set.reader import TraceSet


# Letters of tools/mm/slabinfo.c:slabcache (7.2), by the file that says 1, in its order.
_FLAGS = {
    "cache_dma": "d",
    "hwcache_align": "A",
    "poison": "P",
    "reclaim_account": "a",
    "red_zone": "Z",
    "sanity_checks": "F",
    "store_user": "U",
    "trace": "T",
}
_FILES = [column.name for column in KERNEL_SLABS.columns if column.dtype == "i8"]
# What is stored can be multiplied, so numbers above these are not known: no kernel has them.
_MOST = {"order": MAX_PAGE_ORDER, "object_size": 1 << 22, "slab_size": 1 << 22}
_MOST_COUNTED = 1 << 34
_MOMENTS = ("before", "after")


def slab_snapshots(trace: TraceSet) -> dict[str, SlabCaches]:
    """The snapshots of sysfs that a trace set has, by moment: ``before``, ``after``.

    Raises:
        InputError: one is damaged.
    """
    found = {when: slab_caches(trace.snapshot("sysfs_slab.txt", when)) for when in _MOMENTS}
    return {when: known for when, known in found.items() if known is not None}


def kernel_cache_rows(snapshots: Mapping[str, SlabCaches]) -> list[dict[str, Any]]:
    """Rows of ``kernel_caches``: every name in the snapshot of sysfs, the later one if need be.

    Args:
        snapshots: those of slab_snapshots.
    """
    for when in _MOMENTS:
        if when in snapshots:
            known = snapshots[when]
            folders = {cache: cache for cache, _ in known.values} | known.aliases
            return [
                {"name": name, "merged": of, "object_size": _number(known, of, "object_size")}
                for name, of in folders.items()
            ]
    return []


def _number(known: SlabCaches, folder: str, file: str) -> int | None:
    """What a file of sysfs says; None where there is none, or more than a kernel can have."""
    value = known.values.get((folder, file))
    return None if value is None or value > _MOST.get(file, _MOST_COUNTED) else value


def kernel_slab_rows(snapshots: Mapping[str, SlabCaches]) -> list[dict[str, Any]]:
    """Rows of ``kernel_slabs``: every cache of the snapshots of sysfs.

    Args:
        snapshots: those of slab_snapshots.
    """
    rows = []
    for moment, known in snapshots.items():
        for name in dict.fromkeys(cache for cache, _ in known.values):
            values = {file: _number(known, name, file) for file in _FILES}
            letters = [letter for file, letter in _FLAGS.items() if known.values.get((name, file))]
            flags = ("*" if values["aliases"] else "") + "".join(letters)
            behind = name in known.constructors or known.values.get((name, "destroy_by_rcu")) == 1
            row = {"moment": moment, "name": name, **values, "flags": flags}
            rows.append({**row, "free_pointer_behind": behind})
    return rows


def allocinfo_rows(trace: TraceSet) -> list[dict[str, Any]]:
    """Rows of ``allocinfo``: every place that either snapshot of it has.

    A place that one snapshot lacks, of a module that was loaded or went, had nothing then.

    Raises:
        InputError: a snapshot is damaged.
    """
    whens = {when: allocinfo(trace.snapshot("allocinfo", when)) for when in _MOMENTS}
    places = {place for found in whens.values() for place in found or ()}
    rows = []
    for number, place in enumerate(sorted(places)):
        file, line, module, function = place
        row: dict[str, Any] = {
            "tag": number,
            "file": file,
            "line": line,
            "module": module or None,
            "function": function,
            "tags": 0,
            "accurate": True,
        }
        for when, found in whens.items():
            tagged = None if found is None else found.get(place, Tagged())
            row[f"bytes_{when}"] = tagged and tagged.bytes
            row[f"calls_{when}"] = tagged and tagged.calls
            if tagged:
                row["tags"] = max(row["tags"], tagged.tags)
                row["accurate"] &= tagged.accurate
        rows.append(row)
    return rows


def opening_stock(owners: PageOwners, known: int) -> OpeningStock:
    """The blocks of a page owner's snapshot; its stacks are numbered from ``known`` on."""
    return OpeningStock(
        owners.pfn,
        owners.order,
        owners.gfp_flags,
        owners.stack + np.int32(known),
        owners.block_type,
        owners.ts,
        owners.unread,
    )


def opening_stock_rows(recording: RecordingFacts, kernel: Kernel) -> list[dict[str, Any]]:
    """Rows of ``opening_stock``: blocks that are alike are one."""
    stock = recording.opening
    if stock is None:
        return []
    kind, how = opening_kinds(stock, recording.stacks, kernel, recording.page_size)
    alike = {
        "order": stock.order,
        "migratetype": migratetypes(stock.gfp_flags.view(np.uint64)),
        "block_type": stock.block_type,
        "gfp_flags": stock.gfp_flags,
        "stack": stock.stack,
        "page_kind": kind,
        "kind_how": how,
    }
    table = pa.table(
        {**alike, "pages": np.int64(1) << stock.order.astype(np.int64), "ts": stock.ts}
    )
    groups = table.group_by(list(alike)).aggregate(
        [("pages", "count"), ("pages", "sum"), ("ts", "min"), ("ts", "max")]
    )
    groups = groups.sort_by([("pages_sum", "descending"), *((name, "ascending") for name in alike)])
    names = ("pages_count", "pages_sum", "ts_min", "ts_max")
    groups = groups.select([*alike, *names]).rename_columns(
        [*alike, "blocks", "pages", "first_ts", "last_ts"]
    )
    return [{"entry": number, **row} for number, row in enumerate(groups.to_pylist())]
