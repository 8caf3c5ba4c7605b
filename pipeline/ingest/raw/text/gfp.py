"""gfp flags by the names that kernels print: those of today, and those before 4.6.

What is made of them are the bits of allocsim.kernels.release.GFP_BITS, whatever bits the recorded
kernel had: a name means what it means. Source: include/trace/events/mmflags.h:
__def_gfpflag_names and include/linux/gfp_types.h (6.12 to 7.3); before 4.6
include/trace/events/gfpflags.h and include/linux/gfp.h, whose names had no underscores in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.gfp import COMPOSED, RECLAIM, composed, single
from allocsim.kernels.release import GFP_BITS, kernel_at
from pipeline.untrusted import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.kernels.release import Kernel

# Flags without a place of their own: those that are gone, and those whose bit depends on how the
# kernel was built. They get one where no kernel has any.
_PLACELESS = (
    *("__GFP_COLD", "__GFP_NOTRACK", "__GFP_OTHER_NODE", "__GFP_NO_KSWAPD"),
    *("__GFP_SKIP_ZERO", "__GFP_SKIP_KASAN", "__GFP_SKIP_KASAN_POISON"),
    *("__GFP_SKIP_KASAN_UNPOISON", "__GFP_NOLOCKDEP", "__GFP_NO_OBJ_EXT", "__GFP_CMA"),
)
_FLAGS = {
    **GFP_BITS,
    "__GFP_ZEROTAGS": 1 << 23,
    **{name: 1 << 40 + place for place, name in enumerate(_PLACELESS)},
    "__GFP_REPEAT": GFP_BITS["__GFP_RETRY_MAYFAIL"],  # its name up to 4.12
    "__GFP_WAIT": RECLAIM,  # up to 4.3: what 4.4 made two flags of
    "__GFP_RECLAIM": RECLAIM,
}
_NO_KSWAPD, _KSWAPD = _FLAGS["__GFP_NO_KSWAPD"], GFP_BITS["__GFP_KSWAPD_RECLAIM"]
_NAMES: dict[str, int] = {
    # Up to 4.5 printed without the underscores.
    **{name.removeprefix("__"): bits for name, bits in _FLAGS.items()},
    **_FLAGS,
    **COMPOSED,
    "GFP_TEMPORARY": COMPOSED["GFP_KERNEL"] | GFP_BITS["__GFP_RECLAIMABLE"],
    "none": 0,
}
# Up to 4.3 huge pages asked for no retry, and woke no kswapd.
_OLD_TRANSHUGE = _NAMES["GFP_TRANSHUGE"] | GFP_BITS["__GFP_NORETRY"] | _NO_KSWAPD

# Bits without a name of their own are printed as a number. Since 4.6 every bit has a name; these
# are the bits before, from the lowest on (include/linux/gfp.h of 3.10 and of 4.4).
_NO_FLAG = ""
_LOW = ("__GFP_DMA", "__GFP_HIGHMEM", "__GFP_DMA32", "__GFP_MOVABLE")
_MIDDLE = (
    *("__GFP_HIGH", "__GFP_IO", "__GFP_FS", "__GFP_COLD", "__GFP_NOWARN", "__GFP_REPEAT"),
    *("__GFP_NOFAIL", "__GFP_NORETRY", "__GFP_MEMALLOC", "__GFP_COMP", "__GFP_ZERO"),
    *("__GFP_NOMEMALLOC", "__GFP_HARDWALL", "__GFP_THISNODE"),
)
_BITS_OF_WAIT = (  # up to 4.3
    *(*_LOW, "__GFP_WAIT", *_MIDDLE, "__GFP_RECLAIMABLE", _NO_FLAG, "__GFP_NOTRACK"),
    *("__GFP_NO_KSWAPD", "__GFP_OTHER_NODE", "__GFP_WRITE"),
)
_BITS_OF_DIRECT_RECLAIM = (  # 4.4 and 4.5
    *(*_LOW, "__GFP_RECLAIMABLE", *_MIDDLE, "__GFP_ATOMIC", "__GFP_ACCOUNT"),
    *("__GFP_NOTRACK", "__GFP_DIRECT_RECLAIM", "__GFP_OTHER_NODE", "__GFP_WRITE"),
    "__GFP_KSWAPD_RECLAIM",
)


class GfpWords:
    """What the gfp flags that a kernel prints are, by its version.

    Args:
        version: (major, minor) of the kernel; None: not known, the newest is taken.
    """

    def __init__(self, version: tuple[int, int] | None) -> None:
        kernel = None if version is None else kernel_at(version)
        self.names: Mapping[str, int] = _names(kernel)
        self._old: tuple[int, ...] | None = None
        if kernel is not None and not kernel.gfp_all_named:
            bits = _BITS_OF_DIRECT_RECLAIM if kernel.gfp_direct_reclaim else _BITS_OF_WAIT
            self._old = tuple(self.names.get(name, 0) for name in bits)

    def bits(self, word: str) -> int | None:
        """The bits of names with ``|`` between, of which the rest may be a number in hex.

        None if a name is not known.
        """
        found = 0
        for part in word.split("|"):
            bits = self.names.get(part)
            if bits is None:
                bits = self._hex(part.removeprefix("0x")) if part.startswith("0x") else None
            if bits is None:
                return None
            found |= bits
        # What wakes no kswapd had a flag for it.
        return found & ~_KSWAPD if found & _NO_KSWAPD else found

    def _hex(self, digits: str) -> int | None:
        value = number(digits, 16)
        if value is None or self._old is None:
            return value
        if value >> len(self._old):
            return None
        found = 0
        for place, bits in enumerate(self._old):
            found |= bits if value >> place & 1 else 0
        return found


def _names(kernel: Kernel | None) -> Mapping[str, int]:
    names = dict(_NAMES)
    if kernel is None:
        return names
    names |= single(kernel) | composed(kernel)
    if not kernel.gfp_direct_reclaim:
        names["GFP_TRANSHUGE"] = _OLD_TRANSHUGE
    return names
