"""allocsim roadmap: the plan towards memory descriptors, step by step, on one's own workload."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.common import (
    DEFAULT_DB,
    DEFAULT_WAIT,
    FORCE,
    WAIT,
    tell_failed,
)
from pipeline.commands.options.declared import Argument, Option
from pipeline.commands.options.formats import FILES, FORMATS, as_report, outputs, write
from pipeline.errors import AllocsimError, StoreError, UsageError


def roadmap(
    traces: Annotated[
        list[Path] | None,
        Argument(
            metavar="TRACE",
            help="Trace sets, or recordings, to replay as recorded; none: what --db has.",
            show_default=False,
        ),
    ] = None,
    db: Annotated[
        Path | None,
        Option(
            "--db",
            metavar="FILE",
            help="Results database to keep the runs of TRACE in, or to ask without TRACE: then"
            f" {DEFAULT_DB} if not given.",
        ),
    ] = None,
    _wait: WAIT = DEFAULT_WAIT,
    format_: FORMATS = None,
    output: FILES = None,
    run: Annotated[
        list[int] | None,
        Option(metavar="NUMBER", help="Of --db, this run only. May be repeated."),
    ] = None,
    force: FORCE = False,
) -> None:
    """Say what each step of the plan towards memory descriptors does to a workload.

    The steps: what released kernels have frozen, page tables, kernel stacks and vmalloc, the other
    Misc pages, then descriptors allocated apart from struct page. A table each: reference-count
    operations saved, who reads the count and would have to change, descriptors allocated, memory.
    """
    from pipeline.api.runs import RECORDED, replayed
    from pipeline.commands.report import chosen_runs
    from pipeline.outputs import REPORT
    from pipeline.processes.progress import shown
    from pipeline.store.database import reading
    from reports import queries
    from reports.sections.roadmap import report

    if traces and run:
        raise UsageError("--run is of --db; leave it out where TRACE is named")
    wanted = outputs(format_ or [], output or [], REPORT, force=force)
    with ExitStack() as stack:
        failed: tuple[AllocsimError, ...] = ()
        progress = stack.enter_context(shown())
        if traces:
            results = stack.enter_context(
                replayed(traces, db, placement=RECORDED, progress=progress)
            )
            connection, numbers = stack.enter_context(results.asking()), list(results.asked)
            failed = results.failed
        else:
            connection, numbers = stack.enter_context(reading(db or DEFAULT_DB)), run or []
        runs = queries.runs(connection)
        if not runs:
            raise StoreError(f"{db or DEFAULT_DB}: holds no run yet; name a TRACE")
        made = report(connection, chosen_runs(runs, queries.every_run(connection), numbers, []))
    write(wanted, lambda how: as_report(made, how))
    tell_failed(failed)
