"""What a replay says of the recorded events, and of what they name."""

from __future__ import annotations

from allocsim.trace.events import Column
from allocsim.trace.results import EVENT_RESULTS, PAGE_RESULTS
from pipeline.store.schema.table import RUN, SEQ, StoreTable, event

#: Result columns of page events. With those of object events, and with ``slab``, which is the pfn
#: of the page an object lies on, they are those of EVENT_RESULTS.
PAGE_EVENT_RESULTS = ("page", "page_kind", "kind_how", "lifetime", "plain_ops", "locked_ops")
_RESULT = {column.name: column for column in EVENT_RESULTS}

# Tables of events by what they have in common: in one table half of every column would be NULL,
# and the load would take twice as long. The view object_events puts the two of objects together,
# the view events all.
OBJECT_FACTS = StoreTable(
    "object_facts",
    "what is its own of one recorded event of one run that allocates or frees an object",
    (
        RUN,
        SEQ,
        *event("ts", "cpu", "pid"),
        Column("origin", "i4", "", "What it has in common with others (object_origins.origin)."),
        *(_RESULT[name] for name in ("object", "page", "lifetime")),
    ),
    ("run", "seq"),
    internal=True,
)

OBJECT_ORIGINS = StoreTable(
    "object_origins",
    "one tracepoint, call site, sizes and cache that object events of one run have in common",
    (
        Column("origin", "i4", "", "Number of the origin in this database."),
        RUN,
        *event("event", "call_site", "bytes_req", "bytes_alloc"),
        *(_RESULT[name] for name in ("cache", "cache_how")),
        Column("asks_charge", "?", "", "It carried __GFP_ACCOUNT; NULL: a free."),
        *event("accounted"),
    ),
    ("origin",),
    internal=True,
)

OBJECT_STACKS = StoreTable(
    "object_stacks",
    "the kernel stack of one object event of one run; few recordings have any",
    (RUN, SEQ, *event("stack")),
    ("run", "seq"),
    internal=True,
)

UNFREED_OBJECTS = StoreTable(
    "unfreed_objects",
    "one allocation of one run that no free in the trace ends; not the allocator's own metadata",
    (
        RUN,
        Column("object", "i8", "", "The event that allocated it."),
        Column("again_ts", "i8", "ns", "When its address was allocated again (T6); NULL: never."),
    ),
    ("run", "object"),
    internal=True,
)

PREFILLED_OBJECTS = StoreTable(
    "prefilled_objects",
    "one allocation of one run out of a prefilled sheaf, or one call for one (R3.16; observed where"
    " calls were probed, T19, else inferred)",
    (
        RUN,
        SEQ,
        Column("first", "i8", "", "The first event of the same sheaf."),
        Column(
            "left",
            "i4",
            "",
            "Allocations out of it from this one on, 2147483647 where calls were probed; of a call"
            " how many objects it is to have, 0: it comes back.",
        ),
    ),
    ("run", "seq"),
    internal=True,
)

PAGE_EVENTS = StoreTable(
    "page_events",
    "one recorded event of one run that is no object event, with what the model says of it",
    (
        RUN,
        SEQ,
        *event("ts", "cpu", "pid", "event", "pfn", "order", "val", "ret", "count", "stack"),
        Column("page_locked", "?", "", "page_ref: the page's PG_locked, re-read after (P1)."),
        *(_RESULT[name] for name in PAGE_EVENT_RESULTS),
    ),
    ("run", "seq"),
)

FALLBACKS = StoreTable(
    "fallbacks",
    "one mm_page_alloc_extfrag event of one run: pages of one migratetype taken from another's",
    (
        RUN,
        SEQ,
        Column("migratetype", "i4", "", "Migratetype asked for."),
        *event("fallback_order", "fallback_migratetype"),
        Column("change_ownership", "?", "", "The page block is of the type asked for after it."),
    ),
    ("run", "seq"),
)

REFUSED_REQUESTS = StoreTable(
    "refused_requests",
    "one allocation of one run that got nothing: a NULL pointer, or no page (T8)",
    (RUN, SEQ, *event("gfp_flags")),
    ("run", "seq"),
)

GFP_NAMES = StoreTable(
    "gfp_names",
    "one value of gfp flags that allocations of one run asked with",
    (
        RUN,
        *event("gfp_flags"),
        Column("names", "str", "", "As the kernel's events print it; NULL: before Linux 4.6."),
        Column("migratetype", "i2", "", "What it asks for (R4.2)."),
    ),
    ("run", "gfp_flags"),
)

