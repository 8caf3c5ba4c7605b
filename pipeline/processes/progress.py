"""Progress of long work on stderr: a bar where somebody watches, nothing where nobody does."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.processes import signals
from pipeline.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as Bars


class Progress:
    """Where the steps of a piece of work are shown.

    Args:
        bars: what draws them; None: nothing is drawn.
    """

    def __init__(self, bars: Bars | None = None) -> None:
        self._bars = bars

    def step(self, what: str) -> Callable[[float], None]:
        """Begin a step; the function returned takes the part of it that is done, 0 to 1."""
        bars = self._bars
        if bars is None:
            return lambda _: None
        from rich.markup import escape  # noqa: PLC0415

        task = bars.add_task(escape(printable(what)), total=1.0)
        return lambda part: bars.update(task, completed=part)


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress on stderr while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    # Only who sees a bar waits for rich.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    # A terminal without its cursor is something to undo.
    with signals.undoing(), Bars(console=Console(stderr=True), transient=True) as bars:
        yield Progress(bars)
