"""Copies of kmalloc's caches: the kernel's hash, their names, and which caches there are."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.kernels.kmalloc_partitions import (
    EACH_SITE,
    MERGED,
    NO_SITES,
    KmallocSites,
    boot_seed,
    copies_in,
    copy_of,
    is_normal,
    split,
)

NAMES = ["dentry", "kmalloc-32", "kmalloc-1k", "kmalloc-rcl-32"]


def sites(*pairs: tuple[int, int]) -> KmallocSites:
    """Call sites by the numbers of their cache."""
    cache, address = zip(*pairs, strict=True)
    return KmallocSites(
        np.array(cache, np.int32),
        np.array(address, np.uint64),
        [f"f{number}" for number in range(len(pairs))],
    )


def test_the_hash_is_the_kernels() -> None:
    """By hand: the product's highest bits.

    1 * 0x61C8864680B583EB begins with 6 of 16, 3 of 8, 0x61 of 256; 3 * it is 0x12559_92D38220_8BC1
    less the 65th bit, so 2; 0x10 * it is 0x1C8864680B583EB0. The seed is put to the token by xor.
    """
    token = np.array([0, 1, 3, 0x10], np.uint64)
    assert copy_of(token, 16, 0).tolist() == [0, 6, 2, 1]
    assert copy_of(token, 8, 0).tolist() == [0, 3, 1, 0]
    assert copy_of(token, 256, 0).tolist() == [0, 0x61, 0x25, 0x1C]
    assert copy_of(token ^ np.uint64(0xFFFFFFFF81234567), 16, 0xFFFFFFFF81234567).tolist() == [
        0,
        6,
        2,
        1,
    ]
    assert copy_of(token, 1, 0).tolist() == [0, 0, 0, 0]


def test_seeds_of_numbers_are_far_apart() -> None:
    """splitmix64 of 0, as its authors' code gives it; small numbers spread call sites anew."""
    assert boot_seed(0) == 0xE220A8397B1DCDAF
    token = np.arange(0xFFFFFFFF81000000, 0xFFFFFFFF81000000 + 40_000, 40, np.uint64)
    counts = np.bincount(copy_of(token, 16, boot_seed(1)), minlength=16)
    assert counts.min() > 30  # 62.5 each
    alike = copy_of(token, 16, boot_seed(1)) == copy_of(token, 16, boot_seed(2))
    assert alike.mean() < 0.3


@pytest.mark.parametrize(
    ("names", "copies"),
    [
        (["kmalloc-8", "kmalloc-cg-8", "msg_msg-8", "dentry"], 1),
        (["kmalloc-8", *(f"kmalloc-rnd-{number:02}-8" for number in range(1, 16))], 16),
        (["kmalloc-part-01-8k"], 16),
        ([], 1),
    ],
)
def test_a_kernel_with_copies_is_told_by_their_names(names: list[str], copies: int) -> None:
    lines = [f"{name}  0 0 8 512 1 : tunables 0 0 0" for name in names]
    assert copies_in("\n".join(["slabinfo - version: 2.1", *lines])) == copies


def test_the_normal_type_alone_is_split() -> None:
    assert [name for name in NAMES if is_normal(name)] == ["kmalloc-32", "kmalloc-1k"]
    assert not is_normal("kmalloc-part-01-32")
    assert not is_normal("kmalloc-cg-32")


def test_call_sites_of_one_hash_share_a_copy_of_each_class() -> None:
    asked = sites((1, 0), (1, 1), (1, 3), (2, 1), (2, 0x10))._replace(
        address=np.array([0x20, 1, 3, 1, 0x10], np.uint64)
    )
    found = split(NAMES, asked, 8, 0, "part")
    # 0x20 * it begins with 0x39: 1 of 8; with 3 that makes one copy of two call sites.
    assert found.names == [
        *NAMES,
        "kmalloc-part-01-32",
        "kmalloc-part-03-32",
        "kmalloc-part-03-1k",
    ]
    assert found.of_request.tolist() == [0, 1, 2, 3, 4, 5, 4, 6, 2]
    assert found.origin.tolist() == [0, 1, 2, 3, 1, 1, 2]


def test_each_call_site_may_have_its_own() -> None:
    found = split(NAMES, sites((1, 5), (1, 6), (2, 5)), EACH_SITE, 0, "rnd")
    assert found.names[4:] == ["kmalloc-32@f0", "kmalloc-32@f1", "kmalloc-1k@f2"]
    assert found.of_request.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_without_copies_all_is_as_it_was() -> None:
    asked = sites((1, 5), (1, MERGED), (2, 6))
    for given in (asked, NO_SITES):
        found = split(NAMES, given, 1, 7, "rnd")
        assert found.names == NAMES
        assert found.of_request.tolist() == [0, 1, 2, 3, *given.cache.tolist()]
    assert split(NAMES, NO_SITES, 16, 7, "rnd").names == NAMES


def test_what_is_merged_stays_together_apart_from_all_copies() -> None:
    asked = sites((1, 5), (1, MERGED), (2, MERGED))
    for count in (2, 16, EACH_SITE):
        found = split(NAMES, asked, count, 7, "rnd")
        merged = [found.names[number] for number in found.of_request[[5, 6]]]
        assert merged == ["merged-32", "merged-1k"]
