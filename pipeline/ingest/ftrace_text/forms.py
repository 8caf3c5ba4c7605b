"""What the text of an event says: its fields' names in the text, and the columns these land in.

The text of an event is its format's print fmt: ``name=value`` with a space between, a name in one
case of two words (include/trace/events/kmem.h, page_ref.h of 6.1 to 7.3).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.release import GFP_BITS, kernel_at
from allocsim.trace.events import EVENT_COLUMN, Event
from pipeline.ingest.formats import Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: How values are written.
SITE, POINTER, HEX, DECIMAL, BYTES, GFP, COUNTER, BOOLEAN, TEXT = range(9)

# Names in the text that are not the field's.
_FIELD_OF = {
    "type": "member",
    "zone name": "name",
    "upper_zone name": "upper_name",
    "watermark min": "watermark_min",
    "low": "watermark_low",
    "high": "watermark_high",
    "promo": "watermark_promo",
    "lowmem_reserve_pages": "lowmem_reserve",
}
_HOW = {
    "call_site": SITE,
    "ptr": POINTER,
    "mapping": POINTER,
    "pfn": HEX,
    "start": HEX,
    "end": HEX,
    "gfp_flags": GFP,
    "member": COUNTER,
    "size": BYTES,
    "accounted": BOOLEAN,
}
# page_ref prints flags by name, and their bits depend on how the kernel was built.
_NOT_READ = {"page_flags"}
_NAME = re.compile(r"(?:^| )((?:zone |upper_zone |watermark )?\w+)=")
#: mm/internal.h and include/linux/mm_types_task.h (7.2): MM_FILEPAGES, ...
COUNTERS = {"MM_FILEPAGES": 0, "MM_ANONPAGES": 1, "MM_SWAPENTS": 2, "MM_SHMEMPAGES": 3}
FLAGS = {"true": 1, "false": 0}

_RECLAIM = GFP_BITS["__GFP_DIRECT_RECLAIM"] | GFP_BITS["__GFP_KSWAPD_RECLAIM"]
_NOFS = _RECLAIM | GFP_BITS["__GFP_IO"]
_KERNEL = _NOFS | GFP_BITS["__GFP_FS"]
_USER = _KERNEL | GFP_BITS["__GFP_HARDWALL"]
_HIGHUSER = _USER | GFP_BITS["__GFP_HIGHMEM"]
_MOVABLE = _HIGHUSER | GFP_BITS["__GFP_MOVABLE"]
_TRANSHUGE_LIGHT = (
    _MOVABLE | GFP_BITS["__GFP_COMP"] | GFP_BITS["__GFP_NOMEMALLOC"] | GFP_BITS["__GFP_NOWARN"]
) & ~_RECLAIM
#: Bits by the names that the kernel prints (include/trace/events/mmflags.h:gfpflag_string, 7.2;
#: the sets are those of include/linux/gfp_types.h).
GFP_NAMES: dict[str, int] = {
    **GFP_BITS,
    "__GFP_ZEROTAGS": 1 << 23,
    "__GFP_RECLAIM": _RECLAIM,
    "GFP_NOIO": _RECLAIM,
    "GFP_NOFS": _NOFS,
    "GFP_KERNEL": _KERNEL,
    "GFP_KERNEL_ACCOUNT": _KERNEL | GFP_BITS["__GFP_ACCOUNT"],
    "GFP_USER": _USER,
    "GFP_HIGHUSER": _HIGHUSER,
    "GFP_HIGHUSER_MOVABLE": _MOVABLE,
    "GFP_TRANSHUGE_LIGHT": _TRANSHUGE_LIGHT,
    "GFP_TRANSHUGE": _TRANSHUGE_LIGHT | GFP_BITS["__GFP_DIRECT_RECLAIM"],
    "GFP_ATOMIC": GFP_BITS["__GFP_HIGH"] | GFP_BITS["__GFP_KSWAPD_RECLAIM"],
    "GFP_NOWAIT": GFP_BITS["__GFP_KSWAPD_RECLAIM"] | GFP_BITS["__GFP_NOWARN"],
    "GFP_DMA": GFP_BITS["__GFP_DMA"],
    "GFP_DMA32": GFP_BITS["__GFP_DMA32"],
    "none": 0,
}
_ATOMIC = 1 << 9  # the bit that GFP_ATOMIC had of its own


@dataclass(frozen=True, slots=True)
class Form:
    """The text of an event.

    Attributes:
        names: the names in it, in order.
        columns: the field each column is read from, laid out in a record of ours.
        places: which of ``names`` each column is, and how its value is written.
        size: bytes of a record of ours without its texts.
    """

    names: tuple[str, ...]
    columns: dict[str, Field]
    places: dict[str, tuple[int, int]]
    size: int


def form_of(event: Event, texts: list[str]) -> Form:
    """The form of an event, by the texts of some: the one that most of them have.

    A value that is empty is one that this kernel does not print (6.1 prints no flags and no names).
    """
    seen = Counter(tuple(_values(text)) for text in texts)
    [(found, _)] = seen.most_common(1)
    columns: dict[str, Field] = {}
    places: dict[str, tuple[int, int]] = {}
    at = 8
    for number, (name, empty) in enumerate(found):
        field = _FIELD_OF.get(name, name)
        column = event.renamed.get(field, field)
        if column not in event.columns or column in {*_NOT_READ, *columns} or empty:
            continue
        is_text = EVENT_COLUMN[column].dtype == "str"
        kind, size = ("data_loc", 4) if is_text else ("number", 8)
        signed = np.dtype(EVENT_COLUMN[column].dtype).kind == "i" if not is_text else False
        columns[column] = Field(field, at, size, signed, kind)
        places[column] = (number, TEXT if is_text else _HOW.get(column, DECIMAL))
        at += 8
    return Form(tuple(name for name, _ in found), columns, places, at)


def _values(text: str) -> Iterator[tuple[str, bool]]:
    """Each name in the text of an event, and whether its value is empty."""
    found = list(_NAME.finditer(text))
    for match, following in zip_longest(found, found[1:]):
        yield match[1], match.end() == (following.start() if following else len(text))


def gfp_names(version: tuple[int, int] | None) -> Mapping[str, int]:
    """Bits of the flags that a kernel of this version prints by name; of the newest, if None."""
    names = dict(GFP_NAMES)
    if version is None:
        return names
    kernel = kernel_at(version)
    if not kernel.atomic_without_bit:
        names["__GFP_ATOMIC"] = _ATOMIC
        names["GFP_ATOMIC"] |= _ATOMIC
    if not kernel.nowait_says_nowarn:
        names["GFP_NOWAIT"] = GFP_BITS["__GFP_KSWAPD_RECLAIM"]
    return names
