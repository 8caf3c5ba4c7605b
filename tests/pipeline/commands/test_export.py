"""allocsim export: what it writes, says and refuses."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline.cli.typer_app import typer_app
from pipeline.errors import UsageError
from pipeline.store.adding import writing
from tests.conftest import ROOT
from tests.oracle.protobuf import perfetto
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def db(tmp_path: Path, add_run: Callable[..., None]) -> Path:
    """Runs 1 and 2, recorded; 3 is simulated of 2, without events."""
    path = tmp_path / "results.duckdb"
    with writing(path) as connection:
        add_run(connection, 1, "first")
        add_run(connection, 2, "second")
        insert(connection, "runs", run=3, trace_id=2, placement="simulated", of_run=2)
    return path


def export(*words: str | Path) -> tuple[str, str]:
    result = CliRunner().invoke(typer_app(), ["export", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, result.stderr


def test_a_run_is_named_where_there_are_several(db: Path) -> None:
    with pytest.raises(
        UsageError, match=r"the database has runs 1 and 2; say which one with --run"
    ):
        export("folded", "--db", db)
    with pytest.raises(UsageError, match=r"--run 7: not in the database, which has 1–3"):
        export("folded", "--db", db, "--run", "7")
    out, said = export("folded", "--db", db, "--run", "2", "--weight", "objects-allocated")
    # 64 + 64 of one cache, 192 of the other (tests/reports/conftest.py).
    assert sum(int(line.rpartition(" ")[2]) for line in out.splitlines()) == 320
    assert said == "objects: bytes allocated\n320 bytes\n"
    assert export("folded", "--db", db, "--run", "3", "--weight", "objects-allocated")[0] == out


def test_files_are_written_whole_and_replaced_when_told(db: Path, tmp_path: Path) -> None:
    trace = tmp_path / "of.pftrace"
    words = ("perfetto", "--db", db, "--run", "1", "-o", trace, "--lives", "1 ns")
    said = export(*words)[0].splitlines()
    assert said[:2] == [str(trace), "first, run 1, which was not simulated"]
    tracks = perfetto(trace.read_bytes())
    assert said[2].startswith(f"{sum(track.unit is not None for track in tracks)} counters, ")
    assert said[2].endswith(" lives of 1 ns and longer")
    with pytest.raises(Exception, match="already there; --force replaces it"):
        export(*words)
    before = trace.read_bytes()
    with pytest.raises(UsageError, match=r"--run 9"):
        export("perfetto", "--db", db, "--run", "9", "-o", trace, "--force")
    assert trace.read_bytes() == before
    export(*words, "--force")
    assert trace.read_bytes() == before
    with pytest.raises(Exception, match="exists and is not Parquet of allocsim export"):
        export("parquet", "runs", "--db", db, "-o", trace, "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["of.pftrace", "results.duckdb"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--step", "0 ms"), r"--step '0 ms': longer than nothing"),
        (("--step", "fast"), r"--step 'fast': a number and one of ns, us, ms, s is wanted"),
        (("--lives", "1"), r"--lives '1': a number and one of ns, us, ms, s is wanted"),
    ],
)
def test_times_that_are_none_are_refused(
    db: Path, tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        export("perfetto", "--db", db, "--run", "1", "-o", tmp_path / "x", *words)


def test_bytes_are_not_written_to_a_terminal(db: Path) -> None:
    outer, inner = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "export", "parquet", "runs", "--db", db, "-o", "-"],
        stdout=inner, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    os.close(inner)
    os.close(outer)
    assert done.returncode == 2
    assert "not for a terminal; name a file with -o, or pipe it" in done.stderr
