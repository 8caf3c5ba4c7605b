"""Files that users name for what a command writes: what may be replaced, and how it is written.

Without --force nothing is replaced, with it a regular file of the kind that is written: what holds
anything else - a database, a recording, somebody's text, a device, the file behind a link - is not
the command's to destroy. All that can be refused is so before the command does its work.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allocsim.toml_data import load
from pipeline.errors import OutputError
from pipeline.processes.scratch import part_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_STREAM = Path("-")
_STREAMS = {_STREAM, Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1")}
_LOOKED_AT = 1 << 24  #: bytes of a file that say what it is: all of any text that is written here

_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What file systems without hard links answer.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A kind of file that a command writes.

    Args:
        name: what it is called in a message.
        is_one: whether the bytes of a file are one, all or the first 16 MiB of them.
        by_end: all or the last 16 MiB of them instead.
    """

    name: str
    is_one: Callable[[bytes], bool]
    by_end: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes, once it is known that it may (:func:`claimed`).

    Args:
        path: the file; ``-``: standard output.
        kind: what is written.
        force: replace a file of that kind.
    """

    path: Path
    kind: OutputKind
    force: bool

    @property
    def is_stream(self) -> bool:
        """Whether it is standard output, on which nothing else can be said then."""
        return self.path == _STREAM

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return "standard output" if self.is_stream else str(self.path)

    def write(self, content: bytes) -> None:
        """Write all of it, or nothing.

        Raises:
            OutputError: it cannot be written, or there is something under the name by now.
        """
        with self.opened() as file:
            file.write(content)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """What the block writes: all of it at its end, or nothing if it fails.

        On standard output it is there at once.

        Raises:
            OutputError: it cannot be written, or there is something under the name by now.
        """
        try:
            if self.is_stream:
                sys.stdout.flush()
                yield sys.stdout.buffer
                sys.stdout.flush()
            else:
                with self._opened_file() as file:
                    yield file
        except BrokenPipeError:  # whoever read it has enough
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"{self.name}: cannot be written: {reason}") from error

    @contextmanager
    def _opened_file(self) -> Iterator[BinaryIO]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with part_in(self.path.parent) as (part, opened):
            with os.fdopen(opened, "wb", closefd=False) as file:
                yield file
                file.flush()
                os.fsync(opened)
            self._put_in_place(part)

    def _put_in_place(self, part: Path) -> None:
        if self.force:
            _refuse(self.path, self.kind, force=True)
            part.replace(self.path)
            return
        try:
            self.path.hardlink_to(part)  # fails where there is something, unlike a rename
        except FileExistsError:
            _refuse(self.path, self.kind, force=False)
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _refuse(self.path, self.kind, force=False)
            part.replace(self.path)


def claimed(path: Path, kind: OutputKind, *, force: bool) -> Output:
    """Where to write, if that may be written to. Nothing is made yet.

    Args:
        path: what the user named; ``-`` and /dev/stdout are standard output, which is written to
            as it is.
        kind: what is going to be written.
        force: the user wants a file of that kind replaced.

    Raises:
        OutputError: there is something under the name that is not to be replaced, or no file can be
            made there.
    """
    if path in _STREAMS:
        return Output(_STREAM, kind, force)
    try:
        _refuse(path, kind, force=force)
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    return Output(path, kind, force)


def _refuse(path: Path, kind: OutputKind, *, force: bool) -> None:
    """Refuse to replace what must not be.

    Raises:
        OutputError: there is such a thing.
        OSError: it cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if special := _SPECIAL.get(stat.S_IFMT(mode)):
        hint = "; a stream is written with -o -" if stat.S_ISFIFO(mode) else ""
        raise OutputError(f"{path}: is {special}; name a file with -o{hint}")
    # If something else is put there meanwhile, it is neither waited for nor followed.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if kind.by_end:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
        content = file.read(_LOOKED_AT)
    if content and not kind.is_one(content):
        raise OutputError(f"{path}: exists and is not {kind.name}; choose another name with -o")
    if not force:
        raise OutputError(f"{path}: already there; --force replaces it")


def _is_text(content: bytes) -> bool:
    """Whether it is UTF-8, as far as it was read, without control characters."""
    try:
        text = content.decode() if len(content) < _LOOKED_AT else content.decode(errors="ignore")
    except UnicodeDecodeError:
        return False
    return re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text) is None


def _starts(pattern: bytes) -> Callable[[bytes], bool]:
    """A kind of text by how it begins."""
    start = re.compile(pattern, re.IGNORECASE)
    return lambda content: start.match(content) is not None and _is_text(content)


def _toml_with(*keys: str) -> Callable[[bytes], bool]:
    """TOML by keys at its top."""

    def is_one(content: bytes) -> bool:
        try:
            return all(key in load(content.decode()) for key in keys)
        except ValueError:
            return False

    return is_one


PDF = OutputKind("a PDF", lambda content: content.startswith(b"%PDF-"))
HTML = OutputKind("HTML", _starts(rb"<!DOCTYPE html>"))
#: What compare writes and what report does, by format; those that are text by their titles.
COMPARISON = {
    "text": OutputKind(
        "a comparison as text", _starts(rb"(?:[^\n]+\n)?[^\n]*\bagainst\b[^\n]*\n(?:[^\n]+\n)?===")
    ),
    "markdown": OutputKind("a comparison as Markdown", _starts(rb"# [^\n]* against ")),
    "json": OutputKind(
        "a comparison as JSON", _starts(rb'\{\s*"format": \d+,\s*"allocsim_version": ')
    ),
    "pdf": PDF,
    "html": HTML,
}
REPORT = {
    "text": OutputKind("a report as text", _starts(rb"allocsim report: ")),
    "markdown": OutputKind("a report as Markdown", _starts(rb"# allocsim report: ")),
    "json": OutputKind("a report as JSON", _starts(rb'\{\s*"title": "allocsim report: ')),
    "pdf": PDF,
    "html": HTML,
}
COSTS = OutputKind("a table of costs", _toml_with("name", "arch", "store"))
SPEC = OutputKind("a spec", _toml_with("name", "work"))
#: What export writes. The first packet of a trace for Perfetto says that interned names begin; in
#: Parquet's footer it is said whose rows they are.
PERFETTO = OutputKind(
    "a Perfetto trace of allocsim", lambda content: content.startswith(b"\n\x04h\x01P\x01")
)
SPEEDSCOPE = OutputKind(
    "a speedscope file of allocsim", _starts(rb'\{"\$schema": "https://www\.speedscope\.app/')
)
FOLDED = OutputKind(
    "folded stacks",
    lambda content: re.match(rb"(?:[^\n;]+;[^\n]* \d+\n)+[^\n]*\Z", content) is not None,
)
PARQUET_KEY = b"allocsim.rows_of"
PARQUET = OutputKind(
    "Parquet of allocsim export",
    lambda content: content.endswith(b"PAR1") and PARQUET_KEY in content,
    by_end=True,
)
CSV = OutputKind("CSV of allocsim export", _starts(rb'"[a-z0-9_]+"(?:,"[a-z0-9_]+")*\n'))
