"""What is printed: text in which names cannot act on a terminal, and streams that may be full.

Names of tasks, caches, functions and files come from recordings and folders that anybody may have
made. They are stored as they are, and escaped once, where a command prints.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING

from pipeline.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = "\n\t"
_LONGEST = 1000  # letters of an error


def printable(text: str) -> str:
    """A text with all escaped that is not to be seen, but ends of lines and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in _KEPT else ascii(each)[1:-1] for each in text
    )


@contextmanager
def _of_the_stream() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever read it has enough
        raise
    except OSError as error:
        raise OutputError(f"standard output: cannot be written: {error.strerror}") from None


class _Printable(io.TextIOWrapper):
    """A stream that has what is written to it escaped."""

    def write(self, text: str) -> int:
        with _of_the_stream():
            super().write(printable(text))
        return len(text)

    def flush(self) -> None:
        with _of_the_stream():
            super().flush()


@contextmanager
def printing() -> Iterator[None]:
    """Let standard output take text of any letters while the block runs.

    Raises:
        OutputError: it cannot be written to.
    """
    before = sys.stdout
    with _of_the_stream():
        before.flush()
    out = _Printable(
        before.buffer,
        encoding=before.encoding,
        errors="backslashreplace",  # where the locale lacks a letter
        line_buffering=before.isatty(),
    )
    try:
        with redirect_stdout(out):
            yield
    finally:
        out.detach()
    with _of_the_stream():
        before.flush()


def complain(message: str) -> None:
    """Print a message as one line on stderr, if that can be."""
    line = printable(" ".join(message.split()))
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}..."
    with suppress(OSError):
        sys.stderr.write(f"allocsim: {line}\n")
        sys.stderr.flush()


def open_streams() -> None:
    """Have something behind the standard streams: a file must not be taken for one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # is given the lowest number
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
