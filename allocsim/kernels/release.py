"""What the release of a kernel fixes: the one place that compares versions.

Which shipped policy is a kernel's own, where it sets the count of a page, its rules for per-CPU
page lists, its SLUB, and what its events say. Everything else asks :func:`kernel_of` and gets a
fact by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import PageRules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# include/linux/gfp_types.h. The format text of the 6.1, 6.12, 7.2 and 7.3 recordings gives the
# same bits; 6.1 alone still has __GFP_ATOMIC (bit 9), which no rule here asks for.
GFP_BITS: dict[str, int] = {
    "__GFP_DMA": 1 << 0,
    "__GFP_HIGHMEM": 1 << 1,
    "__GFP_DMA32": 1 << 2,
    "__GFP_MOVABLE": 1 << 3,
    "__GFP_RECLAIMABLE": 1 << 4,
    "__GFP_HIGH": 1 << 5,
    "__GFP_IO": 1 << 6,
    "__GFP_FS": 1 << 7,
    "__GFP_ZERO": 1 << 8,
    "__GFP_DIRECT_RECLAIM": 1 << 10,
    "__GFP_KSWAPD_RECLAIM": 1 << 11,
    "__GFP_WRITE": 1 << 12,
    "__GFP_NOWARN": 1 << 13,
    "__GFP_RETRY_MAYFAIL": 1 << 14,
    "__GFP_NOFAIL": 1 << 15,
    "__GFP_NORETRY": 1 << 16,
    "__GFP_MEMALLOC": 1 << 17,
    "__GFP_COMP": 1 << 18,
    "__GFP_NOMEMALLOC": 1 << 19,
    "__GFP_HARDWALL": 1 << 20,
    "__GFP_THISNODE": 1 << 21,
    "__GFP_ACCOUNT": 1 << 22,
}

# First version of each change, and where it was read. Between the versions that were read, the
# newest that has not got it and the oldest that has are told: the change lies between them.
_SINCE: dict[str, tuple[int, int]] = {
    # include/linux/gfp.h of 4.3, 4.4 and 4.6: __GFP_WAIT becomes two flags and bits move; from 4.6
    # on every flag is printed by a name of its own.
    "gfp_direct_reclaim": (4, 4),
    "gfp_all_named": (4, 6),
    # include/linux/gfp_types.h: up to 6.2 GFP_ATOMIC has a bit of its own; from 6.6 on GFP_NOWAIT
    # says NOWARN.
    "atomic_without_bit": (6, 3),
    "nowait_says_nowarn": (6, 6),
    # mm/page_alloc.c:prep_new_page (6.12), mm/mempolicy.c:alloc_pages_noprof (6.14)
    "wrappers_set_count": (6, 14),
    # mm/page_alloc.c:free_frozen_page_commit: not in 6.14, in 6.16 (read in Debian's image)
    "free_high_half": (6, 16),
    # include/trace/events/kmem.h:kmem_cache_alloc (6.17, 6.18)
    "events_name_cache": (6, 18),
    # mm/slub.c:kmem_cache_prefill_sheaf (6.18)
    "prefilled_sheaves": (6, 18),
    # mm/filemap.c:filemap_map_folio_range: not in 6.17, ref_from_caller in 6.18
    "mapping_keeps_reference": (6, 18),
    # mm/page_alloc.c:free_frozen_page_commit: not in 6.18, in 6.19
    "drains_in_batches": (6, 19),
    # mm/page_alloc.c:__rmqueue_pcplist: not in 6.19, in 7.1
    "atomic_past_lists": (7, 1),
    # mm/vmalloc.c:vm_area_alloc_pages: not in 6.18, in 6.19
    "vmalloc_splits": (6, 19),
    # mm/slub.c:calculate_sheaf_capacity: in 6.19 for caches that ask, in 7.0 for all
    "sheaves_for_all": (7, 0),
    # mm/swap.c:folio_batch_move_lru: not in 7.1, in 7.2
    "lru_freezes": (7, 2),
    # mm/slab_common.c:kmalloc_info: kmalloc-rnd-01-N in 7.1, kmalloc-part-01-N in 7.2
    "kmalloc_partitions": (7, 2),
}

# Caches of which some kernels allocate objects in bulk, without an event, and others with one (T6):
# cache, first version of the way, the version it ends with, and what it is.
_WITHOUT_EVENT: tuple[tuple[str, tuple[int, int], tuple[int, int] | None, str], ...] = (
    # lib/maple_tree.c:mas_alloc_nodes (6.12, 6.17): all but the first node of a request
    ("maple_node", (0, 0), (6, 18), "several at once come from kmem_cache_alloc_bulk"),
    # net/core/skbuff.c:__alloc_skb (6.19, 7.1, 7.2, 7.3): with bottom halves on, too
    ("skbuff_head_cache", (6, 19), None, "any task takes them from the list that NAPI keeps"),
)

# Kernels with a policy of their own, allocsim/refcount/policies: those in which a rule changed.
_POLICIES = ((6, 12), (6, 14), (6, 16), (6, 17), (6, 18), (7, 0), (7, 2), (7, 3))
# Read, and no rule found to differ from the policy before it.
_READ_ALIKE = ((6, 19), (7, 1))


class Generation(Enum):
    """A generation of SLUB: what a CPU allocates objects from."""

    CPU_SLABS = "cpu slabs"  #: a slab of its own (R3.30 - R3.40)
    SHEAVES_ASKED = "cpu slabs, and sheaves in caches that ask"  #: 6.18 and 6.19
    SHEAVES = "sheaves"  #: all caches (R3.10 - R3.22)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel version, and what it fixes.

    Args:
        version: (major, minor) of the kernel.
        policy: name of the shipped policy that does what it does.
        policy_note: a sentence to say with it where that is another version's; else empty.
        set_before_alloc: page_ref_set of a new page comes before its mm_page_alloc (T8), since
            prep_new_page does it and not the wrappers of alloc_frozen_pages (R2.1, R2.2).
        slub: what its CPUs allocate objects from.
        pages: its rules for per-CPU page lists.
        prefilled_sheaves: it has them (R3.16).
        events_name_cache: kmem_cache_alloc says the cache (T1).
        mapping_keeps_reference: fault-around lets the mapping keep the reference of its look-up.
        lru_freezes: it tries to freeze each folio that it puts on the LRU (R1.40).
        vmalloc_splits: vmalloc takes high orders and splits them (R1.26c).
        kmalloc_copies: what copies of kmalloc's caches are called, if it has any (R3.51).
        gfp_direct_reclaim: __GFP_WAIT is gone, its bits and those of huge pages are today's.
        gfp_all_named: every gfp flag is printed by name.
        atomic_without_bit: GFP_ATOMIC has no bit of its own.
        nowait_says_nowarn: GFP_NOWAIT has __GFP_NOWARN in it.
        gfp: value of each gfp bit by its name.
    """

    version: tuple[int, int]
    policy: str
    policy_note: str
    set_before_alloc: bool
    slub: Generation
    pages: PageRules
    prefilled_sheaves: bool
    events_name_cache: bool
    mapping_keeps_reference: bool
    lru_freezes: bool
    vmalloc_splits: bool
    kmalloc_copies: str
    gfp_direct_reclaim: bool
    gfp_all_named: bool
    atomic_without_bit: bool
    nowait_says_nowarn: bool
    gfp: Mapping[str, int] = field(default_factory=lambda: dict(GFP_BITS))


