"""The counters of SLUB, declared once: name, unit, generations, what is done with each.

What the model counts, what the results database stores and describes, what a snapshot of sysfs is
searched for, and what validation compares are taken from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING

from allocsim.kernels.release import Generation

if TYPE_CHECKING:
    from collections.abc import Mapping


class Use(Flag):
    """What becomes of a counter in one generation of SLUB, besides being kept."""

    KEPT = 0  #: nothing
    PART = auto()  #: validation compares the sum it is part of: of all alloc_*, or of all free_*
    NO_EVENT = auto()  #: what it counts has no event (T6)
    TOTAL = auto()  #: validation compares it, all caches together
    CACHE = auto()  #: validation compares it, cache by cache
    CHIEF = auto()  #: reports show it of the busiest caches


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of one cache.

    Args:
        name: its file in /sys/kernel/slab/CACHE (CONFIG_SLUB_STATS, mm/slub.c:STAT_ATTR); of ours,
            our name.
        unit: what one is.
        of: the generations that keep it, and what becomes of it there. 6.18 and 6.19 keep those of
            both, and two of their own.
        doc: a sentence.
        modelled: the model counts it.
        ours: the kernel does not keep it.
    """

    name: str
    unit: str
    of: Mapping[Generation, Use]
    doc: str
    modelled: bool = True
    ours: bool = False


def _both(sheaves: Use = Use.KEPT, cpu_slabs: Use = Use.KEPT) -> dict[Generation, Use]:
    return {Generation.SHEAVES: sheaves, **_cpu_slabs(cpu_slabs)}


def _sheaves(use: Use = Use.KEPT) -> dict[Generation, Use]:
    return {Generation.SHEAVES: use, Generation.SHEAVES_ASKED: use & ~Use.PART}


def _cpu_slabs(use: Use = Use.KEPT) -> dict[Generation, Use]:
    # Where sheaves are refilled from cpu slabs, no sum of these is that of the requests.
    return {Generation.CPU_SLABS: use, Generation.SHEAVES_ASKED: use & ~Use.PART}


def _unmodelled(name: str, unit: str, of: Mapping[Generation, Use], doc: str) -> Counter:
    return Counter(name, unit, of, doc, modelled=False)


_CHIEF = Use.CACHE | Use.CHIEF
_ASKED = {Generation.SHEAVES_ASKED: Use.CACHE | Use.CHIEF}

