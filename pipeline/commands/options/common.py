"""Options that several commands have alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pipeline.commands.options import completion
from pipeline.commands.options.declared import Option
from pipeline.errors import AllocsimError
from pipeline.store.waiting import wait_up_to
from pipeline.terminal import complain

DEFAULT_DB = Path("out/results.duckdb")

DB = Annotated[Path, Option("--db", metavar="FILE", help="Results database.")]

#: For a parameter that is not used: what it says holds from then on.
WAIT = Annotated[
    float,
    Option(
        "--wait",
        metavar="SECONDS",
        callback=wait_up_to,
        help="How long to wait for a results database that another process has open; a day at"
        " the most.",
    ),
]
DEFAULT_WAIT = 30.0

FORCE = Annotated[
    bool,
    Option(
        "--force", help="Replace what is there, if it is of the kind that is written; else refused."
    ),
]

SETTINGS = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completion.settings,
        help="Change a number of the model: sheaf.capacity=24, slab.order.dentry=2, pcp.batch=31,"
        " cpus=8, ... May be repeated.",
    ),
]


INSTANCE = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Trace instance of a trace.dat to read (trace-cmd record -B NAME); 'top' is the one"
        " without a name. The only one with kmem events where none is named.",
    ),
]


JOBS = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        help="Processes at a time. One a CPU if not given, as far as there is memory for them; and"
        " where the work is small, none but this one.",
    ),
]
UNITS = Annotated[
    str | None,
    Option(
        metavar="DIR",
        help="Keep each run as Parquet in a folder of its own below this one (docs/scale.md), and"
        " make none that is there already; s3://BUCKET/DIR too. Without it they are in the database"
        " alone.",
    ),
]
CLUSTER = Annotated[
    str | None,
    Option(
        metavar="tcp://HOST:PORT",
        help="Have the workers of a scheduler of dask.distributed do the work, which see the traces"
        " and --units DIR under the same names (pip install 'allocsim[cluster]').",
    ),
]


class PlacementChoice(StrEnum):
    """Where objects and pages lie."""

    RECORDED = "recorded"
    SIMULATED = "simulated"


class RowFormat(StrEnum):
    """How rows are written as text."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


# Which events are counted (stat), or lives by their allocation (replay, report): docs/stat.md.
SINCE = Annotated[
    str | None,
    Option(
        "--from",
        metavar="TIME",
        help="Only from this time on: seconds on the recording's clock (8.527155), or after its"
        " first event (+1.5).",
    ),
]
UNTIL = Annotated[
    str | None, Option("--to", metavar="TIME", help="Only up to this time, likewise.")
]
CPUS = Annotated[list[str] | None, Option("--cpu", metavar="N,N-M", help="Only of these CPUs.")]
PIDS = Annotated[list[str] | None, Option("--pid", metavar="N,N-M", help="Only of these tasks.")]
CACHES = Annotated[
    list[str] | None,
    Option("--cache", metavar="NAME,...", help="Only objects and slabs of these caches."),
]


def tell_failed(failed: Sequence[AllocsimError]) -> None:
    """Say what could not be done of several things, a line each, and end with their exit code.

    Raises:
        SystemExit: there is any.
    """
    for error in failed:
        complain(str(error))
    if failed:
        sys.exit(1)