PAGES = StoreTable(
    "pages",
    "one page life of one run: a block of pages from its allocation to its free",
    (RUN, *PAGE_RESULTS),
    ("run", "page"),
)

SAMPLES = StoreTable(
    "samples",
    "one page kind in one time slice of one run; slices in which nothing happened have no row",
    (
        RUN,
        Column("slice", "i4", "", "Slice 0 begins at runs.first_ts and lasts runs.slice_ns."),
        Column("page_kind", "i2", "", "Whose pages."),
        Column("page_allocs", "i8", "", "mm_page_alloc events, of any order."),
        Column("page_frees", "i8", "", "mm_page_free events, of any order."),
        Column("pages_allocated", "i8", "pages", "Base pages of these allocations."),
        Column("pages_freed", "i8", "pages", "Base pages of these frees."),
        Column("assumed_uses", "i8", "", "Allocations whose use stage was not recorded."),
        Column("assumed_use_pages", "i8", "pages", "Base pages of these allocations."),
        Column("use_plain", "i8", "", "Plain stores of the use stage recorded in the slice."),
        Column("use_locked", "i8", "", "Locked instructions of that stage, likewise."),
    ),
    ("run", "slice", "page_kind"),
    internal=True,
)

KERNEL_STEPS = StoreTable(
    "kernel_steps",
    "one step in the use of a page of one run that kernels do with different operations",
    (
        RUN,
        SEQ,
        Column("page", "i8", "", "Handle of the page's life (pages.page)."),
        Column("step", "str", "", "The step (policy_steps.step)."),
    ),
    ("run", "seq"),
    internal=True,
)

STEP_SAMPLES = StoreTable(
    "step_samples",
    "steps of one kind on pages of one kind in one time slice of one run; none has no row",
    (
        RUN,
        Column("slice", "i4", "", "The time slice (samples.slice)."),
        Column("page_kind", "i2", "", "Whose pages."),
        Column("step", "str", "", "The step (policy_steps.step)."),
        Column("steps", "i8", "", "How many (kernel_steps)."),
    ),
    ("run", "slice", "page_kind", "step"),
    internal=True,
)

CACHES = StoreTable(
    "caches",
    "one slab cache of one run",
    (
        RUN,
        Column("cache", "i4", "", "Number of the cache in this run."),
        Column("name", "str", "", "Its name: the kernel's, or the size class's (R3.1, R3.2)."),
        Column("object_size", "i8", "bytes", "Slot size (R3.3): bytes_alloc of its objects."),
    ),
    ("run", "cache"),
)

KERNEL_CACHES = StoreTable(
    "kernel_caches",
    "one name of a slab cache of the recorded kernel; none without a snapshot of /sys/kernel/slab",
    (
        RUN,
        Column("name", "str", "", "The name."),
        Column("merged", "str", "", "What it stands for: :a-0000096 where caches were merged."),
        Column("object_size", "i8", "bytes", "Object size of that cache, without what pads it."),
    ),
    ("run", "name"),
)

KERNEL_SLABS = StoreTable(
    "kernel_slabs",
    "one slab cache of the recorded kernel at one snapshot of /sys/kernel/slab, by its files there",
    (
        RUN,
        Column("moment", "str", "", "'before' or 'after' the recording."),
        Column("name", "str", "", "Its folder (kernel_caches.merged)."),
        *(
            Column(name, "i8", unit, doc)
            for name, unit, doc in (
                ("objects", "", "Objects in use; those in sheaves and on CPU slabs count so."),
                ("object_size", "bytes", "Size of an object, without what pads it."),
                ("slab_size", "bytes", "From one object to the next."),
                ("objs_per_slab", "", "Objects in a slab."),
                ("order", "", "A slab has 2^order pages."),
                ("slabs", "", "Slabs."),
                ("partial", "", "Of these, on nodes' partial lists."),
                ("cpu_slabs", "", "Of these, CPUs' own and on their partial lists."),
                ("aliases", "", "Caches merged into it."),
            )
        ),
        Column("flags", "str", "", "Letters of slabinfo (view slabinfo)."),
        Column("free_pointer_behind", "?", "", "RCU or a constructor keeps it out of objects."),
    ),
    ("run", "moment", "name"),
)

