"""What a comparison compares, as data: each quantity is one measure per another.

A new one is a row in QUANTITIES, and in MEASURES if nothing counts it yet, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.measures import BY_NAME, EVENTS, ONE, SECONDS


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measure per another.

    Args:
        group: heading under which it is shown.
        name: its name; the item's follows it where there are items.
        part: name of the measure above the line.
        whole: name of the measure below it.
        unit: of the quotient times ``scale``.
        doc: one sentence on what it is.
        scale: 1000 for "per 1,000 events", 100 for per cent.
        items: a row for each item of ``part``; one row for all of them together if False.
        own_whole: divide by the same item of ``whole``; by all of them together if False.
        headline: shown on the first page.
        counted: part and whole are counts of events, too few of which are not tested.
    """

    group: str
    name: str
    part: str
    whole: str
    unit: str
    doc: str
    scale: float = 1
    items: bool = False
    own_whole: bool = False
    headline: bool = False
    counted: bool = True

    @property
    def sliced(self) -> bool:
        """Whether it is known by time slice, and so how it varies within a run."""
        return BY_NAME[self.part].sliced and BY_NAME[self.whole].sliced


_OPS = "Reference operations"
_PAGES = "Pages and slabs"
_PATHS = "Paths"
_FRAGMENTATION = "Fragmentation"
_LIVES = "Lifetimes"
CACHES = "Caches"
SITES = "Call sites"
MOVERS = (CACHES, SITES)  #: groups with too many rows to print: only what moved is shown

_PER_EVENTS = "per 1,000 events"  # object and page allocations and frees
_PER_ALLOCS = "per 1,000 page allocations"

