"""allocsim fit: a spec of a recorded trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.common import FORCE
from pipeline.commands.options.declared import Argument, Option
from pipeline.terminal import printable


def fit(
    trace: Annotated[Path, Argument(metavar="TRACE", help="A trace set, or a recording.")],
    output: Annotated[
        Path,
        Option(
            "--output", "-o", metavar="FILE", help="The spec to write, a TOML file; - for stdout."
        ),
    ],
    force: FORCE = False,
) -> None:
    """Fit a spec to a trace, and say how far the spec's own trace is from it.

    The spec has the caches and pages of the trace, when and by which CPUs they are allocated, how
    long they live and who frees them. A synthetic trace is made of it and compared with the
    original, both without page_ref events: of caches the one that is farthest is shown. Exits with
    1 if a measure is beyond its limit; the spec is written all the same.
    """
    from pipeline.fitting.distance import COLUMNS, rows
    from pipeline.fitting.fit import fit_trace
    from pipeline.outputs import SPEC, claimed
    from pipeline.processes.progress import shown
    from pipeline.replay.trace_source import opened
    from reports.render.rows import write_table

    target = claimed(output, SPEC, force=force)
    with shown() as progress, opened(trace, progress) as found:
        fitted = fit_trace(found, progress)
    target.write(fitted.text.encode())
    bare = ", its page_ref events left out" if fitted.page_refs_left_out else ""
    said = f"{target.name}: fitted to {found.meta['name']}{bare}{fitted.left_out}"
    sys.stderr.write(f"{printable(said)}\n")
    stream = sys.stderr if target.is_stream else sys.stdout
    write_table(COLUMNS, rows(fitted.measures), stream)
    stream.write(
        "locked operations: what pages see in use is assumed on both sides, the middle of its\n"
        "  range; allocsim replay prints the range\n"
    )
    if not all(measure.met for measure in fitted.measures):
        sys.exit(1)
