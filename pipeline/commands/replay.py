"""allocsim replay: put traces through the model, and the results into a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pipeline.commands.options import completion
from pipeline.commands.options.common import (
    CACHES,
    CLUSTER,
    CPUS,
    DB,
    DEFAULT_DB,
    DEFAULT_WAIT,
    INSTANCE,
    JOBS,
    PIDS,
    SETTINGS,
    SINCE,
    UNITS,
    UNTIL,
    WAIT,
    PlacementChoice,
    tell_failed,
)
from pipeline.commands.options.declared import Argument, Option
from pipeline.terminal import printable


def replay(
    traces: Annotated[list[Path], Argument(metavar="TRACE", help="Trace sets, or recordings.")],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    placement: Annotated[
        PlacementChoice,
        Option(
            help="recorded: where the kernel put things. simulated: where the model puts them,"
            " as a run of its own beside the recorded one."
        ),
    ] = PlacementChoice.SIMULATED,
    set_: SETTINGS = None,
    policy: Annotated[
        list[str] | None,
        Option(
            metavar="NAME|FILE",
            autocompletion=completion.policies,
            help="Refcount policy: a shipped one, or your own TOML file. May be repeated;"
            " where none is given, refcounted, linux-6.12, linux-7.2, frozen-page-tables and"
            " everything-freezable. The recorded kernel's own comes with them.",
        ),
    ] = None,
    scheme: Annotated[
        list[str] | None,
        Option(
            metavar="NAME|FILE",
            autocompletion=completion.schemes,
            help="Scheme of page descriptors: a shipped one, or your own TOML file. May be"
            " repeated; all shipped ones where none is given.",
        ),
    ] = None,
    costs: Annotated[
        str | None,
        Option(
            metavar="NAME|FILE",
            autocompletion=completion.costs,
            help="What operations on reference counts take: a shipped table, or your own TOML file"
            " (allocsim cost calibrate); the recorded machine's where none is given.",
        ),
    ] = None,
    instance: INSTANCE = None,
    vmlinux: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Image of the recorded kernel with its DWARF: file and line of each call site are"
            " taken from it (pip install 'allocsim[vmlinux]'); from names of functions, files"
            " alone, if not given. Also of what the database has already.",
        ),
    ] = None,
    jobs: JOBS = None,
    units: UNITS = None,
    cluster: CLUSTER = None,
    again: Annotated[
        bool,
        Option(
            "--again",
            help="Add a run of what the database has already, too: the same trace with the same"
            " policies, schemes, costs and settings.",
        ),
    ] = False,
    since: SINCE = None,
    until: UNTIL = None,
    cpu: CPUS = None,
    pid: PIDS = None,
    cache: CACHES = None,
) -> None:
    """Replay traces through the model, and add runs for each to the results database.

    A recording is imported on the way and the trace set thrown away; import it first to keep it.
    What freezing saves is printed, each recorded run under each policy, and each simulated one. The
    numbers of runs are those that report, compare and sql take. The recorded run and the simulated
    one are added one after the other, each whole or not at all; the same command once more adds
    what is missing, and nothing that is there. A trace that cannot be replayed is a line at the
    end, and the exit code 1; the others are in.

    --from, --to, --cpu, --pid and --cache choose what is printed, by the allocation of each page
    and object, not what is replayed: the runs are whole.
    """
    from pipeline.api.runs import replayed
    from pipeline.processes.progress import shown
    from pipeline.replay.units.replays import Where
    from pipeline.stat.lives import selected_lives
    from pipeline.stat.selection import selection
    from reports.console.runs import print_replayed, print_selected

    chosen = selection(since, until, cpu or [], pid or [], cache or [])
    with shown() as progress:
        results = replayed(
            traces,
            db,
            placement=placement.value,
            settings=set_,
            policies=policy or (),
            schemes=scheme or (),
            costs=costs,
            instance=instance,
            vmlinux=vmlinux,
            again=again,
            where=Where(jobs, units, cluster),
            progress=progress,
        )
    there = [run for run in results.asked if run not in results.added]
    if there:
        sys.stderr.write(f"{printable(_there(there))}\n")
    with results, results.asking() as connection, selected_lives(connection, chosen):
        if chosen:
            print_selected(connection, results.asked, chosen.words(), sys.stdout)
        else:
            print_replayed(connection, results.asked, sys.stdout)
    tell_failed(results.failed)


def _there(runs: list[int]) -> str:
    """That some of the runs that are printed were not made now."""
    from pipeline.replay.done import named_runs

    return f"{named_runs(runs)}: there already, not added again (--again adds)"
