"""What replay, sweep and validate print besides their tables."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from allocsim.recording.requests import LEFT_OUT
from reports.sections.console import print_losses, print_placements
from reports.sections.placement.left_out import REASONS

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


def test_what_is_left_out_is_said_with_its_share_and_why(small: DuckDBPyConnection) -> None:
    assert tuple(REASONS) == LEFT_OUT
    small.execute("UPDATE runs SET placement = 'simulated', of_run = 1, settings = '{}'")

    def printed(**counts: int) -> str:
        small.execute("DELETE FROM quality_counts")
        for name, value in (dict.fromkeys(LEFT_OUT, 0) | counts).items():
            small.execute("INSERT INTO quality_counts VALUES (1, ?, ?)", [name, value])
        out = StringIO()
        print_placements(small, [1], out)
        return out.getvalue()

    table = printed(recorded_requests=1000)
    header, values = (line.split() for line in (table.splitlines()[0], table.splitlines()[2]))
    assert {"left_out", "left_out_pct"} <= set(header)
    assert "left out of" not in table
    assert {"0", "0.0"} <= set(values)
    told = printed(recorded_requests=1000, frees_of_unsized_cache=5, frees_left_out=20)
    assert "left out of small: 25 of 1,000 requests (2.50\u202f%): 20 frees of such" in told
    assert "; 5 frees of objects older than the" in " ".join(told.split())
    assert max(map(len, told.partition("left out of ")[2].splitlines())) <= 100
