"""What operations on reference counts take: the table of costs, and where their lines were."""

from __future__ import annotations

from allocsim.trace.events import Column
from pipeline.store.schema.table import RUN, StoreTable

COST_TABLES = StoreTable(
    "cost_tables",
    "the table of costs of one run",
    (
        RUN,
        Column("name", "str", "", "Its name."),
        Column("doc", "str", "", "What machines it is for."),
        Column("source", "str", "", "'shipped', or the file it was read from."),
    ),
    ("run",),
)

COST_OPS = StoreTable(
    "cost_ops",
    "what one operation takes at one place of its line, by the table of one run",
    (
        RUN,
        Column("operation", "str", "", "store, lock_add, ...; locked: any but a store."),
        Column("place", "str", "", "Where the line was last written: see op_places.place."),
        Column("ns_low", "f8", "ns", "At least."),
        Column("ns_high", "f8", "ns", "At most."),
        Column("known", "str", "", "published, estimated, measured, or mixed."),
        Column("source", "str", "", "By whom, or from what."),
    ),
    ("run", "operation", "place"),
)

OP_PLACES = StoreTable(
    "op_places",
    "operations on pages of one kind and cache by one CPU in one run, with the line at one place",
    (
        RUN,
        Column("page_kind", "i2", "", "Kind of page."),
        Column("cache", "i4", "", "Slab pages: the cache (caches.cache)."),
        Column("cpu", "i2", "", "CPU that does it."),
        Column("stage", "str", "", "Stage in the life of the page."),
        Column(
            "operation",
            "str",
            "",
            "In use, as recorded: store, lock_add, ...; NULL: the policy says which there are.",
        ),
        Column(
            "place",
            "str",
            "",
            "The CPU of the event before on that page: 'own', 'other' CPU, 'remote' package, or"
            " 'unknown'.",
        ),
        Column("step", "str", "", "In use: the events are such steps (kernel_steps.step)."),
        Column("events", "i8", "", "Allocations, operations, steps or lives in use, frees."),
        Column("pages", "i8", "pages", "Base pages of these."),
    ),
    ("run", "page_kind", "cache", "cpu", "stage", "operation", "place", "step"),
    internal=True,
)