QUANTITIES = (
    Quantity(
        _OPS,
        "locked, own policy",
        "own_locked",
        EVENTS,
        _PER_EVENTS,
        "Locked instructions on reference counts under the policy of the recorded kernel.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _OPS,
        "locked, own policy",
        "own_locked",
        SECONDS,
        "per second",
        "The same, over the length of the recording.",
        counted=False,
    ),
    Quantity(
        _OPS,
        "plain, own policy",
        "own_plain",
        EVENTS,
        _PER_EVENTS,
        "Plain stores to reference counts under that policy.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _OPS,
        "all, own policy:",
        "own_ops",
        EVENTS,
        _PER_EVENTS,
        "Plain stores and locked instructions by kind of page, under the recorded kernel's policy.",
        scale=1000,
        items=True,
        headline=True,
    ),
    Quantity(
        _OPS,
        "locked, own policy:",
        "own_locked",
        EVENTS,
        _PER_EVENTS,
        "Of these, the locked instructions.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _OPS,
        "locked, recorded:",
        "recorded_locked",
        EVENTS,
        _PER_EVENTS,
        "Locked instructions that page_ref events tell of, by kind of page.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _OPS,
        "plain, recorded:",
        "recorded_plain",
        EVENTS,
        _PER_EVENTS,
        "Plain stores that page_ref events tell of, by kind of page.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _OPS,
        "locked, policy",
        "policy_locked",
        EVENTS,
        _PER_EVENTS,
        "Locked instructions under one and the same policy on both sides.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _PAGES,
        "page allocations",
        "page_allocs",
        EVENTS,
        _PER_EVENTS,
        "mm_page_alloc events, of any order.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PAGES,
        "page allocations",
        "page_allocs",
        SECONDS,
        "per second",
        "mm_page_alloc events, of any order, over the length of the recording.",
        counted=False,
    ),
    Quantity(
        _PAGES,
        "page frees",
        "page_frees",
        EVENTS,
        _PER_EVENTS,
        "mm_page_free events, of any order.",
        scale=1000,
    ),
    Quantity(
        _PAGES,
        "allocated,",
        "page_allocs",
        EVENTS,
        _PER_EVENTS,
        "mm_page_alloc events by kind of page.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _PAGES,
        "slabs made",
        "slab_allocs",
        "object_allocs",
        "per 1,000 objects allocated",
        "Slab pages allocated, of any order.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PAGES,
        "slabs freed",
        "slab_frees",
        "object_frees",
        "per 1,000 objects freed",
        "Slab pages freed, of any order.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PATHS,
        "remote frees",
        "remote_frees",
        "known_frees",
        "% of frees",
        "Objects freed by another CPU than allocated them, where both were seen.",
        scale=100,
        headline=True,
    ),
    Quantity(
        _PATHS,
        "pages from the buddy lists",
        "zone_locked",
        "page_allocs",
        _PER_ALLOCS,
        "mm_page_alloc_zone_locked: pages taken under zone->lock.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _PATHS,
        "pages drained to the buddy lists",
        "pcpu_drain",
        "page_allocs",
        _PER_ALLOCS,
        "mm_page_pcpu_drain: pages given back from the CPUs' lists.",
        scale=1000,
    ),
    Quantity(
        _PATHS,
        "pages freed in batches",
        "batched_frees",
        "page_frees",
        "% of page frees",
        "mm_page_free_batched.",
        scale=100,
    ),
    Quantity(
        _PATHS,
        "model:",
        "path_requests",
        EVENTS,
        _PER_EVENTS,
        "Requests by the way in which the simulated allocators served them.",
        scale=1000,
        items=True,
    ),
    Quantity(
        "Sheaves and barns",
        "model:",
        "cache_counters",
        "object_requests",
        "per 1,000 object events",
        "Counters of the simulated caches, by the kernel's name of them.",
        scale=1000,
        items=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "bytes given but not asked for",
        "bytes_wasted",
        "bytes_given",
        "% of bytes given",
        "Internal fragmentation: the rest of the slot or page behind each object.",
        scale=100,
        headline=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "fallbacks to another migratetype",
        "fallbacks",
        "page_allocs",
        _PER_ALLOCS,
        "mm_page_alloc_extfrag.",
        scale=1000,
        headline=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "model: unusable",
        "unusable_pages",
        "free_pages",
        "% of free pages",
        "Free pages in blocks too small for the order, in the simulated page allocator.",
        scale=100,
        items=True,
        headline=True,
    ),
    Quantity(
        _FRAGMENTATION,
        "model:",
        "zone_counters",
        "page_requests",
        "per 1,000 page events",
        "Counters of the simulated zones.",
        scale=1000,
        items=True,
        counted=False,
    ),
    Quantity(
        _LIVES,
        "objects,",
        "object_lives",
        "object_lives",
        "% of objects",
        "Objects that were allocated and freed in the recording, by how long they lived.",
        scale=100,
        items=True,
    ),
    Quantity(
        _LIVES,
        "pages,",
        "page_lives",
        "page_lives",
        "% of page lives",
        "Page lives that began and ended in the recording, by their length.",
        scale=100,
        items=True,
    ),
    Quantity(
        _LIVES,
        "objects, quantile",
        "object_lifetimes",
        ONE,
        "us",
        "Quantiles of the lifetimes of objects.",
        items=True,
        counted=False,
    ),
    Quantity(
        _LIVES,
        "pages, quantile",
        "page_lifetimes",
        ONE,
        "us",
        "Quantiles of the lifetimes of pages.",
        items=True,
        counted=False,
    ),
    Quantity(
        CACHES,
        "allocations,",
        "object_allocs",
        EVENTS,
        _PER_EVENTS,
        "Objects allocated from the cache.",
        scale=1000,
        items=True,
    ),
    Quantity(
        CACHES,
        "remote frees,",
        "remote_frees",
        "known_frees",
        "% of the cache's frees",
        "Objects of the cache freed by another CPU than allocated them.",
        scale=100,
        items=True,
        own_whole=True,
    ),
    Quantity(
        CACHES,
        "slabs made,",
        "slab_allocs",
        EVENTS,
        _PER_EVENTS,
        "Slab pages allocated for the cache, of any order.",
        scale=1000,
        items=True,
    ),
    Quantity(
        CACHES,
        "pages a slab,",
        "slab_pages",
        "slab_allocs",
        "pages",
        "Base pages of a slab of the cache, on average.",
        items=True,
        own_whole=True,
    ),
    Quantity(
        SITES,
        "allocations,",
        "site_allocs",
        EVENTS,
        _PER_EVENTS,
        "Objects allocated by the function, wherever in it.",
        scale=1000,
        items=True,
    ),
)
