"""allocsim compare: two or more sides, their differences, and the noise of these."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, DEFAULT_WAIT, FORCE, WAIT, PlacementChoice
from pipeline.commands.formats import FILES, FORMATS, DocumentFormat, as_document, outputs, write
from pipeline.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.compare.comparable import Remark
    from reports.compare.comparison import Comparison


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="SIDE",
            help="Two or more: each a trace set, a recording, a results file (FILE, FILE:RUN,"
            " FILE:TRACE, FILE:*), or a trace or run of --db. After it, settings to simulate it"
            " with: SIDE@sheaf.capacity=60@pcp.batch=31. Repeats of one side: separated by commas.",
        ),
    ],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="SIDE", help="What the others are compared with; else the first."),
    ] = None,
    placement: Annotated[
        PlacementChoice,
        typer.Option(
            help="simulated: also compare what the model does with each side's requests (paths,"
            " sheaves, free memory). recorded: only what the kernels did."
        ),
    ] = PlacementChoice.SIMULATED,
    format_: FORMATS = None,
    output: FILES = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Refcount policy for what is replayed on the way, as in replay. May be repeated.",
        ),
    ] = None,
    force: FORCE = False,
    brief: Annotated[
        bool,
        typer.Option(
            "--brief", help="Two sides on one screen: sentences, a table, how it was measured."
        ),
    ] = False,
    incomparable: Annotated[
        bool,
        typer.Option("--incomparable", help="Compare what should not be compared, and say so."),
    ] = False,
) -> None:
    """Compare runs, trace sets or results files: what differs by more than its noise.

    Sides that cannot be compared, such as recordings of different events, are refused.
    """
    from pipeline.outputs import COMPARISON
    from pipeline.processes.progress import shown
    from pipeline.replay.pricing import find_policies
    from pipeline.replay.sides import opened_sides
    from reports.compare.comparable import early

    at = _baseline(sides, baseline)
    wanted = outputs(format_ or [], output or [], COMPARISON, force=force)
    if brief and (len(sides) > 2 or any(how is DocumentFormat.JSON for _, how in wanted)):
        raise UsageError("--brief: is for two sides, and for people: text, markdown, html or pdf")
    policies = find_policies(policy or [])
    simulated = placement is PlacementChoice.SIMULATED
    with (
        shown() as progress,
        opened_sides(
            sides,
            db,
            policies,
            progress,
            simulated=simulated,
            check=lambda heads: _refuse(early(heads), anyway=incomparable),
        ) as opened,
    ):
        # What takes long to import waits until the sides may be compared.
        from reports.compare.measure_runs import checked
        from reports.compare.measure_runs import compare as compared

        remarks = checked(opened)
        _refuse(remarks, anyway=incomparable)
        comparison = compared(opened, at, remarks)
    write(wanted, partial(_rendered, comparison, brief=brief))


def _baseline(sides: Sequence[str], wanted: str | None) -> int:
    if len(sides) < 2:
        raise UsageError("compare: needs two sides or more")
    if wanted is None:
        return 0
    if wanted not in sides:
        raise UsageError(f"--baseline {wanted}: not one of the sides {', '.join(sides)}")
    return list(sides).index(wanted)


def _refuse(remarks: Sequence[Remark], *, anyway: bool) -> None:
    from reports.compare.comparable import Weight

    reasons = [remark.text for remark in remarks if remark.weight is Weight.MUST]
    if reasons and not anyway:
        raise InputError(
            f"not comparable: {'; '.join(reasons)} (--incomparable compares all the same)"
        )


def _rendered(comparison: Comparison, how: DocumentFormat, *, brief: bool) -> bytes:
    from allocsim import __version__
    from reports.compare import brief as screen
    from reports.compare.json import to_json
    from reports.compare.report import report

    if how is DocumentFormat.JSON:
        return to_json(comparison, __version__).encode()
    narrow = how is DocumentFormat.TEXT
    laid_out = (
        screen.brief(comparison, __version__)
        if brief
        else report(comparison, __version__, narrow=narrow)
    )
    return as_document(laid_out, how)
