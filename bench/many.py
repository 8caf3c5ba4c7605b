"""What a replay costs against the number of traces, and against the number of windows.

    python bench/many.py traces [1 7 60] [--events N]
    python bench/many.py windows [--events N]

Traces are copies of a synthetic one (hackbench) of N events, with names of their own. They are
replayed, both placements, in one process; then as units by two processes, which are merged on the
way; then the units are merged once more by themselves. Windows: one such trace, recorded and
simulated with windows of fewer and fewer events. Time is that of the CPUs, of all processes of a
step together, for the machine is shared; memory that of the largest process. An exponent of 1 is
linear: of the figure by the number of traces or windows, between two rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from math import log
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import Run, machine, run_once

ALLOCSIM = [sys.executable, "-m", "pipeline"]
#: Both runs of a trace set with windows of so many events.
WINDOWED = """
import sys
from pathlib import Path
from pipeline.replay.pricing import find_policies, shipped_pricing
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.trace_set.reader import TraceSet
path, db, rows = sys.argv[1:]
trace, pricing = TraceSet.open(path), shipped_pricing()
run = replay_trace(trace, Path(db), find_policies([]), pricing, window_rows=int(rows))
simulate_run(trace, Path(db), run, {}, window_rows=int(rows), schemes=pricing.schemes)
"""


def made(folder: Path, count: int, events: int) -> list[Path]:
    """So many traces in a folder; what every first run makes is made on the way."""
    given = ["--events", str(events), "--name", "trace-0", "-o", str(folder)]
    run_once([*ALLOCSIM, "synth", "hackbench", *given])
    paths = [folder / f"trace-{number}" for number in range(count)]
    for path in paths[1:]:
        shutil.copytree(paths[0], path)
        meta = json.loads((path / "meta.json").read_text("utf-8"))
        (path / "meta.json").write_text(json.dumps(meta | {"name": path.name}), "utf-8")
    run_once([*ALLOCSIM, "replay", "--db", str(folder / "first.duckdb"), str(paths[0])])
    return paths


def head(what: str, about: str) -> None:
    """Print what the columns are."""
    print(f"{machine()}; {about}")
    names = (what, "CPU s", "each", "peak MiB", "CPU ^", "MiB ^")
    print(f"{'':24} {names[0]:>7} {' '.join(f'{name:>9}' for name in names[1:])}")


def row(what: str, count: int, run: Run, before: tuple[int, Run] | None) -> None:
    """Print a line, with exponents against the one before."""
    line = f"{what:24} {count:7} {run.cpu_s:9.2f} {run.cpu_s / count:9.3f} {run.peak_mib:9.0f}"
    if before is not None:
        times = log(count / before[0])
        cpu, peak = (
            log(after / earlier) / times
            for after, earlier in ((run.cpu_s, before[1].cpu_s), (run.peak_mib, before[1].peak_mib))
        )
        line += f" {cpu:9.2f} {peak:9.2f}"
    print(line, flush=True)


def by_traces(counts: list[int], events: int) -> None:
    """Cost against the number of traces."""
    head("traces", f"traces of {events:,} events")
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        paths = [str(path) for path in made(here, max(counts), events)]
        steps = {
            "one process": ["replay", "--jobs", "1", "--db", "{db}"],
            "two processes, units": ["replay", "--jobs", "2", "--units", "{units}", "--db", "{db}"],
            "units merged": ["merge", "{units}", "--db", "{db}"],
        }
        for number, (what, step) in enumerate(steps.items()):
            before = None
            for count in counts:
                db, units = here / f"{number}-{count}.duckdb", here / f"units-{count}"
                command = [*ALLOCSIM, *(part.format(db=db, units=units) for part in step)]
                run = run_once(command + paths[:count] * (step[0] == "replay"))
                row(what, count, run, before)
                before = count, run
                db.unlink()


def by_windows(events: int) -> None:
    """Cost against the number of windows."""
    head("windows", f"one trace of {events:,} events")
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        [path] = made(here, 1, events)
        before = None
        for windows in (1, 4, 16, 64, 256):
            db = here / f"{windows}.duckdb"
            rows = -(-events // windows)
            run = run_once([sys.executable, "-c", WINDOWED, str(path), str(db), str(rows)])
            row("both runs", windows, run, before)
            before = windows, run
            db.unlink()


def main() -> None:
    """Measure, and print a line a step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("against", choices=["traces", "windows"])
    parser.add_argument("counts", type=int, nargs="*", default=[1, 7, 60])
    parser.add_argument("--events", type=int)
    given = parser.parse_args()
    if given.against == "traces":
        by_traces(given.counts, given.events or 50_000)
    else:
        by_windows(given.events or 1_000_000)


if __name__ == "__main__":
    main()
