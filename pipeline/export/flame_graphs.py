"""Weights of call stacks as folded stacks, and as a file for speedscope.

A line of folded stacks is what flamegraph.pl, inferno and speedscope read: frames joined by ';',
a space and the weight. Speedscope's own form is that of
https://www.speedscope.app/file-format-schema.json.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from allocsim import __version__
from pipeline.export.stacks import PROFILES, StackWeight, stacks
from pipeline.terminal import printable

if TYPE_CHECKING:
    from typing import BinaryIO

    import duckdb

    from pipeline.export.run_pair import RunPair

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write_folded(
    connection: duckdb.DuckDBPyConnection, weight: StackWeight, pair: RunPair, file: BinaryIO
) -> int:
    """Write a line for each distinct stack; returns the sum of their weights."""
    total = 0
    for frames, value in stacks(connection, weight, pair.recorded):
        line = printable(frames).replace("\n", " ")  # names are the recording's
        file.write(f"{line} {value}\n".encode())
        total += value
    return total


def write_speedscope(
    connection: duckdb.DuckDBPyConnection, pair: RunPair, file: BinaryIO
) -> dict[StackWeight, int]:
    """Write a profile for each weight that stacks of the run have; returns each one's sum."""
    numbers: dict[str, int] = {}
    profiles, totals = [], {}
    for weight, about in PROFILES.items():
        found = list(stacks(connection, weight, pair.recorded))
        if not found:
            continue
        weights = [value for _, value in found]
        totals[weight] = sum(weights)
        profiles.append(
            {
                "type": "sampled",
                "name": about.title,
                "unit": about.unit,
                "startValue": 0,
                "endValue": totals[weight],
                "samples": [
                    [numbers.setdefault(frame, len(numbers)) for frame in frames.split(";")]
                    for frames, _ in found
                ],
                "weights": weights,
            }
        )
    whole = {
        "$schema": _SCHEMA,
        "exporter": f"allocsim {__version__}",
        "name": f"{pair.trace}, run {pair.recorded}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": profiles,
    }
    file.write(json.dumps(whole, ensure_ascii=False).encode())
    return totals
