"""What is to be said of names: of policies, page kinds, levels, verdicts, paths and counters."""

from __future__ import annotations

from allocsim.trace.events import Column
from pipeline.store.schema.table import RUN, StoreTable

POLICIES = StoreTable(
    "policies",
    "one refcount policy of one run",
    (
        RUN,
        Column("policy", "i2", "", "Number of the policy in this run."),
        Column("name", "str", "", "Its name."),
        Column("doc", "str", "", "What it stands for."),
        Column("source", "str", "", "'shipped', or the file it was read from."),
    ),
    ("run", "policy"),
)

POLICY_OPS = StoreTable(
    "policy_ops",
    "what one stage in the life of one kind of page costs under one policy of one run",
    (
        RUN,
        Column("policy", "i2", "", "Policy (policies.policy)."),
        Column("page_kind", "i2", "", "Kind of page."),
        Column("stage", "str", "", "Stage in the life of the page."),
        Column("frozen", "?", "", "The kind has no reference count under the policy."),
        Column("plain_ops", "i8", "", "Plain stores per allocation, per life in use, or per free."),
        Column("locked_ops", "i8", "", "Locked instructions, likewise."),
        Column("plain_ops_per_page", "i8", "", "Plain stores per base page, on top of these."),
        Column("locked_ops_per_page", "i8", "", "Locked instructions per base page, likewise."),
        Column(
            "locked_ops_low",
            "i8",
            "",
            "At least, where locked_ops is the middle of an assumed range; NULL: it is exact.",
        ),
        Column("locked_ops_high", "i8", "", "At most, likewise."),
        Column(
            "locked_ops_per_table_low",
            "i8",
            "",
            "Stage use, assumed: locked instructions on pages of this kind for each page table"
            " that the run allocates, at least; NULL: none.",
        ),
        Column("locked_ops_per_table_high", "i8", "", "The same, at most."),
        Column("entry", "str", "", "Kernel function through which the page comes or goes."),
        Column("depth", "str", "", "Where on the call stack the count is set or dropped."),
        Column("rule", "str", "", "Rule of the kernel model that says so."),
        Column("kernel_function", "str", "", "file:function of the kernel, and its version."),
    ),
    ("run", "policy", "page_kind", "stage"),
)

POLICY_STEPS = StoreTable(
    "policy_steps",
    "what one step in the use of a page costs under one policy of one run (kernel_steps)",
    (
        RUN,
        Column("policy", "i2", "", "Policy (policies.policy)."),
        Column("step", "str", "", "The step."),
        Column("plain_ops", "i8", "", "Plain stores in it."),
        Column("locked_ops", "i8", "", "Locked instructions in it."),
        Column("plain_more", "i8", "", "Plain stores more than the recorded kernel does in it."),
        Column("locked_more", "i8", "", "Locked instructions, likewise; below zero: fewer."),
        Column("rule", "str", "", "Rule of the kernel model that says so."),
        Column("kernel_function", "str", "", "file:function of the kernel, and its version."),
    ),
    ("run", "policy", "step"),
)

PAGE_KINDS = StoreTable(
    "page_kinds",
    "one kind of page: whose page it is",
    (
        Column("page_kind", "str", "", "The kind."),
        Column("doc", "str", "", "What belongs to it."),
    ),
    ("page_kind",),
)

CALL_LEVELS = StoreTable(
    "call_levels",
    "one level of the call stack of a page allocation",
    (
        Column("level", "i1", "", "Number of the level, from the inside out."),
        Column("name", "str", "", "Function that stands for it."),
        Column("source", "str", "", "Where it is, and which kernel sets the count there."),
    ),
    ("level",),
)

VERDICTS = StoreTable(
    "verdicts",
    "one verdict on freezing a group of pages",
    (
        Column("verdict", "str", "", "The verdict."),
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

ROADMAP_STEPS = StoreTable(
    "roadmap_steps",
    "one kind of page in one step of the plan towards memory descriptors",
    (
        Column("step", "i1", "", "Place of the step, from 0: what released kernels have."),
        Column("name", "str", "", "Its name."),
        Column("title", "str", "", "The same for readers."),
        Column("page_kind", "str", "", "Kind of page that it is about; each is in one step."),
        Column("known", "str", "", "What speaks for it: 'read', 'published' or 'assumed'."),
        Column("source", "str", "", "Who says so."),
    ),
    ("page_kind",),
)

COUNTERS = StoreTable(
    "counters",
    "one counter of a cache that the model of one generation of SLUB keeps",
    (
        Column("slub", "str", "", "The generation (runs.slub)."),
        Column("name", "str", "", "Its name (cache_counters.name)."),
        Column("place", "i2", "", "Its place among the counters, from 0."),
        Column("unit", "str", "", "What it counts."),
        Column("ours", "?", "", "The kernel does not keep it; else it is a file of SLUB_STATS."),
        Column("chief", "?", "", "Reports show it of the busiest caches."),
        Column("doc", "str", "", "What it is."),
    ),
    ("slub", "name"),
)

PATHS = StoreTable(
    "paths",
    "one way in which the model serves a request",
    (
        Column("path", "str", "", "The way."),
        Column("layer", "str", "", "'object' (SLUB) or 'page' (page allocator)."),
        Column("way", "str", "", "'alloc' or 'free'."),
    ),
    ("path",),
)
