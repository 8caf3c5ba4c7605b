"""Making a trace set aside, and putting it in place when it is complete.

What is unfinished lies in a folder beside the target, for renaming needs the same file system. It
has one name for one target, and is locked while it is worked in: of two commands that make the same
trace set one is told so, and what a killed one has left is found by the next
(pipeline.processes.scratch).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeline.errors import OutputError
from pipeline.processes import signals
from pipeline.processes.scratch import MARK, locked, remove_left, throw_away

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNFINISHED = re.compile(r"\.(.+)\.unfinished", re.DOTALL)
# linux/fcntl.h and linux/fs.h
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
# What kernels and file systems answer that do not know these.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)

_REPLACED = "replaced"  # what the old trace set is called aside, where two cannot be exchanged


@contextmanager
def made_aside(target: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder to make a trace set in, as a folder of the target's name.

    At the end of the block it is put in place; if the block fails, all is as it was.

    Args:
        target: the trace set's folder.
        force: replace a trace set that is there.

    Raises:
        OutputError: there is something that is not to be replaced, somebody else is making the same
            trace set, or it cannot be written.
    """
    _refuse(target, force=force)
    aside = target.with_name(f".{target.name}.unfinished")
    made = not aside.parent.exists()
    with signals.undoing():
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            remove_left(aside.parent, _UNFINISHED, _rescue)
            lock = _taken(aside, target)
        except OSError as error:
            raise OutputError(f"{aside.parent}: cannot be written to ({_reason(error)})") from None
        try:
            _refuse(target, force=force)
            yield aside
            _put_in_place(aside / target.name, target, aside / _REPLACED, force=force)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({_reason(error)})") from None
        finally:
            throw_away(aside)
            os.close(lock)
            if made and not target.exists():
                with suppress(OSError):  # nor is the folder left that was made for it
                    aside.parent.rmdir()


def _refuse(target: Path, *, force: bool) -> None:
    if target.is_symlink():
        raise OutputError(f"{target}: a symbolic link, and not replaced; choose another folder")
    if not target.exists():
        return
    # Of both, for a meta.json alone may be anybody's.
    if not all((target / name).is_file() for name in ("events.parquet", "meta.json")):
        raise OutputError(f"{target}: not a trace set, and not replaced; choose another folder")
    if not force:
        raise OutputError(f"{target}: already there; --force replaces it")


def _taken(aside: Path, target: Path) -> int:
    """Make the folder aside; it is locked until what is returned is closed.

    Raises:
        OutputError: somebody else works in it, or it is none of ours.
    """
    while True:
        with suppress(FileExistsError):
            aside.mkdir()
        with suppress(FileNotFoundError):  # whoever had it has just removed it
            lock = locked(aside)
            if lock is None:
                raise OutputError(
                    f"{target}: is being made by another process; try again when that is done"
                )
            if any(aside.iterdir()):
                os.close(lock)
                raise OutputError(f"{aside}: in the way, and not of this allocsim; move it away")
            (aside / MARK).touch()
            return lock


def _rescue(aside: Path) -> None:
    """Bring back a trace set that a killed process was about to replace."""
    target = aside.with_name(_UNFINISHED.sub(r"\1", aside.name))
    if (aside / _REPLACED).exists() and not target.exists():
        (aside / _REPLACED).rename(target)


def _put_in_place(made: Path, target: Path, old: Path, *, force: bool) -> None:
    """Put a folder in the place of the target, at no moment of which there is neither or half."""
    if not target.exists():
        try:
            if not _renamed(made, target, _RENAME_NOREPLACE):
                made.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        else:
            return
    _refuse(target, force=force)
    if _renamed(made, target, _RENAME_EXCHANGE):
        return
    target.rename(old)  # a process that is killed here leaves what _clear brings back
    try:
        made.rename(target)
    except OSError:
        old.rename(target)
        raise


def _renamed(source: Path, target: Path, flags: int) -> bool:
    """Rename as Linux can; False: this system or this file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(target))


def _reason(error: OSError) -> str:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "a file, where a folder is needed"
    if isinstance(error, shutil.Error):  # of many files: the first
        return str(error.args[0][0][-1])
    return error.strerror or str(error)
