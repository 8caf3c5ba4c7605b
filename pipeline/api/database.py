"""The results databases that this process has open, one connection each.

DuckDB refuses a second connection of other settings to a file, and a connection answers one
question at a time. So everybody who asks, in any thread, has a cursor of the one connection; it is
shut while runs are added, and opened anew by the next question.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import duckdb

from pipeline.errors import BusyError, StoreError
from pipeline.store.damage import is_damage, said_of_damage
from pipeline.store.database import reading
from pipeline.store.query import said_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection


class OpenDatabase:
    """A results database: open for questions from the first one on, until nobody has it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RLock()
        self._stack = ExitStack()
        self._connection: DuckDBPyConnection | None = None
        self._holders = 0
        self._questions = 0

    def hold(self) -> None:
        """Take part in keeping it open."""
        with self._lock:
            self._holders += 1

    def give_back(self) -> None:
        """Take part no longer; with the last who does, the file is closed."""
        with self._lock:
            self._holders -= 1
            if not self._holders and not self._questions:
                self._shut()

    @contextmanager
    def asking(self) -> Iterator[DuckDBPyConnection]:
        """A connection of the caller's own, that only reads.

        Raises:
            StoreError: the database cannot be used, or the memory does not suffice.
            UsageError: what is asked is wrong.
        """
        with self._lock:
            if self._connection is None:
                self._connection = self._stack.enter_context(reading(self.path))
            cursor = self._connection.cursor()
            self._questions += 1
        try:
            with self._told():
                yield cursor
        finally:
            cursor.close()
            with self._lock:
                self._questions -= 1
                if not self._holders and not self._questions:
                    self._shut()

    @contextmanager
    def adding(self) -> Iterator[None]:
        """A block in which runs may be added; questions of other threads wait.

        Raises:
            BusyError: one is being answered.
        """
        with self._lock:
            if self._questions:
                raise BusyError(
                    f"{self.path}: this process is reading it; add runs when that is done"
                )
            self._shut()
            yield

    def _shut(self) -> None:
        self._connection = None
        self._stack.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """DuckDB's errors as ours."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise StoreError(
                f"{self.path}: the question needs more memory than it may take; ask for less"
            ) from error
        except duckdb.Error as error:
            if is_damage(error):
                raise StoreError(said_of_damage(self.path)) from error
            raise said_of(error) from error


_open: WeakValueDictionary[Path, OpenDatabase] = WeakValueDictionary()
_open_lock = Lock()


def database(path: Path) -> OpenDatabase:
    """The database of a file; the same for everybody who names that file, in whatever way."""
    key = path.resolve()
    with _open_lock:
        found = _open.get(key)
        if found is None:
            found = _open[key] = OpenDatabase(path)
        return found


@contextmanager
def none_open(paths: Iterable[Path]) -> Iterator[None]:
    """A block in which somebody else opens these files: those that are open here are shut."""
    with ExitStack() as stack:
        for path in sorted({path.resolve() for path in paths}):
            stack.enter_context(database(path).adding())
        yield
