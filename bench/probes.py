"""What probes of functions without a tracepoint change: python bench/probes.py RECORDING ...

Each recording (from boot, with SLUB_STATS and probes) is validated as it is, and once more without
the events of its probes; what the kernel counted and both models' figures go to bench/PROBES.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measure import machine

from allocsim.trace.events import EVENTS, PROBES
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.validation.run import validate_traces

HERE = Path(__file__).resolve().parent
HEAD = """# What probes change

Made by `python bench/probes.py RECORDING ...`. Recordings from boot of a kernel with SLUB_STATS and
with probes of what has no tracepoint (T19). Kernel figures are SLUB_STATS between the
two snapshots, each read within the recording. "Without" is the same recording with the events of
the probes taken out: frees that no event shows are then inferred, as is what is out of prefilled
sheaves, and a grace period of RCU is 20 ms (assumed). In brackets: the error in percent of the
kernel's figure. Cache by cache: in how many of the caches that have such a figure the model's is
the kernel's exactly.

The recordings: 7.2.13 built small, 2 CPUs, TCG emulation, nokaslr, kmem events and probes from the
kernel's command line on, rcu_free_sheaf's from the first command of init on. maps was looked at
while rules were mended (I12), the others were not. maps: threads that map, protect and unmap; poll:
sockets, epoll and timers; ext4: a small tree on a disk; pipes: pipelines of small programs; memcg:
the first two and files, in two memory cgroups.

What is left, by cause, as the counters of each cache say; event by event only maple_node of maps
was followed:
"""
#: Why caches differ, as looked at one by one in the recordings above.
LEFT = """* What lay in main sheaves when tracing began. kmalloc caches and those of early boot were
  used before it, and their sheaves refilled: some 40 allocations of kmalloc-128, 116 of
  kmalloc-512, 1 of :A-0001408. The model puts into a CPU's main sheaf what it takes first, up to a
  sheaf full (R8.3), so its refills come some objects later or earlier, and one of them, at either
  end of the window, is inside it or is not: one refill and its slab of :0000072, :A-0001408,
  kmalloc-64, -128, -512, -2k and, of ext4, -256 (15 of the 25 caches whose slabs differ).
* The sheaves of kmalloc-256 are objects of kmalloc-256. Each that is made takes one, past the
  sheaves where they are empty (SLAB_ALLOC_NO_RECURSE): all of that cache's alloc_slowpath. The
  model counts these sheaves but lets them take no object (1 of the 25, in poll).
* In memory cgroups, allocations that no event shows: 85 of kmalloc-192, 53 of kmalloc-256 and 14 of
  kmalloc-512; whose they are was not looked at (2 of the 25).
* What two CPUs do at once (R8.4): who empties or fills the barn first while the other is in the
  midst of a refill, a flush or a run of callbacks. It moves maple_node, whose sheaves turn over a
  thousand times in maps, and kmalloc-96 by up to 4 % of their slabs, either way (4 of the 25).
* rcu_free_sheaf before its probe was there: some ten sheaves of maple_node in early boot, for which
  20 ms are assumed. Whether one more lies full in the barn or was flushed shows as one flush and
  one refill, which is all there is of it in poll, ext4 and pipes (3 of the 25).
* Objects that the trylock of a CPU's sheaves refused, in an interrupt: up to 9 frees in each.
"""

COUNTERS = (
    *("allocations", "frees", "sheaf_refill", "sheaf_flush", "barn_get", "barn_put"),
    *("alloc_slab", "free_slab", "sheaf_alloc", "sheaf_free"),
)
EXACT = ("alloc_slab", "sheaf_refill", "sheaf_flush", "free_slab")
Figures = dict[tuple[str, str], tuple[float, float]]


def main() -> None:
    """Validate each recording with and without its probes, and write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "PROBES.md")
    given = parser.parse_args()
    lines = [
        HEAD % {"left": LEFT},
        f"Machine: {machine()}. Date: {datetime.now(UTC):%Y-%m-%d}.",
        "",
    ]
    for recording in given.recording:
        print(recording.name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            trace = import_recording(recording, Path(folder))
            probes = json.loads((trace / "meta.json").read_text("utf-8"))["probes"]
            bare = Path(folder) / "without" / trace.name
            _without_probes(trace, bare)
            lines += _table(recording.name, probes, _figures(trace), _figures(bare))
    given.output.write_text("\n".join(lines) + "\n", "utf-8")


def _without_probes(trace: Path, bare: Path) -> None:
    """A copy of a trace set without the events that are of probes."""
    shutil.copytree(trace, bare)
    events = pq.read_table(bare / "events.parquet")
    meta = json.loads((bare / "meta.json").read_text("utf-8"))
    calls = pa.array([event.code for event in EVENTS if event.system == PROBES], pa.uint8())
    of_probes = pc.or_(
        pc.is_valid(events["probe"]), pc.is_in(events["event"], pa.array(calls, pa.uint8()))
    )
    schema = events.schema.metadata
    only = [name for name in ("probe", "sheaf") if name in events.column_names]
    kept = events.filter(pc.invert(of_probes)).drop_columns(only)
    pq.write_table(kept.replace_schema_metadata(schema), bare / "events.parquet")
    names = {event.name for event in EVENTS if event.system == PROBES}
    meta["recorded_events"] = [name for name in meta["recorded_events"] if name not in names]
    (bare / "meta.json").write_text(json.dumps(meta), "utf-8")


def _figures(trace: Path) -> Figures:
    """The kernel's and the model's figure of each counter and cache."""
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "results.duckdb"
        validate_traces([trace], db, Progress())
        with duckdb.connect(db, read_only=True) as connection:
            found = connection.execute(
                "SELECT quantity, scope, kernel, model FROM validation"
                " WHERE quantity LIKE 'simulated_%' AND kernel IS NOT NULL"
            ).fetchall()
    return {(name.removeprefix("simulated_"), scope): (k, m) for name, scope, k, m in found}


def _table(name: str, probes: dict[str, int], told: Figures, bare: Figures) -> list[str]:
    shown = ", ".join(f"{count:,} {probe}" for probe, count in probes.items() if count)
    lines = [f"## {name}", "", f"Events of probes: {shown}.", ""]
    lines += ["| counter | kernel | without probes | with probes |", "| --- | --- | --- | --- |"]
    for counter in COUNTERS:
        if (counter, "total") in told:
            kernel = told[counter, "total"][0]
            models = (bare[counter, "total"][1], told[counter, "total"][1])
            lines.append(f"| {counter} | {kernel:,.0f} | {' | '.join(_beside(kernel, models))} |")
    lines += [
        "",
        "| caches without an error | without probes | with probes |",
        "| --- | --- | --- |",
    ]
    for counter in EXACT:
        lines.append(f"| {counter} | {_exact(bare, counter)} | {_exact(told, counter)} |")
    return [*lines, ""]


def _beside(kernel: float, models: tuple[float, ...]) -> list[str]:
    error = [f" ({100 * (model / kernel - 1):+.1f} %)" if kernel else "" for model in models]
    return [f"{model:,.0f}{more}" for model, more in zip(models, error, strict=True)]


def _exact(figures: Figures, counter: str) -> str:
    own = [each for (name, scope), each in figures.items() if name == counter and scope != "total"]
    return f"{sum(kernel == model for kernel, model in own)} of {len(own)}"


if __name__ == "__main__":
    main()
