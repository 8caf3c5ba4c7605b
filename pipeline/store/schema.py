"""The tables of a results database, as data: the star of runs, their facts and their dimensions.

Everything that speaks of tables is made from this module: the DDL, the Arrow schema of what is
loaded, the check of a database that is opened, and the reference page.

Conventions: time is ``ts`` in ns; sizes and counts are BIGINT (DuckDB raises when unsigned
values are subtracted below zero); codes are small and signed; only addresses are UBIGINT. What
is not known is NULL, where the model's arrays hold the sentinel -1.
"""

from __future__ import annotations

from dataclasses import dataclass

from allocsim.events import EVENT_COLUMN, Column
from allocsim.results import EVENT_RESULTS, PAGE_RESULTS

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Args:
        name: the table's name.
        row: what one row is.
        columns: its columns, in order.
        key: the columns that name a row; empty where only the order of loading does.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


_RUN = Column("run", "i4", "", "Replay of one trace (runs.run).")

# DuckDB type of a column by its numpy dtype: see the conventions above.
_DUCKDB = {
    "?": "BOOLEAN",
    "i1": "SMALLINT",
    "u1": "SMALLINT",
    "i2": "SMALLINT",
    "i4": "INTEGER",
    "i8": "BIGINT",
    "u4": "BIGINT",
    "u8": "UBIGINT",
    "f8": "DOUBLE",
    "str": "VARCHAR",
}
# Counts whose arrays are narrow, and flags whose arrays are unsigned.
_WIDENED = {
    "plain_ops": "BIGINT",
    "locked_ops": "BIGINT",
    "frees": "BIGINT",
    "val": "BIGINT",
    "ret": "BIGINT",
    "count": "BIGINT",
    "peak_count": "BIGINT",
    "gfp_flags": "BIGINT",
}


def duckdb_type(column: Column) -> str:
    """The DuckDB type a column is stored in."""
    return _WIDENED.get(column.name, _DUCKDB[column.dtype])


def stored_doc(column: Column) -> str:
    """The sentence of a column as it reads in the store, where the sentinel -1 is NULL."""
    return column.doc.replace("-1:", "NULL:")


def _event(*names: str) -> tuple[Column, ...]:
    return tuple(EVENT_COLUMN[name] for name in names)


#: Result columns of object events, and of all other events. Together with ``slab``, which is the
#: pfn of the page an object lies on, they are those of EVENT_RESULTS.
OBJECT_RESULTS = ("object", "cache", "cache_how", "page", "lifetime")
PAGE_EVENT_RESULTS = ("page", "page_kind", "kind_how", "lifetime", "plain_ops", "locked_ops")

RUNS = Table(
    "runs",
    "one replay of one trace",
    (
        _RUN,
        Column("trace_id", "i4", "", "What was replayed (traces.trace_id)."),
        Column("started", "str", "", "When the replay began, UTC, ISO 8601."),
        Column("allocsim_version", "str", "", "Version that replayed it."),
        Column("window_rows", "i8", "", "Events per window; results do not depend on it."),
        Column("events", "i8", "", "Events replayed."),
        Column("first_ts", "i8", "ns", "Time of the first event."),
        Column("last_ts", "i8", "ns", "Time of the last event."),
        Column("slice_ns", "i8", "ns", "Length of a time slice of samples and of timeline."),
        Column("use_how", "i1", "", "How the use stage is known (hows.how); NULL: not looked at."),
        Column("placement", "str", "", "'recorded': where the kernel put things; or 'simulated'."),
        Column("of_run", "i4", "", "Simulated: the recorded run its requests were taken from."),
        Column("profile", "str", "", "Simulated: the kernel version that was modelled."),
        Column("settings", "str", "", "Simulated: what the user set, by key (JSON)."),
        Column("what_if", "str", "", "Simulated: why it differs from the recorded kernel."),
        Column("machine_how", "i1", "", "Simulated: how the zones are known (hows.how)."),
    ),
    ("run",),
)

