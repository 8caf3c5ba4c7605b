"""The recordings of the pages are those that their code makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.pipeline.docs.made_recordings import FOLDER, flight_recorder, instances, two_clocks

if TYPE_CHECKING:
    from pathlib import Path


def test_they_are_as_shipped(tmp_path: Path) -> None:
    assert (FOLDER / "instances.dat").read_bytes() == instances()
    assert (FOLDER / "flight-recorder.dat").read_bytes() == flight_recorder()
    two_clocks(tmp_path / "made")
    for table in sorted((tmp_path / "made").glob("*.parquet")):
        assert pl.read_parquet(table).equals(pl.read_parquet(FOLDER / "two-clocks" / table.name))


def test_the_one_of_two_clocks_says_so_and_the_same_of_one_does_not(tmp_path: Path) -> None:
    trace = TraceSet.open(import_recording(FOLDER / "two-clocks", tmp_path / "sets"))
    [pair] = trace.meta["two_clocks"]["pairs"]
    assert (pair["cpu"], pair["of"]) == (1, 0)
    assert abs(pair["by"] - 500_000_000) < 5_000_000
    two_clocks(tmp_path / "one", behind=0)
    assert (
        "two_clocks"
        not in TraceSet.open(import_recording(tmp_path / "one", tmp_path / "sets")).meta
    )
