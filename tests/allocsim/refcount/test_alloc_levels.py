"""Who is said to have allocated a page, and where on the call stack its path enters."""

from __future__ import annotations

import pytest

from allocsim.refcount.alloc_levels import LEVELS, caller, entry_level

STACKS = [
    # Innermost first, as recorded on 6.12 and 7.2, and by perf.
    (
        "trace_event_raw_event_mm_page_alloc __alloc_pages_noprof __handle_mm_fault exc",
        "__handle_mm_fault",
        "alloc_pages",
    ),
    (
        "trace_event_raw_event_mm_page_alloc __alloc_frozen_pages_noprof allocate_slab new_slab",
        "allocate_slab",
        "__alloc_frozen_pages",
    ),
    (
        "__alloc_frozen_pages_noprof alloc_pages_mpol alloc_frozen_pages_noprof allocate_slab",
        "allocate_slab",
        "alloc_frozen_pages",
    ),
    (
        "__alloc_frozen_pages_noprof __alloc_pages_noprof get_free_pages_noprof tlb_remove_table",
        "tlb_remove_table",
        "alloc_pages",
    ),
    (
        "perf_trace_mm_page_alloc __alloc_pages_noprof.part.0 pte_alloc_one",
        "pte_alloc_one",
        "alloc_pages",
    ),
    # Of a page_ref event: it does not enter the page allocator.
    (
        "trace_event_raw_event_page_ref_mod_template __page_ref_mod copy_page_range copy_process",
        "copy_page_range",
        None,
    ),
    ("__alloc_pages_noprof get_free_pages_noprof", None, "alloc_pages"),
    ("", None, None),
]


@pytest.mark.parametrize(("stack", "name"), [(stack, name) for stack, name, _ in STACKS])
def test_the_caller_is_the_innermost_function_outside_allocator_and_tracer(
    stack: str, name: str | None
) -> None:
    assert caller(stack.split()) == name


@pytest.mark.parametrize(("stack", "level"), [(stack, level) for stack, _, level in STACKS])
def test_a_path_enters_where_its_caller_calls(stack: str, level: str | None) -> None:
    entry = entry_level(stack.split())
    assert (None if entry is None else LEVELS[entry].name) == level


def test_no_function_stands_at_two_levels() -> None:
    functions = [name for level in LEVELS for name in level.functions.split()]
    assert len(functions) == len(set(functions))
