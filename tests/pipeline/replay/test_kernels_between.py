"""Recordings of 6.16 and 6.18, between the kernels whose rules the model has (tests/data).

What the kernel did is taken from its call stacks, its sysfs and trace-cmd's counts of its events.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from allocsim.initial_state.sysfs_slab import parse_sysfs_slab
from allocsim.kernels.profile import LINUX_6_12, LINUX_6_18, PROFILES
from allocsim.kernels.release import Generation, kernel_of
from allocsim.kernels.settings import KERNEL
from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.policies import policy_ops, shipped_policies
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT
from tests.oracle.whole_path import WHOLE, WholePath, ask

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.kernels.profile import Profile

pytestmark = pytest.mark.slow

DATA = ROOT / "tests" / "data"
NAMES = ("6.16-mixed", "6.18-mixed")

# Since 6.14 these give a page its count, behind the allocator proper, __alloc_frozen_pages_noprof
# (mm/page_alloc.c:__alloc_pages_noprof, __folio_alloc_noprof; mm/mempolicy.c:alloc_pages_noprof,
# folio_alloc_mpol_noprof, in vma_alloc_folio_noprof). A page that none of them allocated is frozen.
COUNTING = (
    *("__alloc_pages_noprof", "__folio_alloc_noprof"),
    *("alloc_pages_noprof", "folio_alloc_mpol_noprof", "vma_alloc_folio_noprof"),
)
FROZEN = {
    "6.16-mixed": {"slab", "hugetlb"},
    # mm/slub.c:___kmalloc_large_node takes frozen pages since 6.17.
    "6.18-mixed": {"slab", "hugetlb", "large_kmalloc"},
}
# What allocates in its sheaves' name, and what for a CPU's slab: mm/slub.c (6.16.12, 6.18.15).
SHEAVES = {
    "kmem_cache_prefill_sheaf", "kmem_cache_refill_sheaf", "__pcs_replace_empty_main",
    "__kmem_cache_alloc_bulk",
}  # fmt: skip
SHEAVED = {"6.16-mixed": set(), "6.18-mixed": {"maple_node", "vm_area_struct"}}
COUNTED = {"page_table", "anon", "pipe", "tlb_batch", "skb_frag", "shmem"}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both recordings, run 1 and run 2."""
    path = tmp_path_factory.mktemp("db") / "results.duckdb"
    for name in NAMES:
        replay_trace(TraceSet.open(DATA / name), path, find_policies([]))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_event_that_trace_cmd_counts_is_there(name: str) -> None:
    trace = TraceSet.open(DATA / name)
    truth = json.loads((DATA / name / "truth.json").read_text("utf-8"))
    stacks = truth["events"].pop("kernel_stack")
    events = trace.meta["events"] | {
        # Large kmallocs are traced twice (T3); import keeps one event of each.
        "kmalloc": trace.meta["events"]["kmalloc"] + trace.meta["dropped"]["large_kmalloc_repeats"]
    }
    assert events == truth["events"]
    assert events["mm_page_alloc"] == stacks
    assert sum(events.values()) + stacks == truth["events_total"] > 30_000
    assert truth["lost_events"] == sum(trace.meta["lost"]["per_cpu"].values()) == 0
    assert trace.meta["direct_map"]["base"] == int(truth["direct_map_base"], 16)


@pytest.mark.parametrize("name", NAMES)
def test_call_stacks_say_which_pages_are_frozen(db: Path, name: str) -> None:
    found: dict[str, set[bool]] = {}
    pages = ask(
        db,
        "SELECT page_kind, frames FROM pages"
        f" JOIN stacks USING (run, stack) WHERE run = {NAMES.index(name) + 1}",
    )
    for kind, frames in pages:
        functions = {frame.partition("+")[0] for frame in frames.split(";")}
        assert "__alloc_frozen_pages_noprof" in functions
        found.setdefault(kind, set()).add(functions.isdisjoint(COUNTING))
    assert {kind for kind, frozen in found.items() if frozen == {True}} == FROZEN[name]
    assert {kind for kind, frozen in found.items() if frozen == {False}} >= COUNTED


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_s_own_policy_freezes_what_its_call_stacks_do(db: Path, name: str) -> None:
    kernel = kernel_of(TraceSet.open(DATA / name).meta["kernel_release"])
    version = name.partition("-")[0]
    assert (kernel.policy, kernel.policy_note) == (f"linux-{version}", "")
    ops = policy_ops(shipped_policies()[kernel.policy], kernel.policy)
    frozen = {KIND_NAMES[op.page_kind] for op in ops if op.stage == "alloc" and op.frozen}
    assert frozen == FROZEN[name]
    own = ask(db, "SELECT own_policy FROM runs ORDER BY run")
    assert own[NAMES.index(name)] == (kernel.policy,)


