"""Periods of a line's births: within one, what is alive goes one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.synth.births import NEVER

if TYPE_CHECKING:
    from allocsim.tables import I8
    from pipeline.fitting.lives import TracedLives


FEW = 32  #: births of a period below which one work has them all
PERIODS = 8  #: periods of as many births each, for a line that has enough
PERIOD_BIRTHS = 200  #: births that each of these has at least
SWING = 0.05  #: a turn of the number alive counts if it is so large a part of the most alive,
LEAST_SWING = 16  #: and this many at least
MOST_TURNS = 512  #: turns of a line that are looked at: more make a spec that nobody sends around
SURE_TURNS = 128  #: and so many if there are fewer than FEW births for each of these


def period_limits(lives: TracedLives, moves: I8) -> I8:
    """Where a line's periods begin, but for the first: ns since the trace's first event (i8).

    Where the number alive turns from rising to falling or back, so that what lives beyond a period
    was allocated before any of it is freed; and between, so that there are enough periods.

    Args:
        lives: the line's.
        moves: move_limits of its cache.
    """
    births = np.sort(lives.birth)
    count = int(np.clip(len(births) // PERIOD_BIRTHS, 1, PERIODS))
    even = births[np.arange(1, count) * len(births) // count]
    limits: I8 = np.unique(np.concatenate((even, _turns(lives), moves)))
    inside: I8 = limits[(limits > births[0]) & (limits <= births[-1])]
    return inside


def _turns(lives: TracedLives) -> I8:
    """Times at which the number alive turns, by more than a swing (i8)."""
    ends = lives.death[lives.death != NEVER]
    order = np.argsort(np.concatenate((lives.birth, ends)), kind="stable")
    time = np.concatenate((lives.birth, ends))[order]
    alive = np.cumsum(np.where(order < len(lives.birth), 1, -1))
    most = int(np.clip(len(lives.birth) // FEW, SURE_TURNS, MOST_TURNS))
    return time[_swings(alive, int(alive.max()), most)]


def move_limits(lives: TracedLives, cpus: int) -> I8:
    """Times at which a CPU turns from gaining to losing objects of a cache, or back (i8).

    What is freed elsewhere than it was allocated moves from CPU to CPU, through sheaves and slabs.
    Which way it goes changes in time, as tasks move, and how far it gets makes slabs.
    """
    away = np.flatnonzero((lives.cpu != lives.free_cpu) & (lives.death != NEVER))
    away = away[np.argsort(lives.death[away], kind="stable")]
    found = [np.empty(0, np.int64)]
    for cpu in range(cpus):
        way = (lives.free_cpu[away] == cpu) * 1 - (lives.cpu[away] == cpu)
        moved = np.flatnonzero(way)
        if len(moved) > LEAST_SWING:
            gained = np.cumsum(way[moved])
            turns = [row for row in _swings(gained, int(np.ptp(gained)), SURE_TURNS) if row]
            found.append(lives.death[away[moved[turns]]])
    return np.unique(np.concatenate(found))


def _swings(values: I8, largest: int, most: int) -> list[int]:
    """Rows at which values turn by more than a swing, at most so many of them."""
    swing = max(LEAST_SWING, SWING * largest)
    turns = _extremes(values, swing)
    while len(turns) > most:
        swing *= 2
        turns = _extremes(values, swing)
    return turns


def _extremes(alive: I8, swing: float) -> list[int]:
    """Rows of the highest and lowest values between which more than a swing lies."""
    # A row a run of one direction is enough to look at.
    turns = np.flatnonzero(np.diff(np.diff(alive)) != 0) + 1
    found: list[int] = []
    up, extreme, at = True, int(alive[0]), 0
    for row in [*turns.tolist(), len(alive) - 1]:
        value = int(alive[row])
        if value > extreme if up else value < extreme:
            extreme, at = value, row
        elif abs(extreme - value) > swing:
            found.append(at)
            up, extreme, at = not up, value, row
    return found
