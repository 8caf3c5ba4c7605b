"""V1: orders, objects, min_partial and sheaf capacities, against the table of R3.8."""

from __future__ import annotations

import pytest

from allocsim.kernels.cache_shapes import SheafShape, cache_shapes, profile_of
from allocsim.kernels.profile import LINUX_6_12, LINUX_7_2, RULES_7_2
from allocsim.kernels.settings import SETTINGS, SettingError, moments, parse_setting, shown
from allocsim.kernels.slub_rules import min_partial, sheaf_capacity
from allocsim.slub.slub import Slub

CPUS = (1, 2, 4, 8, 16, 64)
# class: order:objects by CPUS, min_partial, sheaf capacity
TABLE = {
    8: ("0:512 0:512 0:512 0:512 0:512 0:512", 5, 60),
    16: ("0:256 0:256 0:256 0:256 0:256 0:256", 5, 60),
    32: ("0:128 0:128 0:128 0:128 0:128 0:128", 5, 60),
    64: ("0:64 0:64 0:64 0:64 0:64 0:64", 5, 60),
    96: ("0:42 0:42 0:42 0:42 0:42 0:42", 5, 60),
    128: ("0:32 0:32 0:32 0:32 0:32 0:32", 5, 60),
    192: ("0:21 0:21 0:21 0:21 1:42 1:42", 5, 60),
    256: ("0:16 0:16 0:16 1:32 1:32 1:32", 5, 28),
    512: ("0:8 1:16 1:16 2:32 2:32 2:32", 5, 28),
    1024: ("1:8 2:16 2:16 3:32 3:32 3:32", 5, 12),
    2048: ("2:8 3:16 3:16 3:16 3:16 3:16", 5, 12),
    4096: ("3:8 3:8 3:8 3:8 3:8 3:8", 6, 4),
    8192: ("3:4 3:4 3:4 3:4 3:4 3:4", 6, 4),
}
# size: order:objects at 2, 8, 64 CPUs
OTHER_SIZES = {
    104: "0:39 0:39 0:39",
    136: "0:30 0:30 1:60",
    208: "0:19 1:39 1:39",
    232: "0:17 1:35 1:35",
    320: "0:12 1:25 2:51",
    600: "1:13 2:27 3:54",
    704: "2:23 2:23 3:46",
    832: "2:19 3:39 3:39",
    1088: "2:15 3:30 3:30",
    2112: "3:15 3:15 3:15",
    4352: "3:7 3:7 3:7",
    9792: "3:3 3:3 3:3",
}


def shape(size: int, cpus: int, name: str = "c", **settings: int) -> SheafShape:
    [found] = cache_shapes(LINUX_7_2, [(name, size)], cpus, settings)
    assert isinstance(found, SheafShape)
    return found


@pytest.mark.parametrize("size", TABLE)
def test_kmalloc_classes_have_the_table_s_orders(size: int) -> None:
    orders, partial, capacity = TABLE[size]
    shapes = [shape(size, cpus) for cpus in CPUS]
    assert " ".join(f"{s.order}:{s.objects}" for s in shapes) == orders
    assert {s.min_partial for s in shapes} == {partial}
    assert {s.capacity for s in shapes} == {capacity}


@pytest.mark.parametrize("size", OTHER_SIZES)
def test_other_sizes(size: int) -> None:
    shapes = [shape(size, cpus) for cpus in (2, 8, 64)]
    assert " ".join(f"{s.order}:{s.objects}" for s in shapes) == OTHER_SIZES[size]


def test_orders_at_128_cpus() -> None:
    assert [(shape(s, 128).order, shape(s, 128).objects) for s in (128, 256, 512)] == [
        (1, 64),
        (2, 64),
        (3, 64),
    ]


def test_capacity_boundaries() -> None:
    sizes = (255, 256, 1023, 1024, 4095, 4096)
    assert [sheaf_capacity(RULES_7_2, "c", size) for size in sizes] == [60, 28, 28, 12, 12, 4]


def test_min_partial_boundaries() -> None:
    sizes = (8, 4095, 4096, 16383, 16384, 65535, 1 << 22, 1 << 30)
    assert [min_partial(RULES_7_2, size) for size in sizes] == [5, 5, 6, 6, 7, 7, 10, 10]


