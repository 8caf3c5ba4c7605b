"""On recordings with page_ref events: what the model says is what the kernel counted.

``truth.json`` has the tallies, made by another program from the same recordings: allocations,
ended lives and operations for each kind of page.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from allocsim.kernels.release import kernel_of
from allocsim.recording.page_kinds import KIND_NAMES, PageKind
from allocsim.refcount.policies import STAGES, policy_ops, shipped_policies
from allocsim.trace.events import Ev
from tests.allocsim.replayed import Replayed, replay, replayed
from tests.conftest import recordings

if TYPE_CHECKING:
    from allocsim.tables import Columns

pytestmark = pytest.mark.slow

_NONE = pytest.param(Path("none"), marks=pytest.mark.skip(reason="no recordings at hand"))
_PAGE_REF = [pytest.param(path, id=path.name) for path in recordings("*-gt")] or [_NONE]

# The tallies' kinds in ours. They know kernel stacks as vmalloc, and split the pages of
# page faults by the function that took them.
_KINDS_OF = {
    "slab": (PageKind.SLAB,),
    "large_kmalloc": (PageKind.LARGE_KMALLOC,),
    "pagetable": (PageKind.PAGE_TABLE,),
    "anon": (PageKind.ANON,),
    "thp_anon": (PageKind.THP,),
    "pagecache": (PageKind.PAGE_CACHE,),
    "shmem": (PageKind.SHMEM,),
    "pipe_buf": (PageKind.PIPE,),
    "skb_frag": (PageKind.SKB_FRAG,),
    "tlb_batch": (PageKind.TLB_BATCH,),
    "vmalloc": (PageKind.VMALLOC, PageKind.KERNEL_STACK),
    "get_free_pages": (PageKind.GET_FREE_PAGES, PageKind.PAGES_EXACT),
    "sheaf/percpu": (PageKind.PER_CPU,),
    "other": (PageKind.OTHER, PageKind.RING_BUFFER),
}
_OURS = {"anon_fault(inlined)": "anon", "cow_anon": "anon"}
# The tallies have among the others: page tables of split kernel mappings
# (arch/x86/mm/pat/set_memory.c:split_large_page), and one of the two forms of alloc_pages_exact.
_AMONG_OTHERS = ("__change_page_attr_set_clr", "alloc_pages_exact_nid")
# Kinds that take no reference in use: their lives have the operations of their two ends only.
_EXACTLY_TWO = (
    PageKind.SLAB,
    PageKind.LARGE_KMALLOC,
    PageKind.PAGE_TABLE,
    PageKind.PIPE,
    PageKind.TLB_BATCH,
)


def _tally_of(done: Replayed) -> npt.NDArray[np.str_]:
    """The tallies' kind of each page life."""
    name_of = {kind: name for name, kinds in _KINDS_OF.items() for kind in kinds}
    kinds = np.array([name_of.get(kind, "unknown") for kind in PageKind])
    names = kinds[done.pages["page_kind"]]
    for stack, frames in enumerate(done.recording.stacks):
        if any(frame.startswith(_AMONG_OTHERS) for frame in frames):
            names[done.pages["stack"] == stack] = "other"
    return names


def _own_policy(done: Replayed) -> dict[str, Columns]:
    """Of the recorded kernel's policy, each column by kind, for each stage."""
    own = kernel_of(done.recording.release).policy
    ops = policy_ops(shipped_policies()[own], own)
    names = ("plain", "locked", "plain_per_page", "locked_per_page", "frozen")
    return {
        stage: {
            name: np.array([getattr(op, name) for op in ops if op.stage == stage]) for name in names
        }
        for stage in STAGES
    }


@pytest.fixture(scope="module", params=_PAGE_REF)
def done(request: pytest.FixtureRequest) -> Replayed:
    return replayed(request.param)


