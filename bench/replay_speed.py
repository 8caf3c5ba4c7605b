"""How fast a recording becomes a results database, and in how much memory.

    python bench/replay_speed.py [RECORDING] [--runs N] [--times N...]

RECORDING is a folder with a trace.dat, by default 7.3-churn-4cpu (1.57 million events) among the
recordings that ALLOCSIM_RECORDINGS names. First on one core, from trace.dat to DuckDB; then on two,
from its trace set to DuckDB, start-up included: so many times in a row as --times says, which is
longer but keeps no more alive at once than its end does. Every run makes a database of its own.
"""

from __future__ import annotations

import argparse
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

from measure import in_turn, machine, median, run_once

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


def on_one_core(folder: Path, here: Path, runs: int) -> None:
    """From trace.dat to DuckDB: a line a figure. The trace set is left in ``here / "sets"``."""
    sets, db = here / "sets", here / "results.duckdb"
    commands = {
        "import": [*ALLOCSIM, "import", "--force", "-o", str(sets), str(folder)],
        "replay and store": replay(sets / folder.name, db, "recorded"),
        "start-up": [sys.executable, "-c", "import pipeline.cli, pipeline.replay.recorded"],
    }
    measured = in_turn(commands, runs, cpus={0})
    for name, each in measured.items():
        wall, cpu = median(each, "wall_s"), median(each, "cpu_s")
        print(f"{name}: {wall:.3f} s, {cpu:.3f} s of CPU, on one core")
    cpu = {name: median(each, "cpu_s") for name, each in measured.items()}
    events = length(sets / folder.name)
    whole = cpu["import"] + cpu["replay and store"]
    print(f"{events:,} events of {folder.name}; median of {runs} runs in turn; {machine()}")
    print(f"import + replay + store: {events / whole / 1e6:.2f} million events/s, two processes")
    print(f"without their start-up: {events / (whole - 2 * cpu['start-up']) / 1e6:.2f}")
    db.unlink()


def on_two_cores(trace_set: Path, here: Path, times: int) -> None:
    """From Parquet to DuckDB: a line for each placement."""
    copy, db = repeated(trace_set, times), here / "results.duckdb"
    events = length(copy)
    for placement, what in (("recorded", "recorded"), ("simulated", "recorded and simulated")):
        run = run_once(replay(copy, db, placement), cpus=set(sorted(os.sched_getaffinity(0))[:2]))
        size = db.stat().st_size / events
        db.unlink()
        print(
            f"{events:,} events, {what}: {run.wall_s:.1f} s, {run.cpu_s:.1f} s of CPU,"
            f" {events / run.wall_s / 1e6:.2f} million events/s,"
            f" {run.peak_mib:.0f} MiB at the most, {size:.0f} bytes an event stored"
        )
    shutil.rmtree(copy)


def replay(trace_set: Path, db: Path, placement: str) -> list[str]:
    """The command that replays a trace set into a database, which may have it already."""
    into = ["--again", "--db", str(db)]
    return [*ALLOCSIM, "replay", *into, "--placement", placement, str(trace_set)]


def length(trace_set: Path) -> int:
    """Events of a trace set."""
    return sum(json.loads((trace_set / "meta.json").read_text())["events"].values())


def main() -> None:
    """Measure, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, nargs="?", default=RECORDINGS / "7.3-churn-4cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 32])
    given = parser.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        on_one_core(given.recording.resolve(), here, given.runs)
        for times in given.times:
            on_two_cores(here / "sets" / given.recording.name, here, times)


if __name__ == "__main__":
    main()
