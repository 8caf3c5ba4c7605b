"""Validate recordings, and write what it gave to bench/VALIDATION.md: python bench/validation.py.

Without arguments it takes every recording with page_ref events or from boot of the folder that
ALLOCSIM_RECORDINGS names (`make validation` sets it).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import duckdb
from measure import machine

from pipeline.processes.progress import Progress
from pipeline.validation import cpu_slabs
from pipeline.validation.placement import BY_CACHE, IN_TOTAL, SUMS, simulated
from pipeline.validation.run import validate_traces
from reports.sections.validation.standings import APART, Standing, badness

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.conftest import RECORDINGS

HERE = Path(__file__).resolve().parent
PAGE_EVENTS = ("mm_page_alloc_zone_locked", "mm_page_pcpu_drain", "mm_page_alloc_extfrag")
EXACT = ("slab", "large_kmalloc", "page_table", "pipe", "tlb_batch")
HEAD = """# What the model says, beside what the kernels counted

Made by `python bench/validation.py`, which runs `allocsim validate` on each recording below.
Kernel figures come from the recordings: page_ref events, /sys/kernel/slab (SLUB_STATS), kpageflags,
and the events of slab pages. No constant of the model was fitted to any of them. Bounds and their
reasons are data: pipeline/validation/bounds.toml.

Counted as checks are only rows that could have failed. Counted apart, and never as held: what
follows from a rule alone (order of slabs and objects on one), rows whose bound is 100 % of the
kernel's figure or more, intervals so wide that nothing could lie outside of them, and rows without
a bound. One of these that is beyond its bound all the same is a check that failed.

Part of the simulated events was never recorded. A recording from boot on ends before the second
snapshot of /sys is taken, and the kernel's counters moved while it was: by the processes of the
script that took it, by the kmalloc that each read of a counter makes, and by the frees of both. So
the recorded requests of the first snapshot's reader, and of the processes right before it, are
replayed once more behind the end, of objects that were both allocated and freed in them, and the
model's counters are read in the midst of them, as the kernel's were. How many requests that is
stands below. In the rows free_slab by page events likewise: slabs live at the end of the recording
that kpageflags do not call slab any more are taken as freed behind the end. Recordings that do not
begin at boot are compared with their own events, and nothing is replayed again.

Two numbers are assumed: a grace period of RCU (20 ms, allocsim/kernels/profile.py), and that a free
which no event shows was in the middle of the interval in which it must have been. How much hangs on
the second is printed as a range: all such frees at their earliest, and all at their latest.
"""
NOT_REACHED = """## What is not reached, and why

* **maple_node**: its nodes come out of prefilled sheaves and die without an event. Slabs of this
  cache are off by tens of percent, and their range is as wide; it is most of what is left in the
  totals of recordings that fork and map much. With probes they are not (bench/PROBES.md).
* **sheaf_alloc, sheaf_free**: too low where kfree_rcu is heavy. Nearly all recorded kmallocs of
  sheaves are `__kfree_rcu_sheaf`'s there, and their kfrees come in bursts out of `rcu_free_sheaf`:
  one grace period gives back all sheaves that waited for it. Here each waits 20 ms by itself, so
  more of them find room in the barn and are used again.
* **mm_page_pcpu_drain, and refills of recordings with few of them**: a list's limit (`high`) moves
  with every refill and decays once a second; between the first snapshot and the first event its
  value is inferred from what the tracer took, evenly over the CPUs. On 7.2p-mixed-gt and
  7.2p-mixed-refstacks-gt that decides whether lists are drained at all. 7.2p-hackbench-gt has so
  few refills that one or two large ones more are a third of the blocks.
* **6.12: bulk allocations and frees** have no event. The maple tree takes its nodes in bulk out of
  kmalloc-256, with which they are merged: of 52,151 allocations there 19,584 were traced. What
  kfree_rcu frees (kmalloc-96, kmalloc-128) the kernel keeps for up to 5 s and frees by slabs; the
  model frees it one by one, sooner, and so makes fewer slabs (16 and 6, the kernel 55 and 51).
* **Allocations between the end of a recording and the second snapshot** have no events: a few
  processes of the script that took it. They are what is missing in the row allocations; in a short
  recording that is more than 0.3 %, so the bound allows 600 of them.
