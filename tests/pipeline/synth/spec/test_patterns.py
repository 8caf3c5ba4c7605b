"""The shipped patterns do what they are named for: directions, not figures."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from allocsim.page_alloc.unusable_index import unusable_index
from pipeline.errors import InputError, UsageError
from pipeline.synth.machine import make_machine
from pipeline.synth.placing import Placing
from pipeline.synth.rows import Templates
from pipeline.synth.spec.model import ARRIVALS, CACHE_FLAGS, LIFETIMES
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.spec.patterns import listing, read_spec, shipped_specs
from pipeline.synth.windows import windows
from pipeline.synth.write import write_trace_set

BATCHES = (1, 10, 100, 1000)
ORDERS = ("in-order", "shuffled")


def shipped(name, **changes):
    return replace(parse_spec(read_spec(name), name), **changes)


def simulated(spec, settings=None):
    """The model behind the whole trace of a spec."""
    machine = make_machine(spec, settings)
    placing = Placing(spec, machine, Templates())
    rows = 0
    for shown, _, moments in windows(spec):
        assert shown
        rows += len(placing.window(moments).ts)
        if spec.events and rows >= spec.events:
            break
    return machine.world.simulation


def counters(spec, settings=None):
    slub = simulated(spec, settings).slub
    return {name: int(values.sum()) for name, values in slub.counters().items()}


def test_every_shipped_spec_is_listed_and_can_be_read():
    specs = shipped_specs()
    lines = listing().splitlines()
    assert len(specs) == len(lines) >= 18
    for name, line in zip(specs, lines, strict=True):
        spec = parse_spec(read_spec(name), name)
        assert spec.name == name
        assert spec.origin
        assert line.startswith(name)
        assert spec.doc in line


@pytest.mark.parametrize("name", ["hackbenhc", "microbench"])
def test_a_name_that_is_none(name):
    with pytest.raises(UsageError, match=r"did you mean (hackbench|microbench-1-)"):
        read_spec(name)


def test_producer_and_consumer_flush_and_refill_until_the_barn_holds_a_batch():
    """Ten full sheaves and the CPUs' own hold a batch of 1024 from a capacity of 100 on."""
    spec = shipped("producer-consumer", events=40_000)
    found = {c: counters(spec, {"sheaf.capacity": c}) for c in (4, 28, 60, 124)}
    assert found[28]["barn_put"] > 100
    flushed = [found[c]["sheaf_flush"] for c in (4, 28, 60, 124)]
    assert flushed == sorted(flushed, reverse=True)
    assert flushed[2] > 1000
    assert flushed[3] == 0
    # Nothing is refilled any more once what is in flight has been there.
    assert found[124]["sheaf_refill"] < found[60]["sheaf_refill"] / 4


def test_a_consumer_on_the_same_cpu_does_not_flush_so_much():
    spec = shipped("producer-consumer", events=40_000)
    [work] = spec.works
    [entry] = work.entries
    near = replace(entry, count=64, free=replace(entry.free, cpus=()))
    assert counters(spec)["sheaf_flush"] > 1000
    assert counters(replace(spec, works=(replace(work, entries=(near,)),)))["sheaf_flush"] == 0


@pytest.mark.parametrize("order", ORDERS)
def test_the_larger_the_batch_the_rarer_the_fast_path(order):
    shares = []
    for batch in BATCHES:
        count = counters(shipped(f"microbench-{batch}-{order}", events=40_000))
        fast = count["alloc_fastpath"] + count["free_fastpath"]
        # What is not: to the barn and, where that does not help, to the slabs.
        slow = sum(count[f"barn_{way}"] for way in ("get", "get_fail", "put", "put_fail"))
        shares.append(fast / (fast + slow))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.999
    assert shares[3] < 0.99


def test_shuffled_batches_keep_slabs_from_being_given_back():
    freed = {
        order: counters(shipped(f"microbench-1000-{order}", events=40_000))["free_slab"]
        for order in ORDERS
    }
    assert freed["in-order"] > 10 * (freed["shuffled"] + 1)


def test_the_attack_leaves_free_memory_that_no_large_block_can_be_made_of():
    spec = shipped("buddy-fragmentation")
    index, free = _at_the_end(spec)
    harmless, as_free = _at_the_end(replace(spec, works=spec.works[:1]))
    assert free > 0.5 * as_free
    assert index > 0.9
    assert harmless < 0.5


def _at_the_end(spec):
    sample = simulated(spec).pages.sample(0)
    index = unusable_index(sample.free_blocks.sum(axis=(0, 2)))
    return float(index[9]), int(sample.free_pages.sum())


def test_huge_pages_take_the_place_of_512():
    def order_of_most_pages(name):
        spec = shipped(name, events=20_000)
        [(_, _, moments), *_] = list(_first_windows(spec))
        orders = np.array([entry.order for work in spec.works for entry in work.entries])
        pages = np.bincount(orders[moments.entry], 1 << orders[moments.entry])
        return int(pages.argmax())

    assert order_of_most_pages("fault-storm") == 0
    assert order_of_most_pages("fault-storm-thp") == 9


def _first_windows(spec):
    for window in windows(spec):
        yield window
        return


def test_frees_of_kfree_rcu_come_in_crowds():
    spec = shipped("kfree-rcu-list", events=100_000)
    [(_, _, moments)] = list(_first_windows(spec))
    of_rcu = (moments.op < 0) & (moments.entry == 0)
    counts = np.bincount(moments.ts[of_rcu] // 1_000_000)
    # A grace period of 20 ms is freed within the first ms of the next.
    assert np.flatnonzero(counts).tolist() == list(range(20, len(counts), 20))


def test_kfree_rcu_of_7_goes_through_sheaves_and_comes_back_a_grace_period_later():
    spec = shipped("kfree-rcu", events=60_000)
    simulation = simulated(spec)
    count = {name: values.sum() for name, values in simulation.slub.counters().items()}
    of_rcu = [entry for work in spec.works for entry in work.entries if not entry.free.traced]
    assert [entry.kmalloc for entry in of_rcu] == [128]
    assert count["free_rcu_sheaf"] > 10_000
    # Some of what has waited is taken from the barn again, the rest was flushed to its slabs.
    assert count["barn_get"] > 100


@pytest.mark.slow
def test_memory_that_does_not_suffice_is_said_in_one_line(tmp_path):
    spec = shipped("file-storm", memory=64 << 20, used=Decimal("0.9"), events=0)
    with pytest.raises(InputError, match=r"no memory is left for .* after 0\.\d+ s; say memory"):
        write_trace_set(spec, "", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_spec_in_the_docs_is_one():
    page = (Path(__file__).resolve().parents[4] / "docs" / "synth.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    spec = parse_spec(text, "docs/synth.md")
    assert counters(replace(spec, events=2_000))["alloc_fastpath"] > 0
    for word in (*ARRIVALS, *LIFETIMES, *CACHE_FLAGS):
        assert f"`{word}`" in page or word in text