TRACES = Table(
    "traces",
    "one trace set, as it was when first replayed into this database",
    (
        Column("trace_id", "i4", "", "Number of the trace in this database."),
        Column("trace", "str", "", "Name of the trace set."),
        Column("kernel_release", "str", "", "Kernel that was recorded (uname -r)."),
        Column("arch", "str", "", "Its architecture."),
        Column("cpus", "i4", "", "CPUs of the recorded machine."),
        Column("page_size", "i8", "bytes", "Its page size."),
        Column("clock", "str", "", "Trace clock of the recording."),
        Column("source_format", "str", "", "What the trace set was imported from."),
        Column("source_sha256", "str", "", "Digest of that file."),
        Column("lost_events", "i8", "", "Events the recording says it lost."),
        Column("lost_gaps", "i8", "", "Gaps that do not say how many events were lost in them."),
        Column("duplicates_dropped", "i8", "", "Repeated large-kmalloc events left out (T3)."),
        Column("direct_map_base", "u8", "", "Virtual address of page frame 0 (I1)."),
        Column("direct_map_votes", "i8", "", "Allocations that voted for this base."),
        Column("direct_map_candidates", "i8", "", "Allocations that voted."),
        Column("direct_map_share", "f8", "", "votes / candidates."),
        Column("direct_map_how", "str", "", "How the base is known."),
        Column("meta", "str", "", "meta.json of the trace set, whole (JSON)."),
    ),
    ("trace_id",),
)

_SEQ = Column("seq", "i8", "", "Row of the event in the trace set's events.parquet, from 0.")
_RESULT = {column.name: column for column in EVENT_RESULTS}

# Tables of events by what they have in common: in one table half of every column would be NULL,
# and the load would take twice as long. The view events puts them together.
OBJECT_EVENTS = Table(
    "object_events",
    "one recorded event of one run that allocates or frees an object, with what the model says",
    (
        _RUN,
        _SEQ,
        *_event("ts", "cpu", "pid", "event", "call_site", "bytes_req", "bytes_alloc"),
        *(_RESULT[name] for name in OBJECT_RESULTS),
    ),
    ("run", "seq"),
)

OBJECT_STACKS = Table(
    "object_stacks",
    "the kernel stack of one object event of one run; few recordings have any",
    (_RUN, _SEQ, *_event("stack")),
    ("run", "seq"),
)

PAGE_EVENTS = Table(
    "page_events",
    "one recorded event of one run that is no object event, with what the model says of it",
    (
        _RUN,
        _SEQ,
        *_event("ts", "cpu", "pid", "event", "pfn", "order", "val", "ret", "count", "stack"),
        *(_RESULT[name] for name in PAGE_EVENT_RESULTS),
    ),
    ("run", "seq"),
)

PAGES = Table(
    "pages",
    "one page life of one run: a block of pages from its allocation to its free",
    (_RUN, *PAGE_RESULTS),
    ("run", "page"),
)

