"""Simulations with copies of kmalloc's caches: the oracle, what they keep, what they take."""

from __future__ import annotations

import re
import shutil
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import duckdb
import pytest

from allocsim.kernels.kmalloc_partitions import EACH_SITE
from allocsim.kernels.profile import PROFILES
from allocsim.kernels.settings import KERNEL, PARTITION_SEED, PARTITIONS
from pipeline.errors import UsageError
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.settings import check_for_trace, parse_settings
from pipeline.replay.simulated import simulate_run
from pipeline.trace_set.reader import TraceSet
from pipeline.validation.run import validate_traces
from reports.render.document import Table
from reports.sections import sweeps
from tests.conftest import ROOT
from tests.oracle.whole_path import WHOLE, WholePath, ask

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

NAME = "7.2p-hackbench-gt"
#: The recorded run is the first, and then a simulated one of each.
GIVEN: tuple[dict[str, int], ...] = (
    {},
    {PARTITIONS: 1},
    {PARTITIONS: 16},
    {PARTITIONS: 16, PARTITION_SEED: 5},
    {PARTITIONS: EACH_SITE},
)
AS_IT_WAS, ONE, SIXTEEN, ANOTHER_SEED, SITES = range(2, len(GIVEN) + 2)
_KMALLOC = "regexp_full_match(name, 'kmalloc-((part|rnd)-[0-9]+-)?[0-9]+k?(@.*)?')"


@pytest.fixture(scope="module")
def trace() -> TraceSet:
    return TraceSet.open(ROOT / "traces" / NAME)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory, trace: TraceSet) -> Path:
    path = tmp_path_factory.mktemp("db") / "results.duckdb"
    recorded = replay_trace(trace, path, find_policies([]))
    for settings in GIVEN:
        simulate_run(trace, path, recorded, settings, window_rows=20_000)
    return path


@pytest.mark.parametrize("kernel", [each.code for each in PROFILES])
@pytest.mark.parametrize("settings", [{PARTITIONS: 4, PARTITION_SEED: 9}, {PARTITIONS: EACH_SITE}])
def test_every_event_slab_and_counter_is_the_oracles(
    tmp_path: Path, trace: TraceSet, kernel: int, settings: dict[str, int]
) -> None:
    whole = WholePath(trace, tmp_path, settings={KERNEL: kernel, **settings})
    wanted, _ = whole.oracle()
    assert len(wanted.events) > 50_000
    for rows in (WHOLE, 1_000):
        assert whole.model(rows).differences(wanted) == []


def test_with_two_nodes_too(tmp_path: Path) -> None:
    trace = TraceSet.open(ROOT / "traces" / "7.2n-numa-huge")
    whole = WholePath(trace, tmp_path, settings={PARTITIONS: 16})
    wanted, _ = whole.oracle()
    assert whole.model(WHOLE).differences(wanted) == []


def test_one_cache_a_class_changes_nothing(db: Path) -> None:
    for table in ("placed_events", "placed_slabs", "cache_counters", "placed_caches", "caches"):
        both = [
            ask(db, f"SELECT * EXCLUDE (run) FROM {table} WHERE run = {run} ORDER BY ALL")
            for run in (AS_IT_WAS, ONE)
        ]
        assert both[0] == both[1], table
        assert both[0]


def test_a_call_site_is_in_one_copy_of_a_class_and_seeds_deal_them_anew(db: Path) -> None:
    """By the slabs that the model put the objects on; those older than the trace aside."""
    of: dict[int, dict[tuple[int, str], set[str]]] = {}
    for run in (SIXTEEN, ANOTHER_SEED, SITES):
        of[run] = defaultdict(set)
        for site, size, cache in ask(
            db,
            "SELECT DISTINCT events.call_site, recorded.name, caches.name FROM placed_events AS p"
            " JOIN object_events AS events ON events.run = 1 AND events.seq = p.seq"
            " JOIN caches AS recorded ON recorded.run = 1 AND recorded.cache = events.cache"
            " JOIN placed_slabs AS slabs ON slabs.run = p.run AND slabs.slab = p.slab"
            " JOIN caches ON caches.run = p.run AND caches.cache = slabs.cache"
            f" WHERE p.run = {run} AND p.slab >= 0 AND events.event = 'kmalloc'",
        ):
            of[run][size, site].add(cache)
    for run, caches in of.items():
        assert all(len(names) == 1 for names in caches.values()), run
    alone = [name for names in of[SITES].values() for name in names]
    split = [name for name in alone if "@" in name]
    assert len(split) > 5
    assert len(set(split)) == len(split)
    assert of[SIXTEEN] != of[ANOTHER_SEED]


