"""Which objects of two kernels are the same, whatever their cache is called, merged with or sized.

The kernel merges caches of like size and flags, and traces the name of the first of them
(mm/slab_common.c:__kmem_cache_alias, 6.12, 7.2); another kernel merges others. So objects are told
by who allocates them. All that is said here is inferred.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from reports.compare.units import KMALLOC, AllocatedUnits, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

ALIKE = 0.01  #: relative difference of counts that go with one another
_FARTHEST = 10  #: times as many objects as its counterpart that a cache of other functions may have


@dataclass(frozen=True, slots=True)
class Pair:
    """Units of the baseline and those of another side that are the same objects.

    Args:
        base: units of the baseline.
        other: units of the other side.
        name: what both are called, if their caches are not: a name that both caches have, if only
            one is; else the functions that allocate them.
    """

    base: tuple[Unit, ...]
    other: tuple[Unit, ...]
    name: str | None = None


def pairs(
    base: AllocatedUnits, other: AllocatedUnits, wanted: Callable[[Unit], bool]
) -> list[Pair]:
    """The units of two sides that are the same objects; those left over have no counterpart.

    A unit is its own counterpart if its cache has the same names on both sides, or none of them
    tells. Else a function's caches are paired by a name in common, so that as many objects as can
    be are; or if a function takes from one cache on each side, whose name the other does not know.
    Then what is left in a cache, of functions that one side alone has, likewise by cache.

    Args:
        base: one side.
        other: another side.
        wanted: which units to pair.
    """
    found = _Pairs(base, other, wanted)
    for unit in sorted(found.left[0] & found.left[1]):
        if unit.event == KMALLOC or base.names(unit.cache) == other.names(unit.cache):
            found.take([unit], [unit])
    found.by_function()
    found.by_cache()
    for unit in _of_both(base, other, found.left[0]):
        found.take([unit], [])
    for unit in _of_both(other, base, found.left[1]):
        found.take([], [unit])
    return found.pairs


class _Pairs:
    """Pairs as they are found, and the units that are left to pair."""

    def __init__(
        self, base: AllocatedUnits, other: AllocatedUnits, wanted: Callable[[Unit], bool]
    ) -> None:
        self._sides = base, other
        self.left = tuple({unit for unit in side.objects if wanted(unit)} for side in (base, other))
        self.pairs: list[Pair] = []

    def take(self, base: Sequence[Unit], other: Sequence[Unit]) -> None:
        self.pairs.append(Pair(tuple(base), tuple(other), _name(*self._sides, base, other)))
        self.left[0].difference_update(base)
        self.left[1].difference_update(other)

    def by_function(self) -> None:
        """What a function takes from caches with a name in common, or from the only one it has."""
        mine, theirs = self._grouped(lambda unit: (unit.event, unit.function))
        for key in sorted(mine.keys() & theirs.keys()):
            each = [[[unit] for unit in side[key]] for side in (mine, theirs)]
            for first, second in _matched(*self._sides, *each):
                self.take(first, second)
        mine, theirs = self._grouped(lambda unit: (unit.event, unit.function))
        for key in sorted(mine.keys() & theirs.keys()):
            first, second = mine[key], theirs[key]
            if len(first) == len(second) == 1 and _renamed(*self._sides, first[0], second[0]):
                self.take(first, second)

    def by_cache(self) -> None:
        """What functions that one side alone has take from caches with a name in common."""
        mine, theirs = self._grouped(lambda unit: (unit.event, unit.cache))
        for first, second in _matched(*self._sides, [*mine.values()], [*theirs.values()]):
            sizes = [_objects(*each) for each in zip(self._sides, (first, second), strict=True)]
            if max(sizes) <= _FARTHEST * min(sizes):
                self.take(first, second)

    def _grouped(
        self, key: Callable[[Unit], tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], list[Unit]], ...]:
        sides = []
        for side in self.left:
            groups: dict[tuple[str, str], list[Unit]] = defaultdict(list)
            for unit in sorted(side):
                groups[key(unit)].append(unit)
            sides.append(groups)
        return tuple(sides)


def _of_both(side: AllocatedUnits, other: AllocatedUnits, units: Iterable[Unit]) -> list[Unit]:
    """Units of a cache that is the same on both sides, whoever takes from it there."""
    there = {unit.cache for unit in other.objects}
    return [
        unit
        for unit in sorted(units)
        if unit.event != KMALLOC
        and unit.cache in there
        and side.names(unit.cache) == other.names(unit.cache)
    ]


def _objects(side: AllocatedUnits, units: Iterable[Unit]) -> int:
    return sum(side.objects[unit] for unit in units)


def _matched(
    base: AllocatedUnits,
    other: AllocatedUnits,
    mine: Sequence[list[Unit]],
    theirs: Sequence[list[Unit]],
) -> list[tuple[list[Unit], list[Unit]]]:
    """Which of one side's groups goes with which of the other's, each with one at most.

    Those of one tracepoint whose caches have a name in common, so that as many objects are paired
    as can be. The units of a group are of one cache.
    """
    weights = np.zeros((len(mine), len(theirs)))
    for at, first in enumerate(mine):
        for to, second in enumerate(theirs):
            one, two = first[0], second[0]
            names = {one.cache} & {two.cache}
            if one.event != KMALLOC:
                names |= base.names(one.cache) & other.names(two.cache)
            if names and one.event == two.event:
                weights[at, to] = min(_objects(base, first), _objects(other, second))
    rows, columns = linear_sum_assignment(weights, maximize=True)
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(mine[row], theirs[column]) for row, column in chosen if weights[row, column]]


def _renamed(base: AllocatedUnits, other: AllocatedUnits, first: Unit, second: Unit) -> bool:
    """Whether the one cache that a function took from is the one that it takes from now.

    A kmalloc whose object has another size class; else a cache whose name the other kernel does
    not know, each way.
    """
    if first.event == KMALLOC:
        return True
    return first.cache not in other.merged and second.cache not in base.merged


def _name(
    base: AllocatedUnits, other: AllocatedUnits, first: Sequence[Unit], second: Sequence[Unit]
) -> str | None:
    caches = {unit.cache for unit in (*first, *second)}
    if len(caches) == 1 or not first or not second:
        return None
    one, two = base.names(first[0].cache), other.names(second[0].cache)
    if one == two:
        return first[0].cache  # merged with the same, and called after another of them
    common = one & two
    # Another name of either may be what the other kernel calls by a new one.
    clear = one - common <= other.merged.keys() or two - common <= base.merged.keys()
    if len(common) in {1, 2} and clear:
        return " or ".join(sorted(common))
    own = [cache for cache in (first[0].cache, second[0].cache) if not cache.startswith(KMALLOC)]
    return own[0] if own and not common else f"{called(first)} in {first[0].cache}"


def called(units: Iterable[Unit]) -> str:
    """The functions of units, as a name for what they allocate."""
    names = [f"{name}()" for name in dict.fromkeys(unit.function for unit in units)]
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def folded(
    base: AllocatedUnits, other: AllocatedUnits, alone: Iterable[Unit], kept: Mapping[Unit, Unit]
) -> dict[Unit, Unit]:
    """Units of one side whose objects have become part of another's on the other: unit -> that one.

    Every function that allocates them allocates as many of the other, whose object has grown by as
    much at least.

    Args:
        base: the side that has them.
        other: the side that has not.
        alone: the units of ``base`` without a counterpart.
        kept: its other units, and their counterparts.
    """
    found = {}
    by_function: dict[str, list[Unit]] = defaultdict(list)
    for host in kept:
        if host.event != KMALLOC and len(base.sizes[host]) == len(other.sizes[kept[host]]) == 1:
            by_function[host.function].append(host)
    for unit in alone:
        if unit.event == KMALLOC or len(base.sizes[unit]) != 1:
            continue
        for host in by_function[unit.function]:
            near = abs(base.objects[host] - base.objects[unit]) <= ALIKE * base.objects[unit]
            grown = min(other.sizes[kept[host]]) - min(base.sizes[host])
            if near and grown >= min(base.sizes[unit]):
                found[unit] = host
    return found
