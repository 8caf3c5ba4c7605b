"""allocsim import: make trace sets of recordings."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

from pipeline.commands.options.common import FORCE, INSTANCE
from pipeline.commands.options.declared import Argument, Option
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def import_(
    recordings: Annotated[
        list[Path],
        Argument(
            metavar="FILE",
            help="Recordings (trace.dat, perf.data, text of tracefs, trace-cmd report or perf"
            " script, LISA's tables), or folders with one.",
        ),
    ],
    output: Annotated[
        Path,
        Option("--output", "-o", metavar="DIR", help="Folder to put the trace sets into."),
    ] = Path(),
    force: FORCE = False,
    instance: INSTANCE = None,
    from_common_start: Annotated[
        bool,
        Option(
            "--from-common-start",
            help="Leave out what is before the first event of the CPU that begins last: where the"
            " ring buffer wrote over its oldest events, CPUs begin at different times.",
        ),
    ] = False,
) -> None:
    """Import recordings: make of each a trace set, a folder of its name in DIR.

    The first bytes of a file say what it is; it may be compressed with zstd or gzip. NAME.dat,
    NAME.data and NAME.txt become NAME; trace.dat, perf.data and ftrace.txt the name of their
    folder; and a file NAME without a suffix NAME-trace-set.
    """
    # An import makes arrays, which are gone when nobody holds them: there are no cycles to find.
    gc.disable()
    from pipeline.ingest.recording import find_recording, import_recording
    from pipeline.processes.progress import shown
    from pipeline.trace_set.meta import read_meta
    from reports.sections.coverage import warnings

    names = [find_recording(path).name for path in recordings]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two recordings are called {name}; import them into two folders")
    with shown() as progress:
        for path, name in zip(recordings, names, strict=True):
            made = import_recording(
                path,
                output,
                force=force,
                instance=instance,
                from_common_start=from_common_start,
                progress=progress.step(name),
            )
            meta = read_meta(made)
            sys.stdout.write(_wrapped(f"{made}: {_summary(meta)}", ""))
            taken = ", ".join(meta["beside"]["taken"])
            along = [f"taken along: {taken}"] if taken else []
            missed = meta["beside"]["missed"]
            for text in (*along, *meta.get("lacks", ()), *warnings(meta), *missed):
                sys.stdout.write(_wrapped(text, "  "))


def _summary(meta: Mapping[str, Any]) -> str:
    """What a user should know at once: how much there is, and what is missing."""
    from allocsim.trace.events import EVENTS
    from reports.sections.coverage import in_short

    dropped = dict(meta["dropped"])
    # Of events that are read, those that lack what a replay needs (meta's "lacks" says what).
    lacking = sum(dropped.pop(event.name, 0) for event in EVENTS)
    repeats = dropped.pop("large_kmalloc_repeats")
    unread = dropped.pop("unreadable_lines", 0)
    wild = dropped.pop("wild_page_frames", 0)
    user_stacks = dropped.pop("user_stack", 0)
    others = sum(dropped.values())
    lost = sum(meta["lost"]["per_cpu"].values())
    marks = sum(meta["lost"]["sources"]["marks_without_a_number"].values())
    parts = [
        _count(sum(meta["events"].values()), "event"),
        f"{lost} lost" + (f" and {_count(marks, 'gap')} of unknown length" if marks else ""),
    ]
    parts.append(in_short(meta))
    counts = (
        (repeats, "repeat", "of large kmallocs dropped"),
        (others, "event", "of other kinds dropped"),
        (lacking, "event", "left out for a field that is missing"),
        (wild, "event", "left out for a page frame"),
        (user_stacks, "stack", "of user space dropped"),
        (unread, "line", "not read"),
    )
    parts += [f"{_count(number, what)} {how}" for number, what, how in counts if number]
    if meta["stacks"]["unattached"]:
        parts.append(f"{_count(meta['stacks']['unattached'], 'stack')} without an event")
    if meta["coverage"]["left_out"]:
        parts.append(f"{_count(meta['coverage']['left_out'], 'event')} before the common start")
    if meta["instance"]:
        parts.append(f"trace instance {meta['instance']} read")
    if meta["other_buffers"]:
        parts.append(f"trace instances not read: {', '.join(meta['other_buffers'])}")
    return ", ".join(parts)


def _wrapped(text: str, indent: str) -> str:
    """Lines that survive a mail; numbers keep their units, names of files stay whole."""
    from reports.render.wording import NARROW

    lines = fill(
        text,
        98,
        initial_indent=indent,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{lines.replace(NARROW, ' ')}\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
