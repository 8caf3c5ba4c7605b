"""Schemes of page descriptors: the figures of the plan (R6.2 - R6.6), and a user's own files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from allocsim.memdesc.schemes import (
    PUBLISHED,
    Descriptor,
    Scheme,
    descriptor_bytes,
    parse_scheme,
    shipped_schemes,
    sizes,
    slab_bytes,
    word_bytes,
)
from allocsim.recording.page_kinds import KIND_NAMES, PageKind
from allocsim.toml_data.table import DataFileError

SHIPPED = shipped_schemes()
NEW = SHIPPED["memdesc-8"]
TODAY = SHIPPED["struct-page"]


def _overhead(scheme: Scheme, blocks: dict[tuple[PageKind, int], int]) -> int:
    """Bytes of words and descriptors of blocks: (kind, order) -> how many."""
    kind, order = (np.array([key[n] for key in blocks]) for n in (0, 1))
    each = word_bytes(scheme, kind, order) + descriptor_bytes(scheme, kind)
    return int(np.dot(each, list(blocks.values())))


def _descriptor(scheme: Scheme, name: str) -> Descriptor:
    return next(each for each in scheme.descriptors if each.name == name)


def test_v6_a_cache_of_9941_slabs_of_4_pages() -> None:
    slabs = {(PageKind.SLAB, 2): 9941}
    assert _overhead(TODAY, slabs) == 2_544_896
    assert _overhead(NEW, slabs) == 954_336


@pytest.mark.parametrize(
    ("name", "percent"),
    [("struct-page", 1.5625), ("memdesc-32", 0.781), ("memdesc-16", 0.391), ("memdesc-8", 0.195)],
)
def test_words_take_the_share_of_memory_that_spec_6_3_has(name: str, percent: float) -> None:
    share = 100 * SHIPPED[name].word_bytes / 4096
    assert share == pytest.approx(percent, abs=0.0005)


def test_without_descriptors_64_bytes_a_page_are_64_bytes_a_page() -> None:
    kinds = np.array([kind for kind in PageKind if kind != PageKind.HUGETLB])
    for order in range(11):
        orders = np.full(len(kinds), order)
        assert np.all(word_bytes(TODAY, kinds, orders) == 64 << order)
        assert not np.any(descriptor_bytes(TODAY, kinds))
        assert not np.any(descriptor_bytes(TODAY, kinds, charged=True))


def test_hugetlb_pages_keep_one_page_of_words_with_hvo() -> None:
    # R6.4: 2 MiB keep 1 of 8 pages, 28 KiB are freed; 1 GiB keep 1 of 4096.
    kind, order = np.array([PageKind.HUGETLB, PageKind.HUGETLB, PageKind.THP]), np.array([9, 18, 9])
    assert word_bytes(TODAY, kind, order).tolist() == [4096, 4096, 8 * 4096]
    assert word_bytes(replace(TODAY, hvo=False), kind, order).tolist() == [
        8 * 4096,
        4096 * 4096,
        8 * 4096,
    ]
    assert word_bytes(NEW, kind[:1], order[:1]).tolist() == [4096]


def test_an_order_0_folio_costs_more_than_it_saves_larger_ones_less() -> None:
    # R6.4: 88 bytes in place of 64 for order 0, and 56 saved for each page.
    saved = [
        _overhead(TODAY, {(PageKind.PAGE_CACHE, order): 1})
        - _overhead(NEW, {(PageKind.PAGE_CACHE, order): 1})
        for order in range(3)
    ]
    assert saved == [-24, 32, 144]
    # With 32-byte words an order-0 folio takes 112.
    assert _overhead(SHIPPED["memdesc-32"], {(PageKind.PAGE_CACHE, 0): 1}) == 112


def test_slots_and_full_slabs_cost_what_spec_6_4_has() -> None:
    inside = replace(_descriptor(NEW, "folio"), pointer_inside=True)
    outside = replace(inside, pointer_inside=False)
    assert (inside.slot, outside.slot) == (80, 96)
    alone = replace(NEW, descriptors=(inside,))  # no slab descriptors: places only
    assert slab_bytes(alone, inside) == pytest.approx(80.3, abs=0.05)  # 51 a page
    assert slab_bytes(alone, outside) == pytest.approx(97.5, abs=0.05)  # 42 a page
    # 64 slab descriptors a page; each page is a slab that needs one, and so on.
    slab = _descriptor(NEW, "slab")
    by_hand = sum(64 / 64**n for n in range(12))
    assert slab_bytes(NEW, slab) == pytest.approx(by_hand)
    assert slab_bytes(NEW, inside) == pytest.approx(4096 / 51 + by_hand / 51)


def test_every_shipped_size_says_whether_it_is_published_and_by_whom() -> None:
    assert list(SHIPPED) == ["struct-page", "memdesc-32", "memdesc-16", "memdesc-8"]
    for scheme in SHIPPED.values():
        assert scheme.doc
        assert scheme.word_source
        rows = sizes(scheme)
        assert [row.page_kind for row in rows] == [kind for kind in PageKind for _ in range(2)]
        for row in rows:
            assert row.source or not scheme.descriptors
    published = {each.name for each in NEW.descriptors if each.known == PUBLISHED}
    assert published == {"folio", "slab"}
    assert SHIPPED["memdesc-16"].descriptors == NEW.descriptors


def test_misc_pages_need_none_unless_a_cgroup_pays_for_them() -> None:
    rows = {(row.page_kind, row.charged): row for row in sizes(NEW)}
    for kind in (PageKind.VMALLOC, PageKind.KERNEL_STACK, PageKind.PIPE, PageKind.LARGE_KMALLOC):
        assert rows[kind, False].bytes == 0
        assert rows[kind, True].bytes == 32
        assert rows[kind, True].bound
    assert rows[PageKind.PAGE_TABLE, True] == replace(
        rows[PageKind.PAGE_TABLE, False], charged=True
    )
    assert rows[PageKind.UNKNOWN, False].bytes == 112  # the largest there is
    assert rows[PageKind.UNKNOWN, False].bound


def test_a_scheme_of_the_user_s_own() -> None:
    scheme = parse_scheme(
        """
        name = "leaner"
        base = "memdesc-8"
        word_bytes = 8
        [descriptor.folio]
        kinds = ["page_cache"]
        bytes = 48
        [descriptor.shm]
        kinds = ["shmem"]
        bytes = 56
        [none]
        kinds = ["slab"]
        """,
        "leaner.toml",
    )
    need = descriptor_bytes(
        scheme, np.array([PageKind.PAGE_CACHE, PageKind.SHMEM, PageKind.SLAB, PageKind.ANON])
    )
    assert need.tolist() == [48, 56, 0, 80]
    assert _descriptor(scheme, "folio").slot == 64  # the free pointer behind it, unless inside
    assert scheme.source == "leaner.toml"


ONE = 'name = "x"\nword_bytes = 8\n'
BASED = ONE + 'base = "memdesc-8"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name =", "s.toml: not valid TOML"),
        ("word_bytes = 8", "s.toml: line 1: the key name is missing"),
        ('name = "x"', "s.toml: line 1: the key word_bytes is missing"),
        (
            'name = "x"\nword_bytes = 0',
            "word_bytes: 0: a whole number of bytes from 1 to 4096 is wanted",
        ),
        (
            'name = "x"\nword_bytes = "8"',
            "word_bytes: '8': a whole number of bytes from 1 to 4096 is",
        ),
        (ONE + 'base = "memdesc"', "base: 'memdesc': did you mean memdesc-8? allowed: memdesc-8"),
        (ONE + "hvo = 1", "line 3: hvo: 1: true or false is wanted"),
        (ONE + 'word_known = "rumoured"', "word_known: 'rumoured': allowed: published"),
        (ONE + "colour = 1", "colour: no such key; keys here: name"),
        (
            ONE + "[descriptor.a]\nbytes = 1.5",
            "descriptor.a.bytes: 1.5: a whole number of bytes from 1",
        ),
        (ONE + "[descriptor.a]\nkinds = []", "line 3: descriptor.a: the key bytes is missing"),
        (
            BASED + "[descriptor.a]\nbytes=8\nkinds='anon'",
            "descriptor.a.kinds: 'anon': a list is wanted",
        ),
        (
            BASED + "[descriptor.a]\nbytes=8\nkinds=['a']",
            "line 6: descriptor.a.kinds[0]: 'a': one of slab",
        ),
        (
            BASED + "[descriptor.a]\nbytes=8\ncharged=1",
            "line 6: descriptor.a.charged: 1: true or false is wanted",
        ),
        (
            BASED + "[descriptor.a]\nbytes=8\nfree_pointer='in'",
            "descriptor.a.free_pointer: 'in': allowed: inside, outside",
        ),
        (
            BASED + "[descriptor.a]\nbytes=8\nkinds=['anon']",
            "anon pages are said to have two descriptors, anon_folio and a",
        ),
        (
            ONE + "[descriptor.a]\nbytes=8\nkinds=['anon']",
            "nothing is said of these kinds: slab, large_kmalloc",
        ),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(DataFileError) as error:
        parse_scheme(text, "s.toml")
    assert says in str(error.value)
    assert str(error.value).startswith("s.toml: ")
    assert "\n" not in str(error.value)


def test_every_kind_is_told_of() -> None:
    told = {kind for each in NEW.descriptors if not each.charged for kind in each.kinds}
    without = {row.page_kind for row in sizes(NEW) if row.bytes == 0}
    assert {KIND_NAMES[kind] for kind in PageKind} == {
        *(KIND_NAMES[kind] for kind in told | without),
        "unknown",
    }
