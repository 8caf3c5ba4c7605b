"""What compare and report share: the formats they write, and where to."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipeline.commands.options.declared import Option
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.outputs import Output, OutputKind
    from reports.render.document import Report


class DocumentFormat(StrEnum):
    """How a document is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    PDF = "pdf"
    HTML = "html"


#: DocumentFormat of a file by its suffix, where none is named.
_BY_SUFFIX = {
    "": DocumentFormat.TEXT,
    ".txt": DocumentFormat.TEXT,
    ".md": DocumentFormat.MARKDOWN,
    ".json": DocumentFormat.JSON,
    ".pdf": DocumentFormat.PDF,
    ".html": DocumentFormat.HTML,
}

FORMATS = Annotated[
    list[DocumentFormat] | None,
    Option("--format", "-f", help="How it is written: text if not given. One for each -o."),
]

FILES = Annotated[
    list[Path] | None,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to; stdout for -, or where not given (not PDF). May be repeated: the work is"
        " done once. Without -f its suffix says how: .txt .md .json .pdf .html.",
    ),
]


def outputs(
    formats: Sequence[DocumentFormat],
    files: Sequence[Path],
    kinds: Mapping[str, OutputKind],
    *,
    force: bool,
) -> list[tuple[Output, DocumentFormat]]:
    """Where to write what; refused before any work is done.

    Args:
        formats: one for each file; empty: by their suffixes.
        files: empty: standard output.
        kinds: what a file of each format is told by.
        force: replace such a file.
    """
    from pipeline.outputs import claimed

    if not files:
        if len(formats) > 1:
            raise UsageError("--format given more than once: name a file for each with -o")
        if DocumentFormat.PDF in formats:
            raise UsageError("--format pdf: name a file with -o")
        files = [Path("-")]
    if formats and len(formats) != len(files):
        raise UsageError(f"{len(files)} -o and {len(formats)} -f: give one -f for each -o, or none")
    hows = list(formats) or [_by_suffix(file) for file in files]
    targets = [
        claimed(file, kinds[how], force=force) for file, how in zip(files, hows, strict=True)
    ]
    if len({target.path.resolve() for target in targets}) < len(targets):
        raise UsageError("-o: one file is named twice")
    return list(zip(targets, hows, strict=True))


def _by_suffix(file: Path) -> DocumentFormat:
    try:
        return _BY_SUFFIX[file.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"-o {file}: a format of that suffix is not known, but those of"
            f" {' '.join(filter(None, _BY_SUFFIX))}; say which one with -f"
        ) from None


def write(
    wanted: Sequence[tuple[Output, DocumentFormat]], rendered: Callable[[DocumentFormat], bytes]
) -> None:
    """Write each output, and say which files there are now.

    All are made before one is written: where one cannot be made, none is there.
    """
    made = [(target, rendered(how)) for target, how in wanted]
    streamed = any(target.is_stream for target, _ in made)
    for target, content in made:
        target.write(content)
        if not target.is_stream:
            (sys.stderr if streamed else sys.stdout).write(f"{target.path}\n")


def as_document(report: Report, how: DocumentFormat) -> bytes:
    """A document in any of the formats but JSON, which has what the document was made of."""
    from reports.render.html import to_html
    from reports.render.pdf import render
    from reports.render.text import to_markdown, to_text

    match how:
        case DocumentFormat.MARKDOWN:
            return to_markdown(report).encode()
        case DocumentFormat.HTML:
            return to_html(report).encode()
        case DocumentFormat.PDF:
            return render(report)
        case _:
            return to_text(report).encode()


def as_report(report: Report, how: DocumentFormat) -> bytes:
    """A report in any of the formats; as JSON it is its own sections and blocks."""
    from reports.render.json import to_json

    return to_json(report).encode() if how is DocumentFormat.JSON else as_document(report, how)
