"""A trace may be given as a trace set or as the recording it is made from."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay.recorded import replay_trace
from pipeline.replay.trace_source import must_exist, opened

if TYPE_CHECKING:
    from pathlib import Path

NAME = "7.3-hackbench"


@pytest.mark.slow
@pytest.mark.parametrize("recording", [NAME], indirect=True)
def test_a_recording_is_as_good_as_its_trace_set(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = import_recording(recording, tmp_path / "made")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for given in (made, recording, recording / "trace.dat"):
        with opened(given, Progress()) as trace:
            assert trace.meta["name"] == NAME
            assert trace.rows == sum(trace.meta["events"].values())
        assert list(scratch.iterdir()) == []
    assert made.is_dir()


@pytest.mark.parametrize("recording", [NAME], indirect=True)
@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("meta.json", {"direct_map": None}, "direct_map is 'None'"),
        ("meta.json", {"lost": {"per_cpu": {}}}, "lost.sources is missing"),
        ("meta.json", {"cpus": "two"}, "cpus is 'two'"),
        ("events.parquet", {"event": 77}, f"event 77 is out of range, 0 to {max(Ev)}"),
        ("stacks.parquet", {"depth": "deep"}, "column depth is string, should be i2"),
        ("symbols.parquet", {"address": None}, "missing address; found symbol, offset, module"),
    ],
)
def test_a_trace_set_that_was_tampered_with_is_one_line(
    recording: Path, tmp_path: Path, file: str, change: dict[str, Any], says: str
) -> None:
    path = import_recording(recording, tmp_path) / file
    if file == "meta.json":
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    else:
        ((name, value),) = change.items()
        table = parquet.read_table(path)
        kept = table.drop_columns(name)
        if value is not None:
            kept = kept.append_column(name, _like(table[name].type, value, table.num_rows))
        parquet.write_table(kept, path)
    with pytest.raises(InputError) as caught, opened(path.parent, Progress()) as trace:
        replay_trace(trace, tmp_path / "results.duckdb", [])
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "results.duckdb").exists()


@pytest.mark.parametrize("recording", [NAME], indirect=True)
def test_any_damage_to_the_events_is_found(recording: Path, tmp_path: Path) -> None:
    path = import_recording(recording, tmp_path) / "events.parquet"
    whole = path.read_bytes()
    dice = random.Random(1)  # noqa: S311 - not a secret
    for damage in range(60):
        content = bytearray(whole)
        for _ in range((1, 64)[damage % 2]):
            content[dice.randrange(len(content))] ^= dice.randrange(1, 256)
        if damage % 3 == 0:
            del content[dice.randrange(len(content)) :]
        path.write_bytes(content)
        with pytest.raises(InputError) as caught, opened(path.parent, Progress()) as trace:
            list(trace.windows())
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def _like(kind: pa.DataType, value: object, rows: int) -> pa.Array:
    return pa.array([value] * rows, pa.string() if isinstance(value, str) else kind)


def test_nothing_there_is_one_line(tmp_path: Path) -> None:
    for check in (must_exist, lambda path: opened(path, Progress()).__enter__()):
        with pytest.raises(InputError, match=r"gone: no such trace set or recording"):
            check(tmp_path / "gone")
