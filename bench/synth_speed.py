"""How fast allocsim synth makes a trace, on one core, and in how much memory.

    python bench/synth_speed.py [SPEC [EVENTS]]

By default the shipped hackbench and 100 million events. A shorter trace is made too: the difference
of the two is what an event costs when all is set up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import machine, run_once

SHORT = 10  #: the shorter trace has so many times fewer events


def main(spec: str, events: int) -> None:
    """Measure, and print one line a figure."""
    core = {min(os.sched_getaffinity(0))}
    found = {}
    for count in (events // SHORT, events):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pipeline", "synth", spec, "-o", folder]
            found[count] = run_once([*command, "--events", str(count)], core)
            size = sum(path.stat().st_size for path in Path(folder).rglob("events.parquet"))
        run = found[count]
        print(
            f"{count} events of {spec}: {run.cpu_s:.2f} s of CPU on one core,"
            f" {count / run.cpu_s / 1e6:.2f} million events/s, {run.peak_mib:.0f} MiB at the most,"
            f" {size / count:.1f} bytes an event"
        )
    seconds = found[events].cpu_s - found[events // SHORT].cpu_s
    speed = (events - events // SHORT) / seconds / 1e6
    print(f"without what is set up: {speed:.2f} million events/s")
    print(machine())


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(given.get(0, "hackbench"), int(given.get(1, "100000000")))
