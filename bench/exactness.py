"""Compare the whole simulated path with the plain oracle, on real recordings.

    python bench/exactness.py [--kernel 6.12] [--windows ROWS,...] [--fast] [TRACE_SET ...]

Every event's path, slab, index and page frame, every slab's life, every counter: they must be equal
whatever the windows. Without a name, every shipped trace set and every recording at hand is taken.
Prints a row each, and ends in 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parent.parent))
from allocsim.kernels.profile import DEFAULT, PROFILES
from allocsim.kernels.settings import KERNEL, parse_setting
from pipeline.processes.progress import Progress
from pipeline.replay.trace_source import opened
from tests.conftest import ROOT, recordings
from tests.oracle.whole_path import WHOLE, WholePath

if TYPE_CHECKING:
    from collections.abc import Iterator


def _paths(given: list[str]) -> Iterator[Path]:
    if given:
        yield from map(Path, given)
        return
    yield from sorted(path.parent for path in (ROOT / "traces").glob("*/meta.json"))
    yield from (path for path in recordings("*") if (path / "trace.dat").is_file())


def main() -> int:
    """Compare; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", default=f"1000,70000,{WHOLE}", help="events at once, a list")
    parser.add_argument("--kernel", choices=[each.word for each in PROFILES], default=DEFAULT.word)
    parser.add_argument("--fast", action="store_true", help="what numba compiles, too")
    parser.add_argument("traces", nargs="*")
    given = parser.parse_args()
    settings = dict([parse_setting(f"{KERNEL}={given.kernel}")])
    sizes = [int(size) for size in given.windows.split(",")]
    bad = 0
    for path in _paths(given.traces):
        with TemporaryDirectory() as folder, opened(path, Progress()) as trace:
            whole = WholePath(trace, Path(folder), settings=settings)
            wanted, oracle = whole.oracle()
            says = []
            for size, fast in product(sizes, (False, True) if given.fast else (False,)):
                found = whole.model(size, fast=fast)
                differs = found.differences(wanted)
                bad += len(differs)
                rows = f"{min(size, trace.rows)}{' compiled' if fast else ''}"
                says.append(f"{rows}: {'differs: ' + ', '.join(differs) if differs else 'equal'}")
            print(
                f"{path.parent.name}/{path.name}: {trace.rows} events, {len(wanted.events)} placed,"
                f" {len(wanted.slabs)} slabs; windows of {'; '.join(says)}; oracle {oracle:.1f} s",
                flush=True,
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