def test_each_kind_has_the_tallied_allocations_pages_ends_and_operations(done: Replayed) -> None:
    if "page_ref_truth" not in done.truth:
        pytest.skip("no tallies of this recording")
    want: Counter[tuple[str, str]] = Counter()
    for name, tally in done.truth["page_ref_truth"]["kinds"].items():
        ours = _OURS.get(name, name)
        want[ours, "allocs"] += tally["allocs"]
        want[ours, "pages"] += tally["pages"]
        want[ours, "ended"] += tally["closed"] + tally["split"]
        want[ours, "ops"] += tally["ops_all"]
    pages = done.pages
    names = _tally_of(done)
    got: Counter[tuple[str, str]] = Counter()
    for name in np.unique(names):
        of_kind = (names == name) & (pages["alloc_seq"] >= 0)
        got[name, "allocs"] = int(of_kind.sum())
        got[name, "pages"] = int((1 << pages["order"][of_kind]).sum())
        got[name, "ended"] = int((pages["free_seq"][of_kind] >= 0).sum())
        got[name, "ops"] = int((pages["ref_plain"] + pages["ref_locked"])[of_kind].sum())
    assert +got == +want


def test_the_direct_map_begins_where_the_kernel_says(done: Replayed) -> None:
    assert done.meta["direct_map"]["base"] == int(done.truth["direct_map_base"], 16)


def test_every_recorded_operation_is_accounted_to_one_life(done: Replayed) -> None:
    code = done.columns["event"]
    refs = (code >= Ev.PAGE_REF_SET) & (code <= Ev.PAGE_REF_UNFREEZE)
    plain = np.isin(code, (Ev.PAGE_REF_SET, Ev.PAGE_REF_UNFREEZE))
    refused = (code == Ev.PAGE_REF_MOD_UNLESS) & (done.columns["ret"] == 0)
    assert done.pages["ref_plain"].sum() == plain.sum() == done.rows["plain_ops"].sum()
    locked = (refs & ~plain & ~refused).sum()
    assert done.pages["ref_locked"].sum() == locked == done.rows["locked_ops"].sum()
    assert (done.rows["page"][refs] >= 0).all()


def test_own_policy_predicts_the_operations_of_every_life(done: Replayed) -> None:
    """Allocation and free from the policy, use as recorded: to the last one, half lives too."""
    pages, policy = done.pages, _own_policy(done)
    kind = pages["page_kind"]
    alloc = {name: values[kind] for name, values in policy["alloc"].items()}
    free = {name: values[kind] for name, values in policy["free"].items()}
    begun, ended = pages["alloc_ts"] >= 0, pages["free_seq"] >= 0
    block = 1 << pages["order"].astype(np.int64)
    plain = begun * (alloc["plain"] + alloc["plain_per_page"] * block)
    locked = ended * free["locked"] + free["locked_per_page"] * pages["pages_freed"]
    wrong = (pages["ref_plain"] - pages["ref_use_plain"] != plain) | (
        pages["ref_locked"] - pages["ref_use_locked"] != locked
    )
    # Drivers that split_page a block of theirs set a count for each page: two in all recordings.
    wrong &= kind != PageKind.OTHER
    assert not {name: values[wrong].tolist() for name, values in pages.items() if wrong.any()}


@pytest.mark.parametrize("kind", _EXACTLY_TWO, ids=lambda kind: KIND_NAMES[kind])
def test_kinds_without_references_in_use_have_their_two_operations_or_none(
    done: Replayed, kind: PageKind
) -> None:
    pages = done.pages
    lives = pages["page_kind"] == kind
    counted = not (kind in {PageKind.SLAB, PageKind.LARGE_KMALLOC} and "7.2" in done.truth["name"])
    begun = (pages["alloc_ts"] >= 0)[lives]
    ended = (pages["free_seq"] >= 0)[lives]
    assert (pages["ref_plain"][lives] == begun * counted).all()
    assert (pages["ref_locked"][lives] == ended * counted).all()
    assert _own_policy(done)["alloc"]["frozen"][kind] != counted


def test_results_do_not_depend_on_the_window(done: Replayed) -> None:
    rows, pages, final = replay(done.columns, done.recording, window=99_991)
    for name, values in rows.items():
        assert np.array_equal(values, done.rows[name]), name
    for name, values in pages.items():
        assert np.array_equal(values, done.pages[name]), name
    assert final.counts == done.final.counts
    assert final.caches == done.final.caches