def test_what_was_merged_is_in_no_copy(db: Path) -> None:
    caches = ask(
        db,
        "SELECT DISTINCT caches.name FROM placed_events AS p"
        " JOIN object_events AS events ON events.run = 1 AND events.seq = p.seq"
        " JOIN caches AS recorded ON recorded.run = 1 AND recorded.cache = events.cache"
        " JOIN placed_slabs AS slabs ON slabs.run = p.run AND slabs.slab = p.slab"
        " JOIN caches ON caches.run = p.run AND caches.cache = slabs.cache"
        f" WHERE p.run = {SIXTEEN} AND p.slab >= 0 AND events.event = 'kmem_cache_alloc'"
        " AND recorded.name LIKE 'kmalloc-%'",
    )
    assert ("merged-192",) in caches
    assert all(name.startswith(("merged-", "kmalloc-cg-", "kmalloc-rcl-")) for (name,) in caches)


def test_objects_are_the_same_whatever_cache_they_are_in(db: Path) -> None:
    """Of each slot size, live objects, allocations and frees do not depend on the copies."""
    sums = [
        ask(
            db,
            "SELECT object_size, sum(live_objects + on_older_slabs) FROM placed_caches"
            f" JOIN caches USING (run, cache) WHERE run = {run} GROUP BY 1 ORDER BY 1",
        )
        for run in (AS_IT_WAS, SIXTEEN, SITES)
    ]
    assert sums[0] == sums[1] == sums[2]


def test_memory_of_kmalloc_is_what_its_slabs_take(db: Path) -> None:
    """The view, against slabs added up event by event."""
    for run in (AS_IT_WAS, SIXTEEN, SITES):
        changes: dict[tuple[int | None, str | None], dict[int, int]] = defaultdict(
            lambda: defaultdict(int)
        )
        made: dict[tuple[int | None, str | None], int] = defaultdict(int)
        for size, name, order, born, gone in ask(
            db,
            'SELECT object_size, name, "order", alloc_seq, free_seq FROM placed_slabs'
            f" JOIN caches USING (run, cache) WHERE run = {run} AND alloc_seq IS NOT NULL"
            f" AND ({_KMALLOC} OR name LIKE 'merged-%')",
        ):
            for key in ((size, name), (size, None), (None, None)):
                made[key] += 1
                changes[key][born] += 4096 << order
                if gone is not None:
                    changes[key][gone] -= 4096 << order
        seen = ask(
            db,
            "SELECT class, cache, slabs_made, peak_bytes, slab_bytes, live_bytes + unused_bytes"
            f" FROM kmalloc_memory WHERE run = {run}",
        )
        assert {(size, cache) for size, cache, *_ in seen} >= made.keys()
        assert len(made) > 10
        for size, cache, slabs, peak, held, added in seen:
            highest = total = 0
            for seq in sorted(changes[size, cache]):
                total += changes[size, cache][seq]
                highest = max(highest, total)
            assert (slabs, peak, held) == (made[size, cache], highest, total), (run, size, cache)
            assert added == held


def test_least_slabs_of_a_call_site_hold_its_peak(db: Path) -> None:
    lives: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    kmallocs = {site for (site,) in ask(db, _KMALLOC_SITES)}
    for name, site, begin, end in ask(
        db,
        "SELECT name, call_site, alloc_ts, end_ts FROM object_lives JOIN caches USING (run, cache)"
        f" WHERE run = 1 AND {_KMALLOC}",
    ):
        if site in kmallocs:
            lives[name, site] += [(begin, 1)] if end is None else [(begin, 1), (end, -1)]
    wanted = []
    for (name, _), moments in lives.items():
        live = most = 0
        for _, change in sorted(moments):
            live += change
            most = max(most, live)
        wanted.append((name, sum(change > 0 for _, change in moments), most))
    found = ask(
        db,
        "SELECT cache, allocs, peak_objects, objs_per_slab, least_slabs, least_bytes"
        " FROM kmalloc_sites WHERE run = 1",
    )
    assert sorted(row[:3] for row in found) == sorted(wanted)
    orders = dict(
        ask(
            db,
            'SELECT name, "order" FROM placed_caches JOIN caches USING (run, cache)'
            f" WHERE run = {AS_IT_WAS}",
        )
    )
    for name, _, peak, objects, slabs, least in found:
        assert (slabs - 1) * objects < peak <= slabs * objects
        assert least == slabs * (4096 << orders[name])


_KMALLOC_SITES = "SELECT DISTINCT call_site FROM object_events WHERE event = 'kmalloc'"


def test_a_report_has_them_in_order_of_how_many_there_are(db: Path) -> None:
    with duckdb.connect(db, read_only=True) as connection:
        [table] = [each for each in sweeps.blocks(connection, 1) if isinstance(each, Table)][:1]
    assert [row[0] for row in table.rows] == ["kernel’s own", "1", "16", "16", "sites"]


