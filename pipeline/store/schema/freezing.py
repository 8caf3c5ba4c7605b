"""What the sources of the recorded kernel say on freezing: verdicts, and who reads the count."""

from __future__ import annotations

from allocsim.trace.events import Column
from pipeline.store.schema.table import RUN, StoreTable

SOURCE_VERDICTS = StoreTable(
    "source_verdicts",
    "what the sources of a kernel allow of pages of one kind, or of one caller's, in one run",
    (
        RUN,
        Column("page_kind", "i2", "", "Kind of page."),
        Column("caller", "str", "", "Function that asks for them; NULL: all others of the kind."),
        Column("verdict", "i1", "", "Verdict by the sources alone."),
        Column("kernel", "str", "", "Kernel whose sources were read: the nearest older one."),
        Column("frozen_later", "?", "", "A later kernel has changed the readers and frozen them."),
        Column("doc", "str", "", "Why, in a sentence."),
        Column("price", "str", "", "What doing without the count costs elsewhere; NULL: nothing."),
    ),
    ("run", "page_kind", "caller"),
)

KIND_READERS = StoreTable(
    "kind_readers",
    "one function that reads, takes or maps by the count of pages of one kind, in one run",
    (
        RUN,
        Column("page_kind", "i2", "", "Kind of page; NULL: every kind."),
        Column(
            "does", "str", "", "What it does: reads, takes, drops, maps, isolates, freezes, scans."
        ),
        Column("kernel_function", "str", "", "Its name."),
        Column("source", "str", "", "file:function of the kernel, and its version."),
        Column("doc", "str", "", "What it does, in a few words."),
    ),
    ("run", "page_kind", "source", "does"),
)
