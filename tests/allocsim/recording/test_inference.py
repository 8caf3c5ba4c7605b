"""What is inferred where a recording says less, against recordings that say more.

Recordings with stacks, page_ref events and cache names are replayed with these withheld.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.recording.page_kinds import PageKind
from allocsim.trace.events import Ev
from allocsim.trace.results import CacheHow, How
from tests.allocsim.replayed import Replayed, replay, replayed
from tests.conftest import recordings

if TYPE_CHECKING:
    from allocsim.tables import Columns

pytestmark = pytest.mark.slow

_NONE = pytest.param(Path("none"), marks=pytest.mark.skip(reason="no recordings at hand"))
_WITH_STACKS = [
    pytest.param(path, id=path.name)
    for path in recordings("*p-*-gt")
    if "boot" not in path.name and "refstacks" not in path.name
] or [_NONE]
_WITH_NAMES = [
    pytest.param(path, id=path.name) for path in recordings("7.*-gt") + recordings("7.3-*net")
] or [_NONE]


def _kmem_only(done: Replayed) -> tuple[Columns, np.ndarray]:
    """The kmem events alone, without stacks, and the rows they had."""
    rows = np.flatnonzero(done.columns["event"] < Ev.PAGE_REF_SET)
    columns = {name: values[rows] for name, values in done.columns.items()}
    columns["stack"] = np.full(len(rows), -1, np.int32)
    return columns, rows


@pytest.mark.parametrize("path", _WITH_STACKS)
def test_kinds_without_stacks_and_page_ref_events(path: Path) -> None:
    done = replayed(path)
    columns, rows = _kmem_only(done)
    recording = replace(done.recording, stacks=(), page_ref=False)
    _, pages, _ = replay(columns, recording)
    begun = pages["alloc_seq"] >= 0
    want = dict(zip(done.pages["alloc_seq"], done.pages["page_kind"], strict=True))
    truth = np.array([want[seq] for seq in rows[pages["alloc_seq"][begun]]])
    kind, how = pages["page_kind"][begun], pages["kind_how"][begun]
    # Their counts are alike: a kernel stack is vmalloc memory.
    kind[(kind == PageKind.VMALLOC) & (truth == PageKind.KERNEL_STACK)] = PageKind.KERNEL_STACK

    assert (kind == truth).mean() > 0.99
    # Objects tell slab pages and large kmallocs, all of them and no others.
    for exact in (PageKind.SLAB, PageKind.LARGE_KMALLOC):
        assert ((kind == exact) == (truth == exact)).all()
    seen = how == How.OBSERVED
    assert (kind[seen] == truth[seen]).all()
    assert np.isin(kind[seen], (PageKind.SLAB, PageKind.LARGE_KMALLOC)).all()
    # tmpfs and anonymous memory ask alike; what the task did before tells nearly all.
    assert (kind[truth == PageKind.SHMEM] == PageKind.SHMEM).all()
    assert (kind[truth == PageKind.ANON] == PageKind.ANON).mean() > 0.95


@pytest.mark.parametrize("path", _WITH_NAMES)
def test_caches_without_names_on_allocations(path: Path) -> None:
    """As before 7.x, where only kmem_cache_free has a name: no cache is told wrongly."""
    done = replayed(path)
    allocs = done.columns["event"] == Ev.KMEM_CACHE_ALLOC
    columns = {**done.columns, "cache": np.where(allocs, -1, done.columns["cache"])}
    rows, _, final = replay(columns, done.recording)
    names = np.array([name for name, _ in final.caches])
    told = allocs & (rows["cache"] >= 0)
    assert (names[rows["cache"][told]] == names[done.columns["cache"][told]]).all()
    assert set(rows["cache_how"][told].tolist()) <= {
        CacheHow.SIZE_CLASS,
        CacheHow.BY_FREE,
        CacheHow.BY_CALL_SITE,
        CacheHow.BY_SLAB,
    }
    # What the rules leave is memory that 7.x frees without any event (T6), so without a name.
    freed = allocs & (rows["lifetime"] >= 0)
    assert told[freed].mean() > 0.95
