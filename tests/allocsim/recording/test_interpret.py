"""The vectorised replay gives what the plain one gives, row for row, for any cut into windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.release import GFP_BITS
from allocsim.recording.cache_names import KMALLOC_CLASSES
from allocsim.recording.interpret import RecordingFacts, Replay
from allocsim.recording.page_kinds import (
    GFP_RULES,
    PageKind,
    kinds_by_gfp,
    kinds_by_mapping,
    stack_kind,
)
from allocsim.trace.events import EVENT_COLUMN, Ev
from allocsim.trace.results import EVENT_RESULTS, PAGE_RESULTS
from tests.conftest import examples
from tests.oracle.recorded import Oracle

if TYPE_CHECKING:
    from allocsim.tables import Columns

BASE = 0xFFFF_8880_0000_0000
CACHES = ["task_struct", "filp", "dentry"]
STACKS = [
    ["__alloc_pages_noprof", "allocate_slab", "___slab_alloc"],
    ["__alloc_pages_noprof", "pte_alloc_one", "__pte_alloc"],
    ["__alloc_pages_noprof", "some_driver_probe"],
]
FUNCTIONS = {
    0xFFFFFFFF81000010: "putname",
    0xFFFFFFFF81000020: "xas_alloc.constprop.0",
    0xFFFFFFFF81000030: "kmalloc_reserve",
}
COLUMNS = (
    *("ts", "cpu", "pid", "event", "irq_flags", "call_site", "ptr", "bytes_req", "bytes_alloc"),
    *("gfp_flags", "pfn", "order", "page_flags", "mapping", "val", "ret", "count"),
)

# Few frames, addresses, sites and sizes, so that everything happens to everything else. Frames
# 0 to 31, the first more often; addresses on frames 0 to 4, page-aligned ones among them, and one
# outside the direct map.
_frames = st.one_of(st.integers(0, 5), st.integers(0, 31))
_ptrs = st.sampled_from(
    [0, 16, 0xFFFF_C900_0000_1000]
    + [BASE + (frame << 12) + offset for frame in range(5) for offset in (0, 64)]
)
_gfps = st.sampled_from([0x2800, 0x140CCA, 0x140DCA, 0x440DC0, 0x52CC0, 0xD20C0, 0xCC0, 0x152C4A])


def _event(code: Ev, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"event": st.just(int(code)), **fields})


@st.composite
def _block(draw: st.DrawFn, code: Ev, **fields: st.SearchStrategy[Any]) -> dict[str, Any]:
    order = draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4]))
    pfn = draw(_frames) >> order << order
    return {"event": int(code), "order": order, "pfn": pfn, **draw(st.fixed_dictionaries(fields))}


# One cache whose slots are known, and all kmalloc caches, so that every type of them is there.
KERNEL_CACHES = {CACHES[0]: 64} | {
    f"{prefix}{size // 1024}k" if size >= 1024 else f"{prefix}{size}": size
    for prefix in ("kmalloc-", "kmalloc-rcl-", "kmalloc-cg-", "dma-kmalloc-")
    for size in KMALLOC_CLASSES
}

_sites = {"call_site": st.sampled_from([*FUNCTIONS])}
_sizes = st.sampled_from([64, 192, 16384])
_object = {"ptr": _ptrs, **_sites}
_alloc = {**_object, "bytes_alloc": _sizes, "gfp_flags": st.sampled_from([0xCC0, 0x400CC0])}
_named = {"cache": st.sampled_from([0, 1, 2])}
_mappings = st.sampled_from([0, 0, 0xFFFF888001000000, 0xFFFF888001000001])
_ref = {
    "pfn": _frames,
    "page_flags": st.sampled_from([0, 8, 0x20008]),
    "mapping": _mappings,
    "ret": st.sampled_from([0, 1]),
    "val": st.sampled_from([-1, 0, 1, 1, 2]),
    "count": st.sampled_from([-1, 0, 1, 2, 600]),
}
_stack = {"stack": st.sampled_from([-1, -1, 0, 1, 2])}

_events = st.one_of(
    _event(Ev.KMALLOC, **_alloc),
    _event(Ev.KFREE, **_object),
    _event(Ev.KMEM_CACHE_ALLOC, **_alloc),  # 6.12: no name
    _event(Ev.KMEM_CACHE_ALLOC, **_alloc, **_named),  # 7.x
    _event(Ev.KMEM_CACHE_FREE, **_object, **_named),
    _block(Ev.MM_PAGE_ALLOC, gfp_flags=_gfps, **_stack),
    _block(Ev.MM_PAGE_FREE),
    _event(Ev.MM_PAGE_ALLOC, pfn=st.just(-1), order=st.just(0), gfp_flags=_gfps),
    _event(Ev.MM_PAGE_FREE_BATCHED, pfn=_frames),
    _event(Ev.RSS_STAT),
    *(_event(code, **_ref) for code in Ev if Ev.PAGE_REF_SET <= code <= Ev.PAGE_REF_UNFREEZE),
)
_contexts = st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, 0x10]))
_streams = st.lists(st.tuples(_events, _contexts), max_size=60)


def _rows(stream: list[tuple[dict[str, Any], tuple[int, int]]]) -> list[dict[str, Any]]:
    null = dict.fromkeys(COLUMNS, 0) | {"cache": -1, "stack": -1}
    return [
        null | event | {"cpu": cpu, "pid": cpu // 2 + 100, "irq_flags": flags, "ts": 10 * number}
        for number, (event, (cpu, flags)) in enumerate(stream)
    ]


def _columns(rows: list[dict[str, Any]]) -> Columns:
    dtypes = {name: EVENT_COLUMN[name].dtype for name in COLUMNS} | {"cache": "i4", "stack": "i4"}
    return {
        name: np.array([row[name] for row in rows], dtype=dtype) for name, dtype in dtypes.items()
    }


def _replay(
    columns: Columns, release: str, window: int
) -> tuple[Columns, Columns, dict[str, int], dict[int, int]]:
    replay = Replay(
        RecordingFacts(
            release, CACHES, STACKS, FUNCTIONS, BASE, page_ref=True, kernel_caches=KERNEL_CACHES
        )
    )
    count = len(columns["event"])
    parts, pages, late_results = [], [], []
    for start in range(0, count, window):
        result = replay.window({name: v[start : start + window] for name, v in columns.items()})
        parts.append(result.columns)
        pages.append(result.pages)
        late_results.append(result.late_results)
    final = replay.finish()
    pages.append(final.pages)
    late_results.append(final.late_results)
    rows = {
        column.name: np.concatenate([np.empty(0, column.dtype), *(p[column.name] for p in parts)])
        for column in EVENT_RESULTS
    }
    for late in late_results:
        for name, (seq, values) in late.items():
            rows[name][seq] = values
    lives = {c.name: np.concatenate([part[c.name] for part in pages]) for c in PAGE_RESULTS}
    order = np.argsort(lives["page"])
    sizes = {number: size for number, (_, size) in enumerate(final.caches) if size >= 0}
    return rows, {name: values[order] for name, values in lives.items()}, final.counts, sizes


def _oracle(rows: list[dict[str, Any]], release: str) -> Oracle:
    def gfp_kind(gfp: int, order: int) -> PageKind:
        return PageKind(int(kinds_by_gfp(np.array([gfp]), np.array([order]), GFP_BITS)[0]))

    def mapping_kind(mapping: int, flags: int) -> PageKind:
        kinds = kinds_by_mapping(np.array([mapping], np.uint64), np.array([flags], np.uint64))
        return PageKind(int(kinds[0]))

    def kmalloc_cache(size: int, gfp: int) -> int:
        # CACHES, then dma-, rcl- and cg- caches of 13 classes each, then the plain ones.
        classes = {64: 3, 192: 6}
        if size not in classes:
            return -1
        return len(CACHES) + (26 if gfp & GFP_BITS["__GFP_ACCOUNT"] else 39) + classes[size]

    oracle = Oracle(
        set_before_alloc=release.startswith("6"),
        stack_kind=[stack_kind(frames) for frames in STACKS],
        gfp_kind=gfp_kind,
        mapping_kind=mapping_kind,
        kmalloc_cache=kmalloc_cache,
        functions=FUNCTIONS,
        slots={0: KERNEL_CACHES[CACHES[0]]},
        site_caches={0xFFFFFFFF81000030: len(CACHES) + 52},  # behind the 4 x 13 kmalloc caches
        base=BASE,
    )
    for row in rows:
        oracle.event(row)
    return oracle


@pytest.mark.parametrize("release", ["6.12.107", "7.2.13"])
@given(stream=_streams, window=st.sampled_from([1, 2, 7, 1000]))
@examples(250)
def test_equals_the_plain_replay_row_for_row(
    release: str, stream: list[tuple[dict[str, Any], tuple[int, int]]], window: int
) -> None:
    rows = _rows(stream)
    oracle = _oracle(rows, release)
    want_rows, want_pages = oracle.finish()
    got_rows, got_pages, counts, sizes = _replay(_columns(rows), release, window)
    for number, want in enumerate(want_rows):
        got = {name: int(values[number]) for name, values in got_rows.items()}
        assert got == want, (number, rows[number])
    assert len(got_pages["page"]) == len(want_pages)
    for number, want_page in enumerate(want_pages):
        got = {name: int(values[number]) for name, values in got_pages.items()}
        assert got == want_page
    assert {name: counts[name] for name in oracle.counts} == oracle.counts
    assert sizes == oracle.sizes()


def test_gfp_rules_name_bits_that_exist() -> None:
    for rule in GFP_RULES:
        for name in (rule.needs + " " + rule.lacks.replace("*", "")).split():
            assert f"__GFP_{name}" in GFP_BITS
