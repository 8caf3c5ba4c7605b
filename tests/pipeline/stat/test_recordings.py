"""Every recording: as many events as trace-cmd counted, and rows that add up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.processes.progress import Progress
from pipeline.stat.run import total
from pipeline.stat.selection import Selection
from pipeline.stat.tables import PAGE, SLAB
from tests.conftest import recordings

if TYPE_CHECKING:
    from pathlib import Path

_TRUTHS = recordings("*/truth.json")


@pytest.mark.slow
@pytest.mark.skipif(not _TRUTHS, reason="no recordings at hand (set ALLOCSIM_RECORDINGS)")
@pytest.mark.parametrize("truth", _TRUTHS, ids=lambda path: path.parent.name)
def test_no_event_is_lost_and_none_counted_twice(truth: Path) -> None:
    found = total(truth.parent, {SLAB: ("site",), PAGE: ("order",)}, Selection(), Progress())
    objects, pages = found.tables[SLAB], found.tables[PAGE]
    ends = ("bytes_freed", "bytes_ended_unseen", "live_bytes_alloc")
    assert (objects.figures["bytes_alloc"] == sum(objects.figures[name] for name in ends)).all()
    counted = json.loads(truth.read_text("utf-8")).get("events")
    if not counted:
        pytest.skip("not counted by trace-cmd")
    ours = {
        ("kmalloc", "kmem_cache_alloc"): objects.total("allocations")
        + objects.total("repeats")
        + found.objects.failed,
        ("kfree", "kmem_cache_free"): objects.total("frees")
        + objects.total("freed_again")
        + found.objects.unknown_frees
        + found.objects.null_frees,
        ("mm_page_alloc",): pages.total("allocations") + found.pages.failed,
        ("mm_page_free",): pages.total("frees") + found.pages.unknown_frees,
    }
    assert ours == {names: sum(counted.get(name, 0) for name in names) for names in ours}
