"""What the version of a kernel fixes: where the count is set, and what its gfp bits are called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# include/linux/gfp_types.h. The format text of the 6.1, 6.12, 7.2 and 7.3 recordings gives the
# same bits; 6.1 alone still has __GFP_ATOMIC (bit 9), which no rule here asks for.
GFP_BITS: dict[str, int] = {
    "__GFP_DMA": 1 << 0,
    "__GFP_HIGHMEM": 1 << 1,
    "__GFP_DMA32": 1 << 2,
    "__GFP_MOVABLE": 1 << 3,
    "__GFP_RECLAIMABLE": 1 << 4,
    "__GFP_HIGH": 1 << 5,
    "__GFP_IO": 1 << 6,
    "__GFP_FS": 1 << 7,
    "__GFP_ZERO": 1 << 8,
    "__GFP_DIRECT_RECLAIM": 1 << 10,
    "__GFP_KSWAPD_RECLAIM": 1 << 11,
    "__GFP_WRITE": 1 << 12,
    "__GFP_NOWARN": 1 << 13,
    "__GFP_RETRY_MAYFAIL": 1 << 14,
    "__GFP_NOFAIL": 1 << 15,
    "__GFP_NORETRY": 1 << 16,
    "__GFP_MEMALLOC": 1 << 17,
    "__GFP_COMP": 1 << 18,
    "__GFP_NOMEMALLOC": 1 << 19,
    "__GFP_HARDWALL": 1 << 20,
    "__GFP_THISNODE": 1 << 21,
    "__GFP_ACCOUNT": 1 << 22,
}

# The wrappers took over the setting of the count in 6.14, together with frozen slab pages
# (spec 1.4, 2.3).
_WRAPPERS_SET_COUNT = (6, 14)

# mm/slub.c:calculate_sheaf_capacity gives sheaves to every cache that is not debugged. Those of
# 6.18 and 6.19 are of two caches that ask for them; sysfs says 0 of all others (spec 1.4).
_SHEAVES_FOR_ALL = (7, 0)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel version, as far as the model of pages depends on it.

    Args:
        version: (major, minor) of the kernel.
        paths: whose code paths its pages take, the name of the table in policies/: "6.12" where
            prep_new_page sets the count, "7.2" where the wrappers of alloc_frozen_pages do.
        sheaves: its caches have sheaves, all of them.
        set_before_alloc: page_ref_set of a new page comes before its mm_page_alloc (T8).
        gfp: value of each gfp bit by its name.
    """

    version: tuple[int, int]
    paths: str
    sheaves: bool
    set_before_alloc: bool
    gfp: Mapping[str, int] = field(default_factory=lambda: dict(GFP_BITS))


def kernel_of(release: str, gfp_bits: Mapping[str, int] | None = None) -> Kernel:
    """What is fixed by a kernel release such as ``6.12.107-pageref``.

    Args:
        release: uname -r of the recorded kernel.
        gfp_bits: bits by name as the recording's own format text gives them, where it does.

    Raises:
        ValueError: ``release`` does not begin with two numbers.
    """
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise ValueError(f"kernel release {release!r} does not begin with a version such as 6.12")
    version = (int(match[1]), int(match[2]))
    wrappers = version >= _WRAPPERS_SET_COUNT
    bits = {**GFP_BITS, **dict((gfp_bits or {}).items())}
    paths = "7.2" if wrappers else "6.12"
    return Kernel(version, paths, version >= _SHEAVES_FOR_ALL, not wrappers, bits)
