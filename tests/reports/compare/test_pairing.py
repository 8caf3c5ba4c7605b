"""Objects of two kernels paired by what they are, on cases worked by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.compare.identity import Identity, Why, identify
from reports.compare.pairing import pairs
from reports.compare.units import AllocatedUnits, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

OBJECT, KMALLOC = "kmem_cache_alloc", "kmalloc"
#: What a function takes: its name, the tracepoint, the cache, the object's size, how many.
Taken = tuple[str, str, str, int, int]


def side(
    taken: Iterable[Taken], merged: Iterable[set[str]] = (), untraced: Iterable[str] = ()
) -> AllocatedUnits:
    found = AllocatedUnits()
    for function, event, cache, size, objects in taken:
        unit = Unit(function, event, cache)
        found.objects[unit] += objects
        found.sizes[unit].add(size)
    for names in merged:
        found.merged |= dict.fromkeys(names, frozenset(names))
    found.untraced = dict.fromkeys(untraced, "in bulk")
    return found


def items(identity: Identity, at: int) -> dict[tuple[str, str], str]:
    """Item of each function and cache of a side that is in rows."""
    return {
        (unit.function, unit.cache): label.item
        for unit, label in identity.labels[at].items()
        if label.matched
    }


def left_out(identity: Identity) -> dict[str, tuple[Why, tuple[int, ...]]]:
    return {each.name: (each.why, each.objects) for each in identity.left_out}


def test_a_cache_merged_into_another_is_one_item() -> None:
    base = side(
        [
            ("alloc_buffer_head", OBJECT, "buffer_head", 104, 90),
            ("f", KMALLOC, "kmalloc-96", 90, 5),
        ],
        [{"buffer_head", "ext4_fc"}, {"kmalloc-96"}],
    )
    other = side(
        [("alloc_buffer_head", OBJECT, "kmalloc-96", 96, 90), ("f", KMALLOC, "kmalloc-96", 90, 5)],
        [{"kmalloc-96", "buffer_head"}, {"ext4_fc"}],
    )
    identity = identify([base, other], 0)
    assert items(identity, 1) == {
        ("alloc_buffer_head", "kmalloc-96"): "buffer_head",
        ("f", "kmalloc-96"): "kmalloc-96",
    }
    assert identity.changes[1] == {"buffer_head": "object 104 -> 96 bytes, now in kmalloc-96"}
    assert identity.left_out == []
    # Their slabs hold other objects: no row of slabs.
    assert identity.slabs == [{}, {}]


def test_what_other_functions_take_is_paired_by_the_name_that_moved() -> None:
    base = side(
        [("getname_flags", OBJECT, "kmalloc-4k", 4096, 50), ("g", KMALLOC, "kmalloc-4k", 4000, 7)],
        [{"kmalloc-4k", "names_cache", "biovec-max"}, {"kmalloc-192", "cred"}],
    )
    other = side(
        [("do_getname", OBJECT, "kmalloc-192", 192, 50), ("g", KMALLOC, "kmalloc-4k", 4000, 7)],
        [{"kmalloc-4k", "biovec-max"}, {"kmalloc-192", "cred", "names_cache"}],
    )
    identity = identify([base, other], 0)
    assert items(identity, 0)["getname_flags", "kmalloc-4k"] == "names_cache"
    assert items(identity, 1)["do_getname", "kmalloc-192"] == "names_cache"
    assert identity.changes[1] == {
        "names_cache": "object 4096 -> 192 bytes, kmalloc-4k -> kmalloc-192"
    }


def test_a_cache_that_became_part_of_another_object_is_folded_into_it() -> None:
    names = [{"vm_area_struct"}, {"vma_lock"}]
    base = side(
        [
            ("vm_area_dup", OBJECT, "vm_area_struct", 144, 100),
            ("vm_area_dup", OBJECT, "vma_lock", 40, 100),
        ],
        names,
    )
    other = side([("vm_area_dup", OBJECT, "vm_area_struct", 192, 104)], names[:1])
    identity = identify([base, other], 0)
    assert set(items(identity, 0).values()) == {"vm_area_struct"}
    counted = {unit.cache: label.counted for unit, label in identity.labels[0].items()}
    assert counted == {"vm_area_struct": True, "vma_lock": False}
    assert identity.changes[1] == {"vm_area_struct": "object 144 -> 192 bytes, takes in vma_lock"}
    # The other way round it is the same story.
    assert identify([other, base], 0).changes[1] == {
        "vm_area_struct": "object 192 -> 144 bytes, without vma_lock"
    }


@pytest.mark.parametrize("size", [160, 144])
def test_an_object_that_grew_by_less_takes_nothing_in(size: int) -> None:
    base = side([("f", OBJECT, "a", 144, 100), ("f", OBJECT, "b", 40, 100)])
    other = side([("f", OBJECT, "a", size, 100)])
    assert left_out(identify([base, other], 0)) == {"b": (Why.ALONE, (100, 0))}


def test_a_renamed_cache_is_paired_by_its_function() -> None:
    base = side([("scan", OBJECT, "khugepaged_slot", 40, 9)], [{"khugepaged_slot"}])
    other = side([("scan", OBJECT, "mm_slot", 40, 9)], [{"mm_slot"}])
    identity = identify([base, other], 0)
    assert items(identity, 1) == {("scan", "mm_slot"): "khugepaged_slot"}
    assert identity.changes[1] == {"khugepaged_slot": "now in mm_slot"}


def test_a_function_that_takes_another_cache_has_not_renamed_the_old_one() -> None:
    caches = [{"a"}, {"b"}]
    base = side([("f", OBJECT, "a", 40, 9)], caches)
    other = side([("f", OBJECT, "b", 48, 9)], caches)
    assert {name: why for name, (why, _) in left_out(identify([base, other], 0)).items()} == {
        "f() in a": Why.ALONE,
        "f() in b": Why.ALONE,
    }


def test_a_name_in_common_is_no_answer_where_another_was_renamed() -> None:
    base = side([("f", OBJECT, "x", 40, 9)], [{"x", "old", "pde"}])
    other = side([("f", OBJECT, "pde", 40, 9)], [{"new", "pde"}])
    assert set(items(identify([base, other], 0), 1).values()) == {"f() in x"}


def test_one_function_of_several_caches_is_paired_by_their_numbers() -> None:
    base = side(
        [("sk", OBJECT, "signal_cache", 960, 206), ("sk", OBJECT, "kmalloc-1k", 1024, 2)],
        [{"signal_cache", "UNIX"}, {"kmalloc-1k", "UDP", "biovec-64"}],
    )
    other = side(
        [("sk", OBJECT, "kmalloc-1k", 1024, 206), ("sk", OBJECT, "UDP", 1216, 2)],
        [{"signal_cache"}, {"kmalloc-1k", "UNIX", "biovec-64"}, {"UDP"}],
    )
    assert items(identify([base, other], 0), 1) == {
        ("sk", "kmalloc-1k"): "UNIX",
        ("sk", "UDP"): "UDP",
    }


def test_what_one_kernel_allocates_without_events_is_in_no_row() -> None:
    base = side([("f", OBJECT, "maple_node", 256, 30)], untraced=["maple_node"])
    other = side([("f", OBJECT, "maple_node", 256, 90)])
    assert left_out(identify([base, other], 0)) == {"maple_node": (Why.UNTRACED, (30, 90))}
    same = side([("f", OBJECT, "maple_node", 256, 30)])
    assert left_out(identify([base, same], 0)) == {}


def test_what_has_no_known_cache_on_a_side_is_in_no_row_of_either() -> None:
    base = side([("f", OBJECT, "", 120, 55), ("g", OBJECT, "a", 64, 5)])
    other = side([("f", OBJECT, "journal", 120, 55), ("g", OBJECT, "a", 64, 5)])
    identity = identify([base, other], 0)
    assert left_out(identity) == {"f()": (Why.UNKNOWN, (55, 55))}
    assert identity.share(0, Why.UNKNOWN) == pytest.approx(55 / 60)


UNITS = st.lists(
    st.tuples(
        st.sampled_from("fgh"),
        st.sampled_from([OBJECT, KMALLOC]),
        st.sampled_from(["a", "b", "c", "kmalloc-64", ""]),
        st.sampled_from([40, 64]),
        st.integers(1, 50),
    ),
    max_size=12,
)
MERGED = st.sampled_from([[], [{"a", "b"}, {"c"}], [{"a", "c"}, {"b", "kmalloc-64"}]])


@given(UNITS, MERGED, UNITS, MERGED)
def test_each_unit_has_one_counterpart_at_most_and_every_object_is_somewhere(
    first: list[Taken], first_names: list[set[str]], second: list[Taken], names: list[set[str]]
) -> None:
    base, other = side(first, first_names), side(second, names)
    found = pairs(base, other, lambda unit: unit.cache != "")
    for units in ([u for p in found for u in p.base], [u for p in found for u in p.other]):
        assert len(set(units)) == len(units)
    identity = identify([base, other], 0)
    for at, each in enumerate((base, other)):
        rows = sum(
            each.objects[unit] for unit, label in identity.labels[at].items() if label.matched
        )
        assert rows + sum(left.objects[at] for left in identity.left_out) == sum(
            each.objects.values()
        )


@given(UNITS, MERGED)
def test_a_kernel_and_itself_have_everything_in_common(
    taken: list[Taken], names: list[set[str]]
) -> None:
    one = side(taken, names)
    identity = identify([one, side(taken, names)], 0)
    assert identity.labels[0] == identity.labels[1]
    assert all(unit.cache == label.item for unit, label in identity.labels[1].items())
    assert identity.changes[1] == {}
    assert {each.why for each in identity.left_out} <= {Why.UNKNOWN}
