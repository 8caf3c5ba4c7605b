"""What SLUB asks of the model of one cache, of whichever generation: its events, by windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from allocsim.tables import rows_of

if TYPE_CHECKING:
    from collections import Counter

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.tables import Bools, Int8, Int16, Int32, Int64, Ints, UInt8

FAILED = -1  #: object of an allocation that failed
NO_KMALLOC_CACHE = -1  #: of a cache whose sheaves are objects of no cache of the trace


class CacheEvents(NamedTuple):
    """A window's events of one cache, in time order; ``objects`` and ``path`` are filled in.

    Args:
        cpu: CPU of each event.
        op: Op.
        parent: for a free, the event of this window that allocated its object; -1 if none did.
        objects: object of each event; on entry known for frees with parent -1.
        path: Path of each event.
        max_order: largest order to be had from the page allocator at each event; None: any.
        no_sheaf: events at which no sheaf can be allocated; None: at none.
        ts, run, left, due, node: as in ObjectRequests.
    """

    cpu: Ints
    op: Int8
    parent: Int64
    objects: Int64
    path: UInt8
    max_order: Int8 | None
    no_sheaf: Bools | None
    ts: Int64 | None = None
    run: Int64 | None = None
    left: Int32 | None = None
    due: Int64 | None = None
    node: Int16 | None = None

    def part(self, begin: int, end: int) -> CacheEvents:
        """Views of the events from ``begin`` up to ``end``, counted from 0 again."""
        part = rows_of(self, slice(begin, end))
        return part._replace(parent=np.maximum(part.parent - begin, -1)) if begin else part


class SlabsHeld(NamedTuple):
    """Slabs of one cache on lists or with CPUs.

    Args:
        partial: slabs on partial lists, the CPUs' and the node's.
        partial_free: free objects on these.
        node_partial: of ``partial``, those on the node's list.
        node_partial_free: free objects on these.
        cpu_slabs: slabs that are a CPU's own or on its list; None: CPUs have sheaves.
    """

    partial: int
    partial_free: int
    node_partial: int
    node_partial_free: int
    cpu_slabs: int | None


class CacheModel(Protocol):
    """One cache between windows, by the rules of its kernel's generation of SLUB."""

    @property
    def stat(self) -> Counter[str]:
        """The kernel's counters by name, since the start (allocsim.slub.counters)."""

    def seed_free(self, slabs: Int64, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them.

        Args:
            slabs: the key of each object's slab, below -1 (i8).
            places: its index in the slab (integer).
            cpus: CPU whose main sheaf it lies in, or whose own slab or list its slab is; -1: none
                (integer).
        """

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""

    def change(self, shape: CacheShape, now: int, kmalloc_cache: int) -> None:
        """Be of another shape from a moment on (R3.27).

        Args:
            shape: what it is from now on; of other objects and orders it is as before.
            now: the moment [ns].
            kmalloc_cache: of a cache with sheaves, the cache that new ones are objects of.
        """

    def take_pages(self) -> Int64:
        """Page requests since the last call, in order.

        Returns:
            (requests, 6) of event, CPU, slab, order, +1 (allocate) or -1 (free), and node (i8).
        """

    def slabs_held(self) -> SlabsHeld:
        """Slabs on partial lists and with CPUs, and the free objects on them."""
