"""Which cache an object comes from, as far as the event itself says.

7.x names the cache on allocation and free, older kernels on kmem_cache_free only (T1). A
kmalloc's cache follows from its size class and gfp flags (R3.1, R3.2). What cannot be told
apart is one cache here: CONFIG_RANDOM_KMALLOC_CACHES, CONFIG_KMALLOC_PARTITION_CACHES and
kmem_buckets hand out objects of the same classes under other names (T2).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_kinds import plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.tables import I4, I8, U8, Bools

# R3.1, include/linux/slab.h:__kmalloc_index: powers of two and these.
_BETWEEN = (96, 192)


def kmalloc_classes(page_size: int) -> tuple[int, ...]:
    """Sizes of the kmalloc caches in bytes, rising.

    The largest is KMALLOC_MAX_CACHE_SIZE, two pages (include/linux/slab.h:KMALLOC_SHIFT_HIGH);
    above it kmalloc goes to the page allocator.
    """
    powers = (1 << shift for shift in range(3, page_size.bit_length() + 1))
    return tuple(sorted((*powers, *_BETWEEN)))


#: Of pages of 4 KiB.
KMALLOC_CLASSES = kmalloc_classes(4096)
LARGE_KMALLOC = KMALLOC_CLASSES[-1]
# R3.2, in the order of include/linux/slab.h:kmalloc_type: the first whose bit is set.
_NORMAL, _CGROUPS = "kmalloc-", "kmalloc-cg-"
_TYPES = (
    ("dma-kmalloc-", "__GFP_DMA"),
    ("kmalloc-rcl-", "__GFP_RECLAIMABLE"),
    (_CGROUPS, "__GFP_ACCOUNT"),
)
_PREFIXES = (*(prefix for prefix, _ in _TYPES), _NORMAL)
# kmem_cache_alloc is called there from one cache only, whose objects a plain kfree ends, so that
# before 7.x no event has the name: net/core/skbuff.c:kmalloc_reserve, :skb_kfree_head (6.3 on).
_SITE_CACHES = {"kmalloc_reserve": "skbuff_small_head"}


def _class_name(size: int) -> str:
    return f"{size // 1024}k" if size >= 1024 else str(size)


def kmalloc_slots(page_size: int) -> dict[str, int]:
    """Slot size of every kmalloc cache there may be, by its name (R3.3, inferred).

    slab_debug makes slots larger (mm/slub.c:calculate_sizes).
    """
    return {
        prefix + _class_name(size): size
        for prefix in _PREFIXES
        for size in kmalloc_classes(page_size)
    }


class Caches:
    """The caches of a trace: those the trace names, then the kmalloc caches.

    Args:
        names: names in the trace set's column ``cache``, by code.
        kernel_caches: slot size by name from the kernel's own slabinfo, where the recording has
            it: a kmalloc type not among them does not exist there (no MEMCG, no ZONE_DMA).
            Without it every type is assumed to exist, those of cgroups if ``charges_cgroups``,
            and kmalloc's slots to be as large as their classes.
        gfp: value of each gfp bit by its name (allocsim.kernels.release).
        functions: function of each call site, as far as it is known.
        page_size: bytes of a page.
        charges_cgroups: the kernel can charge objects to memory cgroups.

    Attributes:
        names: name of each cache, by number.
        page_size: bytes of a page.
        largest: bytes of the largest kmalloc class: what is larger is whole pages.
    """

    def __init__(  # noqa: PLR0913 - what each event's cache follows from
        self,
        names: Sequence[str],
        kernel_caches: Mapping[str, int],
        gfp: Mapping[str, int],
        functions: Mapping[int, str],
        page_size: int = 4096,
        *,
        charges_cgroups: bool = True,
    ) -> None:
        self.page_size = page_size
        self._classes = kmalloc_classes(page_size)
        self.largest = self._classes[-1]
        self.names = list(names)
        self._told: dict[int, int] = {}  # slot size by cache, as its own allocations tell it
        self._votes: Counter[tuple[int, int]] = Counter()  # allocations by cache and slot size
        self._number = {name: code for code, name in enumerate(names)}
        self._kernel_caches = kernel_caches
        self._slots = kernel_caches or kmalloc_slots(page_size)
        known = {*self._slots, *names}
        if not charges_cgroups and not kernel_caches:
            known -= {_CGROUPS + _class_name(size) for size in self._classes}
        self._type_bits = [gfp[bit] for _, bit in _TYPES]
        rows = []
        for prefix in _PREFIXES:
            row = []
            for size in self._classes:
                name = prefix + _class_name(size)
                row.append(self._number_of(name if name in known else _NORMAL + _class_name(size)))
            rows.append([*row, -1])
        self._of_type = np.array(rows, np.int32)
        self._padded = any(
            kernel_caches.get(f"kmalloc-{_class_name(size)}", size) != size
            for size in self._classes
        )
        self._of_site = {
            site: self._number_of(_SITE_CACHES[plain_name(function)])
            for site, function in functions.items()
            if plain_name(function) in _SITE_CACHES
        }

    def _number_of(self, name: str) -> int:
        if name not in self._number:
            self._number[name] = len(self.names)
            self.names.append(name)
        return self._number[name]

    def of_kmalloc(self, bytes_alloc: I8, gfp: U8, bytes_req: I8) -> I4:
        """Cache of each kmalloc (i4); -1 for sizes that are no class: whole pages.

        A slot is as large as its class, but where slab_debug puts red zones and tracks about the
        object (mm/slub.c:calculate_sizes). The event gives the slot (R3.3), so that there the
        class is the one for what was asked for.

        Args:
            bytes_alloc: bytes given.
            gfp: gfp flags.
            bytes_req: bytes asked for.
        """
        classes = np.array(self._classes)
        index = np.searchsorted(classes, bytes_req if self._padded else bytes_alloc)
        if not self._padded:
            exact = classes[np.minimum(index, len(classes) - 1)] == bytes_alloc
            index = np.where(exact, index, len(classes))
        kind = np.full(len(gfp), len(_TYPES), np.int64)
        for number, bit in reversed(list(enumerate(self._type_bits))):
            kind[(gfp & np.uint64(bit)) != 0] = number
        return self._of_type[kind, index]

    def of_site(self, call_site: U8) -> I4:
        """Cache of each kmem_cache_alloc whose call site is known to have one only (i4); or -1."""
        cache = np.full(len(call_site), -1, np.int32)
        for site, number in self._of_site.items():
            cache[call_site == np.uint64(site)] = number
        return cache

    def of_size(self, size: int) -> int:
        """The one cache of the kernel's slabinfo with this slot size; -1: none, or several."""
        names = [name for name, slot in self._kernel_caches.items() if slot == size]
        return self._number_of(names[0]) if len(names) == 1 else -1

    def fits(self, cache: I4, bytes_alloc: I8) -> Bools:
        """Whether objects of this slot size can be of these caches.

        By the kernel's slabinfo; without one, kmalloc's by their classes, others are not doubted.
        Where a free is not traced (T6), nor the allocation behind it, the next free at the address
        names the cache of another object.
        """
        slot = np.array([self._slots.get(name, -1) for name in self.names], np.int64)
        fits: Bools = (slot[cache] < 0) | (slot[cache] == bytes_alloc)
        return fits

    @property
    def sizes(self) -> list[int]:
        """Slot size of each cache (R3.3: bytes_alloc); -1: no allocation of it was seen.

        As allocations tell that name their cache, or are of a kmalloc class. Where there are none,
        as most of the others do, the smallest of sizes that as many have: the name on the next
        free at an address can be that of a later object (T6).
        """
        found = dict(self._told)
        by_votes = sorted(self._votes.items(), key=lambda vote: (-vote[1], vote[0]))
        for (number, size), _ in by_votes:
            found.setdefault(number, size)
        return [found.get(number, -1) for number in range(len(self.names))]

    def learn_sizes(self, cache: I4, size: I8) -> None:
        """Note the slot size of caches from allocations that tell their cache themselves."""
        seen = np.full(len(self.names), -1, np.int64)
        seen[cache] = size
        for number in np.flatnonzero(seen >= 0).tolist():
            self._told[number] = int(seen[number])

    def vote_sizes(self, cache: I4, size: I8) -> None:
        """Count allocations whose cache their free, their slab or their call site told.

        Those that cannot be of their cache by their size (``fits``) are left out.
        """
        good = (size > 0) & self.fits(cache, size)
        pairs, count = np.unique(
            np.stack([cache[good].astype(np.int64), size[good]]), axis=1, return_counts=True
        )
        for pair, number in zip(pairs.T.tolist(), count.tolist(), strict=True):
            self._votes[pair[0], pair[1]] += number
