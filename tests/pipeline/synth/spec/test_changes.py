"""What the command line changes in a spec: the same for each CPU, for each object, or faster."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.synth.arrivals import PhaseSpan
from pipeline.synth.births import NEVER, Worker
from pipeline.synth.spec.changes import changed, parse_memory, with_cpus
from pipeline.synth.spec.model import Life
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.windows import windows
from pipeline.synth.write import write_trace_set
from pipeline.trace_set.reader import TraceSet

SPEC = """
name = "changed"
cpus = 2
memory = "1 GiB"
events = 10_000

[[phase]]
name = "all"
length = "100 ms"

[[work]]
name = "poisson"
arrival = { kind = "poisson", rate = 100_000 }
allocate = [{ kmalloc = 64 }]
lifetime = { kind = "exponential", mean = "1 ms" }
free = { remote = 0.25 }

[[work]]
name = "spread"
cpus = [1]
arrival = { kind = "spread", count = 4000, times = "0 40 100 ms", at = [0, 512, 1024] }
allocate = [{ kmalloc = 128 }]
lifetime = { kind = "until", since = "110 ms", values = "0 20 ms" }
free = { matrix = [[1, 0], [3, 1]] }

[[work]]
name = "closed"
cpus = [0]
arrival = { kind = "closed", hold = "10 us", think = "1 ms" }
allocate = [{ kmalloc = 256, count = 8 }]
lifetime = { kind = "batch" }
free = { cpus = [1] }

[[work]]
name = "older"
arrival = { kind = "before", count = 100 }
allocate = [{ kmalloc = 512 }]
lifetime = { kind = "quantiles", values = "1 90 ms" }
"""


@pytest.fixture(scope="module")
def spec():
    return parse_spec(SPEC, "changed")


def births(spec):
    """Each work's births in the first run through the phases."""
    found, first = [], 0
    for number, work in enumerate(spec.works):
        worker = Worker(spec, number, first)
        first += len(work.entries)
        if work.arrival.kind == "before":
            found.append(worker.before())
        else:
            length = spec.phases[0].length
            found.append(worker.window(PhaseSpan(0, length, 0, 0, length, (0, 0, 0))))
    return found


@pytest.mark.parametrize("cpus", [1, 2, 3, 8, 64])
def test_each_cpu_does_what_its_like_does_in_the_spec(spec, cpus):
    small, large = births(spec), births(with_cpus(spec, cpus))
    names = [work.name for work in with_cpus(spec, cpus).works]
    for name, made in zip(names, large, strict=True):
        before = small[[work.name for work in spec.works].index(name)]
        load = np.bincount(before.cpu, minlength=2)
        for cpu, count in enumerate(np.bincount(made.cpu, minlength=cpus)):
            wanted = load[cpu % 2]
            assert count == pytest.approx(wanted, abs=5 * np.sqrt(wanted) * (wanted > 0))


@pytest.mark.parametrize("cpus", [3, 8, 64])
def test_remote_frees_are_in_proportion_and_of_all_cpus_alike(spec, cpus):
    poisson, spread, closed, _ = births(with_cpus(spec, cpus))
    away = poisson.cpu != poisson.free_cpu
    assert np.mean(away) == pytest.approx(0.25, abs=0.02)
    assert len(np.unique((poisson.free_cpu - poisson.cpu)[away] % cpus)) == cpus - 1
    # Three of four of what odd CPUs allocate is freed by even ones, whichever.
    assert np.all(spread.cpu % 2 == 1)
    even = spread.free_cpu % 2 == 0
    assert np.mean(even) == pytest.approx(0.75, abs=0.01)
    np.testing.assert_array_equal(spread.free_cpu[~even], spread.cpu[~even])
    each = np.bincount(spread.free_cpu[even], minlength=cpus)[::2]
    assert each.min() > 0.9 * each.mean()
    assert np.all(closed.free_cpu % 2 == 1)
    assert len(np.unique(closed.free_cpu)) == cpus // 2


@pytest.mark.parametrize("cpus", [8, 64])
@pytest.mark.parametrize("count", [4000, 100])
def test_lives_and_who_frees_do_not_depend_on_which_of_like_cpus_allocates(spec, cpus, count):
    one = spec.works[1]
    arrival = replace(one.arrival, count=count)
    entry = replace(one.entries[0], lives=(Life("quantiles", times=(1000, 2000)),))
    alone = replace(spec, works=(replace(one, arrival=arrival, entries=(entry,)),))
    [made] = births(with_cpus(alone, cpus))
    lived, away = made.death - made.birth, made.cpu != made.free_cpu
    # Four standard errors of a sample by chance.
    for cpu in range(1, cpus, 2):
        mine = made.cpu == cpu
        assert np.mean(lived[mine]) == pytest.approx(1500, abs=4 * 289 / np.sqrt(count))
        assert np.mean(away[mine]) == pytest.approx(0.75, abs=4 * 0.433 / np.sqrt(count))


