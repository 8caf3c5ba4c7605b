"""How fast a recording becomes a results database, on one core, and in how much memory.

    python bench/replay_speed.py [RECORDING [RUNS]]

RECORDING is a folder with a trace.dat, by default 7.3-churn-4cpu (1.57 million events) among the
recordings that ALLOCSIM_RECORDINGS names. Memory is measured on its trace set once and four
times in a row, which is longer but keeps no more alive at once than its end does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import in_turn, machine, median

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = Path(os.environ.get("ALLOCSIM_RECORDINGS", ROOT.parent / "shared" / "traces"))
ALLOCSIM = [sys.executable, "-m", "pipeline"]


def repeated(trace_set: Path, times: int) -> Path:
    """A copy of a trace set whose events come ``times`` times, one after the other."""
    copy = trace_set.with_name(f"{trace_set.name}-{times}")
    shutil.copytree(trace_set, copy)
    meta = json.loads((copy / "meta.json").read_text())
    length = meta["last_ts"] - meta["first_ts"] + 1
    source = pq.ParquetFile(trace_set / "events.parquet")
    with pq.ParquetWriter(
        copy / "events.parquet", source.schema_arrow, compression="zstd"
    ) as writer:
        for turn in range(times):
            for group in range(source.num_row_groups):
                rows = source.read_row_group(group)
                later = pc.add(rows["ts"], pa.scalar(turn * length, pa.int64()))
                writer.write_table(rows.set_column(0, rows.schema.field(0), later))
    meta["last_ts"] += (times - 1) * length
    meta["events"] = {name: count * times for name, count in meta["events"].items()}
    (copy / "meta.json").write_text(json.dumps(meta))
    return copy


def main(folder: Path, runs: int) -> None:
    """Measure, and print one line a figure."""
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        sets, db = here / "sets", str(here / "results.duckdb")
        recorded = [*ALLOCSIM, "replay", "--db", db, "--placement", "recorded"]
        commands = {
            "import": [*ALLOCSIM, "import", "--force", "-o", str(sets), str(folder)],
            "replay and store": [*recorded, str(sets / folder.name)],
            "start-up": [sys.executable, "-c", "import pipeline.cli, pipeline.runs"],
        }
        one_core = in_turn(commands, runs, cpus={0})
        trace_set = sets / folder.name
        events = sum(json.loads((trace_set / "meta.json").read_text())["events"].values())
        for name, measured in one_core.items():
            wall, cpu = median(measured, "wall_s"), median(measured, "cpu_s")
            print(f"{name}: {wall:.3f} s, {cpu:.3f} s of CPU, on one core")
        cpu = {name: median(measured, "cpu_s") for name, measured in one_core.items()}
        whole = cpu["import"] + cpu["replay and store"]
        print(f"{events} events of {folder.name}; median of {runs} runs in turn; {machine()}")
        print(
            f"import + replay + store: {events / whole / 1e6:.2f} million events/s, two processes"
        )
        print(f"without their start-up: {events / (whole - 2 * cpu['start-up']) / 1e6:.2f}")
        for times in (1, 4):
            copy = repeated(trace_set, times)
            run = in_turn({"replay": [*recorded, str(copy)]}, 1)["replay"]
            peak, wall = median(run, "peak_mib"), median(run, "wall_s")
            print(f"replay of {times * events} events: {peak:.0f} MiB at the most, {wall:.1f} s")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        Path(given[0]) if given else RECORDINGS / "7.3-churn-4cpu",
        int(given[1]) if len(given) > 1 else 3,
    )
