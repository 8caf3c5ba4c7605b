"""Totals of objects and page blocks, event by event: an oracle for pipeline/stat."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from allocsim.trace.events import Ev

_ALLOC = (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC)


@dataclass
class Last:
    """The last allocation of an address."""

    group: tuple[int, ...]
    event: dict[str, int]
    counted: bool
    live: bool = True


@dataclass
class Totals:
    """Figures by the keys of a row, and what no row has."""

    rows: dict[tuple[int, ...], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    besides: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[tuple[int, ...], dict[str, int]]:
        """Rows with a figure that is not 0, and of these the figures that are not."""
        found = {key: {n: v for n, v in row.items() if v} for key, row in self.rows.items()}
        return {key: row for key, row in found.items() if row}


def objects(
    events: list[dict[str, int]],
    keys: tuple[str, ...],
    counted: list[bool],
    until: list[bool],
) -> Totals:
    """Totals of objects.

    Args:
        events: event, ptr, cpu, bytes_req, bytes_alloc, inner_site (0: none) and the keys of each.
        keys: fields that make a row.
        counted: which events are selected.
        until: which are not after the end.
    """
    totals = Totals()
    last: dict[int, Last] = {}
    for event, is_counted, in_time in zip(events, counted, until, strict=True):
        allocates = event["event"] in _ALLOC
        before = last.get(event["ptr"])
        if event["ptr"] <= 16:
            if is_counted:
                totals.besides["failed" if allocates else "null_frees"] += 1
            continue
        if before is not None and before.live and in_time and before.counted:
            _live(totals, before, -1)
        if allocates:
            if before is not None and before.live and is_counted:
                row = totals.rows[before.group]
                row["ended_unseen"] += 1
                row["bytes_ended_unseen"] += before.event["bytes_alloc"]
            group = tuple(event[key] for key in keys)
            new = last[event["ptr"]] = Last(group, event, is_counted)
            if is_counted:
                _allocated(totals, new, keys)
        elif before is None:
            totals.besides["unknown_frees"] += is_counted
        else:
            if is_counted:
                _freed(totals, before, event)
            before.live = False
    return totals


def _allocated(totals: Totals, new: Last, keys: tuple[str, ...]) -> None:
    row, event = totals.rows[new.group], new.event
    row["allocations"] += 1
    row["bytes_alloc"] += event["bytes_alloc"]
    row["bytes_req"] += event["bytes_req"]
    _live(totals, new, 1)
    if event["inner_site"]:
        other = event | {"call_site": event["inner_site"]}
        row = totals.rows[tuple(other[key] for key in keys)]
        row["repeats"] += 1
        row["repeats_bytes_alloc"] += event["bytes_alloc"]
        row["repeats_bytes_req"] += event["bytes_req"]


def _freed(totals: Totals, before: Last, event: dict[str, int]) -> None:
    row = totals.rows[before.group]
    if before.live:
        row["frees"] += 1
        row["bytes_freed"] += before.event["bytes_alloc"]
        row["pingpong"] += event["cpu"] != before.event["cpu"]
    else:
        row["freed_again"] += 1
        row["bytes_freed_again"] += before.event["bytes_alloc"]


def _live(totals: Totals, of: Last, sign: int) -> None:
    row = totals.rows[of.group]
    row["live"] += sign
    row["live_bytes_alloc"] += sign * of.event["bytes_alloc"]
    row["live_bytes_req"] += sign * of.event["bytes_req"]


def pages(
    events: list[dict[str, int]],
    keys: tuple[str, ...],
    counted: list[bool],
    until: list[bool],
    page_size: int,
) -> Totals:
    """Totals of page blocks, frame by frame.

    Args:
        events: event, pfn, order and the keys of each.
        keys: fields that make a row.
        counted: which events are selected.
        until: which are not after the end.
        page_size: bytes of a page.
    """
    totals = Totals()
    owner: dict[int, int] = {}  # frame -> number of the block
    blocks: dict[int, tuple[tuple[int, ...], bool]] = {}
    for number, event in enumerate(events):
        size = page_size << event["order"]
        if not until[number]:
            break
        if event["pfn"] < 0:
            totals.besides["failed"] += counted[number]
            continue
        frames = range(event["pfn"], event["pfn"] + (1 << event["order"]))
        allocates = event["event"] == Ev.MM_PAGE_ALLOC
        if allocates:
            blocks[number] = tuple(event[key] for key in keys), counted[number]
            owner |= dict.fromkeys(frames, number)
        block = owner.get(frames[0])
        if not allocates:
            owner = {frame: held for frame, held in owner.items() if frame not in frames}
        if counted[number]:
            _page_event(totals, allocates, size, None if block is None else blocks[block][0])
    for block, held in Counter(owner.values()).items():
        group, is_counted = blocks[block]
        if is_counted:
            totals.rows[group]["live"] += 1
            totals.rows[group]["live_bytes_alloc"] += held * page_size
    return totals


def _page_event(totals: Totals, allocates: bool, size: int, group: tuple[int, ...] | None) -> None:
    if group is None:
        totals.besides["unknown_frees"] += 1
        return
    row = totals.rows[group]
    row["allocations" if allocates else "frees"] += 1
    row["bytes_alloc" if allocates else "bytes_freed"] += size
