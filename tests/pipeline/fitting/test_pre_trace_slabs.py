"""Slabs older than a recording, as a fitted spec has them."""

from __future__ import annotations

import numpy as np

from pipeline.fitting.lives import PreTraceLives, PreTraceSlabs
from pipeline.fitting.pre_trace_slabs import (
    pages_in_use,
    pre_trace_object_works,
    spare_works,
    unseen_works,
)

LINE = {"cache": "dentry"}


def pre_trace(death, cpu):
    return PreTraceLives(np.array(death), np.array(cpu), np.zeros(len(death), np.int64))


def slabs(slab=(), free_slab=(), free_cpu=(), *, made=0):
    """Of eight objects a slab, three a sheaf."""
    columns = (np.array(column, np.int64) for column in (slab, free_slab, free_cpu))
    return PreTraceSlabs(*columns, objects=8, pages=2, capacity=3, made=made)


def counts(work):
    """(count, kind of life, CPUs that free) of each line."""
    return [
        (line["count"], line["lifetime"]["kind"], line.get("free", {}).get("cpus"))
        for line in work.allocate
    ]


def test_slabs_that_are_alike_share_a_work():
    # -2 and -4 have an object that dies and two places in CPU 0's sheaf; -3 has three that die and
    # a place on its list, which comes behind CPU 0's full sheaf.
    found = slabs([-2, -3, -3, -3, -4], [-2, -2, -4, -4, -3], [0, 0, 0, 0, -1])
    ends = pre_trace([10, 20, 30, 40, 50], [0, 1, 1, 1, 0])
    works = pre_trace_object_works(LINE, ends, found, 2)
    assert [work.arrival for work in works] == [
        {"kind": "before", "count": 2},
        {"kind": "before", "count": 1},
    ]
    assert counts(works[0]) == [(1, "quantiles", [0]), (2, "gone", [0]), (5, "forever", None)]
    assert counts(works[1]) == [(3, "quantiles", [1]), (1, "gone", [0]), (4, "forever", None)]
    assert works[0].allocate[0]["lifetime"]["values"] == "10 11 50 50 ns"


def test_who_frees_it_does_not_depend_on_who_allocated_it():
    found = slabs([-2, -2, -2])
    [work] = pre_trace_object_works(LINE, pre_trace([1, 2, 3], [1, 1, 0]), found, 2)
    assert work.allocate[0]["free"] == {"cpus": [0, 1], "weights": [1, 2]}


def test_what_no_event_allocated_on_slabs_of_the_trace_has_no_older_slab():
    found = slabs([-1, -2, -1])
    ends = pre_trace([5000, 10, 9000], [1, 0, 1])
    [work] = pre_trace_object_works(LINE, ends, found, 2)
    assert counts(work)[0][0] == 1
    [work] = unseen_works(LINE, ends, found, 2)
    assert work.allocate == [{"cache": "dentry", "traced": False}]
    assert work.arrival == {"kind": "spread", "count": 2, "times": "5 9 us"}
    assert work.cpus == [0, 2]
    assert unseen_works(LINE, pre_trace([10], [0]), slabs([-2]), 2) == []


def test_spare_places_where_the_model_missed_none():
    [work] = spare_works(LINE, slabs(), 2)
    # A refill for each CPU, on a slab on which one object stays.
    assert counts(work) == [(1, "forever", None), (2 * 3, "unused", None)]
    assert spare_works(LINE, slabs(made=1), 2) == []


def test_pages_that_must_be_in_use():
    # Three slabs and a spare one, of two pages; blocks of 4 pages and of 1; a chunk
    # for what is left of each of the eleven orders, and of slabs.
    found = slabs([-2, -3, -1], [-4], [0])
    assert pages_in_use([found], np.array([2, 0]), 2) == (3 + 1) * 2 + 5 + 12 * 1024