SAMPLES = Table(
    "samples",
    "one page kind in one time slice of one run; slices in which nothing happened have no row",
    (
        _RUN,
        Column("slice", "i4", "", "Slice 0 begins at runs.first_ts and lasts runs.slice_ns."),
        Column("page_kind", "i2", "", "Whose pages (page_kinds.page_kind)."),
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
)

CACHES = Table(
    "caches",
    "one slab cache of one run",
    (
        _RUN,
        Column("cache", "i4", "", "Number of the cache in this run."),
        Column("name", "str", "", "Its name: the kernel's, or the size class's (R3.1, R3.2)."),
        Column("object_size", "i8", "bytes", "Slot size (R3.3): bytes_alloc of its objects."),
    ),
    ("run", "cache"),
)

CALL_SITES = Table(
    "call_sites",
    "one address that called the allocator in one run",
    (
        _RUN,
        Column("call_site", "u8", "", "The address."),
        Column("symbol", "str", "", "Function the address lies in; NULL: not resolved."),
        Column("offset", "i8", "bytes", "Distance of the address from the function's start."),
        Column("module", "str", "", "Module of the function; NULL: the kernel itself."),
    ),
    ("run", "call_site"),
)

STACKS = Table(
    "stacks",
    "one distinct kernel stack of one run",
    (
        _RUN,
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
        Column("frames", "str", "", "Functions from outermost to innermost, joined by ';'."),
    ),
    ("run", "stack"),
)

TASKS = Table(
    "tasks",
    "one task of one run",
    (
        _RUN,
        Column("pid", "i4", "", "Its pid."),
        Column("comm", "str", "", "Its name, as far as the recording says."),
    ),
    ("run", "pid"),
)

POLICIES = Table(
    "policies",
    "one refcount policy of one run",
    (
        _RUN,
        Column("policy", "i2", "", "Number of the policy in this run."),
        Column("name", "str", "", "Its name."),
        Column("doc", "str", "", "What it stands for."),
        Column("source", "str", "", "'shipped', or the file it was read from."),
    ),
    ("run", "policy"),
)

POLICY_OPS = Table(
    "policy_ops",
    "what one stage in the life of one kind of page costs under one policy of one run",
    (
        _RUN,
        Column("policy", "i2", "", "Policy (policies.policy)."),
        Column("page_kind", "i2", "", "Kind of page (page_kinds.page_kind)."),
        Column("stage", "str", "", "'alloc', 'use' or 'free'."),
        Column("frozen", "?", "", "The kind has no reference count under the policy."),
        Column("plain_ops", "i8", "", "Plain stores per allocation, per life in use, or per free."),
        Column("locked_ops", "i8", "", "Locked instructions, likewise."),
        Column("plain_ops_per_page", "i8", "", "Plain stores per base page, on top of these."),
        Column("locked_ops_per_page", "i8", "", "Locked instructions per base page, likewise."),
        Column("entry", "str", "", "Kernel function through which the page comes or goes."),
        Column("depth", "str", "", "Where on the call stack the count is set or dropped."),
        Column("rule", "str", "", "Rule of the kernel model that says so."),
        Column("kernel_function", "str", "", "file:function of the kernel, and its version."),
    ),
    ("run", "policy", "page_kind", "stage"),
)

QUALITY_COUNTS = Table(
    "quality_counts",
    "one count that says how good the data of one run is",
    (
        _RUN,
        Column("name", "str", "", "What is counted."),
        Column("value", "i8", "", "How many."),
    ),
    ("run", "name"),
)

VALIDATION = Table(
    "validation",
    "one quantity of one run as the recorded kernel counted it and as the model says it",
    (
        _RUN,
        Column("trace", "str", "", "Name of the trace set."),
        Column("quantity", "str", "", "What is compared."),
        Column("scope", "str", "", "Of what: 'total', or a cache, a kind of page."),
        Column("kernel", "f8", "", "The kernel's figure."),
        Column("model", "f8", "", "The model's figure."),
        Column(
            "error_pct", "f8", "%", "model - kernel, of kernel; NULL: the kernel counted nothing."
        ),
        Column("bound_pct", "f8", "%", "Error that is allowed; NULL: there is no bound."),
        Column("ok", "?", "", "The error is within the bound; NULL: there is no bound."),
        Column("note", "str", "", "What else there is to know, and the reason for the bound."),
    ),
    ("run", "quantity", "scope"),
)

EVENT_TYPES = Table(
    "event_types",
    "one tracepoint",
    (
        *_event("event"),
        Column("system", "str", "", "Its system: kmem or page_ref."),
        Column("name", "str", "", "Its name."),
    ),
    ("event",),
)

PAGE_KINDS = Table(
    "page_kinds",
    "one kind of page: whose page it is",
    (
        Column("page_kind", "i2", "", "Code of the kind."),
        Column("name", "str", "", "Its name."),
        Column("doc", "str", "", "What belongs to it."),
    ),
    ("page_kind",),
)

HOWS = Table(
    "hows",
    "one way in which a statement is known",
    (
        Column("how", "i1", "", "Code of the way."),
        Column("name", "str", "", "observed, inferred, assumed or unknown."),
    ),
    ("how",),
)

CACHE_HOWS = Table(
    "cache_hows",
    "one rule that gives an object event its cache",
    (
        Column("cache_how", "i1", "", "Code of the rule."),
        Column("name", "str", "", "Its name."),
    ),
    ("cache_how",),
)

CALL_LEVELS = Table(
    "call_levels",
    "one level of the call stack of a page allocation",
    (
        Column("level", "i1", "", "Number of the level, from the inside out."),
        Column("name", "str", "", "Function that stands for it."),
        Column("source", "str", "", "Where it is, and which kernel sets the count there."),
    ),
    ("level",),
)

VERDICTS = Table(
    "verdicts",
    "one verdict on freezing a group of pages",
    (
        Column("verdict", "i1", "", "Code of the verdict."),
        Column("name", "str", "", "Its name."),
        Column(
            "max_extra_pct",
            "f8",
            "%",
            "Highest share of whole lives with an extra reference that it allows;"
            " NULL: it does not go by that.",
        ),
        Column("doc", "str", "", "What it says."),
    ),
    ("verdict",),
)

PATHS = Table(
    "paths",
    "one way in which the model serves a request",
    (
        Column("path", "i2", "", "Code of the way."),
        Column("layer", "str", "", "'object' (SLUB) or 'page' (page allocator)."),
        Column("way", "str", "", "'alloc' or 'free'."),
        Column("name", "str", "", "Its name."),
    ),
    ("path",),
)

PLACED_EVENTS = Table(
    "placed_events",
    "where the model put one recorded event of one simulated run",
    (
        _RUN,
        _SEQ,
        Column("path", "i2", "", "How it was served (paths.path)."),
        Column("slab", "i8", "", "Slab of the object (placed_slabs.slab); below -1: older slabs."),
        Column("idx", "i4", "", "Place of the object in its slab."),
        Column("pfn", "i8", "", "First page frame of a block of pages; of objects: their slab's."),
    ),
    ("run", "seq"),
)

PLACED_SLABS = Table(
    "placed_slabs",
    "one slab that the model made or freed in one simulated run",
    (
        _RUN,
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

PLACED_CACHES = Table(
    "placed_caches",
    "one cache of one simulated run: its shape, and its state at the end",
    (
        _RUN,
        Column("cache", "i4", "", "The cache (caches.cache)."),
        Column("order", "i4", "", "Order of a slab."),
        Column("objects", "i8", "", "Objects in a slab."),
        Column("min_order", "i4", "", "Order tried when that is not to be had."),
        Column("min_partial", "i8", "", "Empty slabs are kept while fewer are partial (R3.5)."),
        Column("capacity", "i8", "", "Objects in a sheaf; 0: no sheaves (R3.10)."),
        Column("shape_how", "i1", "", "How the shape is known (hows.how)."),
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
        Column("partial_slabs", "i8", "", "Slabs on the partial list at the end, older ones too."),
        Column("partial_free", "i8", "", "Free objects on these slabs."),
        Column("in_sheaves", "i8", "", "Free objects in sheaves at the end, CPUs' and barn's."),
    ),
    ("run", "cache"),
)

CACHE_COUNTERS = Table(
    "cache_counters",
    "one counter of one cache of one simulated run, by the kernel's name of it",
    (
        _RUN,
        Column("cache", "i4", "", "The cache (caches.cache)."),
        Column("name", "str", "", "As in /sys/kernel/slab/*/; list_lock: acquisitions of it."),
        Column("value", "i8", "", "How many; zero has no row."),
    ),
    ("run", "cache", "name"),
)

ZONES = Table(
    "zones",
    "one zone of the modelled machine of one simulated run",
    (
        _RUN,
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

ZONE_COUNTERS = Table(
    "zone_counters",
    "one counter of one zone of one simulated run",
    (
        _RUN,
        Column("zone", "i2", "", "The zone (zones.zone)."),
        Column("name", "str", "", "What is counted; zone_lock: acquisitions of zone->lock."),
        Column("value", "i8", "", "How many."),
    ),
    ("run", "zone", "name"),
)

FREE_BLOCKS = Table(
    "free_blocks",
    "free blocks of one kind in one zone of one simulated run at one time; none has no row",
    (
        _RUN,
        Column("slice", "i4", "", "As samples.slice: the state when it began; NULL: at the end."),
        Column("zone", "i2", "", "The zone (zones.zone)."),
        Column("order", "i4", "", "Blocks of 2^order pages."),
        Column("migratetype", "i2", "", "0 unmovable, 1 movable, 2 reclaimable, 3 highatomic."),
        Column("blocks", "i8", "", "How many lie in the buddy allocator."),
    ),
    ("run", "slice", "zone", "order", "migratetype"),
)

SCHEMA = Table(
    "store_schema",
    "the version of this schema; one row",
    (
        Column("version", "i4", "", "Version of the schema the database was made with."),
        Column("allocsim_version", "str", "", "Version of allocsim that made it."),
    ),
    (),
)

TABLES: tuple[Table, ...] = (
    SCHEMA,
    RUNS,
    TRACES,
    OBJECT_EVENTS,
    OBJECT_STACKS,
    PAGE_EVENTS,
    PAGES,
    SAMPLES,
    CACHES,
    CALL_SITES,
    STACKS,
    TASKS,
    POLICIES,
    POLICY_OPS,
    QUALITY_COUNTS,
    VALIDATION,
    EVENT_TYPES,
    PAGE_KINDS,
    HOWS,
    CACHE_HOWS,
    CALL_LEVELS,
    VERDICTS,
    PATHS,
    PLACED_EVENTS,
    PLACED_SLABS,
    PLACED_CACHES,
    CACHE_COUNTERS,
    ZONES,
    ZONE_COUNTERS,
    FREE_BLOCKS,
)


def ddl(table: Table) -> str:
    """The CREATE TABLE statement of a table.

    No primary keys: DuckDB would build an index for each, which costs more than the load. The
    keys are tested instead.
    """
    columns = ", ".join(f'"{column.name}" {duckdb_type(column)}' for column in table.columns)
    return f"CREATE TABLE {table.name} ({columns})"
