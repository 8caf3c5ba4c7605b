"""Lives of objects and pages, and what is older than the trace: what a fit looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from allocsim.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from allocsim.tables import I8, U8, Bools
    from pipeline.replay.world import Recorded


class TracedLives(NamedTuple):
    """Lives that began in the trace; arrays of one length.

    Args:
        birth: ns since the first event (i8).
        death: likewise; NEVER: it outlives the trace (i8).
        cpu: CPU that allocated (i8).
        free_cpu: CPU that freed; of what outlives the trace, the one that allocated (i8).
        what: cache number of an object; of a page ``kind << 8 | order`` (i8).
        traced: an event shows the end (bool).
        site: of objects, the address that called the allocator (u8).
        run: of what came out of a prefilled sheaf, a number for that sheaf (i8); else -1.
    """

    birth: I8
    death: I8
    cpu: I8
    free_cpu: I8
    what: I8
    traced: Bools
    site: U8
    run: I8

    def of(self, rows: Bools | npt.NDArray[np.intp]) -> TracedLives:
        """Some of them."""
        return rows_of(self, rows)


class PreTraceLives(NamedTuple):
    """Ends of lives that began before the trace; arrays of one length, as in Lives."""

    death: I8
    free_cpu: I8
    what: I8

    def of(self, what: int) -> PreTraceLives:
        """Those of one cache, or of one kind and order of pages."""
        rows = self.what == what
        return PreTraceLives(self.death[rows], self.free_cpu[rows], self.what[rows])


class PreTraceSlabs(NamedTuple):
    """What of a cache lies on slabs older than the trace.

    Args:
        slab: of each object that dies in the trace without having been seen before, the slab that
            is older, too; -1: none, it was allocated in the trace without an event (i8).
        free_slab: of each free place, its slab (i8).
        free_cpu: the CPU whose main sheaf it lies in; -1: it is on its slab's free list (i8).
        objects: objects in a slab.
        pages: its pages.
        capacity: objects in a sheaf.
        made: slabs of the cache that the model made in the trace.
    """

    slab: I8
    free_slab: I8
    free_cpu: I8
    objects: int
    pages: int
    capacity: int
    made: int


@dataclass(frozen=True, slots=True)
class Observed:
    """A recorded trace, as far as a fit looks at it.

    Args:
        name: of the trace.
        recorded: the run.
        length: ns from the first event to the last.
        events: its events.
        objects: lives of objects.
        pre_trace_objects: ends of older ones.
        pre_trace_slabs: the slabs those lie on, and what is free on them, by cache.
        pages: lives of pages that are not slab's.
        pre_trace_pages: ends of older ones.
        unsized: allocations from caches whose size nothing tells, which are left out.
        pieces: frees of parts of a block after the first, which are left out.
        managed: pages of all zones.
        free: pages free at the start.
    """

    name: str
    recorded: Recorded
    length: int
    events: int
    objects: TracedLives
    pre_trace_objects: PreTraceLives
    pre_trace_slabs: Sequence[PreTraceSlabs]
    pages: TracedLives
    pre_trace_pages: PreTraceLives
    unsized: int
    pieces: int
    managed: int
    free: int

    @property
    def caches(self) -> Sequence[tuple[str, int]]:
        """Name and size of each cache."""
        return self.recorded.caches
