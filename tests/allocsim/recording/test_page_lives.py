"""Page lives by hand: blocks freed in parts (T10), pages without an allocation (T8), damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.interpret import FinalResult, RecordingFacts
from allocsim.recording.page_extents import Extents
from allocsim.recording.page_frames import Frames, PageOps
from allocsim.trace.events import EVENT_COLUMN, Ev
from tests.allocsim.replayed import replay

if TYPE_CHECKING:
    from allocsim.tables import Columns

_NAMES = ("event", "pfn", "order", "val", "ret")
Event = tuple[Ev, int, int, int, int]


def _alloc(pfn: int, order: int = 0) -> Event:
    return (Ev.MM_PAGE_ALLOC, pfn, order, 0, 0)


def _free(pfn: int, order: int = 0) -> Event:
    return (Ev.MM_PAGE_FREE, pfn, order, 0, 0)


def _set(pfn: int) -> Event:
    return (Ev.PAGE_REF_SET, pfn, 0, 1, 0)


def _drop(pfn: int) -> Event:
    return (Ev.PAGE_REF_MOD_AND_TEST, pfn, 0, -1, 1)


def _columns(*events: Event) -> Columns:
    columns = {
        name: np.array([event[at] for event in events], EVENT_COLUMN[name].dtype)
        for at, name in enumerate(_NAMES)
    }
    count = len(events)
    for name in ("cpu", "pid", "irq_flags", "gfp_flags"):
        columns[name] = np.zeros(count, EVENT_COLUMN[name].dtype)
    return columns | {"ts": 10 * np.arange(count), "stack": np.full(count, -1, np.int32)}


def _lives(*events: Event, release: str = "7.2.13") -> tuple[list[dict[str, int]], FinalResult]:
    recording = RecordingFacts(release, page_ref=True)
    _, pages, final = replay(_columns(*events), recording)
    rows = range(len(pages["page"]))
    return [{name: int(values[row]) for name, values in pages.items()} for row in rows], final


def test_a_block_freed_page_by_page_is_one_life() -> None:
    """vfree of a high-order vmalloc block, 7.2."""
    frees = [_free(pfn) for pfn in (4, 5, 6, 7)]
    (life,), _ = _lives(_alloc(4, order=2), *frees)
    assert (life["order"], life["frees"], life["pages_freed"]) == (2, 4, 4)
    assert (life["free_seq"], life["free_ts"]) == (4, 40)


def test_a_block_freed_around_its_first_page_is_one_life() -> None:
    """__free_pages of a non-compound block whose first page is still referenced."""
    (life,), _ = _lives(_alloc(4, order=2), _free(6, order=1), _free(5), _free(4))
    assert (life["frees"], life["pages_freed"], life["free_seq"]) == (3, 4, 3)


def test_a_block_freed_in_part_is_live() -> None:
    (life,), _ = _lives(_alloc(4, order=2), _free(6, order=1))
    assert (life["free_seq"], life["free_ts"], life["pages_freed"]) == (-1, -1, 2)


def test_an_allocation_of_live_pages_shows_that_a_free_was_missed() -> None:
    (old, new), final = _lives(_alloc(4), _alloc(4), _free(4))
    assert (old["free_seq"], old["free_ts"], old["pages_freed"]) == (-1, 10, 0)
    assert (new["alloc_seq"], new["free_seq"]) == (1, 2)
    assert final.counts["missed_page_frees"] == 1


def test_a_page_older_than_the_recording_is_as_large_as_its_free_says() -> None:
    (life,), final = _lives(_free(8, order=3))
    assert (life["alloc_seq"], life["alloc_ts"], life["order"]) == (-1, -1, 3)
    assert (life["frees"], life["pages_freed"]) == (1, 8)
    assert final.counts["unknown_page_frees"] == 1


def test_a_page_of_the_bulk_allocator_is_known_by_its_first_set() -> None:
    (life,), _ = _lives(_set(3), _drop(3), _free(3), release="6.12.107")
    assert (life["alloc_seq"], life["alloc_ts"], life["free_seq"]) == (-1, 0, 2)
    assert (life["ref_plain"], life["ref_locked"]) == (1, 1)
    assert (life["ref_use_plain"], life["ref_use_locked"]) == (0, 0)


def test_before_6_14_the_set_comes_first_and_the_allocation_joins_it() -> None:
    events = (_set(3), _alloc(3), _drop(3), _free(3))
    (life,), _ = _lives(*events, release="6.12.107")
    assert (life["page"], life["alloc_seq"], life["ref_use_plain"]) == (0, 1, 0)
    # Later kernels set after the allocation: a set before it belongs to a page of its own.
    first, second = _lives(*events, release="7.2.13")[0]
    assert (first["ref_plain"], second["ref_plain"]) == (1, 0)


def test_failed_and_damaged_events_are_counted_and_left_out() -> None:
    lives, final = _lives(_alloc(-1), _alloc(8, order=40), _free(8, order=-2), _alloc(1 << 50))
    assert lives == []
    assert final.counts["failed_page_allocations"] == 1
    assert final.counts["damaged_page_events"] == 3


def test_huge_pages_cost_a_cell_each_not_512_frames() -> None:
    blocks = range(0, 512 * 200, 512)
    events = [_alloc(pfn, order=9) for pfn in blocks] + [_free(pfn, order=9) for pfn in blocks]
    frames = Frames(PageOps.of(_columns(*events)), Extents(), join_set=False)
    assert len(frames.pfn) == 400
    lives, _ = _lives(*events)
    assert [life["pages_freed"] for life in lives] == [512] * 200


def test_a_single_page_within_a_huge_one_is_told_apart() -> None:
    huge, single = 512, 700
    events = (_alloc(huge, 9), _drop(single), _free(huge, 9), _alloc(single), _free(single))
    whole, part = _lives(*events)[0]
    assert (whole["pages_freed"], whole["ref_locked"], part["alloc_seq"]) == (512, 1, 3)
