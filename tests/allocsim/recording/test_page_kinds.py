"""Whose page it is, by stacks and gfp flags as kernels with NUMA and huge pages record them."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.kernels.release import GFP_BITS
from allocsim.recording.page_kinds import PageKind, kinds_by_gfp, pmd_order, stack_kind

FAULT = ("__handle_mm_fault", "handle_mm_fault", "do_user_addr_fault", "exc_page_fault")
SYSCTL = ("__nr_hugepages_store_common", "hugetlb_sysctl_handler_common", "proc_sys_call_handler")


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        # With CONFIG_NUMA vma_alloc_folio is a function, and stands inside of what tells THP.
        (("vma_alloc_folio_noprof", "do_huge_pmd_anonymous_page", *FAULT), PageKind.THP),  # 6.12
        (
            (
                "alloc_pages_mpol",
                "vma_alloc_folio_noprof",
                "vma_alloc_anon_folio_pmd",
                "do_huge_pmd_anonymous_page",
                *FAULT,
            ),
            PageKind.THP,
        ),  # 7.3
        (("pte_alloc_one", "do_huge_pmd_anonymous_page", *FAULT), PageKind.PAGE_TABLE),
        (("vma_alloc_folio_noprof", "do_anonymous_page", *FAULT), PageKind.ANON),
        (("alloc_pages_mpol", "vma_alloc_folio_noprof", "mfill_atomic"), PageKind.ANON),
        (
            ("only_alloc_fresh_hugetlb_folio.isra.0", "alloc_pool_huge_folio", *SYSCTL),
            PageKind.HUGETLB,
        ),
        (("get_free_pages_noprof", "pgd_alloc", "mm_init.isra.0"), PageKind.PAGE_TABLE),
        (("get_zeroed_page_noprof", "some_driver_probe"), PageKind.GET_FREE_PAGES),
        (("__folio_alloc_noprof", "some_driver_probe"), PageKind.OTHER),
    ],
)
def test_the_narrowest_frame_tells_the_kind(frames: tuple[str, ...], kind: PageKind) -> None:
    assert stack_kind(("__alloc_frozen_pages_noprof", *frames)) == kind


@pytest.mark.parametrize(
    ("gfp", "order", "kind"),
    [
        (0x346CCA, 9, PageKind.HUGETLB),  # nr_hugepages on 6.12 and 7.3
        (0x3D24CA, 9, PageKind.THP),  # a fault after MADV_HUGEPAGE on both
        (0x346CCA, 0, PageKind.ANON),
    ],
)
def test_without_a_stack_flags_tell_huge_pages_apart(gfp: int, order: int, kind: PageKind) -> None:
    found = kinds_by_gfp(np.array([gfp]), np.array([order], np.int32), GFP_BITS)
    assert found.tolist() == [kind]


def test_huge_pages_are_of_the_order_that_a_pmd_maps() -> None:
    """512 MiB with pages of 64 KiB: order 13 (arm64)."""
    orders = np.array([9, 13], np.int32)
    thp = np.full(2, 0x3D24CA)
    found = kinds_by_gfp(thp, orders, GFP_BITS, 65536) == PageKind.THP
    assert found.tolist() == [False, True]
    assert [pmd_order(size) for size in (4096, 16384, 65536)] == [9, 11, 13]
