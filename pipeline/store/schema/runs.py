"""What was replayed, and how good the data of it is."""

from __future__ import annotations

from allocsim.trace.events import Column
from pipeline.store.schema.table import RUN, StoreTable

RUNS = StoreTable(
    "runs",
    "one replay of one trace",
    (
        RUN,
        Column("trace_id", "i4", "", "What was replayed (traces.trace_id)."),
        Column(
            "trace_path",
            "str",
            "",
            "Recorded: the folder of the trace set; NULL: of a recording imported on the way.",
        ),
        Column("recording", "str", "", "That recording; NULL: a trace set was replayed."),
        Column("started", "str", "", "When the replay began, UTC, ISO 8601."),
        Column("allocsim_version", "str", "", "Version that replayed it."),
        Column("window_rows", "i8", "", "Events per window; results do not depend on it."),
        Column("events", "i8", "", "Events replayed."),
        Column("first_ts", "i8", "ns", "Time of the first event."),
        Column("last_ts", "i8", "ns", "Time of the last event."),
        Column("slice_ns", "i8", "ns", "Length of a time slice of samples and of timeline."),
        Column("use_how", "i1", "", "How the use stage is known; NULL: not looked at."),
        Column("own_policy", "str", "", "The policy that does what the recorded kernel does."),
        Column("own_note", "str", "", "What to say with it; NULL: it is this very version's."),
        Column("placement", "str", "", "'recorded': where the kernel put things; or 'simulated'."),
        Column("of_run", "i4", "", "Simulated: the recorded run its requests were taken from."),
        Column("profile", "str", "", "Simulated: the kernel version that was modelled."),
        Column("slub", "str", "", "Simulated: its generation of SLUB (counters.slub)."),
        Column("settings", "str", "", "Simulated: what the user set, by key (JSON)."),
        Column("what_if", "str", "", "Simulated: why it differs from the recorded kernel."),
        Column("machine_how", "i1", "", "Simulated: how the zones are known."),
        Column("places", "str", "", "Recorded: what source places of call sites are known by."),
        Column(
            "made_with",
            "str",
            "",
            "Digest of the version, policies, schemes and costs it was made with, by which replay"
            " finds what is there already; NULL: of a sweep, which stores no events.",
        ),
    ),
    ("run",),
)

TRACES = StoreTable(
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

TRACE_CPUS = StoreTable(
    "trace_cpus",
    "one CPU of the machine of one trace: what the recording covers of it; none where the trace set"
    " was imported before this was noted, or is synthetic",
    (
        Column("trace_id", "i4", "", "Which trace (traces.trace_id)."),
        Column("cpu", "i4", "", "Its number."),
        Column("events", "i8", "", "Events recorded on it, those left out on import too."),
        Column("first_ts", "i8", "ns", "Time of its first one; NULL: it has none."),
        Column("last_ts", "i8", "ns", "Time of its last one."),
        Column("longest_gap", "i8", "ns", "Longest time between two of them."),
        Column(
            "overwritten_events",
            "i8",
            "",
            "Events the ring buffer wrote over before the first one; NULL: not known how many.",
        ),
        Column(
            "late",
            "str",
            "",
            "Why it is believed to begin late: 'overwritten' (observed), 'unexplained' (inferred: "
            "later than its own silences explain, and nothing reports losses); NULL: it does not.",
        ),
        Column(
            "early",
            "str",
            "",
            "Why it is believed to end early: 'full' (observed: the ring buffer took no more),"
            " 'unexplained' (inferred); NULL: it does not.",
        ),
    ),
    ("trace_id", "cpu"),
)

CPU_TOPOLOGY = StoreTable(
    "cpu_topology",
    "where one CPU of the machine of one trace is, by its /proc/cpuinfo; none without one",
    (
        Column("trace_id", "i4", "", "Which trace (traces.trace_id)."),
        Column("cpu", "i2", "", "Its number."),
        Column("core", "i4", "", "Core it is a thread of (core id), within its package."),
        Column("package", "i4", "", "Package (socket) of the core (physical id)."),
    ),
    ("trace_id", "cpu"),
)

QUALITY_COUNTS = StoreTable(
    "quality_counts",
    "one count that says how good the data of one run is",
    (
        RUN,
        Column("name", "str", "", "What is counted."),
        Column("value", "i8", "", "How many."),
    ),
    ("run", "name"),
)

VALIDATION = StoreTable(
    "validation",
    "one quantity of one run as the recorded kernel counted it and as the model says it",
    (
        RUN,
        Column("trace", "str", "", "Name of the trace set."),
        Column("quantity", "str", "", "What is compared."),
        Column("scope", "str", "", "Of what: 'total', or a cache, a kind of page."),
        Column("kernel", "f8", "", "The kernel's figure."),
        Column("model", "f8", "", "The model's figure."),
        Column(
            "model_low",
            "f8",
            "",
            "Least of the model's figures, over what the recording leaves open (when the frees were"
            " that no event shows); NULL: nothing is.",
        ),
        Column("model_high", "f8", "", "Largest of these figures."),
        Column(
            "error_pct", "f8", "%", "model - kernel, of kernel; NULL: the kernel counted nothing."
        ),
        Column("bound_pct", "f8", "%", "Error that is allowed; NULL: there is no bound."),
        Column(
            "miss",
            "f8",
            "",
            "How far the kernel's figure lies from the model's, or from the interval model_low to"
            " model_high where the bound is for that; NULL: there is no bound.",
        ),
        Column("allowed", "f8", "", "Largest miss within the bound; NULL: there is no bound."),
        Column(
            "standing",
            "str",
            "",
            "What the comparison came to: 'within' and 'beyond' are checks that could have failed;"
            " 'by rule', 'wide bound', 'wide interval' and 'no bound' are counted apart.",
        ),
        Column("ok", "?", "", "A check is within its bound; NULL: it is counted apart."),
        Column("note", "str", "", "What else there is to know of this comparison."),
        Column("reason", "str", "", "Why the bound is what it is, or why there is none."),
    ),
    ("run", "quantity", "scope"),
)
