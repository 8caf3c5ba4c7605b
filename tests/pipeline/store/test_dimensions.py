"""Who is said to have allocated a page."""

from __future__ import annotations

import pytest

from pipeline.store.dimensions import caller


@pytest.mark.parametrize(
    ("stack", "name"),
    [
        # Innermost first, as recorded on 6.12 and 7.2, and by perf.
        (
            "trace_event_raw_event_mm_page_alloc __alloc_pages_noprof __handle_mm_fault exc",
            "__handle_mm_fault",
        ),
        (
            "__alloc_frozen_pages_noprof alloc_pages_mpol alloc_frozen_pages_noprof allocate_slab",
            "allocate_slab",
        ),
        ("perf_trace_mm_page_alloc __alloc_pages_noprof.part.0 pte_alloc_one", "pte_alloc_one"),
        ("__alloc_pages_noprof get_free_pages_noprof", None),
        ("", None),
    ],
)
def test_the_caller_is_the_innermost_function_outside_allocator_and_tracer(
    stack: str, name: str | None
) -> None:
    assert caller(stack.split()) == name
