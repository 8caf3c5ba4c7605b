"""What replay, sweep and validate print besides their tables."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from reports.sections.console import print_losses

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def test_losses_are_told_for_each_trace_that_has_any(small: DuckDBPyConnection) -> None:
    def printed(events: int, gaps: int) -> str:
        small.execute("UPDATE traces SET lost_events = ?, lost_gaps = ?", [events, gaps])
        out = StringIO()
        print_losses(small, [1], out)
        return out.getvalue()

    assert printed(0, 0) == ""
    assert printed(1017434, 0) == "lost: 1,017,434 events of small: counts are lower bounds\n"
    assert printed(0, 1) == (
        "lost: 0 events and 1 gap of unknown size of small: counts are lower bounds\n"
    )
