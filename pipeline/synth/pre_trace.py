"""Objects older than the trace: which slabs they lie on, and what is free beside them.

They are not run through the model. They fill slabs as the spec names them, batch after batch; what
is gone when the trace begins leaves free places. From there on it is as with a recording
(allocsim.initial_state.slabs): what a CPU freed lies in its main sheaf, as much as that holds, the
rest on its slab. No event tells all that, so the trace set lists the free places, and a replay
begins with the very state that the trace was made from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.initial_state.slabs import slab_numbers
from allocsim.kernels.slub_rules import PAGE_SIZE
from allocsim.page_alloc.zones import ORDERS, PRIOR_CHUNK
from allocsim.tables import take
from pipeline.errors import InputError
from pipeline.replay.synthetic_free_lists import free_places_text
from pipeline.replay.world import make_world
from pipeline.synth.arrivals import GOING
from pipeline.synth.machine import DIRECT_MAP

if TYPE_CHECKING:
    from allocsim.tables import I2, I4, I8, Columns
    from pipeline.replay.world import World
    from pipeline.synth.calendar import Moments
    from pipeline.synth.machine import SpecMachine


class PreTraceRows(NamedTuple):
    """Objects older than the trace, in the order they fill slabs; arrays of one length.

    Args:
        handle: what their frees call them (i8).
        cache: number of the cache (i4).
        gone: place among all that is gone when the trace begins, from 0; -1: it is live (i8).
        cpu: of what is gone, the CPU that freed it; -1: it is in no sheaf (i2).
    """

    handle: I8
    cache: I4
    gone: I8
    cpu: I2


class PreTraceState(NamedTuple):
    """The state when the trace begins.

    Args:
        world: the model in that state; the live objects have the handles that were given.
        frames: first page frame of each slab, by FIRST_KEY less its key (i8).
        free_places: text of what is free.
    """

    world: World
    frames: I8
    free_places: str


def pre_trace_rows(moments: Moments, cache: I4, work: I8) -> PreTraceRows:
    """The older objects among what happens before the trace.

    Args:
        moments: allocations, and frees of what is gone again.
        cache: cache of each; -1: pages.
        work: number of the work of each.
    """
    born, gone = np.flatnonzero(moments.op > 0), np.flatnonzero(moments.op < 0)
    born, gone = born[cache[born] >= 0], gone[cache[gone] >= 0]
    born = born[np.argsort(work[born], kind="stable")]
    # What lies in no sheaf is taken last.
    unused = moments.ts[gone] < -GOING
    gone = gone[np.argsort(unused, kind="stable")]
    rank, cpu = np.full(len(cache), -1, np.int64), np.zeros(len(cache), np.int16)
    at = np.searchsorted(moments.seq, moments.handle[gone])
    rank[at] = np.arange(len(gone))
    cpu[at] = np.where(np.sort(unused), -1, moments.cpu[gone])
    return PreTraceRows(moments.seq[born], cache[born], rank[born], cpu[born])


def place_pre_trace(
    machine: SpecMachine, rows: PreTraceRows, freed: I8, name: str
) -> PreTraceState:
    """Put the older objects on slabs.

    Args:
        machine: the machine, on which nothing is older.
        rows: the objects.
        freed: blocks of each order that are older than the trace and freed in it (ORDERS).
        name: of the spec, for messages.

    Raises:
        InputError: the memory in use before the trace does not suffice.
    """
    shapes = machine.world.shapes
    objects, order, size = (
        np.array([getattr(shape, name) for shape in shapes], np.int64)
        for name in ("objects", "order", "size")
    )
    by_cache = np.argsort(rows.cache, kind="stable")
    of = rows.cache[by_cache]
    rank = np.empty(len(of), np.int64)
    rank[by_cache] = np.arange(len(of)) - np.searchsorted(of, of)
    slab, index = np.divmod(rank, objects[rows.cache])
    slabs = -(-np.bincount(rows.cache, minlength=len(shapes)) // objects)
    chunks = [at for state in machine.recorded.states for at in state.prior]
    used = np.array(sorted(chunks, reverse=True), np.int64)
    _check_room(slabs, order, freed, len(used), name)
    # Slabs of the largest order first, so that all are aligned. They take the highest chunks that
    # are in use; for pages that the trace frees the model takes the lowest (page_window.Lives).
    largest = np.argsort(-order, kind="stable")
    pages = (slabs << order)[largest]
    first = np.empty(len(shapes), np.int64)
    first[largest] = np.cumsum(pages) - pages
    page = first[rows.cache] + (slab << order[rows.cache])
    frame = used[page // PRIOR_CHUNK] + page % PRIOR_CHUNK if len(page) else page
    place = frame * PAGE_SIZE + index * size[rows.cache] + (DIRECT_MAP - (1 << 64))
    seen: Columns = {
        "ptr": place.view(np.uint64),
        "seq": np.where(rows.gone < 0, rows.handle, rows.gone - 1 - rows.gone.max(initial=0)),
        "cache": rows.cache,
        "cpu": rows.cpu,
        "live": rows.gone < 0,
    }
    world = make_world(replace(machine.recorded, seen=seen), {})
    world.simulation.adopt(world.pre_trace)
    in_turn = np.argsort(seen["seq"], kind="stable")
    number, count = slab_numbers(frame[in_turn])
    frames = np.empty(count, np.int64)
    frames[number] = frame[in_turn]
    free = take(seen, in_turn[: np.count_nonzero(rows.gone >= 0)])
    return PreTraceState(world, frames, free_places_text(free, machine.names))


def _check_room(slabs: I8, order: I8, freed: I8, chunks: int, name: str) -> None:
    """Refuse what does not fit the memory that is in use before the trace."""
    freed = freed + np.bincount(order, weights=slabs, minlength=ORDERS).astype(np.int64)
    # Of each order the model takes chunks of its own.
    wanted = -(-(slabs << order).sum() // PRIOR_CHUNK)
    wanted += int((-(-(freed << np.arange(ORDERS)) // PRIOR_CHUNK)).sum())
    if wanted > chunks:
        raise InputError(
            f"spec {name}: what is older than the trace takes {_mib(wanted)} of memory, of which"
            f" {_mib(chunks)} are in use before it; say used = a larger share, or memory = more"
        )


def _mib(chunks: int) -> str:
    return f"{chunks * PRIOR_CHUNK * PAGE_SIZE >> 20} MiB"
