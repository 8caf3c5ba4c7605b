"""Files that commands write reports to: what they may replace, and how they are written."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

_PDF = b"%PDF-"


def refuse_other_file(output: Path, *, pdf: bool) -> None:
    """A PDF may replace a PDF, a text a text; databases and recordings are neither.

    Raises:
        OutputError: there is something else under that name, or it cannot be read.
    """
    if output.is_dir():
        raise OutputError(f"{output}: is a folder; name a file with -o")
    try:
        with output.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error
    is_pdf = start.startswith(_PDF)
    if (start and is_pdf != pdf) or (not pdf and b"\0" in start):
        kind = "a PDF" if pdf else "text"
        raise OutputError(f"{output}: exists and is not {kind}; choose another name with -o")


def write_report(output: Path, content: bytes) -> None:
    """Write aside, then rename, so that no half a report is ever found under the name.

    Raises:
        OutputError: it cannot be written.
    """
    aside = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(output)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error