def test_the_machine_and_the_trace_grow_with_the_cpus(spec):
    large = with_cpus(spec, 64)
    assert (large.cpus, large.memory, large.events) == (64, 32 << 30, 320_000)
    assert with_cpus(spec, 2) is spec
    # Of CPU 1's work nothing is left on one CPU; what it freed for others, they free themselves.
    one = with_cpus(spec, 1)
    assert [work.name for work in one.works] == ["poisson", "closed", "older"]
    assert all(np.all(made.free_cpu == 0) for made in births(one))


def test_at_ten_times_the_rate_ten_times_as_many_live_as_long(spec):
    fast = changed(spec, rate=10)
    assert fast.events == 100_000
    for before, made, name in zip(births(spec), births(fast), "psco", strict=True):
        times = 1 if name == "c" else 10  # closed loops keep their pace
        assert len(made.birth) == pytest.approx(times * len(before.birth), rel=0.02)
        lived = [np.median(each.death - each.birth) for each in (before, made)]
        assert lived[1] == pytest.approx(lived[0], rel=0.05)


def test_at_ten_times_the_speed_the_same_comes_in_a_tenth_of_the_time(spec):
    fast = changed(spec, speed=10)
    assert fast.events == spec.events
    for before, made, work in zip(births(spec), births(fast), spec.works, strict=True):
        if work.arrival.kind == "before":
            times = [before.death, made.death]
        else:
            assert len(made.birth) == pytest.approx(len(before.birth), rel=0.02)
            times = [before.death - before.birth, made.death - made.birth]
        kept = [each[each < NEVER] for each in times]
        assert np.median(kept[1]) == pytest.approx(np.median(kept[0]) / 10, rel=0.05, abs=2)
    moments = [next(windows(each))[2] for each in (changed(spec, speed=10), spec)]
    assert moments[0].ts.max() < moments[1].ts.max() / 9


def test_a_trace_set_says_what_was_changed(spec, tmp_path):
    wide = changed(spec, cpus=6, events=3_000, seed=7, memory=1 << 30, name="wide")
    made = write_trace_set(wide, SPEC, tmp_path, changes={"cpus": 6, "memory": 1 << 30})
    meta = TraceSet.open(made).meta
    assert (meta["name"], meta["cpus"], meta["synth"]["seed"]) == ("wide", 6, 7)
    assert meta["synth"]["changes"] == {"cpus": 6, "memory": 1 << 30}
    assert sum(meta["events"].values()) == 3_000


@pytest.mark.parametrize("name", ["", "''", "a b", ".a", "-a", "a/b", "é", "x" * 101])
def test_a_name_is_a_file_s(spec, name):
    with pytest.raises(UsageError, match=re.escape("letters, digits and . _ -")):
        changed(spec, name=name)


def test_what_cannot_be_is_said_in_one_line(spec):
    for changes, said in (
        ({"cpus": 1025}, "--cpus 1025: from 1 to 1024 are possible"),
        ({"speed": 0.000001}, "would be longer than can be"),
    ):
        with pytest.raises(UsageError, match=said):
            changed(spec, **changes)
    with pytest.raises(UsageError, match="TiB of memory, as much for each CPU as in the spec"):
        with_cpus(changed(spec, memory=1 << 44), 4)
    alone = parse_spec(SPEC.partition("[[work]]")[0] + _ON_CPU_1, "alone")
    with pytest.raises(UsageError, match="no work of changed is on any of these CPUs"):
        with_cpus(alone, 1)
    closed = replace(spec, works=(spec.works[2], spec.works[3]))
    with pytest.raises(UsageError, match=r"--rate 10: .* closed loops only, which keep their pace"):
        changed(closed, rate=10)
    assert changed(spec, rate=0.5).phases[0].rate == Decimal("0.5")


_ON_CPU_1 = """
[[work]]
cpus = [1]
arrival = { kind = "poisson", rate = 100_000 }
allocate = [{ kmalloc = 64 }]
lifetime = { kind = "forever" }
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 GB", "one of B, KiB, MiB, GiB, TiB"),
        ("1 MiB", "from 64 MiB to 16 TiB"),
        ("", "a number"),
    ],
)
def test_sizes_of_memory_that_cannot_be(text, said):
    with pytest.raises(UsageError, match=said):
        parse_memory(text)
    assert parse_memory("64 GiB") == 64 << 30