* **kmalloc-1k and kmalloc-2k in 7.2p-boot-churn**: refills and flushes are those of the kernel
  within 1 %, but fewer slabs empty, so fewer are freed and made again. Not explained. Two CPUs
  use these caches at once; the order of their refills and flushes is below the events' resolution.
* **anon, page_cache, shmem, skb_frag**: what a page goes through in use is a range in the tables
  of the policies, and hangs on how often it is mapped, read or sent; part of it follows page tables
  and is in no page's life (bench/USE_RANGES.md). Where page_ref events were recorded the recorded
  operations count, not the table.
"""
Rows = list[dict[str, Any]]


def main() -> int:
    """Validate, write the file; 1 if a difference exceeds its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="*", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "VALIDATION.md")
    given = parser.parse_args()
    recordings = given.recording or sorted(
        path for path in RECORDINGS.glob("*") if path.name.endswith("-gt") or "-boot-" in path.name
    )
    if not recordings:
        sys.exit(f"no recordings in {RECORDINGS}: name some, or set ALLOCSIM_RECORDINGS")
    rows: Rows = []
    kernels: dict[str, str] = {}
    for path in recordings:
        print(path.name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            db = Path(folder) / "results.duckdb"
            validate_traces([path], db, Progress())
            with duckdb.connect(db, read_only=True) as connection:
                result = connection.execute("FROM validation")
                names = [name for name, *_ in result.description or ()]
                rows += [dict(zip(names, row, strict=True)) for row in result.fetchall()]
                kernels |= dict(
                    connection.execute("SELECT trace, kernel_release FROM traces").fetchall()
                )
    given.output.write_text("\n".join(_document(rows, kernels)), "utf-8")
    return int(any(row["ok"] is False for row in rows))


def _document(rows: Rows, kernels: dict[str, str]) -> list[str]:
    when = datetime.now(UTC).date().isoformat()
    by_trace: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_trace[str(row["trace"])].append(row)
    return [
        HEAD,
        f"Machine: {machine()}. Date: {when}.\n",
        *_verdict(by_trace),
        *_recordings(by_trace, kernels),
        *_again(by_trace),
        *_references(by_trace),
        *_figures(
            by_trace,
            ["alloc_slab", "free_slab"],
            [
                "## Slabs by page events against SLUB_STATS\n",
                "Recordings from boot; all caches, between the two snapshots. No model of SLUB is",
                "in these: they say how far page events can be trusted where there is no",
                "SLUB_STATS.\n",
            ],
        ),
        *_placement(by_trace),
        *_cpu_slabs(by_trace),
        *_own_pages(by_trace),
        *_page_layer(by_trace),
        NOT_REACHED,
        *_beyond(rows),
    ]


def _table(heads: list[str], lines: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "|" + " --- |" * len(heads),
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
    ]


def _verdict(by_trace: dict[str, Rows]) -> list[str]:
    rows = [row for of_trace in by_trace.values() for row in of_trace]
    held = Counter(row["standing"] for row in rows)
    within, beyond = held[Standing.WITHIN], held[Standing.BEYOND]
    apart = ", ".join(f"{held[standing]:,} {standing}" for standing in APART)
    held_of = f"{within:,} within their bounds, {beyond:,} beyond"
    checks = f"{within + beyond:,} checks that could fail on {len(by_trace)} recordings"
    return [f"**{checks}: {held_of}.** Counted apart: {apart}.\n"]


def _recordings(by_trace: dict[str, Rows], kernels: dict[str, str]) -> list[str]:
    lines = []
    for trace, rows in by_trace.items():
        held = Counter(row["standing"] for row in rows)
        checks = held[Standing.WITHIN] + held[Standing.BEYOND]
        counts = [checks, held[Standing.WITHIN], held[Standing.BEYOND]]
        counts += [held[standing] for standing in APART]
        lines.append([trace, kernels.get(trace, ""), *map(str, counts), _worst(rows)])
    heads = ["recording", "kernel", "checks", "within", "beyond", *APART, "worst, miss / allowed"]
    return ["## Recordings\n", *_table(heads, lines)]


def _worst(rows: Rows) -> str:
    """The check that is furthest off, by what its bound allows."""
    checks = [row for row in rows if row["standing"] in {Standing.WITHIN, Standing.BEYOND}]
    worst = max(checks, key=badness, default=None)
    if worst is None:
        return ""
    ratio = badness(worst)[0]
    said = "beyond 0" if ratio == inf else f"{ratio:.2f}"
    return f"{said}: {worst['quantity']} of {worst['scope']}" if ratio else "none is off"


def _again(by_trace: dict[str, Rows]) -> list[str]:
    """Which part of each recording's simulated requests was played behind the end."""
    lines = []
    for trace, rows in by_trace.items():
        notes = {str(row["note"]) for row in rows if "played again behind the end" in row["note"]}
        lines += [[trace, note] for note in sorted(notes)]
    if not lines:
        return []
    return ["## Played again behind the end\n", *_table(["recording", "requests"], lines)]


def _references(by_trace: dict[str, Rows]) -> list[str]:
    lines = []
    for trace, rows in by_trace.items():
        found = {
            (row["quantity"], row["scope"]): row
            for row in rows
            if str(row["quantity"]).startswith("page_ref_")
        }
        if not found:
            continue
        line = [trace]
        for kind in EXACT:
            pair = [found.get((f"page_ref_{form}", kind)) for form in ("plain", "locked")]
            line.append(
                ", ".join(
                    f"{row['model']:,.0f} of {row['kernel']:,.0f}" if row else "none"
                    for row in pair
                )
            )
        lines.append(line)
    kinds: dict[str, list[float]] = defaultdict(list)
    notes: dict[str, str] = {}
    for rows in by_trace.values():
        for row in rows:
            per_life = row["quantity"] == "page_ref_locked_per_life"
            if per_life and row["scope"] not in EXACT and row["error_pct"] is not None:
                kinds[str(row["scope"])].append(float(str(row["error_pct"])))
                notes[str(row["scope"])] = str(row["reason"])
    others = [
        [kind, str(len(errors)), f"{min(errors):+.1f} to {max(errors):+.1f} %", notes[kind]]
        for kind, errors in sorted(kinds.items())
    ]
    return [
        "## Reference operations\n",
        "Plain stores, then locked instructions: those predicted, of those the kernel recorded.\n",
        *_table(["recording", *EXACT], lines),
        "Every other kind: locked instructions of a whole life by the table, against the recorded",
        "mean.\n",
        *_table(["kind", "recordings", "error", "bound, or why there is none"], others),
    ]


def _figure(row: dict[str, object]) -> str:
    error = row["error_pct"]
    told = "" if error is None else f" ({error:+.1f} %)"
    mark = " **beyond**" if row["ok"] is False else ""
    spread = (
        f", {row['model_low']:,.0f} - {row['model_high']:,.0f}"
        if row["model_low"] is not None and row["model_low"] != row["model_high"]
        else ""
    )
    return f"{row['kernel']:,.0f} / {row['model']:,.0f}{told}{spread}{mark}"


def _figures(
    by_trace: dict[str, Rows], quantities: list[str], title: list[str], scope: str = "total"
) -> list[str]:
    traces, found = [], {}
    for trace, rows in by_trace.items():
        own = {row["quantity"]: row for row in rows if row["scope"] == scope}
        if any(name in own for name in quantities):
            traces.append(trace)
            found[trace] = own
    if not traces:
        return []
    lines = [
        [name.removeprefix("simulated_").removeprefix("recorded_").removeprefix("cpu_slabs_")]
        + [_figure(found[t][name]) if name in found[t] else "" for t in traces]
        for name in quantities
        if any(name in found[trace] for trace in traces)
    ]
    return [*title, *_table(["kernel / model", *traces], lines)]


def _placement(by_trace: dict[str, Rows]) -> list[str]:
    parts = _figures(
        by_trace,
        [simulated(name) for name in (*SUMS, *BY_CACHE, *IN_TOTAL)],
        [
            "## Simulated placement against SLUB_STATS\n",
            "Recordings from boot; all caches, between the two snapshots. Kernel / model (error),",
            "then the range of the model over what no event shows.\n",
        ],
    )
    lines = []
    for trace, rows in by_trace.items():
        for name in BY_CACHE:
            own = [
                row
                for row in rows
                if row["quantity"] == simulated(name) and row["scope"] != "total" and row["kernel"]
            ]
            medians = [r for r in rows if r["quantity"] == simulated(f"{name}_median_error")]
            if own:
                exact = sum(row["kernel"] == row["model"] for row in own)
                worst = max(own, key=lambda row: abs(row["kernel"] - row["model"]))
                lines.append(
                    [
                        trace,
                        name,
                        f"{exact} of {len(own)}",
                        f"{medians[0]['model']:.2f} %" if medians else "",
                        f"{worst['scope']}: {_figure(worst)}",
                    ]
                )
    heads = ["recording", "counter", "caches without an error"]
    heads += ["median error, all frees traced", "furthest off"]
    return [*parts, *(["Cache by cache:\n", *_table(heads, lines)] if lines else [])]


def _cpu_slabs(by_trace: dict[str, Rows]) -> list[str]:
    names = [cpu_slabs.PREFIX + name for name in cpu_slabs.COUNTERS]
    parts = _figures(
        by_trace,
        names,
        [
            "## Simulated placement of 6.12 against SLUB_STATS\n",
            "Cpu slabs and cpu partial lists. Recordings from boot, between the two snapshots, of",
            "caches of which the kernel counted as many allocations and frees as the trace has.\n",
        ],
        cpu_slabs.TRACED,
    )
    if not parts:
        return []
    rest = [
        "The same of all caches. kmem_cache_alloc_bulk and kfree_bulk have no event (T6), so what",
        "they allocate and free is missing in the model.\n",
    ]
    return [*parts, *_figures(by_trace, names, rest)]


def _own_pages(by_trace: dict[str, Rows]) -> list[str]:
    counters = ("alloc_slab", "free_slab", "sheaf_alloc", "sheaf_free")
    names = [simulated(f"recorded_{name}") for name in counters]
    lines = []
    for trace, rows in by_trace.items():
        own = {row["quantity"]: row for row in rows if row["scope"] == "total"}
        if names[0] in own:
            lines.append([trace, *(_figure(own[name]) if name in own else "" for name in names)])
    if not lines:
        return []
    return [
        "## Its own error, without SLUB_STATS\n",
        "Recordings that do not start at boot. By the recording's own events, which need no model",
        "(slab pages; kmallocs of sheaves) / by the simulated placement, from a start rebuilt out",
        "of what the trace touches: what a CPU takes first lay in its main sheaf, and barns start",
        "empty; on 6.12 its first slabs were its own, and on its partial list.\n",
        *_table(["recording", *counters], lines),
    ]


def _page_layer(by_trace: dict[str, Rows]) -> list[str]:
    names = [simulated(name) for name in PAGE_EVENTS]
    lines = []
    for trace, rows in by_trace.items():
        own = {row["quantity"]: row for row in rows if row["scope"] == "total"}
        orders = [row for row in rows if row["quantity"] == simulated("free_blocks")]
        if names[0] in own:
            free = ", ".join(f"{r['kernel']:,.0f}/{r['model']:,.0f}" for r in orders)
            lines.append([trace, *(_figure(own[name]) for name in names), free])
    if not lines:
        return []
    return [
        "## The simulated page allocator\n",
        "Events recorded / counted by the model, over the whole recording; and free blocks of",
        "order 0, 1, 2, ... at its end, by buddyinfo / by the model. No bound: what the CPUs'",
        "lists held at the start is inferred. So is how much was free then, backwards from the",
        "second snapshot: how many pages are free at the end is given, not how they lie.\n",
        *_table(["recording", *PAGE_EVENTS, "free blocks"], lines),
    ]


def _beyond(rows: Rows) -> list[str]:
    lines = [
        [
            str(row["trace"]),
            str(row["quantity"]),
            str(row["scope"]),
            _figure(row),
            str(row["reason"]),
        ]
        for row in rows
        if row["ok"] is False
    ]
    if not lines:
        return ["## Beyond their bound\n", "Nothing.", ""]
    heads = ["recording", "quantity", "of", "kernel / model", "why the bound is what it is"]
    return ["## Beyond their bound\n", *_table(heads, lines)]


if __name__ == "__main__":
    sys.exit(main())
