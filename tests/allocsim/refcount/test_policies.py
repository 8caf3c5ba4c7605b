"""Refcount policies: the test vector V8, what freezing saves, and files of the user's own."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from allocsim.recording.page_kinds import KIND_NAMES, PageKind
from allocsim.refcount.policies import (
    KERNELS,
    STAGES,
    parse_policy,
    policy_ops,
    policy_steps,
    shipped_policies,
)
from allocsim.refcount.use_steps import STEP_NAMES
from allocsim.toml_data.table import DataFileError


def _life(policy: str, own: str, kind: PageKind, pages: int = 1) -> tuple[int, int]:
    """Plain stores and locked instructions from allocation to free of one block."""
    ops = [op for op in policy_ops(shipped_policies()[policy], own) if op.page_kind == kind]
    assert [op.stage for op in ops] == list(STAGES)
    return (
        sum(op.plain + op.plain_per_page * pages for op in ops),
        sum(op.locked + op.locked_per_page * pages for op in ops),
    )


def _ends(policy: str, paths: str, kind: PageKind, pages: int = 1) -> tuple[int, int]:
    """Locked instructions of the same life, page tables apart: at least, at most."""
    _, locked = _life(policy, paths, kind, pages)
    ops = [op for op in policy_ops(shipped_policies()[policy], paths) if op.page_kind == kind]
    ranges = [(op.locked, op.locked_range) for op in ops if op.locked_range]
    low, high = (locked + sum(ends[at] - middle for middle, ends in ranges) for at in (0, 1))
    return low, high


# R1.9: life, its operations in 6.12 and in 7.2. The page table of V8 also when frozen. One
# life's figure must lie within the range where there is one.
@pytest.mark.parametrize(
    ("kind", "in_6_12", "in_7_2"),
    [
        (PageKind.SLAB, (1, 1), (0, 0)),
        (PageKind.LARGE_KMALLOC, (1, 1), (0, 0)),
        (PageKind.PAGE_TABLE, (1, 1), (1, 1)),
        (PageKind.VMALLOC, (1, 1), (1, 1)),
        (PageKind.KERNEL_STACK, (1, 1), (1, 1)),
        (PageKind.ANON, (1, 4), (1, 5)),
        # On 6.12 one store more than S: the unfreeze (Z) on the way out of the pool, for good. On
        # both Z and T-1 each time the pool hands it out (10b), once in the tables.
        (PageKind.HUGETLB, (3, 3), (1, 1)),
        (PageKind.PAGE_CACHE, (1, 8), (1, 9)),
    ],
    ids=lambda value: KIND_NAMES[value] if isinstance(value, PageKind) else None,
)
def test_v8(kind: PageKind, in_6_12: tuple[int, int], in_7_2: tuple[int, int]) -> None:
    for policy, paths, (plain, locked) in (
        ("linux-6.12", "linux-6.12", in_6_12),
        ("linux-7.2", "linux-7.2", in_7_2),
    ):
        low, high = _ends(policy, paths, kind)
        assert _life(policy, paths, kind)[0] == plain
        assert low <= locked <= high
        assert (low == high) == (kind not in {PageKind.ANON, PageKind.PAGE_CACHE, PageKind.HUGETLB})


def test_thp_is_priced_by_rule_3d_whatever_its_size() -> None:
    for pages in (1, 512):  # by the rule, and once more for each fork
        assert _ends("linux-6.12", "linux-6.12", PageKind.THP, pages) == (3, 5)
        assert _ends("linux-7.2", "linux-7.2", PageKind.THP, pages) == (4, 6)


def test_a_range_has_its_middle_in_whole_instructions() -> None:
    policy = parse_policy(
        """
        name = "ranges"
        base = "recorded"
        [refcounted.pipe.use]
        locked = [2, 5]
        locked_per_table = [1, 4]
        [refcounted.anon.use]
        locked_per_table = 2
        """,
        "ranges.toml",
    )
    pipe, anon = (policy.tables["refcounted", kind, "use"] for kind in ("pipe", "anon"))
    assert (pipe.locked, pipe.locked_range, pipe.locked_per_table) == (3, (2, 5), (1, 4))
    assert (anon.locked, anon.locked_range, anon.locked_per_table) == (0, None, (2, 2))


def test_vmalloc_is_counted_page_by_page() -> None:
    assert _life("linux-7.2", "linux-7.2", PageKind.VMALLOC, pages=4) == (4, 4)


@pytest.mark.parametrize("own", KERNELS)
def test_own_kernel_is_the_baseline_but_for_what_it_freezes(own: str) -> None:
    frozen = shipped_policies()[own].freeze
    for kind in PageKind:
        life = _life(own, own, kind)
        counted = _life("refcounted", own, kind)
        if KIND_NAMES[kind] in frozen and kind != PageKind.HUGETLB:
            assert life == (0, 0) != counted
        else:
            assert life == counted


@pytest.mark.parametrize("own", KERNELS)
@pytest.mark.parametrize("name", ["frozen-page-tables", "everything-freezable"])
def test_freezing_changes_frozen_kinds_and_no_others(name: str, own: str) -> None:
    freeze = shipped_policies()[name].freeze
    for kind in PageKind:
        now, counted = _life(name, own, kind), _life("refcounted", own, kind)
        if KIND_NAMES[kind] in freeze and kind != PageKind.HUGETLB:
            assert now == (0, 0)
        else:
            assert now == counted


def test_each_policy_freezes_what_the_one_before_it_does() -> None:
    names = ("refcounted", *KERNELS, "frozen-page-tables", "everything-freezable")
    assert tuple(shipped_policies()) == names
    frozen = [shipped_policies()[name].freeze for name in names]
    assert all(less <= more for less, more in pairwise(frozen))


@pytest.mark.parametrize("own", KERNELS)
@pytest.mark.parametrize("name", list(shipped_policies()))
def test_every_stage_says_where_it_is_from(name: str, own: str) -> None:
    for op in policy_ops(shipped_policies()[name], own):
        assert op.rule
        assert op.source
        assert bool(op.entry) == bool(op.depth) == (op.stage != "use")


@pytest.mark.parametrize("name", KERNELS)
def test_no_rule_of_a_kernel_is_cited_from_a_newer_one(name: str) -> None:
    def version(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")))

    policy = shipped_policies()[name]
    own = version(name.removeprefix("linux-"))
    rows = [*policy_ops(policy, name), *policy_steps(policy, name)]
    for cited in re.findall(r"\((\d\.\d+)\)", " ".join(row.source for row in rows)):
        # 7.0's source was not at hand: rules that 7.1 still has, and that 7.0's image shows.
        assert version(cited) <= own or (name, cited) == ("linux-7.0", "7.1")


# What a block costs from allocation to free, its use left out: plain stores, locked instructions.
@pytest.mark.parametrize(
    ("kernel", "slab", "large_kmalloc", "hugetlb"),
    [
        ("linux-6.12", (1, 1), (1, 1), (2, 2)),
        ("linux-6.14", (0, 0), (1, 1), (2, 2)),
        ("linux-6.16", (0, 0), (1, 1), (1, 1)),
        ("linux-6.17", (0, 0), (0, 0), (1, 1)),
        ("linux-6.18", (0, 0), (0, 0), (1, 1)),
        ("linux-7.0", (0, 0), (0, 0), (0, 0)),
        ("linux-7.2", (0, 0), (0, 0), (0, 0)),
        ("linux-7.3", (0, 0), (0, 0), (0, 0)),
    ],
)
def test_what_each_kernel_freezes(
    kernel: str, slab: tuple[int, int], large_kmalloc: tuple[int, int], hugetlb: tuple[int, int]
) -> None:
    ops = policy_ops(shipped_policies()[kernel], kernel)
    wanted = {PageKind.SLAB: slab, PageKind.LARGE_KMALLOC: large_kmalloc, PageKind.HUGETLB: hugetlb}
    for kind, counts in wanted.items():
        ends = [op for op in ops if op.page_kind == kind and op.stage != "use"]
        assert (sum(op.plain for op in ends), sum(op.locked for op in ends)) == counts, kind


def test_a_folio_put_on_the_lru_costs_a_failed_freeze_more_from_7_2_on() -> None:
    """The steps and the figures in use, where no page_ref events tell, say the same."""
    for own in ("linux-6.12", "linux-6.18", "linux-7.0"):
        more = {
            step.step: step.locked_more
            for step in policy_steps(shipped_policies()["linux-7.2"], own)
        }
        assert more["lru_insertion"] == 1
        for kind in (PageKind.ANON, PageKind.THP, PageKind.PAGE_CACHE, PageKind.SHMEM):
            assert _ends("linux-7.2", own, kind)[0] == _ends(own, own, kind)[0] + 1


@pytest.mark.parametrize(
    ("policy", "own", "more"),
    [
        ("linux-7.2", "linux-6.12", (1, -2, -1)),
        ("linux-6.18", "linux-6.14", (0, -2, -1)),
        ("linux-6.12", "linux-7.3", (-1, 2, 1)),
        ("linux-7.2", "linux-7.2", (0, 0, 0)),
        ("refcounted", "linux-7.2", (0, 0, 0)),
        ("everything-freezable", "linux-6.12", (0, 0, 0)),
    ],
)
def test_what_another_kernel_does_more_in_each_step(
    policy: str, own: str, more: tuple[int, ...]
) -> None:
    steps = policy_steps(shipped_policies()[policy], own)
    assert tuple(step.locked_more for step in steps) == more
    assert tuple(step.step for step in steps) == STEP_NAMES
    assert all(step.rule and step.source for step in steps)


def test_a_policy_of_the_user_s_own() -> None:
    policy = parse_policy(
        """
        name = "pipes"
        base = "recorded"
        freeze = ["pipe"]
        [refcounted.slab.use]
        locked = 2
        locked_per_page = 1
        """,
        "pipes.toml",
    )
    ops = {(op.page_kind, op.stage): op for op in policy_ops(policy, "linux-7.2")}
    assert (policy.name, policy.source) == ("pipes", "pipes.toml")
    assert ops[PageKind.PIPE, "free"].frozen
    assert ops[PageKind.PIPE, "free"].entry == "free_frozen_pages"
    assert (ops[PageKind.SLAB, "use"].locked, ops[PageKind.SLAB, "use"].locked_per_page) == (2, 1)
    assert ops[PageKind.SLAB, "free"].locked == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'name = "x"\nbase = "recorded"\n[refcounted.pipe.use]\nlocked = [5, 2]',
            "line 4: refcounted.pipe.use.locked: a count, 0 or more, is wanted, or [low, high]",
        ),
        (
            'name = "x"\nbase = "recorded"\n[refcounted.pipe.use]\nlocked_per_table = [1]',
            "refcounted.pipe.use.locked_per_table: [1]: a list of at least 2 is wanted",
        ),
        (
            'name = "x"\nbase = "recorded"\n[refcounted.pipe.free]\nlocked = [1, 2]',
            "refcounted.pipe.free.locked: [1, 2]: a count from 0 to",
        ),
        ("name =", "p.toml: not valid TOML"),
        ('base = "recorded"', "p.toml: line 1: the key name is missing"),
        ("name = 3", "p.toml: line 1: name: 3: a text in quotes is wanted"),
        ('name = "a b"', "1 to 100 letters, digits and . _ - are wanted"),
        (
            'name = "x"',
            "p.toml: line 1: neither base nor [refcounted.any.alloc] is given: set base to",
        ),
        ('name = "x"\nbase = "7.2"', "line 2: base: '7.2': allowed: recorded, linux-6.12"),
        ('name = "x"\nbase = "recorded"\nfreeze = "slab"', "freeze: 'slab': a list is wanted"),
        (
            'name = "x"\nbase = "recorded"\nfreeze = ["pipes"]',
            "freeze[0]: 'pipes': one of unknown, slab",
        ),
        ('name = "x"\nbase = "recorded"\nfrozen = ["slab"]', "frozen: ['slab']: a table is"),
        (
            'name = "x"\nbase = "recorded"\n[steps.swap]',
            "steps.swap: no such key; keys here: lru_insertion",
        ),
        (
            'name = "x"\nbase = "recorded"\n[steps.lru_insertion]\nlocked = "1"',
            "steps.lru_insertion.locked: '1': a count from 0 to",
        ),
        (
            'name = "x"\nbase = "recorded"\ncolour = 1',
            "line 3: colour: no such key; keys here: name",
        ),
        (
            'name = "x"\nbase = "recorded"\n[frozen.slab.alloc]\nplain = -1',
            "frozen.slab.alloc.plain: -1: a count from 0 to",
        ),
        (
            'name = "x"\nbase = "recorded"\n[frozen.slab.alloc]\nplain = true',
            "frozen.slab.alloc.plain: True: a count from 0 to",
        ),
        (
            'name = "x"\nbase = "recorded"\n[frozen.slab.alloc]\nentry = 1',
            "frozen.slab.alloc.entry: 1: a text in quotes is wanted",
        ),
        (
            'name = "x"\nbase = "recorded"\n[frozen.slab.end]\nplain = 1',
            "frozen.slab.end: no such key; keys here: alloc, use, free",
        ),
        (
            'name = "x"\nbase = "recorded"\n[frozen.pipes.use]',
            "line 3: frozen.pipes: no such key; did you mean pipe? keys here: any",
        ),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(DataFileError) as error:
        parse_policy(text, "p.toml")
    assert says in str(error.value)
    assert str(error.value).startswith("p.toml: ")
    assert "\n" not in str(error.value)