COUNTERS = (
    Counter(
        "alloc_fastpath",
        "objects",
        _both(Use.PART | Use.CHIEF, _CHIEF),
        "Allocations from a sheaf, refilled or not; or from the CPU's own free list.",
    ),
    Counter(
        "alloc_slowpath",
        "objects",
        _both(Use.PART, Use.CACHE),
        "Allocations from a slab; or with another slab, or one's remote frees, first.",
    ),
    Counter(
        "free_fastpath",
        "objects",
        _both(Use.PART | Use.CHIEF, _CHIEF),
        "Frees to a sheaf; or of the CPU's own slab.",
    ),
    Counter("free_slowpath", "objects", _both(Use.PART, Use.CACHE), "Frees to a slab."),
    Counter("sheaf_refill", "objects", _sheaves(_CHIEF), "Objects put into sheaves by refills."),
    Counter("sheaf_flush", "objects", _sheaves(_CHIEF), "Objects flushed from sheaves to slabs."),
    Counter(
        "sheaf_alloc",
        "sheaves",
        _sheaves(Use.TOTAL),
        "Sheaves allocated, without the main sheaves a cache is made with.",
    ),
    Counter("sheaf_free", "sheaves", _sheaves(Use.TOTAL), "Sheaves freed."),
    Counter("barn_get", "sheaves", _sheaves(_CHIEF), "Full sheaves taken from the barn."),
    Counter("barn_get_fail", "times", _sheaves(Use.TOTAL), "Times the barn had none."),
    Counter("barn_put", "sheaves", _sheaves(_CHIEF), "Full sheaves put into the barn."),
    Counter("barn_put_fail", "times", _sheaves(Use.TOTAL), "Times the barn took none."),
    Counter(
        "free_rcu_sheaf",
        "objects",
        _sheaves(Use.PART | Use.NO_EVENT),
        "Objects that kfree_rcu put into a CPU's rcu_free sheaf.",
    ),
    Counter("free_rcu_sheaf_fail", "times", _sheaves(), "Times kfree_rcu could not put one there."),
    Counter(
        "sheaf_prefill_fast",
        "sheaves",
        _sheaves(Use.NO_EVENT),
        "Prefilled sheaves handed out that were the CPU's spare.",
    ),
    Counter(
        "sheaf_prefill_slow", "times", _sheaves(Use.NO_EVENT), "Times the CPU had no spare for one."
    ),
    _unmodelled(
        "sheaf_prefill_oversize",
        "sheaves",
        _sheaves(),
        "Prefilled sheaves larger than the cache's own.",
    ),
    Counter(
        "sheaf_return_fast",
        "sheaves",
        _sheaves(),
        "Prefilled sheaves given back that became the CPU's spare.",
    ),
    Counter("sheaf_return_slow", "times", _sheaves(), "Times the CPU had a spare already."),
    Counter("alloc_slab", "slabs", _both(Use.CACHE, _CHIEF), "Slabs made."),
    Counter("free_slab", "slabs", _both(Use.CACHE, Use.CACHE), "Slabs freed."),
    Counter(
        "order_fallback",
        "slabs",
        _both(),
        "Slabs made of the smallest order, since the wanted one was refused.",
    ),
    Counter(
        "free_add_partial",
        "slabs",
        _both(Use.KEPT, Use.TOTAL),
        "Slabs put on the partial list by a free.",
    ),
    Counter(
        "free_remove_partial", "slabs", _both(Use.KEPT, Use.TOTAL), "Slabs taken off it by a free."
    ),
    Counter(
        "list_lock",
        "times",
        _both(Use.CHIEF, Use.CHIEF),
        "Acquisitions of the node's list_lock.",
        ours=True,
    ),
    # mm/slub.c:slab_update_freelist; each is taken to succeed at once.
    Counter(
        "freelist_cmpxchg", "times", _both(), "Locked cmpxchgs of slabs' free lists.", ours=True
    ),
    Counter(
        "alloc_from_partial",
        "slabs",
        _cpu_slabs(Use.TOTAL),
        "Slabs a CPU took from the node's partial list to allocate from.",
    ),
    Counter(
        "alloc_refill",
        "times",
        _cpu_slabs(Use.TOTAL),
        "Times it took what other CPUs had freed to its slab.",
    ),
    Counter("free_frozen", "objects", _cpu_slabs(Use.TOTAL), "Frees of another CPU's slab."),
    Counter(
        "deactivate_bypass",
        "slabs",
        _cpu_slabs(Use.TOTAL),
        "Slabs a CPU let go of since all their objects were in use.",
    ),
    Counter(
        "deactivate_empty",
        "slabs",
        _cpu_slabs(Use.TOTAL),
        "Empty slabs freed when a CPU's partial list was drained.",
    ),
    Counter(
        "cpu_partial_alloc",
        "slabs",
        _cpu_slabs(_CHIEF),
        "Slabs a CPU took from its partial list to allocate from.",
    ),
    Counter(
        "cpu_partial_free",
        "slabs",
        _cpu_slabs(_CHIEF),
        "Slabs put on a CPU's partial list by the first free of a full one.",
    ),
    Counter("cpu_partial_node", "slabs", _cpu_slabs(Use.CACHE), "Slabs put on it from the node's."),
    Counter("cpu_partial_drain", "times", _cpu_slabs(_CHIEF), "Times it was drained."),
    Counter(
        "alloc_node_mismatch",
        "times",
        _both(),
        "Times a node was asked for that the sheaf, or the CPU's slab, is not of.",
    ),
    Counter(
        "deactivate_full", "slabs", _cpu_slabs(), "Slabs a CPU let go of that had nothing free."
    ),
    Counter(
        "deactivate_to_head",
        "slabs",
        _cpu_slabs(),
        "Slabs that went to the head of the partial list.",
    ),
    Counter(
        "deactivate_to_tail",
        "slabs",
        _cpu_slabs(),
        "Slabs that went to the tail of the partial list.",
    ),
    Counter(
        "deactivate_remote_frees",
        "slabs",
        _cpu_slabs(),
        "Slabs a CPU let go of that others had freed to.",
    ),
    # Not modelled: races, and flushes of CPUs.
    _unmodelled(
        "cmpxchg_double_fail", "times", _both(), "Times a cmpxchg of a slab's free list failed."
    ),
    _unmodelled(
        "cmpxchg_double_cpu_fail", "times", _cpu_slabs(), "The same of a CPU's own free list."
    ),
    _unmodelled(
        "cpuslab_flush", "slabs", _cpu_slabs(), "Slabs that a CPU gave up at a flush or in a race."
    ),
    Counter("alloc_cpu_sheaf", "objects", _ASKED, "Allocations from a sheaf."),
    Counter("free_cpu_sheaf", "objects", _ASKED, "Frees to a sheaf."),
)

#: Files of SLUB_STATS, of any kernel.
STATS = frozenset(counter.name for counter in COUNTERS if not counter.ours)


def counted(generation: Generation) -> tuple[str, ...]:
    """What the model of a generation counts, in the table's order."""
    return tuple(each.name for each in COUNTERS if each.modelled and generation in each.of)


def used(generation: Generation, use: Use) -> tuple[str, ...]:
    """The counters of one generation with which something is done, in the table's order.

    Args:
        generation: of SLUB.
        use: what is done, one or the other of several.
    """
    return tuple(each.name for each in COUNTERS if each.of.get(generation, Use.KEPT) & use)
