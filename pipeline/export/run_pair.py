"""Which run is exported: a recorded one, and the simulated one whose model is shown with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import StoreError, UsageError
from reports.queries import every_run, recorded_run, rows
from reports.render.wording import joined_numbers

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class RunPair:
    """A recorded run, and one simulated of it.

    Args:
        recorded: its number.
        model: number of the simulated one; None: there is none.
        trace: name of the trace set.
        first_ts: ns, time of the first event.
        last_ts: ns, time of the last event.
    """

    recorded: int
    model: int | None
    trace: str
    first_ts: int
    last_ts: int


def run_pair(connection: duckdb.DuckDBPyConnection, number: int | None) -> RunPair:
    """The run of this number and what belongs to it.

    Args:
        connection: a results database, for reading.
        number: of a recorded run, with which comes the latest one simulated of it as it was; or of
            a simulated one. None: the only recorded one.

    Raises:
        UsageError: there is no such run, or more than one.
        StoreError: there is none at all.
    """
    every = every_run(connection)
    recorded = [row["run"] for row in every if row["placement"] == "recorded"]
    if not recorded:
        raise StoreError("the database holds no run yet; add one with: allocsim replay TRACE")
    if number is None:
        if len(recorded) > 1:
            raise UsageError(
                f"the database has runs {joined_numbers(recorded)}; say which one with --run"
            )
        [number] = recorded
    run = recorded_run(every, number)
    if run is None:
        known = joined_numbers([row["run"] for row in every])
        raise UsageError(f"--run {number}: not in the database, which has {known}")
    model = number if number != run["run"] else _latest_model(connection, number)
    return RunPair(run["run"], model, run["trace"], run["first_ts"], run["last_ts"])


def _latest_model(connection: duckdb.DuckDBPyConnection, recorded: int) -> int | None:
    """The latest run simulated of a recorded one as it was whose events are stored."""
    query = """
        SELECT max(run) AS run FROM runs
        WHERE of_run = $recorded AND what_if IS NULL
            AND EXISTS (FROM placed_events WHERE placed_events.run = runs.run)
    """
    [found] = rows(connection, query, recorded=recorded)
    return None if found["run"] is None else int(found["run"])
