"""allocsim replay: put traces through the model, and the results into a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.common import (
    DB,
    DEFAULT_DB,
    DEFAULT_WAIT,
    INSTANCE,
    SETTINGS,
    WAIT,
    PlacementChoice,
)


def replay(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE...", help="Trace sets, or recordings.")
    ],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    placement: Annotated[
        PlacementChoice,
        typer.Option(
            help="recorded: where the kernel put things. simulated: where the model puts them,"
            " as a run of its own beside the recorded one."
        ),
    ] = PlacementChoice.SIMULATED,
    set_: SETTINGS = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Refcount policy: a shipped one, or your own TOML file. May be repeated;"
            " where none is given, refcounted, linux-6.12, linux-7.2, frozen-page-tables and"
            " everything-freezable. The recorded kernel's own comes with them.",
        ),
    ] = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Scheme of page descriptors: a shipped one, or your own TOML file. May be"
            " repeated; all shipped ones where none is given.",
        ),
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="What operations on reference counts take: a shipped table, or your own TOML file"
            " (allocsim cost calibrate); the recorded machine's where none is given.",
        ),
    ] = None,
    instance: INSTANCE = None,
) -> None:
    """Replay traces through the model, and add runs for each to the results database.

    A recording is imported on the way and the trace set thrown away; import it first to keep it.
    What was added is printed: each recorded run under each policy, and each simulated one. The
    views policy_summary and placement_summary say more of them.
    """
    from pipeline.errors import UsageError
    from pipeline.progress import shown
    from pipeline.replay.pricing import Pricing, find_costs, find_policies, find_schemes
    from pipeline.replay.recorded import replay_traces
    from pipeline.replay.settings import parse_settings
    from pipeline.store.database import reading
    from reports.sections.console import (
        print_coverage,
        print_losses,
        print_placements,
        print_policies,
    )

    policies = find_policies(policy or [])
    pricing = Pricing(find_schemes(scheme or []), find_costs(costs))
    settings = parse_settings(set_ or [])
    if placement is PlacementChoice.RECORDED and settings:
        raise UsageError("--set changes the simulated placement; leave out --placement recorded")
    with shown() as progress:
        runs = replay_traces(
            traces,
            db,
            policies,
            progress,
            settings if placement is PlacementChoice.SIMULATED else None,
            pricing,
            instance,
        )
    with reading(db) as connection:
        print_policies(connection, runs, sys.stdout)
        if placement is PlacementChoice.SIMULATED:
            sys.stdout.write("\n")
            print_placements(connection, runs, sys.stdout)
        print_losses(connection, runs, sys.stdout)
        print_coverage(connection, runs, sys.stdout)
