"""Size classes and cache types (R3.1, R3.2), and caches told by their size."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.kernels.release import GFP_BITS
from allocsim.recording.cache_names import (
    KMALLOC_CLASSES,
    Caches,
    kmalloc_classes,
    kmalloc_slots,
)

GFP_KERNEL = 0xCC0
ACCOUNT, RECLAIMABLE, DMA = 1 << 22, 1 << 4, 1 << 0


def _cache(caches: Caches, size: int, gfp: int, asked: int = 0) -> str | None:
    gfps = np.array([gfp], np.uint64)
    number = int(caches.of_kmalloc(np.array([size]), gfps, np.array([asked]))[0])
    return None if number < 0 else caches.names[number]


@pytest.mark.parametrize(
    ("size", "gfp", "name"),
    [
        (8, GFP_KERNEL, "kmalloc-8"),
        (96, GFP_KERNEL, "kmalloc-96"),
        (192, GFP_KERNEL | ACCOUNT, "kmalloc-cg-192"),
        (1024, GFP_KERNEL, "kmalloc-1k"),
        (8192, GFP_KERNEL | RECLAIMABLE, "kmalloc-rcl-8k"),
        (64, GFP_KERNEL | DMA, "dma-kmalloc-64"),
        # The first in the order of kmalloc_type decides (R3.2).
        (64, GFP_KERNEL | ACCOUNT | RECLAIMABLE, "kmalloc-rcl-64"),
        (64, GFP_KERNEL | ACCOUNT | RECLAIMABLE | DMA, "dma-kmalloc-64"),
        # Whole pages, and no class at all.
        (16384, GFP_KERNEL, None),
        (100, GFP_KERNEL, None),
    ],
)
def test_kmalloc_by_size_and_gfp(size: int, gfp: int, name: str | None) -> None:
    assert _cache(Caches([], {}, GFP_BITS, {}), size, gfp) == name


@pytest.mark.parametrize(
    ("asked", "given", "name"),
    [
        # Slots of slab_debug=FZPU on 7.3: 64 with a slot of 256, 256 with one of 768.
        (50, 256, "kmalloc-64"),
        (200, 768, "kmalloc-256"),
        (96, 224, "kmalloc-96"),
        # 128 and 192 have slots of 384 both.
        (128, 384, "kmalloc-128"),
        (129, 384, "kmalloc-192"),
        (4096, 12288, "kmalloc-4k"),
        (8192, 24576, "kmalloc-8k"),
        (8193, 12288, None),
    ],
)
def test_in_padded_slots_what_was_asked_for_tells_the_class(
    asked: int, given: int, name: str | None
) -> None:
    padded = {"kmalloc-64": 256, "kmalloc-128": 384, "kmalloc-192": 384, "kmalloc-256": 768}
    assert _cache(Caches([], padded, GFP_BITS, {}), given, GFP_KERNEL, asked) == name


def test_there_are_thirteen_classes() -> None:
    assert len(KMALLOC_CLASSES) == 13
    assert KMALLOC_CLASSES[-1] == 8192


def test_a_type_the_kernel_lacks_is_the_normal_one() -> None:
    without_memcg = {"kmalloc-64": 64, "kmalloc-rcl-64": 64}
    caches = Caches([], without_memcg, GFP_BITS, {})
    assert _cache(caches, 64, GFP_KERNEL | ACCOUNT) == "kmalloc-64"
    assert _cache(caches, 64, GFP_KERNEL | RECLAIMABLE) == "kmalloc-rcl-64"


def test_without_slabinfo_a_kernel_that_charges_nothing_has_no_caches_for_it() -> None:
    caches = Caches([], {}, GFP_BITS, {}, charges_cgroups=False)
    assert _cache(caches, 64, GFP_KERNEL | ACCOUNT) == "kmalloc-64"
    assert _cache(caches, 64, GFP_KERNEL | ACCOUNT | RECLAIMABLE) == "kmalloc-rcl-64"
    assert "kmalloc-cg-64" not in caches.names


def test_names_of_the_trace_keep_their_codes() -> None:
    caches = Caches(["filp", "kmalloc-64"], {}, GFP_BITS, {})
    assert caches.names[:2] == ["filp", "kmalloc-64"]
    assert _cache(caches, 64, GFP_KERNEL) == "kmalloc-64"
    assert len(set(caches.names)) == len(caches.names)


def test_a_size_tells_only_where_one_cache_has_it() -> None:
    caches = Caches(["filp"], {"filp": 192, "dentry": 192, "inode_cache": 600}, GFP_BITS, {})
    assert caches.names[caches.of_size(600)] == "inode_cache"
    assert caches.of_size(192) == -1
    assert caches.of_size(601) == -1


def test_sizes_are_learnt_from_allocations() -> None:
    caches = Caches(["filp", "dentry"], {}, GFP_BITS, {})
    caches.learn_sizes(np.array([1, 1], np.int32), np.array([192, 192]))
    assert caches.sizes[:2] == [-1, 192]


def test_where_no_allocation_names_its_cache_most_of_the_others_tell_its_size() -> None:
    caches = Caches(["filp", "dentry", "inode_cache"], {}, GFP_BITS, {})
    caches.vote_sizes(np.array([0, 1, 0, 2, 2], np.int32), np.array([184, 192, 256, 64, 600]))
    caches.vote_sizes(np.array([0, 1], np.int32), np.array([256, 0]))
    assert caches.sizes[:3] == [256, 192, 64]  # of inode_cache as many say either: the smaller
    caches.learn_sizes(np.array([0], np.int32), np.array([184]))
    assert caches.sizes[0] == 184  # what an allocation says of itself stands above


def test_a_size_that_cannot_be_its_caches_has_no_vote() -> None:
    known = Caches(["filp", "dentry"], {"filp": 184, "kmalloc-64": 64}, GFP_BITS, {})
    known.vote_sizes(np.array([0, 1], np.int32), np.array([256, 192]))
    assert known.sizes[:2] == [-1, 192]
    by_rule = Caches(["filp", "kmalloc-64"], {}, GFP_BITS, {})
    by_rule.vote_sizes(np.array([0, 1, 1], np.int32), np.array([256, 128, 128]))
    assert by_rule.sizes[:2] == [256, -1]


def test_the_slot_of_a_kmalloc_cache_is_its_class() -> None:
    slots = kmalloc_slots(4096)
    assert [
        slots.get(name) for name in ("kmalloc-96", "kmalloc-rcl-2k", "filp", "kmalloc-16k")
    ] == [
        96,
        2048,
        None,
        None,
    ]
    assert kmalloc_slots(1 << 16)["kmalloc-128k"] == 1 << 17


def test_a_function_with_one_cache_tells_it() -> None:
    caches = Caches([], {}, GFP_BITS, {0x10: "kmalloc_reserve", 0x20: "kmem_cache_zalloc"})
    numbers = caches.of_site(np.array([0x10, 0x20], np.uint64)).tolist()
    assert caches.names[numbers[0]] == "skbuff_small_head"
    assert numbers[1] == -1


def test_the_largest_class_is_two_pages_whatever_their_size() -> None:
    assert kmalloc_classes(4096) == KMALLOC_CLASSES
    assert kmalloc_classes(65536)[-5:] == (8192, 16384, 32768, 65536, 131072)
    caches = Caches([], {}, GFP_BITS, {}, page_size=65536)
    assert _cache(caches, 131072, GFP_KERNEL) == "kmalloc-128k"
    assert _cache(caches, 1 << 18, GFP_KERNEL) is None
