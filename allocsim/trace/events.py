"""The events of a recording: which tracepoints are kept, and the columns their fields land in.

Declared once, here, as data. The Parquet schema of a trace set, the readers and the
reference page are made from these two tables.

Source of the field lists: T14, checked against the format text inside the 6.1, 6.12,
7.2 and 7.3 recordings (include/trace/events/kmem.h, include/trace/events/page_ref.h).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        name: the column's name.
        dtype: numpy dtype string (``i8``, ``u1``, ``?``), or ``str`` for dictionary-coded text.
        unit: ``ns``, ``bytes``, ``pages``, ... or ``""`` where the value has none.
        doc: one sentence that says what a value is.
        required: True where every trace set must carry the column; a column that is not
            required is null on events without the field, and absent if no recorded event has it.
    """

    name: str
    dtype: str
    unit: str
    doc: str
    required: bool = False


EVENT_COLUMNS: tuple[Column, ...] = (
    Column("ts", "i8", "ns", "Time of the event on the recording's clock.", required=True),
    Column("cpu", "i2", "", "CPU that did the operation (I5).", required=True),
    Column("pid", "i4", "", "common_pid: the task that was current.", required=True),
    Column("event", "u1", "", "Which tracepoint (EVENTS).", required=True),
    Column(
        "irq_flags",
        "u1",
        "",
        "common_flags: bit 0 irqs off, 3 hard interrupt, 4 soft interrupt (I6).",
        required=True,
    ),
    Column("call_site", "u8", "", "Address that called the allocator."),
    Column("ptr", "u8", "", "Address of the object; 0 for kfree(NULL), 16 for ZERO_SIZE_PTR (T4)."),
    Column("cache", "str", "", "Cache name the kernel printed (T1: none on 6.12 allocations)."),
    Column("bytes_req", "i8", "bytes", "Bytes asked for."),
    Column("bytes_alloc", "i8", "bytes", "Bytes given: cache size or whole pages (R3.3, T2)."),
    Column("gfp_flags", "u8", "", "Effective gfp flags, by the recording kernel's own bits (T9)."),
    Column("node", "i4", "", "NUMA node asked for, -1 for none; node_id of the zone events."),
    Column("accounted", "?", "", "To be charged to a memory cgroup: by its flags, or its cache's."),
    Column("pfn", "i8", "", "First page frame number; -1 for a failed allocation (T8)."),
    Column("order", "i4", "", "Block of 2^order pages (alloc_order of mm_page_alloc_extfrag)."),
    Column(
        "migratetype",
        "i4",
        "",
        "Migratetype (mt of page_ref events, alloc_migratetype of mm_page_alloc_extfrag).",
    ),
    Column("percpu_refill", "i4", "", "mm_page_alloc_zone_locked: the kernel's guess (T12)."),
    Column("fallback_order", "i4", "", "mm_page_alloc_extfrag: order of the block fallen back to."),
    Column("fallback_migratetype", "i4", "", "mm_page_alloc_extfrag: migratetype fallen back to."),
    Column("change_ownership", "i4", "", "mm_page_alloc_extfrag: the pageblock changed its type."),
    Column("page_flags", "u8", "", "page_ref: page->flags, re-read after the operation (P1)."),
    Column(
        "count",
        "i4",
        "",
        "page_ref: reference count, re-read after the operation (P1); of a sheaf: objects (T19).",
    ),
    Column("mapcount", "i4", "", "page_ref: the word shared by mapcount and page type (P2)."),
    Column("mapping", "u8", "", "page_ref: page->mapping, re-read after the operation (P1)."),
    Column("val", "i4", "", "page_ref: operand of the operation."),
    Column("ret", "i4", "", "page_ref: result of the operation."),
    Column("mm_id", "u4", "", "rss_stat: hash of the address space."),
    Column("curr", "u4", "", "rss_stat: 1 if the address space is the current task's."),
    Column("member", "i4", "", "rss_stat: which counter (0 file, 1 anon, 2 swap, 3 shmem)."),
    Column("size", "i8", "bytes", "rss_stat: the counter's value."),
    Column("zone", "str", "", "Zone name of the watermark and reserve events."),
    Column("upper_zone", "str", "", "mm_setup_per_zone_lowmem_reserve: zone protected against."),
    Column("watermark_min", "i8", "pages", "mm_setup_per_zone_wmarks: min watermark."),
    Column("watermark_low", "i8", "pages", "mm_setup_per_zone_wmarks: low watermark."),
    Column("watermark_high", "i8", "pages", "mm_setup_per_zone_wmarks: high watermark."),
    Column("watermark_promo", "i8", "pages", "mm_setup_per_zone_wmarks: promotion watermark."),
    Column("lowmem_reserve", "i8", "pages", "mm_setup_per_zone_lowmem_reserve: reserve."),
    Column("totalreserve_pages", "i8", "pages", "mm_calculate_totalreserve_pages: reserve."),
    Column("sheaf", "u8", "", "Address of a prefilled sheaf, 0 for none (T19)."),
    Column("start", "i8", "", "mm_alloc_contig_migrate_range_info: first pfn of the range."),
    Column("end", "i8", "", "mm_alloc_contig_migrate_range_info: pfn after the range."),
    Column("nr_migrated", "i8", "pages", "mm_alloc_contig_migrate_range_info: pages migrated."),
    Column("nr_reclaimed", "i8", "pages", "mm_alloc_contig_migrate_range_info: pages reclaimed."),
    Column("nr_mapped", "i8", "pages", "mm_alloc_contig_migrate_range_info: mappings undone."),
    Column(
        "inner_site",
        "u8",
        "",
        "Call site of the first of the two events of a large kmalloc; the second is kept (T3).",
    ),
    Column("stack", "i4", "", "Row of stacks.parquet: the kernel stack that followed the event."),
    Column(
        "probe",
        "u1",
        "",
        "Which probe the event was made of, one for each object (Probe, T19); null: a tracepoint.",
    ),
    Column(
        "metadata",
        "?",
        "",
        "The object is the slab allocator's own metadata, known by its call site (T7).",
        required=True,
    ),
)