@pytest.mark.parametrize("name", NAMES)
def test_caches_that_fill_sheaves_are_those_that_sysfs_gives_a_capacity(
    db: Path, name: str
) -> None:
    """6.16 has CPU slabs alone; on 6.18 two caches ask for sheaves, whose slabs fill them."""
    facts = parse_sysfs_slab((DATA / name / "snapshots/before/sysfs_slab.txt").read_text("utf-8"))
    assert {cache for cache, fact in facts.items() if fact.sheaf_capacity} == SHEAVED[name]
    slub = kernel_of(TraceSet.open(DATA / name).meta["kernel_release"]).slub
    assert slub is (Generation.SHEAVES_ASKED if SHEAVED[name] else Generation.CPU_SLABS)
    slabs = ask(
        db,
        "SELECT caches.name, frames FROM page_caches JOIN pages USING (run, page)"
        " JOIN caches ON caches.run = pages.run AND caches.cache = page_caches.cache"
        f" JOIN stacks USING (run, stack) WHERE pages.run = {NAMES.index(name) + 1}",
    )
    assert len(slabs) > 70
    for cache, frames in slabs:
        functions = set(frames.split(";"))
        assert {"___slab_alloc", "allocate_slab"} <= functions
        assert functions.isdisjoint(SHEAVES) == (cache not in SHEAVED[name]), cache


@pytest.mark.parametrize("kernel", [each.code for each in PROFILES])
@pytest.mark.parametrize("name", NAMES)
def test_every_event_slab_and_counter_is_the_oracles(
    tmp_path: Path, name: str, kernel: int
) -> None:
    whole = WholePath(TraceSet.open(DATA / name), tmp_path, settings={KERNEL: kernel})
    wanted, _ = whole.oracle()
    assert len(wanted.events) > 20_000
    for rows in (WHOLE, 1_000):
        assert whole.model(rows).differences(wanted) == []


@pytest.mark.parametrize(
    ("name", "profile", "slabs"),
    [
        ("6.16-mixed", LINUX_6_12, (71, 36)),
        ("6.18-mixed", LINUX_6_12, (59, 24)),
        ("6.18-mixed", LINUX_6_18, (59, 24)),
    ],
    ids=["6.16 as 6.12", "6.18 as 6.12", "6.18"],
)
def test_cpu_slabs_make_and_free_the_slabs_that_the_kernel_did(
    db: Path, tmp_path: Path, name: str, profile: Profile, slabs: tuple[int, int]
) -> None:
    """Cache by cache, to the last slab, but for those that have sheaves."""
    run = NAMES.index(name) + 1
    names = dict(ask(db, f"SELECT cache, name FROM caches WHERE run = {run}"))
    kernel = {
        cache: (made, freed)
        for cache, made, freed in ask(
            db,
            "SELECT name, count(*), count(free_seq) FROM page_caches JOIN pages USING (run, page)"
            " JOIN caches ON caches.run = pages.run AND caches.cache = page_caches.cache"
            f" WHERE pages.run = {run} AND alloc_seq IS NOT NULL GROUP BY name",
        )
    }
    whole = WholePath(TraceSet.open(DATA / name), tmp_path, settings={KERNEL: profile.code})
    model: dict[str, tuple[int, int]] = {}
    for cache, _, _, alloc_seq, free_seq in whole.model(WHOLE).slabs.values():
        if alloc_seq >= 0 and names.get(cache) in kernel:
            made, freed = model.get(names[cache], (0, 0))
            model[names[cache]] = made + 1, freed + (free_seq >= 0)
    without = {cache: counts for cache, counts in kernel.items() if cache not in SHEAVED[name]}
    assert tuple(map(sum, zip(*without.values(), strict=True))) == slabs
    assert {cache: counts for cache, counts in model.items() if cache in without} == without
