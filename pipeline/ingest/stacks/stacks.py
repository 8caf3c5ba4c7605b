"""Kernel stacks: which event each belongs to, and every distinct one once.

ftrace records a stack behind its event, as an event of its own (kernel/trace/
trace_events_trigger.c:stacktrace_trigger; kernel/trace/trace.c:__ftrace_trace_stack; 7.2), perf
in its event's record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import distinct
from pipeline.ingest.events import OTHER, STACK, EventTypes
from pipeline.ingest.raw.unaligned import unaligned
from pipeline.ingest.stacks.contexts import before, directly_before
from pipeline.trace_set.interning import Interner

if TYPE_CHECKING:
    from allocsim.tables import Bools, Int32, Int64, UInt64
    from pipeline.ingest.stream import Chains, Stream

# The innermost frame of a trigger's stack is the probe of its event's class.
_PROBE = "trace_event_raw_event_"
# Classes of several events (include/trace/events/{kmem,page_ref}.h of 5.10 to 7.2); other classes
# have the name of their only event.
_CLASSES = {
    "kmem_alloc": ("kmalloc", "kmem_cache_alloc"),
    "kmem_alloc_node": ("kmalloc_node", "kmem_cache_alloc_node"),
    "kmem_free": ("kfree", "kmem_cache_free"),
    "mm_page": ("mm_page_alloc_zone_locked",),
    "page_ref_mod_template": ("page_ref_set", "page_ref_mod", "page_ref_unfreeze"),
    "page_ref_mod_and_test_template": (
        "page_ref_mod_and_test",
        "page_ref_mod_and_return",
        "page_ref_mod_unless",
        "page_ref_freeze",
    ),
}
# In every word of a stack that was shorter than its room (5.x kernels).
_NO_FRAME = np.uint64(0xFFFFFFFFFFFFFFFF)

SymbolOf = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Attached:
    """The stacks of a window.

    Attributes:
        event: i8, the record of the event each belongs to; -1: no event.
        stack: i4, the number of each.
    """

    event: Int64
    stack: Int32


class StackReader:
    """Numbers the distinct stacks 0, 1, 2, ... over all windows, and finds their events.

    Attributes:
        seen: stacks whose time was in a window.
        attached: those of them that belong to an event.
        of_others: those of them that belong to an event of a kind that is not kept.
    """

    def __init__(self, types: EventTypes, word: int, symbol_of: SymbolOf) -> None:
        self._types = types
        self._begin = types.stack.fields["caller"].offset if types.stack is not None else 0
        self._word = word
        self._symbol_of = symbol_of
        self._hashes = Interner()
        self._first = Interner()
        self._fits = np.zeros((0, 256), np.bool_)
        self._address = np.zeros(0, np.uint64)
        self._start = np.zeros(1, np.int64)
        self._of_hash = np.zeros(0, np.int32)
        self._by_frames: dict[bytes, int] = {}
        self.seen = 0
        self.attached = 0
        self.of_others = 0

    @property
    def start(self) -> Int64:
        """i8, number of stacks + 1: where each stack's frames begin in ``address``."""
        return self._start

    @property
    def address(self) -> UInt64:
        """u8, the frames of all stacks, innermost first."""
        return self._address

    def read(self, stream: Stream) -> Attached | None:
        """The stacks of a stream and their events; None if there are none."""
        if stream.chains is not None:
            return self._chained(stream, stream.chains)
        record = np.flatnonzero(stream.slot == STACK)
        if not record.size:
            return None
        frames, count = self._frames(stream, record)
        event = self._events(stream, record)
        probe = np.zeros(len(record), np.uint64)
        probe[count > 0] = frames[(np.cumsum(count) - count)[count > 0]]
        fits = self._fit(probe)[self._first.codes(probe), stream.slot[event]]
        # A stack without frames says nothing.
        fits &= (event >= 0) & (count > 0)
        other = fits & (stream.slot[event] == OTHER)
        event = np.where(fits & (stream.slot[event] < len(self._types.kept)), event, -1)
        inside = stream.inside[record]
        self.seen += int(inside.sum())
        self.attached += int((inside & (event >= 0)).sum())
        self.of_others += int((inside & other).sum())
        return Attached(event, self._number(frames, count))

    def _chained(self, stream: Stream, chains: Chains) -> Attached:
        """Stacks that lie in the records of their events."""
        inside = stream.inside[chains.record]
        other = stream.slot[chains.record] == OTHER
        self.seen += int(inside.sum())
        self.attached += int((inside & ~other).sum())
        self.of_others += int((inside & other).sum())
        return Attached(chains.record, self._number(chains.frames, chains.count))

    def _events(self, stream: Stream, record: Int64) -> Int64:
        """The record before each stack in its context, of any kind but a task's stack; or -1.

        Where options ask for all of them, the task's own stack comes behind the event and the
        kernel's stack of a trigger behind that (kernel/trace/trace.c:trace_event_buffer_commit).
        """
        event = directly_before(stream, record)
        among = np.ones(len(stream.slot), np.bool_)
        if self._types.user_stack is not None:
            among = stream.head["common_type"] != self._types.user_stack
        apart = np.flatnonzero((event < 0) | ~among[event])
        if apart.size:
            event[apart] = before(stream, record[apart], among)
        return event

    def _frames(self, stream: Stream, record: Int64) -> tuple[UInt64, Int64]:
        """The frames of all stacks, one stack after the other, and how many each has."""
        begin = self._begin
        count = (stream.size[record].astype(np.int64) - begin) // self._word
        place = np.repeat(stream.offset[record] + begin - _sum_before(count, self._word), count)
        place += np.arange(len(place)) * self._word
        frames = unaligned(stream.data, f"{stream.order}u{self._word}")[place].astype(np.uint64)
        end = np.flatnonzero(frames == (_NO_FRAME >> np.uint64(64 - 8 * self._word)))
        if not end.size:
            return frames, count
        stack = np.repeat(np.arange(len(count)), count)
        first = np.full(len(count), len(frames))
        np.minimum.at(first, stack[end], end)
        used = np.minimum(count, first - _sum_before(count, 1))
        keep = np.arange(len(frames)) < np.repeat(_sum_before(count, 1) + used, count)
        return frames[keep], used

    def _fit(self, probe: UInt64) -> Bools:
        """By innermost frame and slot: whether such a stack can be such an event's."""
        self._first.codes(probe)
        fresh = self._first.values[len(self._fits) :].tolist()
        if fresh:
            rows = np.stack([self._slots(self._symbol_of(address)) for address in fresh])
            self._fits = np.concatenate([self._fits, rows])
        return self._fits

    def _slots(self, symbol: str | None) -> Bools:
        if symbol is None or not symbol.startswith(_PROBE):
            return np.ones(256, np.bool_)
        name = symbol.removeprefix(_PROBE).partition(".")[0]
        names = _CLASSES.get(name, (name,))
        slots = np.zeros(256, np.bool_)
        for slot, kept in enumerate(self._types.kept):
            slots[slot] = kept.format.name in names
        # The probe of a class that is not kept is of an event that is not.
        slots[OTHER] = not slots.any() and name not in _CLASSES
        return slots

    def _number(self, frames: UInt64, count: Int64) -> Int32:
        """The number of each stack; new ones are taken in."""
        hashed = self._hashes.codes(_digest(frames, count)).astype(np.int64)
        begin = _sum_before(count, 1)
        fresh = np.flatnonzero(hashed >= len(self._of_hash))
        if fresh.size:
            _, first = np.unique(hashed[fresh], return_index=True)
            rows = fresh[first]
            stored = len(self._start) - 1 + np.arange(len(rows))
            self._of_hash = np.concatenate([self._of_hash, stored.astype(np.int32)])
            self._store([frames[begin[row] : begin[row] + count[row]] for row in rows.tolist()])
        number = self._of_hash[hashed]
        for row in self._different(number, frames, count).tolist():
            number[row] = self._collided(frames[begin[row] : begin[row] + count[row]])
        return number

    def _store(self, stacks: list[UInt64]) -> None:
        ends = self._start[-1] + np.cumsum([len(stack) for stack in stacks])
        self._start = np.concatenate([self._start, ends])
        self._address = np.concatenate([self._address, *stacks])

    def _different(self, number: Int32, frames: UInt64, count: Int64) -> Int64:
        """Which stacks are not the ones of their number: another one has the same hash."""
        length = np.diff(self._start)[number]
        if (length != count).any():
            return np.arange(len(number))
        place = np.repeat(self._start[number] - _sum_before(count, 1), count)
        place += np.arange(len(frames))
        wrong = self._address[place] != frames
        if not wrong.any():
            return np.zeros(0, np.int64)
        return distinct(np.repeat(np.arange(len(count)), count)[wrong])

    def _collided(self, stack: UInt64) -> int:
        """The number of one stack by its frames themselves."""
        key = stack.tobytes()
        if key not in self._by_frames:
            self._by_frames[key] = len(self._start) - 1
            self._store([stack])
        return self._by_frames[key]


def _sum_before(count: Int64, each: int) -> Int64:
    return (np.cumsum(count) - count) * each


def _digest(frames: UInt64, count: Int64) -> UInt64:
    """A hash of each stack: its frames times odd numbers that depend on the depth."""
    deepest = int(count.max(initial=0))
    weight = np.arange(1, 2 * deepest + 2, 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    weight ^= weight >> np.uint64(31)
    weight = weight * np.uint64(0xBF58476D1CE4E5B9) | np.uint64(1)
    begin = _sum_before(count, 1)
    depth = np.arange(len(frames)) - np.repeat(begin, count)
    product = frames * weight[depth]
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(product)])
    sums: UInt64 = total[begin + count] - total[begin]
    return sums ^ (count.astype(np.uint64) << np.uint64(56))
