"""allocsim stat: who allocates how much, as perf kmem totals it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.common import CACHES, CPUS, INSTANCE, PIDS, SINCE, UNTIL
from pipeline.commands.options.declared import Argument, Option


class StatFormat(StrEnum):
    """How it is written."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"


def stat(
    trace: Annotated[Path, Argument(metavar="TRACE", help="A trace set, or a recording.")],
    slab: Annotated[bool, Option("--slab", help="Objects: kmalloc and slab caches.")] = False,
    page: Annotated[
        bool, Option("--page", help="Page blocks. Both, where neither is named.")
    ] = False,
    by: Annotated[
        str | None,
        Option(
            metavar="KEY,...",
            help="What a row stands for: site, directory, cache, address, cpu, pid, gfp, stack, of"
            " pages order and migratetype too; several make a row each. Where it is not given,"
            " objects by site, pages by site,order,migratetype,gfp.",
        ),
    ] = None,
    live: Annotated[
        bool, Option("--live", help="What is live at the end, or at --to, only.")
    ] = False,
    sort: Annotated[
        str,
        Option(
            "--sort",
            "-s",
            metavar="KEY,...",
            help="Largest first by these: columns of CSV, or perf kmem's keys (frag, hit, bytes,"
            " pingpong, ptr, callsite; page, order, migtype, gfp).",
        ),
    ] = "bytes_alloc,allocations",
    lines: Annotated[
        int | None,
        Option(
            "-n",
            min=0,
            metavar="ROWS",
            help="Rows of a table, 0: all; where it is not given 10 of text, all of CSV and JSON.",
        ),
    ] = None,
    since: SINCE = None,
    until: UNTIL = None,
    cpu: CPUS = None,
    pid: PIDS = None,
    cache: CACHES = None,
    format_: Annotated[
        StatFormat, Option("--format", "-f", help="How it is written.")
    ] = StatFormat.TEXT,
    instance: INSTANCE = None,
) -> None:
    """Say who allocates how much: perf kmem's tables, of any recording.

    Numbers are perf kmem's, but where it counts what did not happen: docs/stat.md says where. A
    selection is of events by their own time, CPU and task: what an event means, whose object a free
    ends and what is live, follows from all events. CSV is one table, of all columns; JSON has the
    totals as well.
    """
    from pipeline.errors import UsageError
    from pipeline.processes.progress import shown
    from pipeline.stat.asked import asked
    from pipeline.stat.document import as_json, as_text, csv_rows
    from pipeline.stat.run import total
    from pipeline.stat.selection import selection
    from reports.console.stat import print_totals
    from reports.render.rows import write_csv

    chosen = selection(since, until, cpu or [], pid or [], cache or [])
    if lines is None:
        lines = 10 if format_ is StatFormat.TEXT else 0
    wanted = asked(slab=slab, page=page, by=by, selection=chosen, live=live, sort=sort, lines=lines)
    if format_ is StatFormat.CSV and len(wanted.by) > 1:
        raise UsageError("CSV is one table: name --slab or --page")
    with shown() as progress:
        found = total(trace, wanted.by, chosen, progress, instance)
    if format_ is StatFormat.TEXT:
        print_totals(as_text(found, wanted), sys.stdout)
    elif format_ is StatFormat.CSV:
        write_csv(*csv_rows(found, wanted), sys.stdout)
    else:
        sys.stdout.write(as_json(found, wanted))
