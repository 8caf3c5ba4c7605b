"""What a run's tables say of its kernel's sources: citations, and callers that differ."""

from __future__ import annotations

import re

from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.count_readers import DOES, kernel_read
from allocsim.refcount.freezability import Verdict
from pipeline.store.reader_rows import kind_reader_rows, source_verdict_rows


def test_each_citation_has_the_form_of_a_citation() -> None:
    for version in ((6, 12), (7, 2), (7, 3)):
        rows = kind_reader_rows(version)
        kernel = kernel_read(version)
        assert len(rows) == len({(row["page_kind"], row["source"], row["does"]) for row in rows})
        for row in rows:
            form = rf"[\w./-]+\.[ch]:{row['kernel_function']} \({re.escape(kernel)}\)"
            assert re.fullmatch(form, row["source"]), row
            assert row["does"] in DOES
            assert row["doc"]
            assert "\n" not in row["doc"]
            assert len(row["doc"]) <= 100


def test_rows_say_whether_a_later_kernel_froze_the_kind() -> None:
    of = {(row["page_kind"], row["caller"]): row for row in source_verdict_rows((6, 12))}
    later = {name for code, name in enumerate(KIND_NAMES) if of[code, None]["frozen_later"]}
    assert later == {"slab", "large_kmalloc"}
    assert not any(row["frozen_later"] for row in source_verdict_rows((7, 2)))
    exact, freed = KIND_NAMES.index("pages_exact"), KIND_NAMES.index("get_free_pages")
    assert of[exact, "alloc_large_system_hash"]["verdict"] == Verdict.FREEZABLE
    assert of[freed, "ext4_calculate_overhead"]["verdict"] == Verdict.FREEZABLE
    assert (freed, "ext4_calculate_overhead") not in {
        (row["page_kind"], row["caller"]) for row in source_verdict_rows((7, 2))
    }, "asks by kvmalloc there"
