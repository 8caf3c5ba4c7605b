"""allocsim info: what a recording or a trace set holds."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class InfoFormat(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"


def info(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="A trace set, or a recording.")],
    format_: Annotated[
        InfoFormat, typer.Option("--format", "-f", help="How it is written.")
    ] = InfoFormat.TEXT,
) -> None:
    """Say what a trace holds: kernel, clock, events, losses, direct map, stacks and symbols.

    JSON is the trace set's meta.json, whole.
    """
    from pipeline.processes.progress import shown
    from pipeline.replay.pricing import own_policy
    from pipeline.replay.trace_source import opened
    from pipeline.trace_set.machine import machine_nodes
    from reports.console.trace import trace_text

    with shown() as progress, opened(trace, progress) as found:
        meta, nodes = found.meta, machine_nodes(found)
        own = own_policy(meta["kernel_release"])
    if format_ is InfoFormat.JSON:
        typer.echo(json.dumps(meta, indent=1))
    else:
        typer.echo(trace_text(meta, *nodes, own_policy=own), nl=False)