EVENT_COLUMN = {column.name: column for column in EVENT_COLUMNS}


class Ev(IntEnum):
    """Codes of the column ``event``. Fixed: a new event takes the next free number."""

    KMALLOC = 0
    KFREE = 1
    KMEM_CACHE_ALLOC = 2
    KMEM_CACHE_FREE = 3
    MM_PAGE_ALLOC = 4
    MM_PAGE_FREE = 5
    MM_PAGE_FREE_BATCHED = 6
    MM_PAGE_ALLOC_ZONE_LOCKED = 7
    MM_PAGE_PCPU_DRAIN = 8
    MM_PAGE_ALLOC_EXTFRAG = 9
    RSS_STAT = 10
    PAGE_REF_SET = 11
    PAGE_REF_MOD = 12
    PAGE_REF_MOD_AND_TEST = 13
    PAGE_REF_MOD_AND_RETURN = 14
    PAGE_REF_MOD_UNLESS = 15
    PAGE_REF_FREEZE = 16
    PAGE_REF_UNFREEZE = 17
    MM_SETUP_PER_ZONE_WMARKS = 18
    MM_SETUP_PER_ZONE_LOWMEM_RESERVE = 19
    MM_CALCULATE_TOTALRESERVE_PAGES = 20
    MM_ALLOC_CONTIG_MIGRATE_RANGE_INFO = 21
    RCU_FREE_SHEAF = 22
    KMEM_CACHE_PREFILL_SHEAF = 23
    KMEM_CACHE_REFILL_SHEAF = 24
    KMEM_CACHE_RETURN_SHEAF = 25


#: The group of the probes that ``allocsim record`` makes; each is called as the function it is of.
PROBES = "allocsim"


class Probe(IntEnum):
    """Codes of the column ``probe``: functions that have no tracepoint and are probed (T19)."""

    KFREE_RCU_SHEAF = 1  #: kfree_rcu put the object into the CPU's sheaf (R3.20)
    KMEM_CACHE_FREE_BULK = 2
    KMEM_CACHE_ALLOC_BULK = 3


@dataclass(frozen=True, slots=True)
class Event:
    """One tracepoint: its code, system, names and how its fields map to columns.

    ``renamed`` maps a kernel field to a column of another name; a field that is not named in it
    lands in the column of its own name. ``aliases`` are names other kernels gave the tracepoint.
    """

    code: Ev
    columns: tuple[str, ...]
    renamed: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the kernel calls it."""
        return self.code.name.lower()

    @property
    def system(self) -> str:
        """Which of the kernel's groups of tracepoints it is of."""
        if self.code >= Ev.RCU_FREE_SHEAF:
            return PROBES
        return "page_ref" if self.name.startswith("page_ref") else "kmem"


_OBJECT = ("call_site", "ptr")
_OBJECT_ALLOC = (*_OBJECT, "bytes_req", "bytes_alloc", "gfp_flags", "node")
_PAGE_REF = ("pfn", "page_flags", "count", "mapcount", "mapping", "migratetype", "val")
_PAGE_REF_RENAMED = {"flags": "page_flags", "mt": "migratetype"}
_ZONE_RENAMED = {"node_id": "node", "name": "zone", "upper_name": "upper_zone"}


def _page_ref(code: Ev, *, ret: bool) -> Event:
    columns = (*_PAGE_REF, "ret") if ret else _PAGE_REF
    return Event(code, columns, _PAGE_REF_RENAMED)


