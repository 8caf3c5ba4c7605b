"""How long the CPUs' page lists might get when a recording began: inferred from where they grew.

A free that makes a list's CPU hold ``high`` pages or more drains it at once (R4.8), which
mm_page_pcpu_drain tells (T12). So wherever none follows a free, the limit was above what the CPU
held. It moves by known rules: a refill raises it by what it asks for (R4.5), a turn of the vmstat
worker lowers it by an eighth (R4.13). The least limit at the start with which no list was full
where the kernel did not drain is taken (assumed; the kernel's may have been higher).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.pcp import NO_LIST, list_index
from allocsim.page_alloc.zones import ORDERS, Mt
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import Zone
    from allocsim.tables import I8, Columns, Ints

#: Event columns that are looked at.
COLUMNS = ("cpu", "event", "pfn", "order")
_HELD = np.zeros(len(Ev), np.int64)  # pages more on the lists, a page of an event, but for refills
_HELD[Ev.MM_PAGE_FREE], _HELD[Ev.MM_PAGE_ALLOC], _HELD[Ev.MM_PAGE_PCPU_DRAIN] = 1, -1, -1
_CODES = (
    Ev.MM_PAGE_ALLOC,
    Ev.MM_PAGE_FREE,
    Ev.MM_PAGE_ALLOC_ZONE_LOCKED,
    Ev.MM_PAGE_PCPU_DRAIN,
)
_NEVER = -(1 << 62)


class LimitsAtStart:
    """What a recording's events say of every CPU's limit in every zone.

    Args:
        zones: the machine's zones.
        cpus: CPUs of the recording.
        thp: order-9 lists exist.
    """

    def __init__(self, zones: Sequence[Zone], cpus: int, *, thp: bool) -> None:
        self._zones, self._cpus = zones, cpus
        self._starts = np.array([zone.start_pfn for zone in zones if zone.managed])
        self._managed = np.array([z for z, zone in enumerate(zones) if zone.managed])
        self._listed = np.array(
            [list_index(order, Mt.MOVABLE, thp=thp) != NO_LIST for order in range(ORDERS)]
        )
        limits = [numbers for zone in zones for numbers in zone.pcp]
        #: Turns after which nothing is left of the highest limit there may be.
        self._last = max((_decays(each.high_max, each.high_min) for each in limits), default=0)
        self._turns = 0
        pcps = len(zones) * cpus
        # Pages held since the start, without those of refills; and those.
        self._held, self._fetched = np.zeros((2, pcps), np.int64)
        # By pcp: pages fetched until each turn, and what was held most, and not drained, then.
        self._begins: dict[int, dict[int, int]] = defaultdict(lambda: {0: 0})
        self._most: dict[int, dict[int, int]] = defaultdict(dict)
        self._waiting: dict[int, tuple[int, int]] = {}  # turn and pages held of its last free

    def add(self, columns: Columns, turns: Ints) -> None:
        """Add the next events.

        Args:
            columns: those named by COLUMNS.
            turns: rows before which the vmstat workers have a turn, a row as often as they do.
        """
        event, pfn, order = columns["event"], columns["pfn"], columns["order"]
        if self._turns <= self._last:
            wanted = np.isin(event, _CODES) & (order >= 0) & (order < ORDERS)
            wanted &= pfn >= self._starts[0]
            rows = np.flatnonzero(wanted)
            rows = rows[self._listed[order[rows]]]
            zone = self._managed[np.searchsorted(self._starts, pfn[rows], side="right") - 1]
            pcp = zone * self._cpus + columns["cpu"][rows]
            turn = self._turns + np.searchsorted(turns, rows, side="right")
            near = np.flatnonzero(turn <= self._last)
            near = near[np.argsort(pcp[near], kind="stable")]
            cuts = np.flatnonzero(np.diff(pcp[near])) + 1
            for mine in np.split(near, cuts):
                if len(mine):
                    pages = np.int64(1) << order[rows[mine]].astype(np.int64)
                    self._add(int(pcp[mine[0]]), event[rows[mine]], pages, turn[mine])
        self._turns += len(turns)

    def _add(self, pcp: int, event: Ints, pages: I8, turn: I8) -> None:
        """Add the next events of one CPU in one zone."""
        drains = event == Ev.MM_PAGE_PCPU_DRAIN
        if pcp in self._waiting and not drains[0]:
            self._note(pcp, *self._waiting.pop(pcp))
        self._waiting.pop(pcp, None)
        held = self._held[pcp] + np.cumsum(_HELD[event] * pages)
        fetched = self._fetched[pcp] + np.cumsum(
            np.where(event == Ev.MM_PAGE_ALLOC_ZONE_LOCKED, pages, 0)
        )
        kept = np.append((event[:-1] == Ev.MM_PAGE_FREE) & ~drains[1:], np.False_)
        first = np.flatnonzero(np.diff(turn, prepend=-1))
        most = np.maximum.reduceat(np.where(kept, held, _NEVER), first)
        at_turn = np.concatenate([[self._held[pcp]], held])[first]
        fetched_at_turn = np.concatenate([[self._fetched[pcp]], fetched])[first]
        for row, number in enumerate(turn[first].tolist()):
            if number not in self._begins[pcp]:
                self._begins[pcp][number] = int(fetched_at_turn[row])
                if not drains[first[row]]:  # the turn itself drains what is above the limit
                    self._note(pcp, number, int(at_turn[row]) - 1)
            self._note(pcp, number, int(most[row]))
        if event[-1] == Ev.MM_PAGE_FREE:
            self._waiting[pcp] = int(turn[-1]), int(held[-1])
        self._held[pcp], self._fetched[pcp] = held[-1], fetched[-1]

    def _note(self, pcp: int, turn: int, held: int) -> None:
        """The limit was above ``held`` pages, and what had been fetched, behind a turn."""
        most = self._most[pcp]
        most[turn] = max(most.get(turn, _NEVER), held)

    def zones(self, pages: Ints) -> tuple[Zone, ...]:
        """The zones with the limits their lists had; no event may be added then.

        Args:
            pages: (zones, CPUs) pages on the lists at the start.
        """
        for pcp, waiting in self._waiting.items():
            self._note(pcp, *waiting)
        self._waiting.clear()
        return tuple(
            replace(
                zone,
                pcp=tuple(
                    replace(numbers, high=self._high(z * self._cpus + cpu, int(pages[z, cpu])))
                    for cpu, numbers in enumerate(zone.pcp)
                ),
            )
            for z, zone in enumerate(self._zones)
        )

    def _high(self, pcp: int, pages: int) -> int:
        """The least limit at the start; 0: high_min does.

        What not even the highest limit there may be explains, something else did: passed over.
        """
        numbers = self._zones[pcp // self._cpus].pcp[pcp % self._cpus]
        most = self._most[pcp]
        begins = sorted(self._begins[pcp].items())
        wanted: list[int] = []  # behind each turn
        highest, before = numbers.high_max, (0, 0)
        for turn, fetched in begins:
            raised = fetched - before[1] if turn else 0
            highest = min(highest + raised, numbers.high_max)
            for _ in range(turn - before[0]):
                highest = max(_after_turn(highest), numbers.high_min)
            here = pages + fetched + most.get(turn, _NEVER) + 1
            wanted.append(here if numbers.high_min < here <= highest else 0)
            before = turn, fetched
        need = wanted[-1]
        for at in range(len(begins) - 1, 0, -1):
            (earlier, fetched_then), (turn, fetched) = begins[at - 1], begins[at]
            for _ in range(turn - earlier):
                need = _before_turn(need) if need > numbers.high_min else 0
            need = max(need - (fetched - fetched_then), wanted[at - 1])
        return need if need > numbers.high_min else 0


def _after_turn(high: int) -> int:
    """A limit behind a turn of the vmstat worker (mm/page_alloc.c:decay_pcp_high, 7.2)."""
    return high - (high >> 3)


def _before_turn(high: int) -> int:
    """The least limit that a turn leaves at this or more."""
    before = high * 8 // 7 - 1
    while _after_turn(before) < high:
        before += 1
    return before


def _decays(high: int, low: int) -> int:
    """Turns until a limit is as low as it gets."""
    turns = 0
    while high > low:
        high, turns = _after_turn(high) if high > 7 else low, turns + 1
    return turns
