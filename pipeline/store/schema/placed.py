"""Simulated placements: where the model put things, and its counters."""

from __future__ import annotations

from allocsim.trace.events import Column
from pipeline.store.schema.table import RUN, SEQ, StoreTable

PLACED_EVENTS = StoreTable(
    "placed_events",
    "where the model put one recorded event of one simulated run",
    (
        RUN,
        SEQ,
        Column("path", "i2", "", "How it was served."),
        Column("slab", "i8", "", "Slab of the object (placed_slabs.slab); below -1: older slabs."),
        Column("idx", "i4", "", "Place of the object in its slab."),
        Column("pfn", "i8", "", "First page frame of a block of pages; of objects: their slab's."),
    ),
    ("run", "seq"),
)

PLACED_SLABS = StoreTable(
    "placed_slabs",
    "one slab that the model made or freed in one simulated run",
    (
        RUN,
        Column("slab", "i8", "", "cache * 2^32 + number; below -1: older than the trace (I2)."),
        Column("cache", "i4", "", "Its cache (caches.cache)."),
        Column("order", "i4", "", "It has 2^order pages."),
        Column("pfn", "i8", "", "First page frame the model gave it."),
        Column("alloc_seq", "i8", "", "Event that made it; NULL: older than the trace."),
        Column("alloc_cpu", "i2", "", "CPU of that event."),
        Column("free_seq", "i8", "", "Event that freed it; NULL: there at the end."),
        Column("free_cpu", "i2", "", "CPU of that event."),
    ),
    ("run", "slab"),
)

PLACED_CACHES = StoreTable(
    "placed_caches",
    "one cache of one simulated run: its shape, and its state at the end",
    (
        RUN,
        Column("cache", "i4", "", "The cache (caches.cache)."),
        Column("order", "i4", "", "Order of a slab."),
        Column("objects", "i8", "", "Objects in a slab."),
        Column("min_order", "i4", "", "Order tried when that is not to be had."),
        Column("min_partial", "i8", "", "Empty slabs are kept while fewer are partial (R3.5)."),
        Column("capacity", "i8", "", "Objects in a sheaf; 0: no sheaves (R3.10); NULL: cpu slabs."),
        Column(
            "cpu_partial_slabs",
            "i8",
            "",
            "Slabs at which a CPU's partial list is drained (R3.36); NULL: sheaves.",
        ),
        Column("shape_how", "i1", "", "How the shape is known."),
        Column("slab_allocs", "i8", "", "Slabs made."),
        Column("slab_frees", "i8", "", "Slabs freed, those older than the trace too."),
        Column("pages_allocated", "i8", "pages", "Pages of the slabs made."),
        Column("pages_freed", "i8", "pages", "Pages of the slabs freed."),
        Column("live_objects", "i8", "", "Requested objects live at the end, on slabs made here."),
        Column("sheaf_objects", "i8", "", "Its objects that are sheaves of other caches (T7)."),
        Column("on_older_slabs", "i8", "", "On slabs older than the trace: allocated less freed."),
        Column("older_free", "i8", "", "Free places of such slabs when the trace began (I2)."),
        Column("slabs", "i8", "", "Slabs at the end, without those older than the trace."),
        Column("slab_pages", "i8", "pages", "Their pages."),
        Column("partial_slabs", "i8", "", "Slabs on partial lists at the end, older ones too."),
        Column("partial_free", "i8", "", "Free objects on these slabs."),
        Column("node_partial", "i8", "", "Of partial_slabs, those on the node's list."),
        Column("node_partial_free", "i8", "", "Free objects on these."),
        Column("cpu_slabs", "i8", "", "CPUs' own slabs and those on their lists; NULL: sheaves."),
        Column("older_slabs", "i8", "", "Slabs older than the trace that it touches, at the end."),
        Column("in_sheaves", "i8", "", "Free objects in sheaves at the end; NULL: cpu slabs."),
    ),
    ("run", "cache"),
)

CACHE_COUNTERS = StoreTable(
    "cache_counters",
    "one counter of one cache of one simulated run, by the kernel's name of it",
    (
        RUN,
        Column("cache", "i4", "", "The cache (caches.cache)."),
        Column("name", "str", "", "Its name (counters.name)."),
        Column("value", "i8", "", "How many; zero has no row."),
    ),
    ("run", "cache", "name"),
)

ZONES = StoreTable(
    "zones",
    "one zone of the modelled machine of one simulated run",
    (
        RUN,
        Column("zone", "i2", "", "Number of the zone."),
        Column("name", "str", "", "Its name."),
        Column("start_pfn", "i8", "", "First page frame."),
        Column("managed", "i8", "pages", "Pages the page allocator has."),
        Column("wmark_min", "i8", "pages", "Min watermark."),
        Column("wmark_low", "i8", "pages", "Low watermark."),
        Column("wmark_high", "i8", "pages", "High watermark."),
        Column("pcp_batch", "i8", "pages", "Batch of a CPU's lists (R4.11), of CPU 0."),
        Column("pcp_high_min", "i8", "pages", "Least limit of a CPU's lists (R4.12), likewise."),
        Column("pcp_high_max", "i8", "pages", "Largest limit, likewise."),
    ),
    ("run", "zone"),
)

ZONE_COUNTERS = StoreTable(
    "zone_counters",
    "one counter of one zone of one simulated run",
    (
        RUN,
        Column("zone", "i2", "", "The zone (zones.zone)."),
        Column(
            "name",
            "str",
            "",
            "What is counted; zone_lock: acquisitions of zone->lock; pcp_pages: pages on the CPUs'"
            " lists at the end.",
        ),
        Column("value", "i8", "", "How many."),
    ),
    ("run", "zone", "name"),
)

LOCK_WAITS = StoreTable(
    "lock_waits",
    "one lock of one simulated run as a queue (R7.4), in all or in one slice of time",
    (
        RUN,
        Column("lock", "str", "", "'list_lock', 'barn' or 'zone'."),
        Column("cache", "i4", "", "Whose (caches.cache); NULL: a zone's."),
        Column("zone", "i2", "", "Whose (zones.zone); NULL: a cache's."),
        Column("slice", "i4", "", "As samples.slice; NULL: the whole run."),
        Column("visits", "i8", "", "Requests whose path may take the lock; 0: none has a moment."),
        Column("takes", "f8", "", "Takes, as the model counts them; of a slice by its visits."),
        *(
            column
            for end, word in (("low", "least"), ("high", "most"))
            for column in (
                Column(f"hold_ns_{end}", "f8", "ns", f"How long one take holds it, at {word}."),
                Column(f"busy_ns_{end}", "f8", "ns", "How long it is held in all then."),
                Column(f"met_{end}", "i8", "", "Visits that meet it held by another CPU then."),
                Column(f"waited_ns_{end}", "f8", "ns", "How long these wait in all then."),
                Column(f"queue_{end}", "i8", "", "Longest queue that a visit meets then."),
            )
        ),
    ),
    ("run", "lock", "cache", "zone", "slice"),
    internal=True,
)

FREE_BLOCKS = StoreTable(
    "free_blocks",
    "free blocks of one kind in one zone of one simulated run at one time; none has no row",
    (
        RUN,
        Column("slice", "i4", "", "As samples.slice: the state when it began; NULL: at the end."),
        Column("zone", "i2", "", "The zone (zones.zone)."),
        Column("order", "i4", "", "Blocks of 2^order pages."),
        Column("migratetype", "i2", "", "Free list they lie on."),
        Column("blocks", "i8", "", "How many lie in the buddy allocator."),
    ),
    ("run", "slice", "zone", "order", "migratetype"),
    internal=True,
)
