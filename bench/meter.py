"""What the benchmarks of the model have in common: timing windows, and saying what came of it."""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

_Window = TypeVar("_Window")
_Result = TypeVar("_Result")
PARTS = 4  #: of the trace, whose times are compared


@dataclass
class Measured:
    """CPU time of the model, window by window, and of a copy of what it reads and writes."""

    events: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    copied: float = 0.0
    peak_mib: float | None = None

    @property
    def rate(self) -> float:
        """Events a second of CPU time."""
        return sum(self.events) / sum(self.seconds)

    def rows(self) -> list[tuple[str, str]]:
        """The figures, each with its name."""
        spent, count = sum(self.seconds), sum(self.events)
        # Windows have the same number of events, more or less.
        parts = np.array_split(np.array([self.seconds, self.events]), PARTS, axis=1)
        each = [part[0].sum() / part[1].sum() * 1e9 for part in parts if part.size]
        rows = [
            ("events", f"{count:,}"),
            ("model", f"{spent:.2f} s of CPU, {self.rate / 1e6:.2f} M events/s"),
            ("part by part of the trace", f"{', '.join(f'{ns:.0f}' for ns in each)} ns an event"),
            (
                "copy of the same bytes",
                f"{self.copied:.3f} s: the model takes {spent / self.copied:.0f} times that",
            ),
        ]
        if self.peak_mib is not None:
            rows.append(("peak memory, the generator's too", f"{self.peak_mib:.0f} MiB"))
        return rows


def measure(
    windows: Iterable[_Window],
    model: Callable[[_Window], _Result],
    columns: Callable[[_Window, _Result], Iterable[npt.NDArray[np.generic] | None]],
    *,
    profile: bool = False,
) -> Measured:
    """Give a model its windows; only its own time counts.

    Args:
        windows: what it is given; made outside the time measured.
        model: called with each.
        columns: the arrays of a window that are read and written, one value an event each, None
            for one it does not have; the first one's length is the number of events.
        profile: print the profiler's account.
    """
    profiler = cProfile.Profile()
    found = Measured()
    for window in windows:
        begin = time.process_time()
        if profile:
            profiler.enable()
        result = model(window)
        profiler.disable()
        mid = time.process_time()
        arrays = [column for column in columns(window, result) if column is not None]
        for array in arrays:
            np.copy(array)
        found.copied += time.process_time() - mid
        found.seconds.append(mid - begin)
        found.events.append(len(arrays[0]))
    found.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return found


def oracle_rate(
    windows: Iterable[Iterable[npt.NDArray[np.generic] | None]], event: Callable[..., object]
) -> float:
    """Events a second of CPU time of an oracle that is called with the columns of each event."""
    count, spent = 0, 0.0
    for columns in windows:
        there = [column.tolist() for column in columns if column is not None]
        rows = list(zip(*there, strict=True))
        begin = time.process_time()
        for row in rows:
            event(*row)
        spent += time.process_time() - begin
        count += len(rows)
    return count / spent


def arguments(about: str | None, events: int, oracle: int) -> argparse.ArgumentParser:
    """What every such benchmark can be told."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=events, help="events of the trace")
    parser.add_argument("--window", type=int, default=1 << 20, help="events at once")
    parser.add_argument("--oracle", type=int, default=oracle, help="events to give the oracle")
    parser.add_argument("--profile", action="store_true", help="print the profiler's account")
    return parser


def show(measured: Measured, plain: float | None) -> None:
    """Print the figures; ``plain`` is the oracle's rate, None if it was not asked for."""
    rows = measured.rows()
    if plain is not None:
        times = measured.rate / plain
        rows.append(
            ("oracle", f"{plain / 1e6:.2f} M events/s: the model is {times:.1f} times that")
        )
    for name, value in rows:
        print(f"{name:34} {value}")
