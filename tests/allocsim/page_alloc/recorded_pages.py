"""The page requests of a recording, and the machine they were made on: plain Python, for tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.initial_state.pcp_lists import with_lists, with_pages
from allocsim.initial_state.zoneinfo import (
    parse_list_pages,
    parse_pagetypeinfo,
    parse_zoneinfo,
    placed,
)
from allocsim.kernels.page_settings import page_machine
from allocsim.kernels.profile import LINUX_7_2
from allocsim.kernels.release import kernel_of
from allocsim.page_alloc.gfp import highest_zones, migratetypes, urgency
from allocsim.page_alloc.pcp import NO_LIST, list_index
from allocsim.page_alloc.zones import PCP_LISTS
from allocsim.trace.events import Ev
from tests.oracle.page_lists import PageAllocator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from allocsim.page_alloc.zones import MachineZones
    from pipeline.trace_set.reader import TraceSet

COLUMNS = ("cpu", "op", "page", "order", "migratetype", "highest", "flags", "offset")
PcpListKey = tuple[int, int, int]
TICK_NS = 1_000_000_000  # the vmstat worker runs about once a second (R4.13)


@dataclass
class RecordedPages:
    """Rows of COLUMNS, the machine, and how often the kernel's own events occurred."""

    rows: list[tuple[int, ...]]
    machine: MachineZones
    truth: Counter[str]
    untraced: int  # pages allocated again without a free between (T6)


def recorded_pages(trace: TraceSet, recording: Path, *, ticks: bool = True) -> RecordedPages:
    machine = recorded_machine(recording, trace.meta["cpus"], trace.meta["kernel_release"])
    if "-boot-" not in recording.name:  # from boot on, lists begin empty
        zoneinfo = (recording / "snapshots" / "before" / "zoneinfo").read_text("utf-8")
        machine = _with_lists(trace, machine, zoneinfo)
    truth: Counter[str] = Counter()
    rows: list[tuple[int, ...]] = []
    requests = _Requests(rows, machine.cpus if ticks else 0)
    wanted = ("ts", "cpu", "event", "pfn", "order", "gfp_flags")
    for window in trace.windows(columns=wanted):
        for code in (Ev.MM_PAGE_ALLOC_ZONE_LOCKED, Ev.MM_PAGE_PCPU_DRAIN, Ev.MM_PAGE_ALLOC_EXTFRAG):
            truth[code.name.lower()] += int((window["event"] == code).sum())
        at = (window["event"] == Ev.MM_PAGE_ALLOC) | (window["event"] == Ev.MM_PAGE_FREE)
        part = {name: window[name][at] for name in wanted}
        requests.add(part, machine)
    return RecordedPages(rows, machine, truth, requests.untraced)


def recorded_machine(recording: Path, cpus: int, release: str) -> MachineZones:
    before = recording / "snapshots" / "before"
    zones = parse_zoneinfo((before / "zoneinfo").read_text("utf-8"), cpus)
    counts = parse_pagetypeinfo((before / "pagetypeinfo").read_text("utf-8"))
    states = [
        placed(zone, *counts.get((0, zone.name), ([[0] * 4] * 11, [0] * 4))) for zone in zones
    ]
    thp = "thp_fault_alloc" in (before / "vmstat").read_text("utf-8")
    rules = replace(kernel_of(release).pages, thp=thp)
    return page_machine(replace(LINUX_7_2, pages=rules), zones, states, cpus)


class _Requests:
    """Recorded pages followed page by page (T10)."""

    def __init__(self, rows: list[tuple[int, ...]], cpus: int) -> None:
        self.rows = rows
        self.lives: dict[int, tuple[int, int]] = {}  # pfn -> life, offset in its block
        self.next_life = 0
        self.untraced = 0
        self.ticks = dict.fromkeys(range(cpus), 0)

    def add(self, part: dict[str, Any], machine: MachineZones) -> None:
        gfp = part["gfp_flags"]
        columns: Iterable[Any] = zip(
            part["ts"].tolist(),
            part["cpu"].tolist(),
            (part["event"] == Ev.MM_PAGE_ALLOC).tolist(),
            part["pfn"].tolist(),
            part["order"].tolist(),
            migratetypes(gfp).tolist(),
            highest_zones(gfp, machine.zones).tolist(),
            urgency(gfp).tolist(),
            strict=True,
        )
        for ts, cpu, alloc, pfn, order, migratetype, highest, flags in columns:
            for other, due in self.ticks.items():
                if ts >= due:
                    if due:
                        self.rows.append((other, 0, 0, 0, 0, 0, 0, 0))
                    self.ticks[other] = ts + TICK_NS
            if not alloc:
                self._free(cpu, pfn, order)
            elif pfn >= 0:
                self._alloc(cpu, pfn, order, (migratetype, highest, flags))

    def _alloc(self, cpu: int, pfn: int, order: int, request: tuple[int, int, int]) -> None:
        for page in range(pfn, pfn + (1 << order)):
            if page in self.lives:
                self.untraced += 1
                self._free(cpu, page, 0)
        life = self.next_life
        self.next_life += 1
        self.rows.append((cpu, 1, life, order, *request, 0))
        for offset in range(1 << order):
            self.lives[pfn + offset] = life, offset

    def _free(self, cpu: int, pfn: int, order: int) -> None:
        found = {self.lives.get(page, (-1, 0))[0] for page in range(pfn, pfn + (1 << order))}
        if len(found) == 1:
            life, offset = self.lives.get(pfn, (-1, 0))
            self.rows.append((cpu, -1, life, order, 0, 0, 0, offset if life >= 0 else 0))
            for page in range(pfn, pfn + (1 << order)):
                self.lives.pop(page, None)
            return
        for page in range(pfn, pfn + (1 << order)):  # of several lives: page by page
            self._free(cpu, page, 0)


