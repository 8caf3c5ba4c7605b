"""Descriptors' own allocations, live and pre-trace blocks, against the plain version."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.memdesc.descriptor_caches import (
    DescriptorOutcome,
    DescriptorRequests,
    DescriptorSlabs,
)
from allocsim.memdesc.live_blocks import LiveBlocks
from allocsim.memdesc.pre_trace_blocks import FirstTouched, pre_trace_blocks
from allocsim.memdesc.schemes import shipped_schemes
from allocsim.recording.kpageflags import blocks_of_flags
from allocsim.recording.page_kinds import PageKind
from tests.conftest import examples
from tests.oracle.descriptors import Block, Descriptors, live_at, opening

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEME = shipped_schemes()["memdesc-8"]
SLAB = next(n for n, each in enumerate(SCHEME.descriptors) if PageKind.SLAB in each.kinds)
SLICE, SLICES = 100, 7
LENGTH = SLICE * SLICES

#: A request: CPU, descriptor (allocations), which live block to end (frees; -1: allocate).
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0, 1, SLAB, 3]), st.integers(-3, 40)),
    max_size=400,
)


def _requests(
    pre_trace: list[int], steps: Sequence[tuple[int, int, int]], burst: int
) -> list[tuple[int, int, int, int]]:
    """CPU, descriptor, op, handle; every allocation is ``burst`` of them."""
    live = list(enumerate(pre_trace))
    made, handle = [], len(pre_trace)
    for cpu, descriptor, which in steps:
        if which < 0 or not live:
            for _ in range(burst):
                made.append((cpu, descriptor, 1, handle))
                live.append((handle, descriptor))
                handle += 1
        else:
            ended, of = live.pop(which % len(live))
            made.append((cpu, of, -1, ended))
    return made


def _model(
    pre_trace: list[int], made: list[tuple[int, int, int, int]], windows: int
) -> DescriptorOutcome:
    model = DescriptorSlabs(SCHEME, 2, 0, LENGTH - 1, SLICE)
    model.begin(np.array(pre_trace, np.int64))
    columns = np.array(made, np.int64).reshape(-1, 4).T
    ts = np.arange(len(made)) * LENGTH // max(len(made), 1)
    for rows in np.array_split(np.arange(len(made)), windows):
        cpu, descriptor, op, handle = (column[rows] for column in columns)
        model.window(DescriptorRequests(ts[rows], cpu, descriptor, op.astype(np.int8), handle))
    return model.finish()


def _plainly(
    plain: Descriptors, pre_trace: list[int], made: list[tuple[int, int, int, int]]
) -> tuple[int, int]:
    """Most slab pages ever held, and pages, each times how long it was held."""
    for number, descriptor in enumerate(pre_trace):
        plain.request(-1, (0, descriptor, 1, number), pre_trace=True)
    total = sum(way << order for _, _, order, way in plain.pages)
    peak, page_ns, since = total, 0, 0
    for number, request in enumerate(made):
        now, seen = number * LENGTH // len(made), len(plain.pages)
        page_ns, since = page_ns + total * (now - since), now
        plain.request(number, request, pre_trace=False)
        for _, _, order, way in plain.pages[seen:]:
            total += way << order
            peak = max(peak, total)
    return peak, page_ns + total * (LENGTH - 1 - since)


@examples(25)
@given(st.lists(st.sampled_from([0, SLAB, 3]), max_size=200), STEPS, st.sampled_from([1, 7, 90]))
def test_like_the_plain_version_whatever_the_windows(
    pre_trace: list[int], steps: list[tuple[int, int, int]], burst: int
) -> None:
    made = _requests(pre_trace, steps, burst)
    got = _model(pre_trace, made, 1)
    plain = Descriptors(got.shapes, SLAB)
    peak, page_ns = _plainly(plain, pre_trace, made)
    held = Counter[int]()
    for _, cache, order, way in plain.pages:
        held[cache] += way << order
    for cache in range(len(got.shapes)):
        assert got.objects[cache, -1] == plain.live[cache]
        assert got.pages[cache, -1] == held[cache]
        assert got.counts["fast"][cache] == plain.fast[cache]
    for name, way in (("own_allocs", 1), ("own_frees", -1)):
        assert got.counts[name].sum() == got.counts[name][SLAB] == plain.derived[0, way]
    assert got.settled
    assert got.peak_pages == peak
    # Held for as long as in the plain version: every slab was made and freed at the same moment.
    assert got.mean_pages == page_ns / (LENGTH - 1)
    for windows in (2, 5, 40):
        several = _model(pre_trace, made, windows)
        for name in ("objects", "slabs", "pages"):
            assert np.array_equal(getattr(got, name), getattr(several, name))
        for name, counts in got.counts.items():
            assert counts.tolist() == several.counts[name].tolist(), name
        for name in ("mean_pages", "peak_pages", "peak_ts", "settled"):
            assert getattr(got, name) == getattr(several, name)


def test_every_slab_of_descriptors_has_a_descriptor() -> None:
    rng = np.random.default_rng(7)
    steps = [(int(c), int(d), int(w)) for c, d, w in rng.integers((0, 0, -2), (2, 4, 30), (900, 3))]
    got = _model([0] * 5000 + [SLAB] * 300, _requests([], [], 1), 1)
    assert got.objects[SLAB, -1] == 300 + got.slabs[:, -1].sum()
    made = _requests([], steps, 60)
    got = _model([], made, 3)
    asked = np.cumsum([op if descriptor == SLAB else 0 for _, descriptor, op, _ in made])
    for moment in range(1, SLICES + 1):
        last = np.searchsorted(np.arange(len(made)) * LENGTH // len(made), moment * SLICE) - 1
        assert got.objects[SLAB, moment] == asked[last] + got.slabs[:, moment].sum()
    pages = got.pages.sum(axis=0)
    assert got.peak_pages >= pages.max()
    assert pages[1:].min() <= got.mean_pages <= got.peak_pages


LIFE = st.tuples(
    st.integers(0, 60),  # first frame
    st.integers(0, 3),  # order
    st.sampled_from([PageKind.UNKNOWN, PageKind.SLAB, PageKind.ANON, PageKind.PIPE]),
    st.integers(-1, LENGTH - 1),  # start
    st.integers(-1, LENGTH - 1),  # end
    st.booleans(),
)
BLOCKS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 3), st.sampled_from([0, 1 << 7, 1 << 12 | 1 << 5])),
    unique_by=lambda block: block[0],
    max_size=8,
).map(sorted)


def _lives(drawn: list[tuple[Any, ...]]) -> list[dict[str, int]]:
    names = ("pfn", "order", "kind", "start", "end", "charged")
    lives = [dict(zip(names, values, strict=True)) | {"page": n} for n, values in enumerate(drawn)]
    for life in lives:
        life["pfn"] = life["pfn"] >> life["order"] << life["order"]
        if 0 <= life["end"] < life["start"]:
            life["end"] = -1
    return lives


def _columns(lives: list[dict[str, int]]) -> dict[str, np.ndarray[Any, Any]]:
    names = ("page", "pfn", "order", "kind", "start", "end", "charged")
    return {name: np.array([life[name] for life in lives], np.int64) for name in names}


@given(st.lists(LIFE, max_size=40))
def test_live_blocks_are_those_begun_and_not_ended(drawn: list[tuple[Any, ...]]) -> None:
    lives = _lives(drawn)
    live = LiveBlocks(0, SLICE, SLICES)
    live.add(_columns(lives))
    rows = live.rows()
    wanted = live_at(lives, [-1, *(SLICE * (n + 1) - 1 for n in range(SLICES))])
    got = [Counter[tuple[int, int, int]]() for _ in wanted]
    for moment, *group, blocks in zip(
        *(rows[name].tolist() for name in ("moment", "page_kind", "order", "charged", "blocks")),
        strict=True,
    ):
        got[moment][tuple(group)] += blocks
    assert [+count for count in got] == wanted


def _flags(blocks: list[tuple[int, int, int]]) -> np.ndarray[Any, Any]:
    """Words of 64 frames with compound blocks at multiples of 8."""
    words = np.zeros(64, np.uint64)
    for place, order, word in blocks:
        words[8 * place : 8 * place + (1 << order)] = word | 1 << 16
        words[8 * place] = word
    return words


def _shown(blocks: list[tuple[int, int, int]] | None) -> list[Block] | None:
    kinds = {1 << 7: PageKind.SLAB, 1 << 12 | 1 << 5: PageKind.ANON}
    if blocks is None:
        return None
    return [(8 * place, order, kinds[word]) for place, order, word in blocks if word]


@given(st.lists(LIFE, max_size=12), st.none() | BLOCKS, st.none() | BLOCKS)
def test_blocks_older_than_the_trace_like_the_plain_version(
    drawn: list[tuple[Any, ...]],
    before: list[tuple[int, int, int]] | None,
    after: list[tuple[int, int, int]] | None,
) -> None:
    lives = _lives(drawn)
    touched = FirstTouched(64)
    touched.add(_columns(lives))
    got = pre_trace_blocks(
        touched,
        None if before is None else _flags(before),
        None if after is None else _flags(after),
    )
    known, unsure, gone = opening(lives, _shown(before), _shown(after))
    for columns, wanted in ((got.known, known), (got.unsure, unsure)):
        found = zip(*(columns[name].tolist() for name in ("pfn", "order", "kind")), strict=True)
        assert Counter(found) == Counter(wanted)
    assert got.gone == gone


def test_blocks_of_flags_by_hand() -> None:
    slab, head, tail, buddy, reserved = 1 << 7, 1 << 15, 1 << 16, 1 << 10, 1 << 32
    lru, anon, swapbacked, table = 1 << 5, 1 << 12, 1 << 14, 1 << 26
    words = [
        slab | head | anon,  # mapping is another user's word there
        slab | tail | anon,
        buddy,
        lru,
        lru | swapbacked,
        lru | swapbacked | anon,
        table | 1 << 2,
        0,
        reserved | 1 << 11,
    ]
    blocks = blocks_of_flags(np.array(words, np.uint64))
    assert blocks["pfn"].tolist() == [0, 3, 4, 5, 6]
    assert blocks["order"].tolist() == [1, 0, 0, 0, 0]
    assert blocks["kind"].tolist() == [
        PageKind.SLAB,
        PageKind.PAGE_CACHE,
        PageKind.SHMEM,
        PageKind.ANON,
        PageKind.PAGE_TABLE,
    ]
