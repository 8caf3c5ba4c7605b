"""Making a trace set of a spec."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernels.profile import DEFAULT
from allocsim.trace.events import EVENT_NAMES, EVENTS
from pipeline.replay.synthetic_free_lists import FILE
from pipeline.replay.world import SYNTH
from pipeline.synth.machine import DIRECT_MAP, make_machine, release
from pipeline.synth.placing import Placing
from pipeline.synth.rows import Look, Templates
from pipeline.synth.windows import windows
from pipeline.trace_set.aside import made_aside
from pipeline.trace_set.column import Values
from pipeline.trace_set.parts import SNAPSHOTS
from pipeline.trace_set.writer import TraceSetWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.synth.placing import PlacedRows
    from pipeline.synth.spec.model import Spec

VERSION = 2  #: of what a spec means: the same version makes the same trace of the same spec
START_TS = 1_000_000_000  #: ns: the clock when the trace begins
_PID = 1000  # of CPU 0's task


def write_trace_set(  # noqa: PLR0913 - a spec with its text, and where and how to write it
    spec: Spec,
    text: str,
    parent: Path,
    *,
    force: bool = False,
    changes: Mapping[str, int | float] | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> Path:
    """Make the trace set of a spec in the folder ``parent``; returns its folder.

    It is written aside and put in place when it is complete.

    Args:
        spec: the spec.
        text: the text it was read from, which is put beside the events.
        parent: where to put the trace set; made if it is not there.
        force: replace a trace set of that name.
        changes: what the spec has otherwise than the text says, by key.
        advance: told the part that is done, 0 to 1.

    Raises:
        InputError: the machine's memory does not suffice.
        OutputError: the trace set is there already, or cannot be written.
    """
    target = parent / spec.name
    with made_aside(target, force=force) as aside:
        made = aside / spec.name
        made.mkdir()
        _write(spec, text, made, changes or {}, advance)
    return target


def _write(
    spec: Spec,
    text: str,
    folder: Path,
    changes: Mapping[str, int | float],
    advance: Callable[[float], None],
) -> None:
    maker = _EventsMaker(spec)
    before = folder / SNAPSHOTS / "before"
    before.mkdir(parents=True)
    (folder / "spec.toml").write_text(text, "utf-8")
    with TraceSetWriter(folder) as writer:
        for done, rows in maker.rows():
            writer.add(len(rows.ts), maker.columns(rows))
            advance(done)
        for name, content in maker.snapshots().items():
            (before / name).write_text(content, "utf-8")
        source = {
            "format": SYNTH,
            "version": VERSION,
            "files": ["spec.toml"],
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        meta = {"name": spec.name, "source": source, **maker.describe()}
        meta["synth"]["changes"] = dict(changes)
        writer.close(meta, maker.templates.stack_table(), maker.templates.symbols())


class _EventsMaker:
    """Events of a spec, and what there is to say of them."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.machine = make_machine(spec)
        self.templates = Templates()
        self._placing = Placing(spec, self.machine, self.templates)
        self._look = Look(self.templates, list(spec.sizes))
        self._counts = np.zeros(len(EVENTS), np.int64)
        self._first = self._last = START_TS

    def rows(self) -> Iterator[tuple[float, PlacedRows]]:
        """The events, window by window, with the part that is done."""
        wanted = self._spec.events
        written = 0
        for shown, done, moments in windows(self._spec):
            if not shown:
                self._placing.begin(moments)
                continue
            rows = self._placing.window(moments)
            if not len(rows.ts):
                continue
            if wanted:
                rows = rows.of(slice(wanted - written))
            self._count(rows, first=not written)
            written += len(rows.ts)
            yield (written / wanted if wanted else done), rows
            if written == wanted:
                return

    def snapshots(self) -> dict[str, str]:
        """Texts of /proc and /sys, and what no kernel tells, by file name."""
        free = self._placing.free_places
        return self.machine.snapshots | ({FILE: free} if free else {})

    def _count(self, rows: PlacedRows, *, first: bool) -> None:
        templates = np.bincount(rows.template, minlength=len(self._look.event))
        np.add.at(self._counts, self._look.event, templates)
        if first:
            self._first = int(rows.ts[0]) + START_TS
        self._last = int(rows.ts[-1]) + START_TS

    def columns(self, rows: PlacedRows) -> dict[str, Values]:
        """Rows as columns of a trace set."""
        look, cpus = self._look, self._spec.cpus
        template = rows.template.astype(np.uint16)
        columns = look.columns(template)
        columns["ts"] = Values(rows.ts + START_TS)
        cpu = rows.cpu.astype(np.uint8 if cpus <= 256 else np.uint16)
        columns["cpu"] = Values(cpu, None, np.arange(cpus, dtype=np.int16))
        columns["pid"] = Values(cpu, None, np.arange(_PID, _PID + cpus, dtype=np.int32))
        for name, dtype in (("ptr", np.uint64), ("pfn", np.int64)):
            if look.has[name].any():
                has = look.has[name][template]
                columns[name] = Values(rows.place[has].view(dtype), has)
        return columns

    def describe(self) -> dict[str, Any]:
        """What meta.json says, but for name and source."""
        spec = self._spec
        recorded = {
            EVENT_NAMES[code]: int(count) for code, count in enumerate(self._counts) if count
        }
        with_stack = np.array(["stack" in row.columns for row in self.templates.rows])
        stacks = sum(
            count
            for name, count in recorded.items()
            if name == "mm_page_alloc" and with_stack.any()
        )
        cpus = {str(cpu): 0 for cpu in range(spec.cpus)}
        return {
            "kernel_release": release(spec),
            "arch": "x86_64",
            "cpus": spec.cpus,
            "page_size": 4096,
            "clock": "synthetic",
            "ts_unit": "ns",
            "first_ts": self._first,
            "last_ts": self._last,
            "events": recorded,
            "recorded_events": list(recorded),
            "fields": {
                event.name: list(event.columns) for event in EVENTS if event.name in recorded
            },
            "ignored_fields": {},
            "dropped": {"large_kmalloc_repeats": 0},
            "other_buffers": [],
            "lost": {"per_cpu": cpus, "sources": {"marks_without_a_number": cpus}},
            "stacks": {
                "events": stacks,
                "unattached": 0,
                "distinct": len(self.templates.stacks),
            },
            "comms": {str(_PID + cpu): f"synth/{cpu}" for cpu in range(spec.cpus)},
            "direct_map": {
                "base": DIRECT_MAP,
                "votes": 0,
                "candidates": 0,
                "share": 1.0,
                "how": "declared",
            },
            "symbols": {
                "source": "synth",
                "resolved": len(self.templates.functions),
                "unresolved": 0,
            },
            "synthetic": True,
            "synth": {
                "doc": spec.doc,
                "origin": spec.origin,
                "seed": spec.seed,
                "placement": f"{DEFAULT.name} model, ascending free lists",
                "failed_page_requests": self._placing.failed_pages,
            },
            "snapshots": ["before"],
        }
