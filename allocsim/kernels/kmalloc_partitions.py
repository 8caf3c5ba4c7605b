"""Copies of the normal kmalloc caches: which of them serves a call site (R3.51, R3.52)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Int32, Int64, UInt64

OF_KERNEL = 16  #: caches of each size class where a kernel has copies, kmalloc-N among them
EACH_SITE = 0  #: as a number of caches: one for each call site, as no kernel has
MERGED = (
    0  #: as a call site: objects of caches that are merged with kmalloc-N, which no kmalloc asks
)
_MOST = 1024
#: Numbers of caches as users write them. The hash gives a number of bits, so powers of two.
COUNTS = (
    *((str(1 << bits), 1 << bits) for bits in range(_MOST.bit_length())),
    ("sites", EACH_SITE),
)

_NORMAL = re.compile(r"kmalloc-[0-9]+k?")
_COPY_OF = re.compile(r"^kmalloc-(?:rnd|part)-[0-9]{2}-(?=[0-9])", re.MULTILINE)
_GOLDEN_RATIO_64 = np.uint64(0x61C8864680B583EB)  # include/linux/hash.h
_64_BITS = (1 << 64) - 1


class KmallocSites(NamedTuple):
    """Call sites of kmallocs of the normal type: one for each cache that they ask.

    Args:
        cache: number of the cache, as without copies (i4).
        address: the call site, or MERGED (u8).
        name: what it is called in the name of a cache of its own; no two of a cache alike.
    """

    cache: Int32
    address: UInt64
    name: Sequence[str]


NO_SITES = KmallocSites(np.empty(0, np.int32), np.empty(0, np.uint64), ())


class Split(NamedTuple):
    """Caches with their copies.

    Args:
        of_request: number of the cache by that of a request, which is a cache's as without
            copies, or behind these a call site's (i4).
        origin: number of the cache, as without copies, that each is or is a copy of (i4).
        names: their names.
    """

    of_request: Int32
    origin: Int32
    names: list[str]


def is_normal(cache: str) -> bool:
    """Whether it is one of kmalloc's caches of the normal type, kmalloc-N."""
    return _NORMAL.fullmatch(cache) is not None


def copies_in(text: str) -> int:
    """Caches of each size class a kernel has; 1: no copies.

    Args:
        text: lines that begin with names of its caches.
    """
    return OF_KERNEL if _COPY_OF.search(text) else 1


def without_copy(cache: str) -> str:
    """Name of the cache that one is a copy of; else its own."""
    return _COPY_OF.sub("kmalloc-", cache)


def copy_name(cache: str, number: int, word: str) -> str:
    """Name of a copy of a kmalloc cache.

    Args:
        cache: kmalloc-N.
        number: of the copy, from 1.
        word: how the kernel calls copies (kernels.release: kmalloc_copies).
    """
    return f"kmalloc-{word}-{number:02}-{cache.removeprefix('kmalloc-')}"


def boot_seed(number: int) -> int:
    """A seed as a boot may draw it (assumed): 64 bits of splitmix64, one for each number."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 & _64_BITS
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _64_BITS
    return mixed ^ mixed >> 31


def copy_of(token: UInt64, count: int, seed: int) -> Int64:
    """Which of so many caches, a power of two, serves each token; 0: kmalloc-N (i8).

    include/linux/slab.h:kmalloc_type, include/linux/hash.h:hash_64_generic (6.12, 7.2).
    """
    if count == 1:  # no bits are left, and no shift by 64
        return np.zeros(len(token), np.int64)
    bits = count.bit_length() - 1
    mixed = (token.astype(np.uint64) ^ np.uint64(seed)) * _GOLDEN_RATIO_64
    return (mixed >> np.uint64(64 - bits)).astype(np.int64)


def split(names: Sequence[str], sites: KmallocSites, count: int, seed: int, word: str) -> Split:
    """Caches with the copies that call sites use, behind the others.

    Where there are copies, no cache is merged with kmalloc-N: those that were share one then.

    Args:
        names: of the caches without copies, by number.
        sites: the call sites.
        count: caches of each size class, or EACH_SITE.
        seed: of the hash.
        word: as copy_name.
    """
    plain = np.arange(len(names), dtype=np.int32)
    if count == EACH_SITE:
        number = np.arange(1, len(sites.cache) + 1)
    else:
        number = copy_of(sites.address, count, seed)
    if count != 1:
        number[sites.address == MERGED] = -1
    of_site = sites.cache.copy()
    apart = number != 0
    pairs, which = np.unique(
        np.stack((sites.cache[apart], number[apart])), axis=1, return_inverse=True
    )
    of_site[apart] = which.reshape(-1) + len(names)

    def name(cache: str, copy: int) -> str:
        if copy < 0:
            return f"merged-{cache.removeprefix('kmalloc-')}"
        if count == EACH_SITE:
            return f"{cache}@{sites.name[copy - 1]}"
        return copy_name(cache, copy, word)

    copies = [name(names[cache], copy) for cache, copy in pairs.T.tolist()]
    return Split(
        np.concatenate((plain, of_site)),
        np.concatenate((plain, pairs[0].astype(np.int32))),
        [*names, *copies],
    )
