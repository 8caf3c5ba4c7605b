"""What a command has replayed and simulated, for what it says at its end or with an error."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import AllocsimError, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass
class Done:
    """The runs that were asked for.

    Args:
        runs: their numbers, in order.
        added: those of them that the database did not have before.
        failed: why other ones of them could not be made.
    """

    runs: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    failed: list[AllocsimError] = field(default_factory=list)

    @contextmanager
    def reported(self, db: Path) -> Iterator[None]:
        """In the block, an error says what has been added to the database before it."""
        try:
            yield
        except AllocsimError as error:
            if not self.added:
                raise
            added = named_runs(self.added)
            raise type(error)(f"{error}; added to {db} before that: {added}") from error

    @contextmanager
    def without_the_failed(self, paths: Sequence[Path]) -> Iterator[None]:
        """In the block, an error of one trace of several is noted, and the others go on behind it.

        Args:
            paths: the traces; the error of an only one is raised.
        """
        try:
            yield
        except (InputError, UsageError) as error:
            if len(paths) == 1:
                raise
            self.failed.append(error)


def named_runs(numbers: Sequence[int]) -> str:
    """``run 1``, ``runs 1, 2``."""
    which = "run" if len(numbers) == 1 else "runs"
    return f"{which} {', '.join(map(str, numbers))}"
