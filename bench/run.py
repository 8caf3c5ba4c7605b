"""Run every benchmark, and write what it printed to bench/RESULTS.md, each with its command."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from measure import machine

HERE = Path(__file__).resolve().parent
HEAD = """# What the benchmarks gave

Made by `make bench`. Speeds are ratios of things run in turn in the same minutes, since machines
like these are shared and noisy; single times are worth less. What each figure means is said at the
head of its script. The oracle is the plain, readable version of the model (tests/oracle/); the copy
of the same bytes is what reading the requests and writing the results costs at the least.
"""

_SHORT = ("--events", "8000000", "--oracle", "0")
# Title of a section, and the command that makes it, run in the repository's root.
BENCHMARKS = (
    ("Import", ("bench/import_speed.py",)),
    ("Import of perf.data", ("bench/import_speed.py", "6.12-perf-mixed")),
    ("Import of tracefs's text", ("bench/import_speed.py", "7.3-text-tiny", "3")),
    ("Against what is used today", ("bench/against.py",)),
    ("Import, replay and store; memory", ("bench/replay_speed.py",)),
    ("The replay alone, both layers, synthetic trace", ("bench/simulation.py",)),
    (
        "The same, four times as long",
        ("bench/simulation.py", "--events", "200000000", "--oracle", "0"),
    ),
    ("The replay alone, both layers, a recording", ("bench/recorded.py",)),
    ("The SLUB layer alone", ("bench/slub.py",)),
    (
        "The same trace through the SLUB of 6.12",
        ("bench/slub.py", "--kernel", "6.12", "--events", "10000000"),
    ),
    (
        "The SLUB layer alone, compiled",
        ("bench/slub.py", "--fast", *_SHORT),
    ),
    (
        "The SLUB of 6.12, compiled",
        ("bench/slub.py", "--kernel", "6.12", "--fast", *_SHORT),
    ),
    *(
        (
            f"The SLUB layer alone, against {what}",
            ("bench/slub.py", "--against", what.lower(), *_SHORT),
        )
        for what in ("caches", "CPUs", "nodes", "windows")
    ),
    ("Many traces", ("bench/many.py", "traces")),
    ("Many windows", ("bench/many.py", "windows")),
    ("The page allocator alone, lists mostly hit", ("bench/pages.py", "--lives", "short")),
    ("The page allocator alone, lists often refilled", ("bench/pages.py", "--lives", "long")),
    ("Making a synthetic trace", ("bench/synth_speed.py",)),
)


def main() -> None:
    """Run them one after the other; one that fails ends the run and writes nothing."""
    when = datetime.now(UTC).date().isoformat()
    sections = [HEAD, f"Machine: {machine()}. Date: {when}.\n"]
    for title, command in BENCHMARKS:
        print(title, flush=True)
        done = subprocess.run(
            [sys.executable, *command],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        sections.append(f"## {title}\n\n    python {' '.join(command)}\n\n```\n{done.stdout}```\n")
    (HERE / "RESULTS.md").write_text("\n".join(sections))


if __name__ == "__main__":
    main()
