"""On a full disk: what the message says is in the database is in it, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from pipeline.synth.spec.changes import changed
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.spec.patterns import read_spec
from pipeline.synth.write import write_trace_set
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

#: allocsim, on a disk that is full as soon as a function of a module is called.
FULL = """
import importlib, resource, sys
module, name = sys.argv.pop(1).split(":")
module = importlib.import_module(module)
works = getattr(module, name)
def full(*args, **more):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    return works(*args, **more)
setattr(module, name, full)
from pipeline.cli import main
main()
"""
BEGINNING = "pipeline.replay.recorded:add_recorded"
BETWEEN = "pipeline.replay.recorded:add_simulated"
IN_SWEEP = "pipeline.replay.units.sweeps:_add"
NEVER = "shutil:chown"
#: Of a fit: what it makes on the way, in TMPDIR.
IN_FIT = [
    f"pipeline.fitting.fit:{name}"
    for name in ("without_page_refs", "replay_trace", "observe", "write_trace_set")
]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = read_spec("producer-consumer")
    spec = changed(parse_spec(text, "x"), events=20_000)
    return write_trace_set(spec, text, tmp_path_factory.mktemp("sets"))


def allocsim(when: str, *args: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", FULL, when, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1] if done.stderr else ""


def runs(db: Path) -> list[tuple[int, str]]:
    if not db.exists():
        return []
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute("SELECT run, placement FROM runs ORDER BY run").fetchall()


def test_what_is_said_to_be_in_is_in(trace: Path, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    no_room = f"allocsim: {db}: file too large; what was being added is not in it"
    assert allocsim(BEGINNING, "replay", trace, "--db", db) == (1, no_room)
    assert not db.exists()
    assert allocsim(BETWEEN, "replay", trace, "--db", db) == (
        1,
        f"{no_room}; added to {db} before that: run 1",
    )
    assert runs(db) == [(1, "recorded")]
    assert allocsim(BETWEEN, "replay", trace, "--db", db) == (1, no_room)
    assert runs(db) == [(1, "recorded")]
    assert allocsim(NEVER, "replay", trace, "--db", db) == (
        0,
        "run 1: there already, not added again (--again adds)",
    )
    assert runs(db) == [(1, "recorded"), (2, "simulated")]


def test_of_several_traces_the_others_are_in(trace: Path, tmp_path: Path) -> None:
    db, bad = tmp_path / "results.duckdb", tmp_path / "bad"
    bad.mkdir()
    (bad / "meta.json").write_text("{}")
    code, said = allocsim(NEVER, "replay", trace, bad, "--db", db)
    assert code == 1
    assert said.startswith(f"allocsim: {bad}")
    assert runs(db) == [(1, "recorded"), (2, "simulated")]


def test_a_sweep_says_that_it_goes_on(trace: Path, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    sweep = ("sweep", trace, "--vary", "sheaf.capacity=12,24", "--jobs", "1", "--db", db)
    code, said = allocsim(IN_SWEEP, *sweep)
    assert code == 1
    assert said.startswith(f"allocsim: {db}: file too large; what was being added is not in it;")
    assert said.endswith("; what was done is stored: run the same command again")
    assert runs(db) == [(1, "recorded")]
    assert allocsim(NEVER, *sweep)[0] == 0
    assert runs(db) == [(1, "recorded"), *((run, "simulated") for run in (2, 3, 4))]


@pytest.mark.parametrize("when", IN_FIT)
def test_a_fit_says_where_there_is_no_room(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    spec = tmp_path / "spec.toml"
    code, said = allocsim(when, "fit", ROOT / "traces" / "7.2p-hackbench-gt", "-o", spec)
    assert code == 1
    assert said.startswith("allocsim: ")
    assert "ile too large" in said
    assert not spec.exists()
    assert not list(temporary.iterdir())
