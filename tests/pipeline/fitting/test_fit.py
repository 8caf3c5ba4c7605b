"""Fitted specs: read back, replayed, and as near to their originals as is asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from allocsim.recording.page_kinds import PageKind
from pipeline.errors import InputError
from pipeline.fitting.distance import DistanceMeasure, _quartiles
from pipeline.fitting.fit import fit_trace
from pipeline.fitting.kmem_only import without_page_refs
from pipeline.fitting.lifetime_quantiles import distribution, in_parts
from pipeline.fitting.lines import object_line, page_line, works_of
from pipeline.fitting.lives import TracedLives
from pipeline.fitting.observed import in_order
from pipeline.fitting.periods import move_limits, period_limits
from pipeline.fitting.spec_text import left_out_text, nearest_kernel
from pipeline.processes.progress import Progress
from pipeline.synth.births import NEVER
from pipeline.synth.page_requests import PAGE_KINDS
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.write import write_trace_set
from pipeline.trace_set.reader import TraceSet
from tests.pipeline.synth.specs import MIXED

TRACES = Path(__file__).resolve().parents[3] / "traces"


def met(fit):
    return {measure.name: measure for measure in fit.measures if not measure.met}


@pytest.mark.parametrize(
    ("release", "kernel"),
    [
        ("5.15.0", "6.1"),
        ("6.1.0-56-amd64", "6.1"),
        ("6.12.107", "6.12"),
        ("6.13.1", "6.12"),
        # From 6.14 on pages take the paths of 7.2 (R1.8).
        ("6.14.0", "7.2"),
        ("6.18.15+deb13-cloud-amd64", "7.2"),
        ("7.2.13", "7.2"),
        ("8.0.0", "7.3"),
    ],
)
def test_a_spec_is_of_the_kernel_whose_pages_take_the_same_paths(release, kernel):
    assert nearest_kernel(release) == kernel


@pytest.mark.parametrize(
    ("times", "spread"),
    [
        ([], []),
        ([7], [7]),
        ([0, 5, 5, 5, 9], [0, 5, 6, 7, 9]),
        # Four events share the two ns that are there; the last ones have all that follows.
        ([3, 3, 3, 3, 5, 5, 5], [3, 3, 4, 4, 5, 6, 7]),
    ],
)
def test_events_of_one_time_are_put_in_their_order(times, spread):
    assert in_order(np.array(times, np.int64)).tolist() == spread


@pytest.mark.slow
def test_a_shipped_recording_is_met_in_every_measure():
    fit = fit_trace(TraceSet.open(TRACES / "7.2p-hackbench-gt"), Progress())
    assert met(fit) == {}
    assert fit.page_refs_left_out
    spec = parse_spec(fit.text, "fitted")
    assert spec.cpus == 2
    assert {"skbuff_head_cache", "vm_area_struct"} <= set(spec.sizes)


@pytest.mark.slow
def test_a_kernel_that_specs_do_not_know_is_compared_under_its_own_policy_too():
    """The synthetic trace is of another kernel, whose replay comes with another policy."""
    fit = fit_trace(TraceSet.open(TRACES.parent / "tests" / "data" / "6.18-mixed"), Progress())
    assert 'kernel = "6.18"' not in fit.text
    of = {measure.name for measure in fit.measures}
    assert {"locked operations, linux-6.18", "as recorded, linux-6.18"} <= of


@pytest.mark.slow
def test_a_synthetic_trace_is_met_in_every_measure(tmp_path, monkeypatch):
    text = MIXED.replace("60_000", "40_000")
    made = write_trace_set(parse_spec(text, "mixed"), text, tmp_path)
    fit = fit_trace(TraceSet.open(made), Progress())
    assert met(fit) == {}
    assert not fit.page_refs_left_out
    monkeypatch.setattr("pipeline.fitting.fit.LONGEST", len(fit.text) - 1)
    works = fit.text.count("[[work]]")
    with pytest.raises(InputError, match=f"would have {works:,} works.*fit a shorter recording"):
        fit_trace(TraceSet.open(made), Progress())


def test_without_page_ref_events_the_rest_is_as_it_was(tmp_path):
    trace = TraceSet.open(TRACES / "7.2p-hackbench-gt")
    copy = without_page_refs(trace, tmp_path)
    kept = {n: c for n, c in trace.meta["events"].items() if not n.startswith("page_ref_")}
    assert copy.meta["events"] == kept
    assert copy.rows == sum(kept.values())
    [before] = list(trace.windows(1 << 22))
    [after] = list(copy.windows(1 << 22))
    rows = np.isin(before["event"], np.unique(after["event"]))
    np.testing.assert_array_equal(before["ptr"][rows], after["ptr"])
    assert without_page_refs(copy, tmp_path / "again") is copy
    bare = {"page_ref_mod": trace.rows}
    only = TraceSet(trace.path, trace.meta | {"events": bare}, trace.columns)
    with pytest.raises(InputError, match="no event but of page_ref"):
        without_page_refs(only, tmp_path / "only")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("kmalloc-96", {"kmalloc": 96}),
        ("kmalloc-cg-1k", {"kmalloc": 1024, "type": "cg"}),
        ("dma-kmalloc-8", {"kmalloc": 8, "type": "dma"}),
        ("kmalloc-rnd-07-96", {"cache": "kmalloc-rnd-07-96"}),
        ("dentry", {"cache": "dentry"}),
    ],
)
def test_the_line_of_a_cache(name, line):
    assert object_line(name) == line


@pytest.mark.parametrize("kind", [kind for kind in PageKind if kind != PageKind.SLAB])
@pytest.mark.parametrize("order", range(11))
def test_every_kind_and_order_of_page_has_a_line(kind, order):
    line = page_line(int(kind) << 8 | order)
    if "pages" in line:
        low, high = PAGE_KINDS[line["pages"]].orders
        assert low <= line.get("order", low) <= high
        assert line.get("order", low) == order
    else:
        assert line == {"kmalloc": 4096 << order}


NONE = np.empty(0, np.int64)


def lives(birth, death, cpu=None, free_cpu=None):
    birth, death = np.array(birth), np.array(death)
    cpu = np.zeros(len(birth), np.int64) if cpu is None else np.array(cpu)
    free_cpu = cpu if free_cpu is None else np.array(free_cpu)
    traced = np.ones(len(birth), np.bool_)
    return TracedLives(
        birth, death, cpu, free_cpu, cpu * 0, traced, (cpu * 0).astype(np.uint64), cpu * 0 - 1
    )


def test_periods_end_where_the_number_alive_turns():
    birth = [*range(100), *range(1000, 1100)]
    death = [*range(500, 600), *range(1500, 1600)]
    # Up to 100 at 99, down to none at 599, up again, and down.
    assert period_limits(lives(birth, death), NONE).tolist() == [99, 599, 1099]


@pytest.mark.parametrize(("births", "followed"), [(80, True), (40, False)])
def test_many_turns_are_followed_where_each_has_births_enough(births, followed):
    # 200 times so many are allocated, then all of them freed.
    birth = (np.arange(200)[:, None] * 10_000 + np.arange(births)).ravel()
    limits = period_limits(lives(birth, birth + 5_000), NONE)
    turns = {*range(births - 1, 2_000_000, 10_000), *range(births + 4_999, 1_990_000, 10_000)}
    assert (turns <= set(limits.tolist())) is followed
    assert followed or len(limits) <= 128 + 8


def test_periods_end_where_objects_move_the_other_way_from_then_on():
    # CPU 1 frees what CPU 0 allocates until 99, then CPU 0 what CPU 1 allocates, until 199.
    birth = np.arange(300)
    cpu = np.repeat([0, 1, 0], 100)
    moves = move_limits(lives(birth, birth + 1, cpu, 1 - cpu), 2)
    assert moves.tolist() == [100, 200]
    limits = period_limits(lives(birth, birth + 1, cpu, 1 - cpu), moves)
    assert {100, 200} <= set(limits.tolist())
    assert not len(move_limits(lives(birth, birth + 1, cpu), 2))


def test_what_dies_without_an_event_has_a_call_site_of_its_own():
    of = lives([*range(100)], [*range(500, 600)])._replace(traced=np.arange(100) % 2 == 0)
    names = {work.name: work.free.get("traced", True) for work in works_of({"kmalloc": 8}, of, 1)}
    assert names == {"8": True, "8-untraced": False}


def test_what_outlives_its_period_dies_in_the_order_it_had():
    for backwards in (False, True):
        death = np.arange(500, 600)[:: -1 if backwards else 1]
        [*works] = works_of({"kmalloc": 8}, lives([*range(100)], death), 1)
        orders = {work.free.get("order", "fifo") for work in works if work.arrival["count"] > 2}
        assert orders == {"lifo" if backwards else "fifo"}


def test_a_distribution_by_formula_only_where_it_is_close():
    rng = np.random.default_rng(1)
    for sample, kind in (
        (rng.exponential(10_000, 20_000), "exponential"),
        (rng.lognormal(9, 1.2, 20_000), "lognormal"),
        (rng.uniform(0, 10_000, 20_000), "quantiles"),
        (np.full(50, 7.0), "fixed"),
    ):
        assert distribution(np.sort(sample.astype(np.int64)))["kind"] == kind


def test_all_that_was_seen_is_in_the_works():
    rng = np.random.default_rng(2)
    birth = np.sort(rng.integers(0, 10**6, 3000))
    death = np.where(rng.random(3000) < 0.1, NEVER, birth + rng.integers(1, 10**5, 3000))
    works = works_of({"kmalloc": 8}, lives(birth, death, rng.integers(0, 3, 3000)), 3)
    assert sum(work.arrival["count"] for work in works) == 3000
    assert np.sum([work.cpus for work in works], axis=0).sum() == 3000


def test_of_a_prefilled_sheaf_as_many_are_seen_to_be_freed_as_were():
    # Four sheaves of five; of each two frees have an event.
    run = np.repeat(np.arange(4), 5)
    born = lives(np.repeat([100, 200, 300, 400], 5), np.arange(1000, 1020))
    born = born._replace(run=run, traced=np.arange(20) % 5 < 2)
    works = works_of({"cache": "maple_node"}, born, 1)
    assert sum(work.arrival["count"] for work in works) == 4
    for work in works:
        lines = [(line["count"], line["prefilled"]) for line in work.allocate]
        assert lines == [(2, True), (3, True)]
        traced = [line.get("free", {}).get("traced", True) for line in work.allocate]
        assert traced == [True, False]


def test_lives_that_no_order_tells_are_told_apart():
    # Two streams, each first in first out: one lives for 51,000, the other for 80,000.
    born = np.arange(0, 40_000, 100)
    lived = np.where(np.arange(400) % 2, 1000, 30_000)
    found = in_parts(lives(born, born + 50_000 + lived), 50_000)
    assert sorted(len(part.birth) for part in found) == [200, 200]
    assert all(len(np.unique(part.death - part.birth)) == 1 for part in found)
    together = in_parts(lives(born, born + 50_000), 50_000)
    assert [len(part.birth) for part in together] == [400]


def test_a_cache_whose_lives_are_missing_is_off_not_left_out():
    quartiles = [240.0, 250.0, 260.0, 490.0, 500.0, 510.0, 740.0, 750.0, 760.0]
    lost = list(_quartiles({"kmalloc-8": quartiles}, {}))
    assert {measure.difference for measure in lost} == {-100.0}
    # Within the percentiles next to it a quartile is met; what is plain is shown beside it.
    moved = [value + 5 for value in quartiles]
    found = list(_quartiles({"kmalloc-8": quartiles}, {"kmalloc-8": moved}))
    assert [(measure.limit, round(measure.difference, 2)) for measure in found] == [
        (20, 0.0),
        (20, 0.0),
        (20, 0.0),
        (0, 2.0),
        (0, 1.0),
        (0, 0.67),
    ]
    # The shortest life that a spec makes is 1 ns; a clock that stands still shows 0.
    still = _quartiles({"kmalloc-8": [0.0] * 9}, {"kmalloc-8": [1.0] * 9})
    assert {measure.difference for measure in still} == {0.0}


def test_what_is_left_out_is_said():
    def text(unsized, pieces):
        return left_out_text(SimpleNamespace(unsized=unsized, pieces=pieces))

    assert text(0, 0) == ""
    assert text(3, 0) == ", 3 allocations from caches whose size nothing tells left out"
    assert text(3, 2).endswith("nothing tells and 2 frees of parts of page blocks left out")


def test_a_measure_is_met_within_its_limit_only():
    def measure(difference, limit):
        return DistanceMeasure("m", 1, 1, difference, "%", limit).met

    assert measure(-4.9, 5)
    assert not measure(5.1, 5)
    assert measure(50, 0)