def kernel_of(release: str, gfp_bits: Mapping[str, int] | None = None) -> Kernel:
    """What is fixed by a kernel release such as ``6.12.107-pageref``.

    Args:
        release: uname -r of the recorded kernel.
        gfp_bits: bits by name as the recording's own format text gives them, where it does.

    Raises:
        ValueError: ``release`` does not begin with two numbers.
    """
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise ValueError(f"kernel release {release!r} does not begin with a version such as 6.12")
    return kernel_at((int(match[1]), int(match[2])), gfp_bits)


def kernel_at(version: tuple[int, int], gfp_bits: Mapping[str, int] | None = None) -> Kernel:
    """What is fixed by a kernel version, (major, minor)."""
    has = {name: version >= first for name, first in _SINCE.items()}
    slub = Generation.SHEAVES_ASKED if has["prefilled_sheaves"] else Generation.CPU_SLABS
    of = nearest_read(version, _POLICIES)
    return Kernel(
        version=version,
        policy=policy_name(of),
        policy_note=_note(version, of),
        set_before_alloc=not has["wrappers_set_count"],
        slub=Generation.SHEAVES if has["sheaves_for_all"] else slub,
        pages=PageRules(
            free_high_half=has["free_high_half"],
            drain_in_batches=has["drains_in_batches"],
            atomic_past_lists=has["atomic_past_lists"],
        ),
        prefilled_sheaves=has["prefilled_sheaves"],
        events_name_cache=has["events_name_cache"],
        mapping_keeps_reference=has["mapping_keeps_reference"],
        lru_freezes=has["lru_freezes"],
        vmalloc_splits=has["vmalloc_splits"],
        kmalloc_copies="part" if has["kmalloc_partitions"] else "rnd",
        gfp_direct_reclaim=has["gfp_direct_reclaim"],
        gfp_all_named=has["gfp_all_named"],
        atomic_without_bit=has["atomic_without_bit"],
        nowait_says_nowarn=has["nowait_says_nowarn"],
        gfp={**GFP_BITS, **dict((gfp_bits or {}).items())},
    )


def nearest(kernel: Kernel, known: Sequence[Kernel]) -> Kernel:
    """Of some kernels, oldest first, the newest before one that sets the count where it does.

    The oldest that does, where none is before it.
    """
    alike = [each for each in known if each.set_before_alloc == kernel.set_before_alloc]
    return next((each for each in reversed(alike) if each.version <= kernel.version), alike[0])


def allocated_without_event(version: tuple[int, int]) -> dict[str, str]:
    """Caches of which a kernel allocates objects without an event, and others do not: name -> how.

    Args:
        version: (major, minor) of the kernel.
    """
    return {
        cache: how
        for cache, first, end, how in _WITHOUT_EVENT
        if version >= first and (end is None or version < end)
    }


def nearest_read(version: tuple[int, int], known: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Whose rules stand for a version: its own, the nearest older one's, or the oldest's.

    Args:
        version: (major, minor) of a kernel.
        known: versions whose rules are known, oldest first.
    """
    return newest_since(version, known) or known[0]


def newest_since(
    version: tuple[int, int], known: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """The newest of some versions that a version is not before; None: it is before them all."""
    return max((each for each in known if each <= version), default=None)


def policy_name(version: tuple[int, int]) -> str:
    """What the policy of a kernel version is called."""
    return "linux-" + ".".join(map(str, version))


def _note(version: tuple[int, int], of: tuple[int, int]) -> str:
    """What must be said where the policy ``of`` one version stands for another."""
    if version == of:
        return ""
    here, there = (".".join(map(str, numbers)) for numbers in (version, of))
    if version in _READ_ALIKE:
        return f"Linux {here} was read and does as {there} does"
    if version < of:
        return f"no policy of Linux {here}: that of {there}, the oldest, is used"
    return f"no policy of Linux {here}, which was not read: that of {there}, the nearest older one"


#: Every kernel with a policy of its own, oldest first.
POLICIES = tuple(policy_name(version) for version in _POLICIES)
