"""Damaged inputs: a corpus of those that once failed, and others anew with a fixed seed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fuzz.inputs import ran
from tests.fuzz.readers import BYTE_READERS, TARGETS
from tests.fuzz.worker import BYTES, SCRATCH, read_all
from tests.pipeline.ingest.test_damage import limited

CORPUS = Path(__file__).parent / "corpus"
RUNS, RUNS_OF_BYTES = 30, 200  # inputs of a kind
_SAME_EACH_TIME = 1


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_once_failed_is_one_line(path: Path) -> None:
    commands = ran(path)
    assert [one.fault() for _, one in commands] == [None] * len(commands)
    assert commands[-1][1].code in (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_refused_or_read(target: str) -> None:
    runs = range(RUNS_OF_BYTES if target in BYTE_READERS else RUNS)
    with TemporaryDirectory(dir=SCRATCH) as work, limited(seconds=120, memory=2 * BYTES):
        found = list(read_all(target, _SAME_EACH_TIME, runs, Path(work)))
    assert [line["trace"] for line in found if "failed" in line] == []
    assert len(found) == len(runs)
