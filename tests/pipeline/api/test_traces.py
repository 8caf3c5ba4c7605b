"""What was recorded, as a frame: the trace set's own Parquet, with names of events."""

from __future__ import annotations

import gc
import json
import tempfile
from typing import TYPE_CHECKING

import polars as pl
import pytest
from pyarrow import parquet

import allocsim
from allocsim.trace.events import EVENT_NAMES
from pipeline.commands.info import info
from tests.conftest import FAULTS
from tests.pipeline.api.conftest import TRACE

if TYPE_CHECKING:
    from pathlib import Path


def test_the_events_are_those_of_the_file() -> None:
    table = parquet.read_table(TRACE / "events.parquet")
    frame = allocsim.read_trace(TRACE)
    events = frame.collect()
    assert events.columns == table.column_names
    for name in table.column_names:
        recorded = table[name].to_pylist()
        if name == "event":
            recorded = [EVENT_NAMES[code] for code in recorded]
        assert events[name].to_list() == recorded, name
    frees = frame.filter(pl.col("event") == "kfree").select(pl.len()).collect().item()
    assert frees == json.loads((TRACE / "meta.json").read_text())["events"]["kfree"]


def test_a_recording_is_there_as_long_as_its_frame(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    frame = allocsim.read_trace(FAULTS / "named_at_free.dat")
    assert len(list(tmp_path.iterdir())) == 1
    count = frame.select(pl.len()).collect().item()
    assert count == sum(allocsim.info(FAULTS / "named_at_free.dat").meta["events"].values())
    assert frame.filter(pl.col("cpu") == 0).head(1).select("event").collect().height == 1
    del frame
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_of_a_trace_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    info(TRACE)
    found = allocsim.info(TRACE)
    assert found.text() == capsys.readouterr().out
    assert found.meta == json.loads((TRACE / "meta.json").read_text())


def test_a_damaged_trace_is_told(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(allocsim.InputError):
        allocsim.read_trace(tmp_path)
