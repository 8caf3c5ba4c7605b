"""Folders of units: in a file system, or where pyarrow's file systems reach (s3://...)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyarrow import fs

from pipeline.errors import OutputError
from pipeline.processes.scratch import scratch
from pipeline.store.units.unit import SETTINGS, TRACE, UNIT_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMOTE = "://"


class UnitsFolder:
    """Where units are kept.

    Args:
        where: a folder, made when the first unit is; or a URI (``s3://bucket/folder``).

    Raises:
        OutputError: it cannot be reached.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.local = None if _REMOTE in where else Path(where).absolute()
        try:
            if self.local is None:
                self._files, self._root = fs.FileSystem.from_uri(where)
            else:
                self._files, self._root = fs.LocalFileSystem(), str(self.local)
        except (OSError, ValueError, NotImplementedError) as error:
            raise self._failed(error) from error

    def has(self, name: str) -> bool:
        """Whether a unit is there, whole."""
        try:
            [found] = self._files.get_file_info([f"{self._root}/{name}/{UNIT_FILE}"])
        except OSError as error:
            raise self._failed(error) from error
        return bool(found.type == fs.FileType.File)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder to make units in, gone at the end of the block; beside them where that is."""
        if self.local is not None:
            try:
                self.local.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._failed(error) from error
        with scratch(self.local) as place:
            yield place

    def put(self, made: Path, name: str) -> None:
        """Put a unit in place, all of it at once; one that is there by now stays.

        A rename shows it, or, where there are none, unit.json, which comes last.

        Args:
            made: its folder, in the block of ``scratch``.
            name: RunUnit.name.

        Raises:
            OutputError: it cannot be written there.
        """
        try:
            if self.local is None:
                if not self.has(name):
                    self._files.create_dir(f"{self._root}/{name}", recursive=True)
                    last = (made / UNIT_FILE).rename(made.parent / UNIT_FILE)
                    self._copy(made, name)
                    self._copy(last, f"{name}/{UNIT_FILE}")
                return
            place = self.local / name
            place.parent.mkdir(exist_ok=True)
            try:
                made.rename(place)
            except OSError:
                if not self.has(name):
                    raise
        except OSError as error:
            raise self._failed(error) from error

    def _copy(self, made: Path, name: str) -> None:
        """Copy a file or a folder to where there are no renames."""
        fs.copy_files(
            str(made),
            f"{self._root}/{name}",
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=self._files,
        )

    def fetched(self, name: str, into: Path) -> Path:
        """The folder of a unit in a file system of this machine; copied where it is not.

        Args:
            name: RunUnit.name.
            into: a folder for the copy, which may have been made already.

        Raises:
            OutputError: it cannot be reached.
        """
        if self.local is not None:
            return self.local / name
        place = into / name
        if place.is_dir():
            return place
        place.mkdir(parents=True)
        try:
            fs.copy_files(
                f"{self._root}/{name}",
                str(place),
                source_filesystem=self._files,
                destination_filesystem=fs.LocalFileSystem(),
            )
        except OSError as error:
            raise self._failed(error) from error
        return place

    def names(self) -> list[str]:
        """Names of the units that are there, whole or not, in order.

        Raises:
            OutputError: there is no such folder, or it cannot be read.
        """
        if self.local is not None and not self.local.exists():
            raise OutputError(
                f"{self.where}: no such folder; allocsim replay --units DIR makes one"
            )
        try:
            found = [
                f"{trace}/{settings}"
                for trace in self._below("", TRACE)
                for settings in self._below(f"/{trace}", SETTINGS)
            ]
        except OSError as error:
            raise self._failed(error) from error
        return found

    def _below(self, where: str, begins: str) -> list[str]:
        infos = self._files.get_file_info(fs.FileSelector(f"{self._root}{where}"))
        names = [os.path.basename(info.path.rstrip("/")) for info in infos]  # noqa: PTH119 - no path
        return sorted(name for name in names if name.startswith(begins))

    def _failed(self, error: Exception) -> OutputError:
        if self.local is not None and self.local.is_file():
            return OutputError(f"{self.where}: a file, where a folder is needed")
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        return OutputError(f"{self.where}: {reason}")
