"""Which events are the slab allocator's own metadata, by their call site (T7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocsim.tables import I8, U8, Array

#: Functions of mm/slub.c and mm/slab_common.c (7.2) that allocate or free sheaves, barns and
#: vectors of object extensions with kmalloc and kfree, and into which the functions that do
#: nothing else are inlined.
METADATA_FUNCTIONS = frozenset(
    {
        "__pcs_replace_empty_main",
        "__pcs_replace_full_main",
        "__kfree_rcu_sheaf",
        "kmem_cache_prefill_sheaf",
        "kmem_cache_refill_sheaf",
        "kmem_cache_return_sheaf",
        "rcu_free_sheaf",
        "barn_shrink",
        "__alloc_empty_sheaf",
        "free_empty_sheaf",
        "pcs_flush_all",
        "do_kmem_cache_create",
        "alloc_slab_obj_exts",
        "free_slab_obj_exts",
    }
)


class MetadataMarks:
    """Marks events by the codes of their call sites.

    Args:
        symbol_of: the symbol an address lies in.
    """

    def __init__(self, symbol_of: Callable[[int], str | None]) -> None:
        self._symbol_of = symbol_of
        self._marked = np.zeros(0, np.bool_)

    def marked(self, codes: Array, call_sites: U8) -> I8:
        """Which ones of ``codes`` are of metadata: i8; ``call_sites`` are what the codes mean."""
        fresh = [self._is_metadata(site) for site in call_sites[len(self._marked) :].tolist()]
        self._marked = np.concatenate([self._marked, np.array(fresh, np.bool_)])
        if not self._marked.any():
            return np.zeros(0, np.int64)
        return np.flatnonzero(self._marked.take(codes))

    def _is_metadata(self, call_site: int) -> bool:
        # A compiler may split a function: name.part.0, name.constprop.0, name.isra.0.
        return (self._symbol_of(call_site) or "").partition(".")[0] in METADATA_FUNCTIONS
