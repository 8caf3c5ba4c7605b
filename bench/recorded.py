"""Time the replay alone on a real recording, against the oracle on the same requests.

    python bench/recorded.py [--window ROWS] [TRACE_SET_OR_RECORDING]

By default 7.3-churn-4cpu (1.57 million events), or the largest shipped trace set where it is not at
hand. Making requests of events and storing results are not in these times; bench/exactness.py
shows that both give the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from meter import measure, show

sys.path.append(str(Path(__file__).resolve().parent.parent))
from pipeline.processes.progress import Progress
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.trace_source import opened
from pipeline.replay.world import make_world
from tests.conftest import RECORDINGS, ROOT
from tests.oracle.whole_path import WholePath


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--window", type=int, default=1 << 20, help="events at once")
    parser.add_argument("trace", nargs="?", type=Path)
    given = parser.parse_args()
    path = given.trace or RECORDINGS / "7.3-churn-4cpu"
    if not path.exists():
        path = ROOT / "traces" / "6.12-tmpfsfiles"
    with TemporaryDirectory() as folder, opened(path, Progress()) as trace:
        whole = WholePath(trace, Path(folder))
        with duckdb.connect(whole.db, read_only=True) as connection:
            source = RecordedRun(connection, whole.run, trace, given.window)
            windows = list(source.requests()[1])
        simulation = make_world(source.recorded, {}).simulation
        measured = measure(
            windows,
            lambda window: simulation.window(window.objects, window.pages),
            lambda window, placed: (
                *window.objects,
                *window.pages,
                placed.objects.path,
                placed.objects.slab,
                placed.objects.index,
                placed.pages.path,
                placed.pages.pfn,
            ),
        )
        measured.events = [len(w.objects.seq) + len(w.pages.seq) for w in windows]
        measured.peak_mib = None  # that of the replay that went before
        outcome, spent = whole.oracle()
        print(f"{'recording':34} {trace.meta['name']}, {trace.rows:,} events")
        show(measured, len(outcome.events) / spent)


if __name__ == "__main__":
    main()
