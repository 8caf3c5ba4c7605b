"""allocsim compare: two or more sides, their differences, and the noise of these."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, FORCE, PlacementChoice
from pipeline.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.outputs import Output
    from reports.compare.comparable import Remark
    from reports.compare.comparison import Comparison


class ComparisonFormat(StrEnum):
    """How the comparison is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    PDF = "pdf"
    HTML = "html"


#: Format of a file by its suffix, where none is named.
_BY_SUFFIX = {
    "": ComparisonFormat.TEXT,
    ".txt": ComparisonFormat.TEXT,
    ".md": ComparisonFormat.MARKDOWN,
    ".json": ComparisonFormat.JSON,
    ".pdf": ComparisonFormat.PDF,
    ".html": ComparisonFormat.HTML,
}


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="SIDE SIDE...",
            help="Each a trace set, a recording, a results file (FILE, FILE:RUN, FILE:TRACE,"
            " FILE:*), or a trace or run of --db. Behind it, settings to simulate it with:"
            " SIDE@sheaf.capacity=60@pcp.batch=31. Repeats of one side: separated by commas.",
        ),
    ],
    db: DB = DEFAULT_DB,
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
    format_: Annotated[
        list[ComparisonFormat] | None,
        typer.Option(
            "--format", "-f", help="How it is written: text if not given. One for each -o."
        ),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to; stdout for -, or where not given (not PDF). May be repeated: what is"
            " replayed, is so once. Without -f its suffix says how: .txt .md .json .pdf .html.",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Refcount policy for what is replayed on the way, as in replay. May be repeated.",
        ),
    ] = None,
    force: FORCE = False,
    incomparable: Annotated[
        bool,
        typer.Option("--incomparable", help="Compare what should not be compared, and say so."),
    ] = False,
) -> None:
    """Compare runs, trace sets or results files: what differs by more than its noise.

    Sides that cannot be compared, such as recordings of different events, are refused.
    """
    from pipeline.progress import shown
    from pipeline.replay.pricing import find_policies
    from pipeline.replay.sides import opened_sides
    from reports.compare.measure_runs import checked
    from reports.compare.measure_runs import compare as compared

    at = _baseline(sides, baseline)
    outputs = _outputs(format_ or [], output or [], force=force)
    policies = find_policies(policy or [])
    simulated = placement is PlacementChoice.SIMULATED
    with (
        shown() as progress,
        opened_sides(sides, db, policies, progress, simulated=simulated) as opened,
    ):
        remarks = checked(opened)
        _refuse(remarks, anyway=incomparable)
        comparison = compared(opened, at, remarks)
    # All are made before one is written: where one cannot be made, none is there.
    made = [(target, _rendered(comparison, how)) for target, how in outputs]
    streamed = any(target.is_stream for target, _ in made)
    for target, content in made:
        target.write(content)
        if not target.is_stream:
            typer.echo(target.path, err=streamed)


def _baseline(sides: Sequence[str], wanted: str | None) -> int:
    if len(sides) < 2:
        raise UsageError("compare: needs two sides or more")
    if wanted is None:
        return 0
    if wanted not in sides:
        raise UsageError(f"--baseline {wanted}: not one of the sides {', '.join(sides)}")
    return list(sides).index(wanted)


def _outputs(
    formats: Sequence[ComparisonFormat], files: Sequence[Path], *, force: bool
) -> list[tuple[Output, ComparisonFormat]]:
    """Where to write what; refused before anything is replayed."""
    from pipeline import outputs

    kinds = {
        ComparisonFormat.TEXT: outputs.TEXT,
        ComparisonFormat.MARKDOWN: outputs.MARKDOWN,
        ComparisonFormat.JSON: outputs.JSON,
        ComparisonFormat.PDF: outputs.PDF,
        ComparisonFormat.HTML: outputs.HTML,
    }
    if not files:
        if len(formats) > 1:
            raise UsageError("--format given more than once: name a file for each with -o")
        if ComparisonFormat.PDF in formats:
            raise UsageError("--format pdf: name a file with -o")
        files = [Path("-")]
    if formats and len(formats) != len(files):
        raise UsageError(f"{len(files)} -o and {len(formats)} -f: give one -f for each -o, or none")
    hows = list(formats) or [_by_suffix(file) for file in files]
    claimed = [
        outputs.claimed(file, kinds[how], force=force)
        for file, how in zip(files, hows, strict=True)
    ]
    if len({target.path.resolve() for target in claimed}) < len(claimed):
        raise UsageError("-o: one file is named twice")
    return list(zip(claimed, hows, strict=True))


def _by_suffix(file: Path) -> ComparisonFormat:
    try:
        return _BY_SUFFIX[file.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"-o {file}: a format of that suffix is not known; say which one with -f"
        ) from None


def _refuse(remarks: Sequence[Remark], *, anyway: bool) -> None:
    from reports.compare.comparable import Weight

    reasons = [remark.text for remark in remarks if remark.weight is Weight.MUST]
    if reasons and not anyway:
        raise InputError(
            f"not comparable: {'; '.join(reasons)} (--incomparable compares all the same)"
        )


def _rendered(comparison: Comparison, how: ComparisonFormat) -> bytes:
    from allocsim import __version__
    from reports.compare import report as differences
    from reports.compare.json import to_json
    from reports.render.html import to_html
    from reports.render.pdf import render
    from reports.render.text import to_markdown, to_text

    match how:
        case ComparisonFormat.JSON:
            return to_json(comparison, __version__).encode()
        case ComparisonFormat.TEXT:
            return to_text(differences.report(comparison, __version__, narrow=True)).encode()
        case ComparisonFormat.MARKDOWN:
            return to_markdown(differences.report(comparison, __version__)).encode()
        case ComparisonFormat.HTML:
            return to_html(differences.report(comparison, __version__)).encode()
        case ComparisonFormat.PDF:
            return render(differences.report(comparison, __version__))