def test_boot_caches_have_no_sheaves() -> None:
    assert shape(64, 2, name="kmem_cache_node").capacity == 0


def test_a_cache_s_own_request_makes_its_sheaves_larger_never_smaller() -> None:
    # lib/maple_tree.c:maple_tree_init and mm/vma_init.c:vma_state_init (7.2) ask for 32.
    assert shape(256, 2, name="maple_node").capacity == 32
    assert shape(192, 2, name="vm_area_struct").capacity == 60
    assert shape(256, 2, name="vm_area_struct").capacity == 32


def test_settings_win_over_the_rules() -> None:
    settings = {"sheaf.capacity": 24, "sheaf.capacity.a": 56, "slab.order.b": 2, "cpus": 8}
    a, b = cache_shapes(LINUX_7_2, [("a", 256), ("b", 64)], 2, settings)
    assert (a.capacity, a.order, a.objects) == (56, 1, 32)
    assert (b.capacity, b.order, b.objects, b.min_order, b.min_objects) == (24, 2, 256, 0, 64)
    assert shape(64, 2, **{"min_partial.c": 9}).min_partial == 9


def test_an_order_for_all_caches_leaves_room_for_one_object() -> None:
    small, large = cache_shapes(LINUX_7_2, [("s", 64), ("l", 9000)], 2, {"slab.order": 0})
    assert (small.order, large.order, large.objects) == (0, 2, 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sheaf.capcity": 3}, "sheaf.capcity: no such key (did you mean sheaf.capacity"),
        ({"cpus.dentry": 3}, "cpus.dentry: no such key"),
        ({"sheaf.capacity.dentri": 3}, "the trace has no cache dentri (did you mean dentry?)"),
        ({"sheaf.capacity": 1021}, "sheaf.capacity=1021: out of range, 0 to 1020"),
        ({"slab.order": -1}, "slab.order=-1: out of range, 0 to 10"),
        ({"cpus": 0}, "cpus=0: out of range, 1 to 8192"),
        ({"slab.order.big": 0}, "slab.order.big=0: an object of 9000 bytes needs order 2"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, int], said: str) -> None:
    with pytest.raises(SettingError) as error:
        cache_shapes(LINUX_7_2, [("dentry", 192), ("big", 9000)], 2, settings)
    assert said in str(error.value)


def test_settings_are_read_from_text() -> None:
    assert parse_setting("slab.order.kmalloc-1k=2") == ("slab.order.kmalloc-1k", 2)
    for text in ("cpus", "cpus=two", "cpus=", "=3", "cpu=3"):
        with pytest.raises(SettingError):
            parse_setting(text)


def test_a_moment_is_spelled_in_one_way() -> None:
    for text in ("sheaf.capacity=60@2.5s", "sheaf.capacity@2.50s=60"):
        assert parse_setting(text) == ("sheaf.capacity@2.5s", 60)
    assert parse_setting("barn.full_sheaves.a@2s=0") == ("barn.full_sheaves.a@2s", 0)
    for text, said in (
        ("sheaf.capacity=60@2.5", "no moment"),
        ("sheaf.capacity=60@-1s", "no moment"),
        ("sheaf.capacity@1s=60@2s", "two moments"),
        ("slab.order=2@1s", "at a moment can change: sheaf.capacity"),
        ("pcp.batch=63@1s", "holds from the start"),
    ):
        with pytest.raises(SettingError, match=said):
            parse_setting(text)


def test_what_holds_at_a_moment() -> None:
    """A later value of one key takes over; a cache's own stays before that of all."""
    texts = ["sheaf.capacity=4", "sheaf.capacity@3s=8", "sheaf.capacity@1s=6", "sheaf.capacity.a=9"]
    settings = dict(map(parse_setting, texts))
    assert moments(settings) == [10**9, 3 * 10**9]

    def capacities(moment: int) -> list[int]:
        found = cache_shapes(LINUX_7_2, [("a", 64), ("b", 64)], 2, settings, moment)
        return [each.capacity for each in found if isinstance(each, SheafShape)]

    assert capacities(-1) == [9, 4]
    assert capacities(10**9 - 1) == [9, 4]
    assert capacities(10**9) == [9, 6]
    assert capacities(3 * 10**9) == [9, 8]


def test_a_pattern_of_caches() -> None:
    """A name before a pattern, a longer pattern before a shorter one, each before all caches."""
    texts = {
        "barn.full_sheaves": 1,
        "barn.full_sheaves.kmalloc-*": 2,
        "barn.full_sheaves.kmalloc-?": 3,
        "barn.full_sheaves.kmalloc-rcl-*": 4,
        "barn.full_sheaves.kmalloc-rcl-8": 5,
        "barn.empty_sheaves.kmalloc-8": 6,
    }
    names = ["dentry", "kmalloc-64", "kmalloc-8", "kmalloc-rcl-64", "kmalloc-rcl-8"]
    shapes = cache_shapes(LINUX_7_2, [(name, 64) for name in names], 2, texts)
    sheafed = [each for each in shapes if isinstance(each, SheafShape)]
    # kmalloc-? is as long as kmalloc-*, and comes behind it in the alphabet.
    assert [each.max_full_sheaves for each in sheafed] == [1, 2, 3, 4, 5]
    assert [each.max_empty_sheaves for each in sheafed] == [10, 10, 6, 10, 10]
    with pytest.raises(SettingError, match=r"no cache dent\*"):
        cache_shapes(LINUX_7_2, [("kmalloc-8", 8)], 2, {"sheaf.capacity.dent*": 3})


def test_a_kernel_is_set_by_its_name() -> None:
    assert parse_setting("kernel=6.12") == ("kernel", 612)
    assert shown({"kernel": 612, "cpus": 4}) == {"kernel": "6.12", "cpus": 4}
    assert profile_of({"kernel": 612}) == LINUX_6_12
    assert profile_of({}) == profile_of({"kernel": 702}) == LINUX_7_2
    with pytest.raises(SettingError, match=r"kernel=700: must be .*12, 618 for 6\.18"):
        profile_of({"kernel": 700})
    for text in ("kernel=6.13", "kernel=612", "kernel="):
        with pytest.raises(SettingError, match=r"must be one of 6\.12, 6\.18, 7\.2"):
            parse_setting(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"slab.cpu_partial": 30},
            r"6\.12 and 6\.18 have it.*set kernel=6\.12 or 6\.18 too",
        ),
        (
            {"kernel": 612, "sheaf.capacity.a": 30},
            r"6\.18 and 7\.2 have it.*6\.18 or 7\.2 too",
        ),
        ({"kernel": 612, "barn.full_sheaves": 3}, r"kernels 6\.18 and 7\.2 have it"),
        ({"kernel": 618, "sheaf.capacity.a@1s": 30}, r"do not change at a moment.*kernel=7\.2"),
    ],
)
def test_a_setting_that_the_kernel_has_not(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        cache_shapes(profile_of(settings), [("a", 64)], 2, settings)


def test_cpu_partial_is_set_in_objects() -> None:
    """As sysfs has it; slabs follow from the objects of one (R3.30)."""
    settings = {"kernel": 612, "slab.cpu_partial": 30, "slab.cpu_partial.b": 0, "slab.order.c": 1}
    a, b, c = cache_shapes(LINUX_6_12, [("a", 256), ("b", 256), ("c", 256)], 2, settings)
    assert (a.cpu_partial_slabs, b.cpu_partial_slabs, c.cpu_partial_slabs) == (4, 0, 2)


def test_a_generation_has_no_numbers_of_another() -> None:
    """Neither in the rules nor in a cache's shape, nor under the names of settings."""
    for profile, mine, theirs in (
        (LINUX_7_2, "capacity", "cpu_partial"),
        (LINUX_6_12, "cpu_partial", "capacity"),
    ):
        [found] = cache_shapes(profile, [("a", 256)], 2)
        assert hasattr(found, mine)
        assert not hasattr(found, theirs)
    assert not hasattr(LINUX_6_12.slub, "flush_batch")
    assert {each.key for each in SETTINGS if each.kernels == ("6.12", "6.18")} == {
        "slab.cpu_partial"
    }


def test_a_shape_of_another_generation_has_no_model() -> None:
    shapes = cache_shapes(LINUX_6_12, [("a", 256)], 2)
    with pytest.raises(TypeError, match="not of a kernel with sheaves"):
        Slub(LINUX_7_2, shapes, 2)