UNTRACED_ALLOCS = StoreTable(
    "untraced_allocs",
    "one cache of one run of which its kernel, unlike others, allocates objects without an event",
    (
        RUN,
        Column("cache", "str", "", "Its name, or the one it has where it is merged (T6)."),
        Column("doc", "str", "", "How they are allocated."),
    ),
    ("run", "cache"),
)

CALL_SITES = StoreTable(
    "call_sites",
    "one address that called the allocator in one run",
    (
        RUN,
        Column("call_site", "u8", "", "The address."),
        Column("symbol", "str", "", "Function the address lies in; NULL: not resolved."),
        Column("offset", "i8", "bytes", "Distance of the address from the function's start."),
        Column("module", "str", "", "Module of the function; NULL: the kernel itself."),
        Column("file", "str", "", "Source file, from the top of the sources; NULL: not known."),
        Column("line", "i4", "", "Line in it; NULL: not known, as it is by name."),
        Column("directory", "str", "", "Source directory; NULL: not known."),
        Column("place_how", "i1", "", "How these are known; runs.places says by what."),
    ),
    ("run", "call_site"),
)

STACKS = StoreTable(
    "stacks",
    "one distinct kernel stack of one run",
    (
        RUN,
        Column("stack", "i4", "", "Number of the stack in the trace set."),
        Column(
            "caller",
            "str",
            "",
            "Innermost function that is not the tracer's nor the page allocator's own.",
        ),
        Column(
            "entry_level",
            "i1",
            "",
            "Where the stack enters the page allocator (call_levels.level); NULL: it does not.",
        ),
        Column(
            "frames",
            "str",
            "",
            "Functions from outermost to innermost, joined by ';', without the tracer's own.",
        ),
    ),
    ("run", "stack"),
)

TASKS = StoreTable(
    "tasks",
    "one task of one run",
    (
        RUN,
        Column("pid", "i4", "", "Its pid."),
        Column("comm", "str", "", "Its name, as far as the recording says."),
    ),
    ("run", "pid"),
)

ALLOCINFO = StoreTable(
    "allocinfo",
    "one place in the source that allocates, as /proc/allocinfo counted it before and behind the"
    " recording of one run; none without these snapshots",
    (
        RUN,
        Column("tag", "i4", "", "Number of the place in this run."),
        Column("file", "str", "", "Source file."),
        Column("line", "i4", "", "Line in it."),
        Column("module", "str", "", "Module of the code; NULL: the kernel itself."),
        Column("function", "str", "", "Function in the source, before the compiler inlines it."),
        Column("tags", "i4", "", "Tags of the kernel that are of this place (inline functions)."),
        Column("bytes_before", "i8", "bytes", "Allocated and not freed; NULL: no snapshot."),
        Column("calls_before", "i8", "", "Allocations not freed, likewise."),
        Column("bytes_after", "i8", "bytes", "Behind the recording; NULL: no snapshot."),
        Column("calls_after", "i8", "", "Allocations not freed, likewise."),
        Column("accurate", "?", "", "False: the kernel says that it has missed some (6.18 on)."),
    ),
    ("run", "tag"),
)

OPENING_STOCK = StoreTable(
    "opening_stock",
    "blocks of pages that were there before the recording of one run and are alike, as the kernel's"
    " page owner had them; none without a snapshot of it",
    (
        RUN,
        Column("entry", "i4", "", "Number of the row in this run."),
        Column("order", "i4", "", "Blocks of 2^order pages."),
        Column("migratetype", "i2", "", "Free list they were asked from, by their gfp flags."),
        Column("block_type", "i2", "", "Migratetype of the page block; NULL: CMA, isolated."),
        Column("gfp_flags", "i8", "", "gfp flags they were allocated with."),
        Column("stack", "i4", "", "Where (stacks.stack)."),
        Column("page_kind", "i2", "", "Whose pages."),
        Column("kind_how", "i1", "", "How the kind is known: by stack (observed), or by flags."),
        Column("blocks", "i8", "", "How many there were."),
        Column("pages", "i8", "pages", "Base pages of these."),
        Column("first_ts", "i8", "ns", "When the oldest was allocated, by the kernel's clock."),
        Column("last_ts", "i8", "ns", "When the youngest was."),
    ),
    ("run", "entry"),
)
