"""allocsim compare: two or more sides, their differences, and the noise of these."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB
from pipeline.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.comparable import Remark
    from reports.comparison import Comparison


class Format(StrEnum):
    """How the comparison is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    PDF = "pdf"
    HTML = "html"


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="SIDE SIDE...",
            help="Each a trace set, a recording, a results file (FILE, FILE:RUN, FILE:TRACE,"
            " FILE:*), or a trace or run of --db. Repeats of one side: separated by commas.",
        ),
    ],
    db: DB = DEFAULT_DB,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="SIDE", help="What the others are compared with; else the first."),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="How it is written.")
    ] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; stdout where not given (not PDF)."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Refcount policy for what is replayed on the way, as in replay. May be repeated.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare what should not be compared, and say so.")
    ] = False,
) -> None:
    """Compare runs, trace sets or results files: what differs by more than its noise.

    Sides that cannot be compared, such as recordings of different events, are refused.
    """
    from pipeline.policies import find_policies
    from pipeline.progress import shown
    from pipeline.sides import opened_sides
    from reports.compare import checked
    from reports.compare import compare as compared

    at = _baseline(sides, baseline)
    if format_ is Format.PDF and output is None:
        raise UsageError("--format pdf: name a file with -o")
    policies = find_policies(policy or [])
    with shown() as progress, opened_sides(sides, db, policies, progress) as opened:
        remarks = checked(opened)
        _refuse(remarks, force=force)
        comparison = compared(opened, at, remarks)
    _write(comparison, format_, output)


def _baseline(sides: Sequence[str], wanted: str | None) -> int:
    if len(sides) < 2:
        raise UsageError("compare: needs two sides or more")
    if wanted is None:
        return 0
    if wanted not in sides:
        raise UsageError(f"--baseline {wanted}: not one of the sides {', '.join(sides)}")
    return list(sides).index(wanted)


def _refuse(remarks: Sequence[Remark], *, force: bool) -> None:
    from reports.comparable import Weight

    reasons = [remark.text for remark in remarks if remark.weight is Weight.MUST]
    if reasons and not force:
        raise InputError(f"not comparable: {'; '.join(reasons)} (--force compares all the same)")


def _write(comparison: Comparison, format_: Format, output: Path | None) -> None:
    from allocsim import __version__
    from pipeline.commands.report import write_report
    from pipeline.sides import is_database
    from reports import differences
    from reports.comparison_json import to_json
    from reports.html import to_html
    from reports.pdf import render
    from reports.text import to_markdown, to_text

    content: bytes
    match format_:
        case Format.JSON:
            content = to_json(comparison, __version__).encode()
        case Format.TEXT:
            content = to_text(differences.report(comparison, __version__, narrow=True)).encode()
        case Format.MARKDOWN:
            content = to_markdown(differences.report(comparison, __version__, narrow=True)).encode()
        case Format.HTML:
            content = to_html(differences.report(comparison, __version__)).encode()
        case Format.PDF:
            content = render(differences.report(comparison, __version__))
    if output is None:
        sys.stdout.write(content.decode())
        return
    if is_database(output):
        raise OutputError(f"{output}: is a results database; choose another name with -o")
    write_report(output, content)
    typer.echo(output)
