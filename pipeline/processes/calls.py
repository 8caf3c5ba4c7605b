"""A call that is made elsewhere, and what makes such calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator


class WorkerEndedError(Exception):
    """The process that made a call was ended from outside, or its machine is gone."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that was made.

    Args:
        key: what it was submitted as.
        result: what it returned.
        error: what it raised, or a WorkerEndedError; None: nothing.
    """

    key: Hashable
    result: Any = None
    error: Exception | None = None


class Executor(Protocol):
    """What makes calls elsewhere.

    Attributes:
        size: how many it makes at a time.
    """

    size: int

    def submit(self, key: Hashable, function: Callable[..., object], *given: object) -> None:
        """Have a call made; what is given to it, and what it returns, can be pickled."""

    def completed(self) -> Iterator[Finished]:
        """The calls as they are done, until none is left; others may be submitted meanwhile."""

    def close(self) -> None:
        """Give up what is not done."""
