"""gfp flags by the names that the kernel's events print.

Source: include/trace/events/mmflags.h:__def_gfpflag_names and include/linux/gfp_types.h (6.12 to
7.3, which agree but for __GFP_ATOMIC up to 6.2 and GFP_NOWAIT's __GFP_NOWARN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.release import GFP_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.kernels.release import Kernel

RECLAIM = GFP_BITS["__GFP_DIRECT_RECLAIM"] | GFP_BITS["__GFP_KSWAPD_RECLAIM"]
_NOFS = RECLAIM | GFP_BITS["__GFP_IO"]
_KERNEL = _NOFS | GFP_BITS["__GFP_FS"]
_USER = _KERNEL | GFP_BITS["__GFP_HARDWALL"]
_HIGHUSER = _USER | GFP_BITS["__GFP_HIGHMEM"]
_MOVABLE = _HIGHUSER | GFP_BITS["__GFP_MOVABLE"]
_TRANSHUGE_LIGHT = (
    _MOVABLE | GFP_BITS["__GFP_COMP"] | GFP_BITS["__GFP_NOMEMALLOC"] | GFP_BITS["__GFP_NOWARN"]
) & ~RECLAIM
_KSWAPD = GFP_BITS["__GFP_KSWAPD_RECLAIM"]
_ATOMIC = 1 << 9  # the bit that GFP_ATOMIC had of its own
#: Flags that stand for several bits, in the order in which they are looked for.
COMPOSED: dict[str, int] = {
    "GFP_TRANSHUGE": _TRANSHUGE_LIGHT | GFP_BITS["__GFP_DIRECT_RECLAIM"],
    "GFP_TRANSHUGE_LIGHT": _TRANSHUGE_LIGHT,
    "GFP_HIGHUSER_MOVABLE": _MOVABLE,
    "GFP_HIGHUSER": _HIGHUSER,
    "GFP_USER": _USER,
    "GFP_KERNEL_ACCOUNT": _KERNEL | GFP_BITS["__GFP_ACCOUNT"],
    "GFP_KERNEL": _KERNEL,
    "GFP_NOFS": _NOFS,
    "GFP_ATOMIC": GFP_BITS["__GFP_HIGH"] | _KSWAPD,
    "GFP_NOIO": RECLAIM,
    "GFP_NOWAIT": _KSWAPD | GFP_BITS["__GFP_NOWARN"],
}
# Printed as these names, since they come first.
_ALIASES = {"GFP_DMA": GFP_BITS["__GFP_DMA"], "GFP_DMA32": GFP_BITS["__GFP_DMA32"]}


def composed(kernel: Kernel) -> dict[str, int]:
    """COMPOSED as one kernel has it."""
    names = dict(COMPOSED)
    if kernel.gfp_direct_reclaim and not kernel.atomic_without_bit:
        names["GFP_ATOMIC"] |= _ATOMIC
    if not kernel.nowait_says_nowarn:
        names["GFP_NOWAIT"] = _KSWAPD
    return names


def single(kernel: Kernel) -> dict[str, int]:
    """GFP_BITS as one kernel has them."""
    if kernel.gfp_direct_reclaim and not kernel.atomic_without_bit:
        return GFP_BITS | {"__GFP_ATOMIC": _ATOMIC}
    return GFP_BITS


def gfp_names(flags: int, kernel: Kernel) -> str | None:
    """Gfp flags as the kernel's events print them, such as ``GFP_KERNEL|__GFP_ZERO``.

    Bits whose place depends on how the kernel was built stay a number in hex.

    Args:
        flags: the flags.
        kernel: what printed them.

    Returns:
        None of kernels before 4.6, whose bits lay elsewhere.
    """
    if not kernel.gfp_all_named:
        return None
    found = []
    left = flags
    for name, bits in _printed(kernel).items():
        # As lib's trace_print_flags_seq does: a name is taken where all its bits are left.
        if bits and left & bits == bits:
            found.append(name)
            left &= ~bits
    if left:
        found.append(hex(left))
    return "|".join(found) or "none"


def _printed(kernel: Kernel) -> Mapping[str, int]:
    return composed(kernel) | _ALIASES | {"__GFP_RECLAIM": RECLAIM} | single(kernel)
