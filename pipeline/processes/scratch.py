"""Files and folders that are thrown away, and those that a killed process did not throw away.

Each has a name that only ours have, and is locked as long as its owner lives: by SIGKILL too a
process loses its locks. Who makes another one in the same place first removes what is left there,
and says so. A folder is ours by a file in it besides, for its name alone may be anybody's.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import OutputError
from pipeline.processes import signals
from pipeline.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "made-by-allocsim"  #: an empty file in each such folder

_FOLDERS = re.compile(r"\.?allocsim-[0-9a-f]{16}")
_FILES = re.compile(r"\.allocsim-[0-9a-f]{16}\.part")
_OPENED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def scratch(beside: Path | None = None) -> Iterator[Path]:
    """An empty folder, removed at the end of the block.

    Args:
        beside: a folder to make it in, hidden; where that cannot be, and for None, it is in the
            folder for temporary files (TMPDIR).

    Raises:
        OutputError: it cannot be made.
    """
    with signals.undoing():
        folder, held = _made(beside)
        try:
            yield folder
        finally:
            throw_away(folder)
            os.close(held)


def _made(beside: Path | None) -> tuple[Path, int]:
    """A new folder, and what holds its lock."""
    if beside is not None:
        with suppress(OSError):
            return _made_in(beside, ".allocsim-")
    where = tempfile.gettempdir()
    try:
        return _made_in(Path(where), "allocsim-")
    except OSError as error:
        raise OutputError(f"{where}: no temporary file can be made: {error.strerror}") from None


def _made_in(where: Path, beginning: str) -> tuple[Path, int]:
    remove_left(where, _FOLDERS)
    while True:
        folder = where / f"{beginning}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            held = locked(folder)
            if held is not None:
                (folder / MARK).touch()
                return folder, held
        except FileNotFoundError:  # taken for left by somebody who looked just now
            continue
        except OSError:
            folder.rmdir()
            raise


@contextmanager
def part_in(folder: Path) -> Iterator[tuple[Path, int]]:
    """A new file in a folder, and what it is open for writing with; removed where it still is."""
    remove_left(folder, _FILES)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with signals.undoing():
        while True:
            # Of a name that nobody can guess, new, and readable to whom the umask lets it.
            path = folder / f".allocsim-{secrets.token_hex(8)}.part"
            opened = os.open(path, flags, 0o666)
            if _lock(opened, path, without=True):
                break
            os.close(opened)
        try:
            yield path, opened
        finally:
            with suppress(OSError):
                path.unlink()
            os.close(opened)


def throw_away(folder: Path) -> None:
    """Remove a folder, as far as can be; its mark last, for this can be killed too."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != MARK:
                path.unlink()
        if not any(path.name != MARK for path in folder.iterdir()):
            shutil.rmtree(folder)


def locked(folder: Path) -> int | None:
    """Lock a folder of this user; what it is open with, None where somebody has it.

    Raises:
        OSError: it is gone, no folder, or another user's.
    """
    opened = os.open(folder, _OPENED | os.O_DIRECTORY)
    if os.fstat(opened).st_uid != os.geteuid():
        os.close(opened)
        raise PermissionError(f"{folder.name} there is another user's")
    if not _lock(opened, folder, without=True):
        os.close(opened)
        return None
    return opened


def remove_left(
    where: Path, names: re.Pattern[str], rescue: Callable[[Path], object] = lambda _: None
) -> None:
    """Remove what is left in a folder under such names by killed processes, and say so.

    Args:
        where: the folder.
        names: full names that only files and folders of ours have.
        rescue: given a folder before it is removed.
    """
    with suppress(OSError):
        for path in [Path(entry) for entry in os.scandir(where) if names.fullmatch(entry.name)]:
            with suppress(OSError):
                _remove(path, rescue)


def _remove(path: Path, rescue: Callable[[Path], object]) -> None:
    opened = os.open(path, _OPENED)
    try:
        found = os.fstat(opened)
        if found.st_uid != os.geteuid() or not _lock(opened, path, without=False):
            return
        if stat.S_ISREG(found.st_mode):
            path.unlink()
        elif not (path / MARK).is_file():  # killed before it was marked, or not ours
            path.rmdir()
        else:
            rescue(path)
            throw_away(path)
    finally:
        os.close(opened)
    sys.stderr.write(f"allocsim: removed what a killed run had left: {printable(str(path))}\n")


def _lock(opened: int, path: Path, *, without: bool) -> bool:
    """Lock what is open, unless somebody else has it or has removed it.

    Args:
        opened: it.
        path: its name.
        without: the answer where the file system knows no locks.
    """
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without
    try:
        return os.path.samestat(os.fstat(opened), path.lstat())
    except FileNotFoundError:
        return False