def test_no_cache_of_a_site_has_less_than_the_least(db: Path) -> None:
    """Simulated with a cache for each call site, of which no object is on an older slab."""
    least = {
        (cache, function): size
        for cache, function, size in ask(
            db,
            "SELECT cache, split_part(site, '+', 1), sum(least_bytes) FROM kmalloc_sites"
            " WHERE run = 1 GROUP BY ALL",
        )
    }
    found = ask(
        db,
        "SELECT split_part(cache, '@', 1), regexp_extract(cache, '@(.*)-', 1), sum(peak_bytes)"
        f" FROM kmalloc_memory WHERE run = {SITES} AND cache LIKE '%@%' AND slabs_made > 0"
        " GROUP BY ALL",
    )
    assert len(found) > 5
    for cache, function, peak in found:
        assert peak >= least[cache, function], (cache, function)


def _refused(trace: TraceSet, *given: str) -> str:
    with pytest.raises(UsageError) as error:
        check_for_trace(parse_settings(given), trace)
    return str(error.value)


def test_what_can_be_set(trace: TraceSet) -> None:
    for given in (
        ["kmalloc.partitions=16", "sheaf.capacity.kmalloc-part-15-64=8"],
        ["kmalloc.partitions=sites", "kmalloc.seed=3"],
        ["kernel=6.12", "kmalloc.partitions=16", "slab.cpu_partial.kmalloc-rnd-15-64=8"],
    ):
        check_for_trace(parse_settings(given), trace)
    assert "kmalloc-part-15-64" in _refused(trace, "sheaf.capacity.kmalloc-part-15-64=8")
    for wrong in ("15", "0", "", "many", "2048", "-1"):
        assert "must be one of 1, 2, 4" in _refused_text(f"kmalloc.partitions={wrong}")


def _refused_text(given: str) -> str:
    with pytest.raises(UsageError) as error:
        parse_settings([given])
    return str(error.value)


@pytest.fixture(scope="module")
def of_copies(tmp_path_factory: pytest.TempPathFactory) -> TraceSet:
    """The recording, as if its kernel had copies: by names in its snapshots."""
    folder = tmp_path_factory.mktemp("traces") / NAME
    shutil.copytree(ROOT / "traces" / NAME, folder)
    for file in folder.glob("snapshots/*/s*"):
        lines = file.read_text().splitlines()
        for line in list(lines):
            if found := re.match(r"kmalloc-([0-9]+k?) ", line):
                lines += [
                    f"kmalloc-part-{number:02}-{found[1]} {line[found.end() :]}"
                    for number in range(1, 16)
                ]
        file.write_text("\n".join([*lines, ""]))
    return TraceSet.open(folder)


def test_a_recorded_kernel_with_copies_is_simulated_with_them(
    tmp_path: Path, of_copies: TraceSet, db: Path
) -> None:
    own = tmp_path / "own.duckdb"
    recorded = replay_trace(of_copies, own, find_policies([]))
    for settings in ({}, {PARTITION_SEED: 5}, {PARTITIONS: 1}):
        simulate_run(of_copies, own, recorded, settings, window_rows=20_000)
    why = [what for (what,) in ask(own, "SELECT what_if FROM runs WHERE run > 1 ORDER BY run")]
    assert why == [None, None, "settings changed"]
    for run, same in ((2, SIXTEEN), (3, ANOTHER_SEED), (4, AS_IT_WAS)):
        of = "SELECT seq, path, slab, idx FROM placed_events WHERE run = {} ORDER BY seq"
        assert ask(own, of.format(run)) == ask(db, of.format(same))
    assert ask(own, "SELECT kmalloc_copies FROM quality") == [(15,)]
    assert ask(db, "SELECT kmalloc_copies FROM quality") == [(0,)]
    spread = ask(own, "SELECT kmalloc_sites_spread FROM placement_quality ORDER BY run")
    assert spread[0] == spread[1] > spread[2] == (0,)
    # The latest that is no what-if, a cache with its copies.
    made: Counter[str] = Counter()
    for name, slabs in ask(
        own,
        "SELECT name, slab_allocs FROM placed_caches JOIN caches USING (run, cache) WHERE run = 3",
    ):
        made[re.sub("-part-[0-9]+", "", name)] += slabs
    said = dict(ask(own, "SELECT cache, simulated_allocs FROM cache_summary"))
    assert len(said) > 20
    assert {name: slabs or 0 for name, slabs in said.items()} == {name: made[name] for name in said}


def test_it_is_validated_by_size_class(
    tmp_path: Path, of_copies: TraceSet, trace: TraceSet
) -> None:
    """The kernel's figures of a cache are those of it and its copies together."""
    figures = []
    for number, each in enumerate((trace, of_copies)):
        found = tmp_path / f"{number}.duckdb"
        assert not validate_traces([each.path], found, Progress()).failed
        figures.append(
            ask(
                found,
                "SELECT quantity, scope, kernel FROM validation WHERE kernel > 0 ORDER BY ALL",
            )
        )
    assert len(figures[0]) > 20
    assert figures[0] == figures[1]
