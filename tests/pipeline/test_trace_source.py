"""A trace may be given as a trace set or as the recording it is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.progress import Progress
from pipeline.trace_source import must_exist, opened

if TYPE_CHECKING:
    from pathlib import Path

NAME = "7.3-hackbench"


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


def test_nothing_there_is_one_line(tmp_path: Path) -> None:
    for check in (must_exist, lambda path: opened(path, Progress()).__enter__()):
        with pytest.raises(InputError, match=r"gone: no such trace set or recording"):
            check(tmp_path / "gone")
