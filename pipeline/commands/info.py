"""allocsim info: what a recording or a trace set holds."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.declared import Argument, Option


class InfoFormat(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"


def info(
    trace: Annotated[Path, Argument(metavar="TRACE", help="A trace set, or a recording.")],
    format_: Annotated[
        InfoFormat, Option("--format", "-f", help="How it is written.")
    ] = InfoFormat.TEXT,
) -> None:
    """Say what a trace holds: kernel, clock, events, losses, direct map, stacks and symbols.

    JSON is the trace set's meta.json, whole.
    """
    from pipeline.api.traces import info as known
    from pipeline.processes.progress import shown

    with shown() as progress:
        about = known(trace, progress=progress)
    sys.stdout.write(
        f"{json.dumps(about.meta, indent=1)}\n" if format_ is InfoFormat.JSON else about.text()
    )