EVENTS: tuple[Event, ...] = (
    # 6.1 merged the _node events into the plain ones (T14); older recordings still have them.
    Event(Ev.KMALLOC, _OBJECT_ALLOC, aliases=("kmalloc_node",)),
    Event(Ev.KFREE, _OBJECT),
    Event(
        Ev.KMEM_CACHE_ALLOC,
        (*_OBJECT_ALLOC, "cache", "accounted"),
        {"name": "cache"},
        aliases=("kmem_cache_alloc_node",),
    ),
    Event(Ev.KMEM_CACHE_FREE, (*_OBJECT, "cache"), {"name": "cache"}),
    Event(Ev.MM_PAGE_ALLOC, ("pfn", "order", "gfp_flags", "migratetype")),
    Event(Ev.MM_PAGE_FREE, ("pfn", "order")),
    Event(Ev.MM_PAGE_FREE_BATCHED, ("pfn",)),
    Event(Ev.MM_PAGE_ALLOC_ZONE_LOCKED, ("pfn", "order", "migratetype", "percpu_refill")),
    Event(Ev.MM_PAGE_PCPU_DRAIN, ("pfn", "order", "migratetype")),
    Event(
        Ev.MM_PAGE_ALLOC_EXTFRAG,
        (
            "pfn",
            "order",
            "fallback_order",
            "migratetype",
            "fallback_migratetype",
            "change_ownership",
        ),
        {"alloc_order": "order", "alloc_migratetype": "migratetype"},
    ),
    Event(Ev.RSS_STAT, ("mm_id", "curr", "member", "size")),
    _page_ref(Ev.PAGE_REF_SET, ret=False),
    _page_ref(Ev.PAGE_REF_MOD, ret=False),
    _page_ref(Ev.PAGE_REF_MOD_AND_TEST, ret=True),
    _page_ref(Ev.PAGE_REF_MOD_AND_RETURN, ret=True),
    _page_ref(Ev.PAGE_REF_MOD_UNLESS, ret=True),
    _page_ref(Ev.PAGE_REF_FREEZE, ret=True),
    _page_ref(Ev.PAGE_REF_UNFREEZE, ret=False),
    Event(
        Ev.MM_SETUP_PER_ZONE_WMARKS,
        ("node", "zone", "watermark_min", "watermark_low", "watermark_high", "watermark_promo"),
        _ZONE_RENAMED,
    ),
    Event(
        Ev.MM_SETUP_PER_ZONE_LOWMEM_RESERVE,
        ("node", "zone", "upper_zone", "lowmem_reserve"),
        _ZONE_RENAMED,
    ),
    Event(Ev.MM_CALCULATE_TOTALRESERVE_PAGES, ("totalreserve_pages",)),
    Event(
        Ev.MM_ALLOC_CONTIG_MIGRATE_RANGE_INFO,
        ("start", "end", "migratetype", "nr_migrated", "nr_reclaimed", "nr_mapped"),
    ),
    # Probes too, of what is done to no single object.
    Event(Ev.RCU_FREE_SHEAF, ("cache", "count"), {"nr": "count"}),
    Event(Ev.KMEM_CACHE_PREFILL_SHEAF, ("cache", "count", "sheaf"), {"nr": "count"}),
    Event(Ev.KMEM_CACHE_REFILL_SHEAF, ("cache", "count", "sheaf"), {"nr": "count", "was": "sheaf"}),
    Event(Ev.KMEM_CACHE_RETURN_SHEAF, ("cache", "sheaf")),
)

_PAGE_REF_NEEDED = ("pfn", "val")
#: Columns without which an event cannot be replayed. What else an event lacks is null.
NEEDED: dict[Ev, tuple[str, ...]] = {
    Ev.KMALLOC: ("call_site", "ptr", "bytes_req", "bytes_alloc", "gfp_flags"),
    Ev.KFREE: ("call_site", "ptr"),
    Ev.KMEM_CACHE_ALLOC: ("call_site", "ptr", "bytes_alloc"),
    Ev.KMEM_CACHE_FREE: ("call_site", "ptr"),
    Ev.MM_PAGE_ALLOC: ("pfn", "order", "gfp_flags"),
    Ev.MM_PAGE_FREE: ("pfn", "order"),
    Ev.PAGE_REF_SET: _PAGE_REF_NEEDED,
    Ev.PAGE_REF_MOD: _PAGE_REF_NEEDED,
    Ev.PAGE_REF_MOD_AND_TEST: (*_PAGE_REF_NEEDED, "ret"),
    Ev.PAGE_REF_MOD_AND_RETURN: (*_PAGE_REF_NEEDED, "ret"),
    Ev.PAGE_REF_MOD_UNLESS: (*_PAGE_REF_NEEDED, "ret"),
    Ev.PAGE_REF_FREEZE: (*_PAGE_REF_NEEDED, "ret"),
    Ev.PAGE_REF_UNFREEZE: _PAGE_REF_NEEDED,
}
#: Events that say nothing, or what is wrong, without one another, and what they are of.
FAMILIES: dict[str, tuple[Ev, ...]] = {
    "kmalloc objects": (Ev.KMALLOC, Ev.KFREE),
    "objects of named caches": (Ev.KMEM_CACHE_ALLOC, Ev.KMEM_CACHE_FREE),
    "pages": (Ev.MM_PAGE_ALLOC, Ev.MM_PAGE_FREE),
    "page references": tuple(code for code in NEEDED if code >= Ev.PAGE_REF_SET),
}

EVENT_NAMES: tuple[str, ...] = tuple(event.name for event in EVENTS)
