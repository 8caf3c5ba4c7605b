"""allocsim compare: two or more sides, their differences, and the noise of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipeline.commands.options import completion
from pipeline.commands.options.common import (
    DB,
    DEFAULT_DB,
    DEFAULT_WAIT,
    FORCE,
    WAIT,
    PlacementChoice,
)
from pipeline.commands.options.declared import Argument, Option
from pipeline.commands.options.formats import (
    FILES,
    FORMATS,
    DocumentFormat,
    as_document,
    outputs,
    write,
)
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.api.comparing import ComparisonResult


def compare(
    sides: Annotated[
        list[str],
        Argument(
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
        Option(metavar="SIDE", help="What the others are compared with; else the first."),
    ] = None,
    placement: Annotated[
        PlacementChoice,
        Option(
            help="simulated: also compare what the model does with each side's requests (paths,"
            " sheaves, free memory). recorded: only what the kernels did."
        ),
    ] = PlacementChoice.SIMULATED,
    format_: FORMATS = None,
    output: FILES = None,
    policy: Annotated[
        list[str] | None,
        Option(
            metavar="NAME|FILE",
            autocompletion=completion.policies,
            help="Refcount policy for what is replayed on the way, as in replay. May be repeated.",
        ),
    ] = None,
    force: FORCE = False,
    brief: Annotated[
        bool,
        Option("--brief", help="Two sides on one screen: sentences, a table, how it was measured."),
    ] = False,
    incomparable: Annotated[
        bool,
        Option("--incomparable", help="Compare what should not be compared, and say so."),
    ] = False,
) -> None:
    """Compare runs, trace sets or results files: what differs by more than its noise.

    Sides that cannot be compared, such as recordings of different events, are refused.
    """
    from pipeline.api.comparing import baseline_of, brief_is_for_two
    from pipeline.api.comparing import compare as compared
    from pipeline.outputs import COMPARISON
    from pipeline.processes.progress import shown

    baseline_of(sides, baseline)
    wanted = outputs(format_ or [], output or [], COMPARISON, force=force)
    if brief:
        brief_is_for_two(len(sides))
        if any(how is DocumentFormat.JSON for _, how in wanted):
            raise UsageError("--brief: is for people: text, markdown, html or pdf")
    with shown() as progress:
        result = compared(
            *sides,
            db=db,
            baseline=baseline,
            placement=placement.value,
            policies=policy or (),
            incomparable=incomparable,
            progress=progress,
        )
    write(wanted, lambda how: _rendered(result, how, brief=brief))


def _rendered(result: ComparisonResult, how: DocumentFormat, *, brief: bool) -> bytes:
    if how is DocumentFormat.JSON:
        return result.json().encode()
    return as_document(result.document(brief=brief, narrow=how is DocumentFormat.TEXT), how)