def plain_lists(
    trace: TraceSet, machine: MachineZones
) -> tuple[dict[PcpListKey, int], set[PcpListKey]]:
    """Blocks every list (zone, CPU, index) held at the start, and the lists seen refilled.

    A free's list is that of the request its page was allocated by; of older pages, the movable.
    """
    wanted = ("cpu", "event", "pfn", "order", "gfp_flags", "migratetype")
    kinds: dict[int, int] = {}
    taken: Counter[PcpListKey] = Counter()
    held: dict[PcpListKey, int] = {}
    refilled: set[PcpListKey] = set()
    ways = {Ev.MM_PAGE_ALLOC: 1, Ev.MM_PAGE_FREE: -1, Ev.MM_PAGE_ALLOC_ZONE_LOCKED: 0}
    for window in trace.windows(columns=wanted):
        at = np.isin(window["event"], list(ways))
        columns = [window[name][at].tolist() for name in wanted[:4]]
        asked = migratetypes(window["gfp_flags"][at]).tolist()
        for cpu, event, pfn, order, kind, locked in zip(
            *columns, asked, window["migratetype"][at].tolist(), strict=True
        ):
            if pfn < 0:
                continue
            if event == Ev.MM_PAGE_ALLOC:
                kinds.update(dict.fromkeys(range(pfn, pfn + (1 << order)), kind))
            if event == Ev.MM_PAGE_ALLOC_ZONE_LOCKED:
                kinds[pfn] = locked
            index = list_index(order, kinds.get(pfn, 1), thp=machine.rules.thp)
            if index == NO_LIST:
                continue
            z = next(
                n for n, zone in enumerate(machine.zones) if zone.start_pfn <= pfn < zone.end_pfn
            )
            pcp_list = z, cpu, index
            if pcp_list in refilled:
                continue
            taken[pcp_list] += ways[event]
            held[pcp_list] = max(held.get(pcp_list, 0), taken[pcp_list])
            if event == Ev.MM_PAGE_ALLOC_ZONE_LOCKED:
                refilled.add(pcp_list)
    return held, refilled


def _with_lists(trace: TraceSet, machine: MachineZones, zoneinfo: str) -> MachineZones:
    held, refilled = plain_lists(trace, machine)
    blocks = np.zeros((len(machine.zones), machine.cpus, PCP_LISTS), np.int64)
    known = np.zeros(blocks.shape, np.bool_)
    for pcp_list, count in held.items():
        blocks[pcp_list], known[pcp_list] = count, pcp_list in refilled
    pages = parse_list_pages(zoneinfo, machine.cpus)
    states = list(machine.states)
    for z, zone in enumerate(machine.zones):
        if zone.managed:
            lists = with_pages(blocks[z], known[z], np.array(pages[0, zone.name]))
            states[z] = with_lists(zone, states[z], lists)
    return replace(machine, states=tuple(states))


@dataclass
class Moves:
    """What moved between the buddy and the CPUs' lists, by number of the page event."""

    fetched: dict[int, int] = field(default_factory=dict)  # blocks
    drained: dict[int, tuple[int, int]] = field(default_factory=dict)  # pages, blocks


def kernel_moves(trace: TraceSet) -> Moves:
    """By the kernel's own events: a fetch comes before its mm_page_alloc, a drain after the free.

    Page events are counted from 1; blocks with mm_page_alloc_extfrag count twice or instead (T12).
    """
    moves, number = Moves(), 0
    fetched: Counter[int] = Counter()  # by CPU
    newest: dict[int, int] = {}
    for window in trace.windows(columns=("cpu", "event", "pfn", "order")):
        columns = (window[name].tolist() for name in ("cpu", "event", "pfn", "order"))
        for cpu, event, pfn, order in zip(*columns, strict=True):
            if event in (Ev.MM_PAGE_ALLOC_ZONE_LOCKED, Ev.MM_PAGE_ALLOC_EXTFRAG):
                fetched[cpu] += 1
            elif event == Ev.MM_PAGE_PCPU_DRAIN:
                pages, blocks = moves.drained.get(newest[cpu], (0, 0))
                moves.drained[newest[cpu]] = pages + (1 << order), blocks + 1
            elif event == Ev.MM_PAGE_FREE or (event == Ev.MM_PAGE_ALLOC and pfn >= 0):
                number += 1
                newest[cpu] = number
                if event == Ev.MM_PAGE_ALLOC and fetched[cpu]:
                    moves.fetched[number] = fetched.pop(cpu)
    return moves


def plain_moves(pages: RecordedPages) -> Moves:
    """By the plain page allocator."""
    moves, number = Moves(), 0
    oracle = PageAllocator(pages.machine)

    def totals() -> tuple[int, int, int]:
        counts = oracle.counters
        fetched = counts["zone_locked"] + counts["claim"] + counts["steal"]
        return fetched, sum(zone.free_pages for zone in oracle.zones), counts["pcp_drain_blocks"]

    before = totals()
    for row in pages.rows:
        oracle.event(*row[:5], highest=row[5], flags=row[6], offset=row[7])
        if not row[1]:
            before = totals()
            continue
        number += 1
        after = totals()
        if after[0] > before[0]:
            moves.fetched[number] = after[0] - before[0]
        if after[2] > before[2]:
            moves.drained[number] = after[1] - before[1], after[2] - before[2]
        before = after
    return moves


def as_columns(rows: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    table = np.array(rows, np.int64).reshape(-1, len(COLUMNS))
    return {name: table[:, at] for at, name in enumerate(COLUMNS)}
