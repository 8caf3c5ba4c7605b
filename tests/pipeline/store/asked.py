"""Asking a results database within this process, one statement at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.store.query import asking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.store.asking.trace_sets import RunEvents


@contextmanager
def answer(
    db: Path, sql: str, runs: Sequence[RunEvents] = ()
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Column names and rows of one statement."""
    with asking(db, None, runs) as asked:
        assert asked.statements(sql) == 1
        found = asked.answer(0)
        yield found.names, found.rows
