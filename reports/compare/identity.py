"""The items of a comparison: what its sides allocate, called the same on all of them.

An item is what its rows are of. What only some sides show is left out of them, with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from reports.compare.pairing import ALIKE, called, folded, pairs
from reports.compare.units import KMALLOC, AllocatedUnits, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence


class Why(StrEnum):
    """Why objects are in no row."""

    ALONE = "not allocated on every side"
    UNKNOWN = "of a cache not known on a side"
    UNTRACED = "of caches whose allocations not every side traces in full"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Objects that are in no row.

    Args:
        name: what they are.
        why: the reason.
        objects: events that allocate them, of each side.
    """

    name: str
    why: Why
    objects: tuple[int, ...]


@dataclass(frozen=True, order=True, slots=True)
class Label:
    """What a unit is in the comparison.

    Args:
        item: its item.
        matched: the item is on every side.
        counted: it is an object of its own there: not one that is part of another's on a side.
    """

    item: str
    matched: bool = True
    counted: bool = True


@dataclass(slots=True)
class Identity:
    """What the sides of a comparison have in common.

    Attributes:
        labels: of each side, unit -> its label.
        changes: of each side, item -> what has become of it since the baseline; only where its
            object has another size, or its cache another name.
        left_out: what is in no row, the most objects first.
        allocated: all that each side allocates.
        slabs: of each side, cache -> item of its slabs; only of those that hold the same objects
            on every side.
    """

    labels: list[dict[Unit, Label]] = field(default_factory=list)
    changes: list[dict[str, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    allocated: list[int] = field(default_factory=list)
    slabs: list[dict[str, str]] = field(default_factory=list)

    def share(self, side: int, why: Why) -> float:
        """The share of a side's allocations that is left out for a reason, 0 to 1."""
        objects = sum(each.objects[side] for each in self.left_out if each.why is why)
        return objects / max(self.allocated[side], 1)


def identify(sides: Sequence[AllocatedUnits], baseline: int) -> Identity:
    """What the sides have in common.

    Args:
        sides: what each of them allocates.
        baseline: number of the side that the others are paired with.
    """
    base, unclear = sides[baseline], _unclear(sides)

    def wanted(unit: Unit) -> bool:
        return unit.cache != "" and (unit.event, unit.function) not in unclear

    several = [pairs(base, side, wanted) for side in sides]
    names = {unit: unit.cache for unit in base.objects}
    inside: dict[Unit, Unit] = {}  # units of the baseline that are part of another's objects
    grown: list[dict[Unit, Unit]] = []  # likewise of each side
    common = set(base.objects)
    for side, of_side in zip(sides, several, strict=True):
        kept = {p.base[0]: p.other[0] for p in of_side if len(p.base) == len(p.other) == 1}
        paired = {unit for pair in of_side for unit in (*pair.base, *pair.other)}
        first, second = (
            sorted(filter(wanted, each.objects.keys() - paired)) for each in (base, side)
        )
        gone = folded(base, side, first, kept)
        inside |= gone
        grown.append(folded(side, base, second, {there: here for here, there in kept.items()}))
        common &= {unit for pair in of_side for unit in pair.base} | gone.keys()
        for pair in of_side:
            if pair.name is not None:
                names |= dict.fromkeys(pair.base, pair.name)
    names |= {unit: names[host] for unit, host in inside.items()}
    found = Identity(allocated=[sum(side.objects.values()) for side in sides])
    for of_side, new in zip(several, grown, strict=True):
        labels = {
            unit: Label(
                names[pair.base[0]] if pair.base else unit.cache,
                not pair.base or not common.isdisjoint(pair.base),
                not pair.base or pair.base[0] not in inside,
            )
            for pair in of_side
            for unit in pair.other
        }
        found.labels.append(
            labels | {u: replace(labels[at], counted=False) for u, at in new.items()}
        )
    untraced = _untraced(found.labels, sides)
    for labels in found.labels:
        for unit, label in labels.items():
            labels[unit] = replace(label, matched=label.matched and label.item not in untraced)
    found.changes = [_changes(found.labels, sides, baseline, at) for at in range(len(sides))]
    found.left_out = _left_out(found.labels, sides, unclear, untraced)
    found.slabs = _slabs(found.labels, sides, baseline)
    return found


def _unclear(sides: Sequence[AllocatedUnits]) -> set[tuple[str, str]]:
    """Tracepoints and functions whose objects are not known to be of a cache on some side."""
    found = set()
    for side in sides:
        known: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for unit, objects in side.objects.items():
            known[unit.event, unit.function][unit.cache != ""] += objects
        found |= {key for key, (without, named) in known.items() if without > ALIKE * named}
    return found


def _untraced(labels: Sequence[dict[Unit, Label]], sides: Sequence[AllocatedUnits]) -> set[str]:
    """Items that the sides' kernels allocate without an event in different ways.

    Where they show as many objects all the same, no side can have hidden any to speak of.
    """
    found = set()
    for item in {name for side in sides for name in side.untraced}:
        if all(item in side.untraced for side in sides):
            continue
        objects = [
            sum(side.objects[unit] for unit, label in of.items() if label.item == item)
            for of, side in zip(labels, sides, strict=True)
        ]
        if max(objects) - min(objects) > ALIKE * max(objects):
            found.add(item)
    return found


def _left_out(
    labels: Sequence[dict[Unit, Label]],
    sides: Sequence[AllocatedUnits],
    unclear: set[tuple[str, str]],
    untraced: set[str],
) -> list[LeftOut]:
    objects: dict[tuple[Why, str], list[int]] = defaultdict(lambda: [0] * len(sides))
    named: dict[tuple[Why, str], str] = {}
    for at, (of, side) in enumerate(zip(labels, sides, strict=True)):
        alone: dict[str, list[Unit]] = defaultdict(list)
        for unit in sorted(side.objects):
            label = of.get(unit)
            if label is not None and label.matched:
                continue
            if label is not None and label.item in untraced:
                key = (Why.UNTRACED, label.item)
            elif unit.cache == "" or (unit.event, unit.function) in unclear:
                key = (Why.UNKNOWN, called([unit]))
            else:
                alone[unit.cache].append(unit)
                continue
            named[key] = key[1]
            objects[key][at] += side.objects[unit]
        elsewhere = {name for each in sides if each is not side for name in each.merged}
        for cache, units in alone.items():
            new = side.names(cache) - elsewhere
            own = len(new) == 1 and all(unit.event != KMALLOC for unit in units)
            most = sorted(units, key=side.objects.__getitem__, reverse=True)
            name = f"{next(iter(new)) if own else called(most)} in {cache}"
            key = (Why.ALONE, name if next(iter(new), "") != cache else cache)
            named[key] = key[1]
            objects[key][at] += sum(side.objects[unit] for unit in units)
    found = [LeftOut(named[key], key[0], tuple(each)) for key, each in objects.items()]
    return sorted(found, key=lambda each: (-max(each.objects), each.name))


@dataclass(slots=True)
class _Seen:
    """What a side shows of an item: sizes of objects, its caches, those of what is part of it."""

    sizes: set[int] = field(default_factory=set)
    caches: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)


def _seen(labels: dict[Unit, Label], side: AllocatedUnits) -> dict[str, _Seen]:
    found: dict[str, _Seen] = defaultdict(_Seen)
    for unit, label in labels.items():
        if label.matched:
            of_item = found[label.item]
            (of_item.caches if label.counted else of_item.parts).add(unit.cache)
            if label.counted and unit.event != KMALLOC:
                of_item.sizes |= side.sizes[unit]
    return found


def _changes(
    labels: Sequence[dict[Unit, Label]], sides: Sequence[AllocatedUnits], baseline: int, at: int
) -> dict[str, str]:
    """What has become of the items of a side since the baseline, in words."""
    base, other = (_seen(labels[side], sides[side]) for side in (baseline, at))
    told = {item: _became(item, base[item], other[item]) for item in base.keys() & other.keys()}
    return {item: ", ".join(words) for item, words in sorted(told.items()) if words}


def _became(item: str, was: _Seen, now: _Seen) -> list[str]:
    told = []
    if len(was.sizes) == len(now.sizes) == 1 and was.sizes != now.sizes:
        told.append(f"object {min(was.sizes)} -> {min(now.sizes)} bytes")
    for parts, word in ((was.parts - now.parts, "takes in"), (now.parts - was.parts, "without")):
        told += [f"{word} {part}" for part in sorted(parts)]
    if was.caches != now.caches:
        first, second = (" and ".join(sorted(side.caches)) for side in (was, now))
        if was.caches == {item}:
            told.append(f"now in {second}")
        elif now.caches == {item}:
            told.append(f"now a cache of its own, was in {first}")
        else:
            told.append(f"{first} -> {second}")
    return told


def _slabs(
    labels: Sequence[dict[Unit, Label]], sides: Sequence[AllocatedUnits], baseline: int
) -> list[dict[str, str]]:
    """Of each side, the caches that hold the same items on every side, and what they are called."""
    held: list[dict[str, frozenset[str]]] = []
    for of, side in zip(labels, sides, strict=True):
        items: dict[str, set[str]] = defaultdict(set)
        others: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for unit, objects in side.objects.items():
            label = of.get(unit)
            matched = label is not None and label.matched
            others[unit.cache][matched] += objects
            if label is not None and matched:
                items[unit.cache].add(label.item)
        held.append(
            {
                cache: frozenset(of_cache)
                for cache, of_cache in items.items()
                if others[cache][False] <= ALIKE * others[cache][True]
            }
        )
    common = set.intersection(*({*each.values()} for each in held))
    names = {items: cache for cache, items in sorted(held[baseline].items(), reverse=True)}
    names |= {items: next(iter(items)) for items in names if len(items) == 1}
    return [{c: names[items] for c, items in each.items() if items in common} for each in held]
