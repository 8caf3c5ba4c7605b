"""Pairing by hand: which free ends which allocation, and what is counted instead (I2, T4, T6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.interpret import FinalResult, RecordingFacts
from allocsim.trace.events import EVENT_COLUMN, Ev
from tests.allocsim.replayed import replay

if TYPE_CHECKING:
    from allocsim.tables import Columns

_OBJECT = 0xFFFF_8880_0010_0040
Event = tuple[Ev, int, int, int]


def _alloc(ptr: int, ts: int, cpu: int = 0) -> Event:
    return (Ev.KMALLOC, ptr, ts, cpu)


def _free(ptr: int, ts: int, cpu: int = 0) -> Event:
    return (Ev.KFREE, ptr, ts, cpu)


def _replayed(*events: Event) -> tuple[Columns, FinalResult]:
    count = len(events)
    columns = {
        name: np.array([event[at] for event in events], EVENT_COLUMN[name].dtype)
        for at, name in enumerate(("event", "ptr", "ts", "cpu"))
    }
    for name in ("pid", "irq_flags", "call_site"):
        columns[name] = np.zeros(count, EVENT_COLUMN[name].dtype)
    for name in ("bytes_req", "bytes_alloc"):
        columns[name] = np.full(count, 64)
    columns["gfp_flags"] = np.full(count, 0xCC0, np.uint64)
    rows, _, final = replay(columns, RecordingFacts("7.2.13"))
    return rows, final


def test_a_life_has_one_handle_and_one_length_at_both_ends() -> None:
    rows, final = _replayed(_alloc(_OBJECT, 100), _free(_OBJECT, 175, cpu=1))
    assert rows["object"].tolist() == [0, 0]
    assert rows["lifetime"].tolist() == [75, 75]
    assert final.counts["remote_frees"] == 1
    assert final.counts["live_objects"] == 0


def test_a_second_allocation_of_an_address_closes_the_first_life() -> None:
    rows, final = _replayed(_alloc(_OBJECT, 1), _alloc(_OBJECT, 5), _free(_OBJECT, 7))
    assert rows["object"].tolist() == [0, 1, 1]
    assert rows["lifetime"].tolist() == [-1, 2, 2]
    assert final.counts["reallocations"] == 1


def test_a_free_of_an_unknown_object_is_its_own_handle() -> None:
    rows, final = _replayed(_free(_OBJECT, 1), _free(_OBJECT, 2))
    assert rows["object"].tolist() == [0, 1]
    assert rows["lifetime"].tolist() == [-1, -1]
    assert final.counts["unknown_frees"] == 2


def test_nothing_is_freed_by_kfree_of_null_and_of_zero_size_ptr() -> None:
    rows, final = _replayed(_free(0, 1), _free(16, 2), _alloc(0, 3))
    assert rows["object"].tolist() == [-1, -1, -1]
    assert rows["cache_how"].tolist() == [-1, -1, -1]
    assert final.counts["null_frees"] == 2
    assert final.counts["failed_allocations"] == 1


def test_frees_alone_need_no_columns_of_allocations() -> None:
    columns: Columns = {
        "ts": np.array([1, 2]),
        "cpu": np.zeros(2, np.int16),
        "pid": np.zeros(2, np.int32),
        "event": np.full(2, Ev.KFREE, np.uint8),
        "irq_flags": np.zeros(2, np.uint8),
        "ptr": np.array([_OBJECT, _OBJECT], np.uint64),
    }
    rows, _, final = replay(columns, RecordingFacts("6.12.107"))
    assert rows["object"].tolist() == [0, 1]
    assert final.counts["unknown_frees"] == 2
