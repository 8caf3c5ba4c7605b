"""Recorded shapes of caches: what sysfs says, against the rules and against what the user sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocsim.initial_state.sysfs_slab import (
    CacheFacts,
    SlabTextError,
    facts_for,
    parse_sysfs_slab,
    recorded_order,
    recorded_shape,
)
from allocsim.kernels.cache_shapes import CpuSlabShape, cache_shapes
from allocsim.kernels.profile import LINUX_6_12, LINUX_7_2, Profile
from allocsim.kernels.release import kernel_of
from tests.conftest import recordings

TEXT = """
:0000192 order 0
:0000192 slab_size 192
:0000192 objs_per_slab 21
:0000192 sheaf_capacity 60
:0000192 slabs 29 N0=29
:0000192 alloc_slab 29 C0=18 C1=11
pde_opener -> :0000192
lost -> :0000064
dentry reclaim_account 1
dentry red_zone 0
filp object_size 176
filp slab_size 320
filp sheaf_capacity 0
filp store_user 1
filp poison 0
"""


@pytest.mark.parametrize(
    "line",
    [
        "sheaf_capacity 2147483647",
        "objs_per_slab 65536",
        "order 11",
        "objs_per_slab 22",
        "order 99",
    ],
)
def test_numbers_that_no_kernel_has_are_refused(line: str) -> None:
    name = line.split(maxsplit=1)[0]
    old = next(each for each in TEXT.splitlines() if each.startswith(f":0000192 {name} "))
    with pytest.raises(SlabTextError, match=":0000192"):
        parse_sysfs_slab(TEXT.replace(old, f":0000192 {line}"))


def test_links_lead_to_their_cache() -> None:
    facts = parse_sysfs_slab(TEXT)
    assert facts["pde_opener"] == facts[":0000192"]
    assert facts["pde_opener"] == CacheFacts(192, 0, 21, None, 60)
    assert facts["dentry"] == CacheFacts(reclaim_account=1)
    assert "lost" not in facts
    # slab_debug=U: tracks of who allocated and freed, behind each object.
    assert facts["filp"] == CacheFacts(320, sheaf_capacity=0, debugged=True)


@pytest.mark.parametrize(
    ("settings", "order", "objects", "capacity"),
    [
        ({}, 2, 85, 32),
        ({"cpus": 2}, 2, 85, 32),  # as recorded
        ({"cpus": 64}, 1, 42, 32),  # R3.4 by rule
        ({"slab.order": 3}, 3, 170, 32),
        ({"slab.order.c": 0, "sheaf.capacity.c": 5}, 0, 21, 5),
        ({"sheaf.capacity": 6, "slab.order.other": 1}, 2, 85, 6),
    ],
)
def test_recorded_facts_stand_above_rules_and_below_settings(
    settings: dict[str, int], order: int, objects: int, capacity: int
) -> None:
    shape = cache_shapes(LINUX_7_2, [("c", 192), ("other", 64)], 2, settings)[0]
    found = recorded_shape(shape, CacheFacts(192, 2, 85, 9, 32), settings, 2)
    assert (found.order, found.objects, found.capacity) == (order, objects, capacity)
    assert found.min_partial == 9


def test_an_order_that_is_not_recorded_follows_the_rule() -> None:
    assert recorded_order(192, CacheFacts(order=2), 1) == 2
    assert recorded_order(192, None, 1) == 1
    assert recorded_order(9000, CacheFacts(), 0) == 2


@pytest.mark.parametrize(
    ("kernels", "profile"),
    [("6.1-*", LINUX_6_12), ("6.12*", LINUX_6_12), ("7.2*", LINUX_7_2), ("7.3*", LINUX_7_2)],
)
def test_the_rules_give_what_sysfs_says_on_every_recording(kernels: str, profile: Profile) -> None:
    """R3.4, R3.5, R3.10 and R3.30 against the kernels' own numbers, of every cache."""
    found = [
        path
        for path in recordings(kernels)
        if (path / "snapshots" / "before" / "sysfs_slab.txt").is_file()
    ]
    if not found:
        pytest.skip("no recordings at hand (set ALLOCSIM_RECORDINGS)")
    compared = 0
    for path in found:
        cpus = 4 if path.name.endswith("4cpu") else 2
        facts = parse_sysfs_slab((path / "snapshots/before/sysfs_slab.txt").read_text())
        for name, fact in facts.items():
            if not fact.slab_size or fact.order is None:
                continue
            [shape] = cache_shapes(profile, [(name, fact.slab_size)], cpus)
            assert (shape.order, shape.objects) == (fact.order, fact.objs_per_slab), name
            assert shape.min_partial == fact.min_partial, (path.name, name)
            if isinstance(shape, CpuSlabShape):
                assert shape.cpu_partial == fact.cpu_partial, (path.name, name)
            else:
                assert shape.capacity == fact.sheaf_capacity, (path.name, name)
            compared += 1
    assert compared > 500


@pytest.mark.parametrize(
    ("release", "profile", "capacity", "partial"),
    [
        ("7.2.13", LINUX_7_2, 32, None),
        ("7.0.13", LINUX_7_2, 32, None),
        ("7.3.4", LINUX_6_12, None, None),
        # A version with capacities of its own, on a recording of one before it.
        ("7.2.13", replace(LINUX_7_2, version=(7, 4), since=(7, 4)), None, None),
        # 6.18 says sheaf_capacity 0 of caches that have CPU slabs instead (R3.10).
        ("6.18.15", LINUX_7_2, None, 30),
        ("6.12.107", LINUX_6_12, 32, 30),
        ("6.1.0", LINUX_6_12, None, 30),
    ],
)
def test_facts_hold_for_the_kernel_they_are_of(
    release: str, profile: Profile, capacity: int | None, partial: int | None
) -> None:
    facts = CacheFacts(192, 2, 85, 9, 32, cpu_partial=30)
    told = facts_for(facts, kernel_of(release), profile)
    assert told == CacheFacts(192, 2, 85, 9, capacity, cpu_partial=partial)
