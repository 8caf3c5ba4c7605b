"""What the model says of each event and of each page life: the two fact tables, as data.

A window of events goes in, a window of EVENT_RESULTS columns comes out, row for row; page lives
come out once they have ended, or at the end of the trace. Null is written as the sentinel that
``Column.doc`` names: -1 in every signed column.
"""

from __future__ import annotations

from enum import IntEnum

from allocsim.trace.events import Column


class How(IntEnum):
    """How a statement is known."""

    OBSERVED = 0  #: the recording says so (a stack, a name, a page_ref event, an object's address)
    INFERRED = 1  #: follows from a rule on what the recording says (gfp, order, neighbours, size)
    ASSUMED = 2  #: a table's value; nothing in this recording confirms it
    UNKNOWN = 3  #: cannot be said


class CacheHow(IntEnum):
    """Which rule gave an object event its cache (field.md 0.1: state it, and count it)."""

    NAMED = 0  #: the event carries the name (7.x; kmem_cache_free everywhere since 5.13)
    #: kmalloc: the class follows from bytes_alloc and gfp (R3.1, R3.2); others: the only cache of
    #: that slot size in the kernel's slabinfo
    SIZE_CLASS = 1
    BY_FREE = 2  #: the name on the kmem_cache_free that ended this life
    #: every named life of this call site and size had this cache, or the kernel's source says that
    #: the function has no other
    BY_CALL_SITE = 3
    BY_SLAB = 4  #: another object of known cache lives on the same slab page
    BY_ALLOC = 5  #: a free without a name: the cache of the allocation it ends
    UNRESOLVED = 6  #: none of these


EVENT_RESULTS: tuple[Column, ...] = (
    Column("object", "i8", "", "Handle of the object's life: row of its first event; -1: none."),
    Column("cache", "i4", "", "Cache (caches.cache); -1: not an object event, or unresolved."),
    Column(
        "cache_how",
        "i1",
        "",
        "Rule that gave the cache; -1: no object event, or"
        " an object of whole pages, which has no cache (large kmalloc).",
    ),
    Column("page", "i8", "", "Page life (pages.page) the event belongs to or lies on; -1: none."),
    Column("page_kind", "i2", "", "Kind of that page; -1: no page event."),
    Column("kind_how", "i1", "", "How the kind is known; -1: no page event."),
    Column("slab", "i8", "", "First pfn of the slab the object lies on; -1: none or not known."),
    Column("lifetime", "i8", "ns", "Length of the life begun or ended here; -1: open or n/a."),
    Column("plain_ops", "i4", "", "Plain stores to a reference count by this event."),
    Column("locked_ops", "i4", "", "Locked instructions on a reference count by this event."),
)

PAGE_RESULTS: tuple[Column, ...] = (
    Column("page", "i8", "", "Handle of the page life: row of the first event that shows it."),
    Column("pfn", "i8", "", "First page frame of the block."),
    Column("order", "i4", "", "The block had 2^order pages when allocated (or when first seen)."),
    Column("page_kind", "i2", "", "Whose page it was."),
    Column("kind_how", "i1", "", "How the kind is known."),
    Column("cache", "i4", "", "Slab pages: the cache (caches.cache); -1: not slab, or not known."),
    Column("alloc_seq", "i8", "", "Row of its mm_page_alloc; -1: none seen."),
    Column(
        "alloc_ts",
        "i8",
        "ns",
        "Time of its allocation, also of one that only its first"
        " page_ref_set shows (bulk, T8); -1: before the recording.",
    ),
    Column("alloc_cpu", "i2", "", "CPU of its allocation; -1: before the recording."),
    Column("free_seq", "i8", "", "Row of the mm_page_free that ended it; -1: none seen."),
    Column(
        "free_ts",
        "i8",
        "ns",
        "Time of its end, also of one that only the next allocation of"
        " its pages shows; -1: live at the end.",
    ),
    Column("free_cpu", "i2", "", "CPU of its mm_page_free; -1: none seen."),
    Column(
        "gfp_flags",
        "i8",
        "",
        "gfp flags of its mm_page_alloc, or as the kernel's page owner had them (I8); -1: neither.",
    ),
    Column("stack", "i4", "", "Stack of its allocation (stacks.stack), likewise; -1: none."),
    Column("frees", "i4", "", "mm_page_free events in the life: above 1 after a split (T10)."),
    Column("pages_freed", "i8", "pages", "Base pages that mm_page_free gave back of it."),
    Column("ref_plain", "i8", "", "page_ref: plain stores recorded in the life; -1: not recorded."),
    Column("ref_locked", "i8", "", "page_ref: locked instructions recorded; -1: not recorded."),
    Column("ref_use_plain", "i8", "", "Of ref_plain, those between allocation and free."),
    Column("ref_use_locked", "i8", "", "Of ref_locked, those between allocation and free."),
    Column(
        "ref_takes",
        "i8",
        "",
        "page_ref: operations that took a reference beyond the one it was born with;"
        " -1: not recorded.",
    ),
    Column(
        "peak_count",
        "i4",
        "",
        "page_ref: highest count an event of the life showed (P1: re-read after the"
        " operation); -1: not recorded.",
    ),
)
