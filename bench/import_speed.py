"""How fast `allocsim import` is, against `trace-cmd report` on the same file in the same minute.

    python bench/import_speed.py [RECORDING [RUNS]]

RECORDING is a folder with a trace.dat, by default 7.3-churn-4cpu (1.57 million events) among the
recordings that ALLOCSIM_RECORDINGS names. Start-up is what the interpreter and the modules an
import needs take when nothing is imported; it is taken off for the first ratio, not for the second.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import in_turn, machine, median

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = Path(os.environ.get("ALLOCSIM_RECORDINGS", ROOT.parent / "shared" / "traces"))


def main(folder: Path, runs: int) -> None:
    """Measure, and print one line a figure."""
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        start_up = "import pipeline.cli, pipeline.ingest.recording"
        allocsim = [sys.executable, "-m", "pipeline", "import", "--force", "-o", scratch]
        results = in_turn(
            {
                "trace-cmd report": ["trace-cmd", "report", str(folder / "trace.dat")],
                "allocsim import": [*allocsim, str(folder)],
                "start-up": [sys.executable, "-c", start_up],
            },
            runs,
        )
        meta = json.loads((Path(scratch) / folder.name / "meta.json").read_text())
    events = sum(meta["events"].values())
    for name, measured in results.items():
        wall, cpu = median(measured, "wall_s"), median(measured, "cpu_s")
        peak = median(measured, "peak_mib")
        print(f"{name}: {wall:.3f} s, {cpu:.3f} s of CPU, {peak:.0f} MiB at the most")
    theirs, ours, start = (
        median(results[name], "wall_s")
        for name in ("trace-cmd report", "allocsim import", "start-up")
    )
    print(f"{events} events of {folder.name}; median of {runs} runs in turn; {machine()}")
    print(f"import without start-up: {theirs / (ours - start):.1f} times the speed of trace-cmd,")
    print(f"    {events / (ours - start) / 1e6:.2f} million events/s")
    print(f"import as a process: {theirs / ours:.1f} times the speed of trace-cmd")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        Path(given[0]) if given else RECORDINGS / "7.3-churn-4cpu",
        int(given[1]) if len(given) > 1 else 5,
    )
