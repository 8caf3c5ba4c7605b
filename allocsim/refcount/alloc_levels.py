"""The call stack of a page allocation as levels, and where on it a path enters (R2.1 - R2.3).

From the inside out. The count of a page is set at one of these levels: in prep_new_page in 6.12,
by the wrappers in 7.2. A path that enters below the level never meets the set: it has to set the
count itself, or its pages have none. The series that froze slab pages moved the set outwards, one
level after the other (R2.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the call stack.

    Args:
        name: what stands for the level in results.
        functions: the page allocator's functions of this level, without _noprof and suffixes;
            blanks between.
        source: where they are, and which kernel sets the count here.
    """

    name: str
    functions: str
    source: str


#: From the inside out; a level's number is its place here.
LEVELS: tuple[Level, ...] = (
    Level(
        "prep_new_page",
        "post_alloc_hook prep_new_page",
        "mm/page_alloc.c; 6.12 sets the count here, for the bulk allocator too",
    ),
    Level("get_page_from_freelist", "get_page_from_freelist", "mm/page_alloc.c"),
    Level(
        "__alloc_pages_slowpath",
        "__alloc_pages_slowpath __alloc_pages_cpuset_fallback __alloc_pages_may_oom"
        " __alloc_pages_direct_compact __alloc_pages_direct_reclaim",
        "mm/page_alloc.c",
    ),
    Level(
        "__alloc_frozen_pages",
        "__alloc_frozen_pages alloc_frozen_pages_nolock",
        "mm/page_alloc.c (7.2): the core of __alloc_pages",
    ),
    Level(
        "alloc_frozen_pages",
        "alloc_frozen_pages alloc_pages_mpol",
        "mm/mempolicy.c (7.2): the core of alloc_pages",
    ),
    Level(
        "alloc_pages",
        "__alloc_pages __alloc_pages_node __folio_alloc __folio_alloc_node __get_free_pages"
        " __alloc_pages_bulk alloc_pages alloc_pages_bulk alloc_pages_exact alloc_pages_node"
        " alloc_pages_nolock folio_alloc folio_alloc_mpol get_free_pages get_zeroed_page"
        " vma_alloc_folio",
        "mm/mempolicy.c, mm/page_alloc.c; 7.2 sets the count here",
    ),
    Level("the user", "", "the function that asked: it sets the count if its pages need one"),
)
_LEVEL_OF = {
    name: number for number, level in enumerate(LEVELS) for name in level.functions.split()
}

# What the tracer itself puts innermost: the probe, and the functions whose only work is to fire a
# page_ref event (mm/debug_page_ref.c).
_TRACER = re.compile(r"(trace_event_raw_event_|perf_trace_|__traceiter_|__bpf_trace_|__page_ref_)")
_SUFFIX = re.compile(r"(_noprof)?(\..*)?$")


def caller(names: Sequence[str]) -> str | None:
    """The innermost function of a stack that is not the tracer's nor the page allocator's own.

    Args:
        names: function names, innermost first, with or without compiler suffixes.

    Returns:
        Its name as recorded; None if there is none.
    """
    inside = allocator_frames(names)
    return names[inside] if inside < len(names) else None


def recorded_frames(names: Sequence[str]) -> list[str]:
    """A stack, innermost first, without what the tracer put there; all of it, if it is only that.

    Args:
        names: as for :func:`caller`.
    """
    return list(dropwhile(_TRACER.match, names)) or list(names)


def entry_level(names: Sequence[str]) -> int | None:
    """Number of the level at which a stack enters the page allocator; None if it does not.

    Args:
        names: as for :func:`caller`.
    """
    inside = allocator_frames(names)
    return _LEVEL_OF.get(_plain(names[inside - 1])) if inside else None


def allocator_frames(names: Sequence[str]) -> int:
    """How many frames of a stack, from the innermost on, are the tracer's or the allocator's.

    Args:
        names: as for :func:`caller`.
    """
    own = (bool(_TRACER.match(name)) or _plain(name) in _LEVEL_OF for name in names)
    return next((at for at, is_own in enumerate(own) if not is_own), len(names))


def _plain(name: str) -> str:
    return _SUFFIX.sub("", name)
