"""Totals against hand-worked ones, and against the plain model whatever the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.trace.events import EVENT_COLUMN, Ev
from pipeline.stat.objects import ObjectTotals
from pipeline.stat.pages import PageTotals
from pipeline.stat.tables import FIGURES, PAGE, SLAB
from tests.conftest import examples
from tests.oracle import totals as plain

if TYPE_CHECKING:
    from allocsim.tables import Columns

LARGE, PAGE_SIZE = 8192, 4096
SITE, OTHER, INNER = 0xFFFFFFFF81000000, 0xFFFFFFFF82000000, 0xFFFFFFFF83000000


def columns(events: list[dict[str, int]]) -> Columns:
    names = list(dict.fromkeys(name for event in events for name in event))
    return {
        name: np.array([event.get(name, 0) for event in events], EVENT_COLUMN[name].dtype)
        for name in names
    }


def alloc(ptr: int, size: int = 64, **fields: int) -> dict[str, int]:
    event = {"event": Ev.KMALLOC, "ptr": ptr, "bytes_req": size - 8, "bytes_alloc": size}
    return {"ts": 0, "cpu": 0, "call_site": SITE, "inner_site": 0, **event, **fields}


def free(ptr: int, **fields: int) -> dict[str, int]:
    event = {"event": Ev.KFREE, "ptr": ptr, "bytes_req": 0, "bytes_alloc": 0}
    return {"ts": 0, "cpu": 0, "call_site": 0, "inner_site": 0, **event, **fields}


def figures(totals: ObjectTotals | PageTotals) -> dict[tuple[int, ...], dict[str, int]]:
    """Rows with a figure that is not 0, and of these the figures that are not."""
    keys = [values.view(np.uint64).tolist() for values in totals.groups.values()]
    sums = {name: v.tolist() for name, v in totals.sums.arrays(len(totals.groups)).items()}
    found = {}
    for row, key in enumerate(zip(*keys, strict=True)):
        values = {name: sums[name][row] for name in sums if sums[name][row]}
        if values:
            found[key] = values
    return found


def objects_of(events: list[dict[str, int]], *by: str) -> tuple[ObjectTotals, dict[Any, Any]]:
    totals = ObjectTotals(by or ("site",), LARGE)
    every = np.ones(len(events), bool)
    totals.window(columns(events), every, every)
    return totals, figures(totals)


def test_a_free_on_another_cpu_is_a_pingpong_of_the_allocating_site() -> None:
    events = [alloc(0x1000), free(0x1000, cpu=1), alloc(0x1000, call_site=OTHER), free(0x1000)]
    _, found = objects_of(events)
    assert found[(SITE,)]["pingpong"] == 1
    assert "pingpong" not in found[(OTHER,)]
    assert found[(SITE,)]["frees"] == found[(OTHER,)]["frees"] == 1


def test_a_free_of_what_was_freed_is_no_pingpong_but_perf_takes_it_for_one() -> None:
    """Of bulk allocations there is no event: the second free is of an object of theirs."""
    _, found = objects_of([alloc(0x1000), free(0x1000), free(0x1000), free(0x1000, cpu=1)])
    assert found[(SITE,)] == {
        "allocations": 1,
        "bytes_alloc": 64,
        "bytes_req": 56,
        "frees": 1,
        "bytes_freed": 64,
        "freed_again": 2,
        "bytes_freed_again": 128,
    }


def test_an_address_allocated_again_has_ended_unseen() -> None:
    _, found = objects_of([alloc(0x1000), alloc(0x1000, 96, call_site=OTHER)])
    assert found[(SITE,)] == {
        "allocations": 1,
        "bytes_alloc": 64,
        "bytes_req": 56,
        "ended_unseen": 1,
        "bytes_ended_unseen": 64,
    }
    assert found[(OTHER,)]["live_bytes_alloc"] == 96


def test_large_kmallocs_reported_twice_stand_apart_with_the_site_of_the_first() -> None:
    totals, found = objects_of([alloc(0x1000, 16384, inner_site=INNER), alloc(0x8000, 16384)])
    assert found[(INNER,)] == {
        "repeats": 1,
        "repeats_bytes_alloc": 16384,
        "repeats_bytes_req": 16376,
    }
    assert found[(SITE,)]["allocations"] == 2
    assert (totals.counts.large, totals.counts.large_bytes_alloc) == (2, 32768)


def test_what_has_no_object_is_counted_apart() -> None:
    totals, found = objects_of([alloc(0), free(0), free(16), free(0x1000), alloc(0x2000)])
    assert (totals.counts.failed, totals.counts.failed_bytes_alloc) == (1, 64)
    assert (totals.counts.null_frees, totals.counts.unknown_frees) == (2, 1)
    assert found[(SITE,)]["allocations"] == 1


def test_a_selection_changes_no_life() -> None:
    """The object of before the selection is known when it is freed in it, and on which CPU."""
    events = [alloc(0x1000), alloc(0x2000), free(0x1000, cpu=1), free(0x2000)]
    counted = np.array([False, True, True, False])
    until = np.array([True, True, True, False])
    totals = ObjectTotals(("site",), LARGE)
    totals.window(columns(events), counted, until)
    assert figures(totals)[(SITE,)] == {
        "allocations": 1,
        "bytes_alloc": 64,
        "bytes_req": 56,
        "frees": 1,
        "bytes_freed": 64,
        "pingpong": 1,
        "live": 1,
        "live_bytes_alloc": 64,
        "live_bytes_req": 56,
    }


def page(pfn: int, order: int = 0, kind: int = 1) -> dict[str, int]:
    return {"ts": 0, "cpu": 0, "event": Ev.MM_PAGE_ALLOC, "pfn": pfn, "order": order} | {
        "migratetype": kind,
        "gfp_flags": 0,
    }


def page_free(pfn: int, order: int = 0) -> dict[str, int]:
    return page(pfn, order, 0) | {"event": Ev.MM_PAGE_FREE}


def test_a_block_that_is_freed_in_parts_is_found() -> None:
    """There perf kmem gives up."""
    totals = PageTotals(("order", "migratetype"), PAGE_SIZE)
    events = [page(8, 2), page_free(8), page_free(9), page(16), page_free(99), page(-1, 3)]
    every = np.ones(len(events), bool)
    totals.window(columns(events), every, every)
    totals.finish()
    assert figures(totals) == {
        (2, 1): {
            "allocations": 1,
            "bytes_alloc": 16384,
            "frees": 2,
            "bytes_freed": 8192,
            "live": 1,
            "live_bytes_alloc": 8192,
        },
        (0, 1): {"allocations": 1, "bytes_alloc": 4096, "live": 1, "live_bytes_alloc": 4096},
    }
    assert (totals.counts.unknown_frees, totals.counts.unknown_bytes_freed) == (1, 4096)
    assert (totals.counts.failed, totals.counts.failed_bytes) == (1, 32768)


OBJECTS = st.lists(
    st.builds(
        lambda allocates, ptr, size, cpu, site, inner, chosen: (
            (alloc if allocates else free)(
                ptr, **({"size": size} if allocates else {}), cpu=cpu, ts=0
            )
            | ({"call_site": site, "inner_site": inner} if allocates else {}),
            chosen,
        ),
        st.booleans(),
        st.sampled_from([0, 16, 0x1000, 0x1008, 0x2000, 0xFFFF888000000000]),
        st.sampled_from([64, 96, 16384]),
        st.integers(0, 2),
        st.sampled_from([SITE, OTHER]),
        st.sampled_from([0, 0, INNER]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@examples(200)
@given(rows=OBJECTS, cut=st.integers(1, 40), end=st.integers(0, 40), by=st.sampled_from([0, 1, 2]))
def test_objects_are_as_the_plain_model_has_them(
    rows: list[tuple[dict[str, int], bool]], cut: int, end: int, by: int
) -> None:
    keys = (("call_site",), ("ptr",), ("call_site", "cpu"))[by]
    names = (("site",), ("address",), ("site", "cpu"))[by]
    events = [event for event, _ in rows]
    until = [number < end for number in range(len(events))]
    counted = [chosen and in_time for (_, chosen), in_time in zip(rows, until, strict=True)]
    totals = ObjectTotals(names, LARGE)
    for at in range(0, len(events), cut):
        part = slice(at, at + cut)
        totals.window(columns(events[part]), np.array(counted[part]), np.array(until[part]))
    expected = plain.objects(events, keys, counted, until)
    assert figures(totals) == expected.figures()
    assert totals.counts.unknown_frees == expected.besides["unknown_frees"]
    assert totals.counts.null_frees == expected.besides["null_frees"]
    assert totals.counts.failed == expected.besides["failed"]
    assert set(expected.rows[next(iter(expected.rows), ())]) <= {f.name for f in FIGURES[SLAB]}


@st.composite
def page_events(draw: st.DrawFn) -> list[dict[str, int]]:
    """Blocks that are allocated where nothing is live, and freed whole, in parts, or never."""
    live: dict[int, int] = {}
    events = []
    for _ in range(draw(st.integers(1, 30))):
        order = draw(st.integers(0, 2))
        pfn = draw(st.integers(0, 7)) << order
        frames = range(pfn, pfn + (1 << order))
        held = [frame in live for frame in frames]
        if not any(held):
            events.append(page(pfn, order, draw(st.integers(0, 2))))
            live |= dict.fromkeys(frames, len(events))
        elif all(held) and len({live[frame] for frame in frames}) == 1:
            events.append(page_free(pfn, order))
            for frame in frames:
                del live[frame]
    return events or [page(-1)]


@examples(200)
@given(events=page_events(), cut=st.integers(1, 30), end=st.integers(1, 30), odd=st.booleans())
def test_pages_are_as_the_plain_model_has_them(
    events: list[dict[str, int]], cut: int, end: int, odd: bool
) -> None:
    until = [number < end for number in range(len(events))]
    counted = [in_time and (not odd or number % 2 == 1) for number, in_time in enumerate(until)]
    totals = PageTotals(("order", "migratetype"), PAGE_SIZE)
    for at in range(0, len(events), cut):
        part = slice(at, at + cut)
        totals.window(columns(events[part]), np.array(counted[part]), np.array(until[part]))
    totals.finish()
    expected = plain.pages(events, ("order", "migratetype"), counted, until, PAGE_SIZE)
    assert figures(totals) == expected.figures()
    assert totals.counts.unknown_frees == expected.besides["unknown_frees"]
    assert set().union(*expected.rows.values()) <= {f.name for f in FIGURES[PAGE]}
