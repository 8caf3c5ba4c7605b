"""allocsim cost: what operations on reference counts take on a machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.common import FORCE
from pipeline.commands.options.declared import Option


def calibrate(
    output: Annotated[
        Path,
        Option("--output", "-o", metavar="FILE", help="The table, as TOML; - for stdout."),
    ] = Path("out/costs.toml"),
    cc: Annotated[str, Option(metavar="COMPILER", help="The C compiler.")] = "cc",
    force: FORCE = False,
) -> None:
    """Measure what operations on reference counts take on this machine, and write a table of it.

    The table is for allocsim replay --costs FILE. It needs a C compiler; without one nothing is
    lost but precision: replays take the shipped table of the recorded machine. Measure on an idle
    machine; it takes a second or two.
    """
    from allocsim.refcount.costs import to_toml
    from pipeline.calibration import calibrate as measure
    from pipeline.outputs import COSTS, claimed
    from reports.render.rows import write_table

    target = claimed(output, COSTS, force=force)
    found = measure(cc)
    target.write(to_toml(found.costs).encode())
    out = sys.stderr if target.is_stream else sys.stdout
    rows = [
        (operation, place, round(each.low, 2), round(each.high, 2), each.known, each.source)
        for (operation, place), each in found.costs.ranges.items()
    ]
    write_table(["operation", "place", "ns_low", "ns_high", "known", "source"], rows, out)
    ticks = f"; {found.ticks:.3f} time-stamp ticks a ns" if found.ticks else ""
    out.write(f"{target.name} (clock: CLOCK_MONOTONIC_RAW{ticks})\n")
