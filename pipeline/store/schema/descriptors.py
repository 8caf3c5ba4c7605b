"""Page descriptors: live blocks over time, schemes, and the descriptors' own slabs."""

from __future__ import annotations

from allocsim.trace.events import Column
from pipeline.store.schema.table import RUN, StoreTable

_SCHEME = Column("scheme", "i2", "", "The scheme (schemes.scheme).")
_MOMENT = Column("moment", "i4", "", "0: when the recording begins; n: the end of slice n - 1.")
_DESCRIPTOR = Column("descriptor", "i2", "", "Number of the descriptor in its scheme.")

MACHINES = StoreTable(
    "machines",
    "the memory of one run's machine, and what was allocated in it before the recording began",
    (
        RUN,
        Column("pages", "i8", "pages", "Page frames that have memory behind them."),
        Column("pages_how", "i1", "", "How that is known."),
        Column("pages_from", "str", "", "What says so: zoneinfo, iomem, or the highest frame."),
        Column("stock_from", "str", "", "What says what was allocated before the recording."),
        Column("stock_blocks", "i8", "", "Blocks known to have been, of kinds that are shown."),
        Column("unsure_blocks", "i8", "", "Blocks that may have been: one snapshot has them."),
        Column("gone_blocks", "i8", "", "Blocks that the snapshot shows, gone at the beginning."),
        Column("unknown_frames", "i8", "pages", "Page frames of which nothing is known then."),
        Column("memcg", "?", "", "Pages can be charged to memory cgroups; NULL: not known."),
    ),
    ("run",),
)

LIVE_BLOCKS = StoreTable(
    "live_blocks",
    "blocks of one kind and order that are live at one moment of one run",
    (
        RUN,
        _MOMENT,
        Column("page_kind", "i2", "", "Whose pages."),
        Column("order", "i4", "", "Blocks of 2^order pages."),
        Column("charged", "?", "", "Their allocation carried __GFP_ACCOUNT."),
        Column("sure", "?", "", "Known to be live; else one snapshot of two shows them."),
        Column("blocks", "i8", "", "How many are live then."),
    ),
    ("run", "moment", "page_kind", "order", "charged", "sure"),
    internal=True,
)

SCHEMES = StoreTable(
    "schemes",
    "one scheme of page descriptors of one run",
    (
        RUN,
        Column("scheme", "i2", "", "Number of the scheme in this run."),
        Column("name", "str", "", "Its name."),
        Column("doc", "str", "", "What it stands for."),
        Column("source", "str", "", "'shipped', or the file it was read from."),
        Column("word_bytes", "i8", "bytes", "What every page frame has."),
        Column("word_known", "str", "", "'published' or 'estimated'."),
        Column("word_source", "str", "", "By whom, or from what."),
        Column("hvo", "?", "", "Hugetlb pages give back words they do not need (HVO)."),
        Column("peak_slab_pages", "i8", "pages", "Most pages the descriptors' slabs ever had."),
        Column("peak_ts", "i8", "ns", "When they first had so many."),
        Column("mean_slab_pages", "f8", "pages", "Pages they had on average over time."),
        Column("passes", "i4", "", "Replays until the slab descriptors' own slabs settled."),
        Column("settled", "?", "", "They did."),
    ),
    ("run", "scheme"),
)

SCHEME_SIZES = StoreTable(
    "scheme_sizes",
    "what an allocation of one kind of page needs under one scheme of one run",
    (
        RUN,
        _SCHEME,
        Column("page_kind", "i2", "", "Kind of page."),
        Column("charged", "?", "", "Of allocations that carry __GFP_ACCOUNT."),
        Column("descriptor", "i2", "", "Number of its descriptor in the scheme; NULL: none."),
        Column("bytes", "i8", "bytes", "Size of the descriptor; 0: none is needed."),
        Column("bound", "?", "", "It is an upper bound: nobody knows whether there is one."),
        Column("known", "str", "", "'published' or 'estimated'."),
        Column("source", "str", "", "By whom, or from what."),
    ),
    ("run", "scheme", "page_kind", "charged"),
)

SCHEME_DESCRIPTORS = StoreTable(
    "scheme_descriptors",
    "the slab cache of one descriptor of one scheme, as the model has it in one run",
    (
        RUN,
        _SCHEME,
        _DESCRIPTOR,
        Column("name", "str", "", "Its name."),
        Column("bytes", "i8", "bytes", "Its size."),
        Column("slot_bytes", "i8", "bytes", "From one to the next in a slab."),
        Column("slab_order", "i4", "", "A slab has 2^slab_order pages."),
        Column("slab_objects", "i8", "", "Descriptors in a slab."),
        Column("full_bytes", "f8", "bytes", "What one costs in full slabs (R6.4: D f)."),
        Column("older", "i8", "", "Allocated before the recording began."),
        Column("allocs", "i8", "", "Allocated for pages in the recording."),
        Column("frees", "i8", "", "Freed with pages in the recording."),
        Column("own_allocs", "i8", "", "Allocated for slabs of descriptors in the recording."),
        Column("own_frees", "i8", "", "Freed with slabs of descriptors in the recording."),
        Column("fast", "i8", "", "Of these four, those that the CPU's own sheaves served."),
        Column("slab_allocs", "i8", "", "Slabs made in the recording."),
        Column("slab_frees", "i8", "", "Slabs freed in the recording."),
        Column("sheaves", "i8", "", "Sheaves at the end, beside the one each CPU begins with."),
    ),
    ("run", "scheme", "descriptor"),
)

DESCRIPTOR_SLABS = StoreTable(
    "descriptor_slabs",
    "the slabs of one descriptor of one scheme at one moment of one run",
    (
        RUN,
        _SCHEME,
        _MOMENT,
        _DESCRIPTOR,
        Column("objects", "i8", "", "Descriptors allocated, those of descriptors' slabs too."),
        Column("slabs", "i8", "", "Slabs they lie on."),
        Column("pages", "i8", "pages", "Pages of these slabs."),
    ),
    ("run", "scheme", "moment", "descriptor"),
    internal=True,
)
