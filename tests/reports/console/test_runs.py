"""What replay, sweep and validate print besides their tables."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from allocsim.recording.requests import LEFT_OUT
from reports.console.runs import print_losses, print_swept
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
    small.execute(
        "UPDATE runs SET placement = 'simulated', of_run = 1, settings = '{}', profile = '7'"
    )

    def printed(**counts: int) -> str:
        small.execute("DELETE FROM quality_counts")
        for name, value in (dict.fromkeys(LEFT_OUT, 0) | counts).items():
            small.execute("INSERT INTO quality_counts VALUES (1, ?, ?)", [name, value])
        out = StringIO()
        print_swept(small, [1], out, by_cache=False)
        return out.getvalue()

    assert "left out of" not in printed(recorded_requests=1000)
    told = printed(recorded_requests=1000, frees_of_unsized_cache=1, frees_left_out=20)
    said = " ".join(told.partition("left out of ")[2].split())
    assert said.startswith(
        "small: 21 of 1,000 requests (2.10 %): 20 frees of such objects; 1 free "
    )
    assert max(map(len, told.splitlines())) <= 100
