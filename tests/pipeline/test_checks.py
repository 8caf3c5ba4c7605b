"""allocsim hazards and allocsim validate: what they print, and their exit codes."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import duckdb
import pytest
from pyarrow import parquet

from allocsim.trace.events import Ev
from pipeline.ingest.recording import import_recording
from tests.conftest import RECORDINGS
from tests.pipeline.test_cli import ENVIRONMENT, allocsim
from tests.planted import page_ref, plant

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording = RECORDINGS / "6.12p-hackbench-gt"
    if not recording.is_dir():
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    return import_recording(recording, tmp_path_factory.mktemp("traces"))


def with_page_table_referenced(trace: Path, folder: Path) -> Path:
    """The trace set with one reference taken on the first user page table it allocates."""
    columns = ["event", "pfn", "gfp_flags"]
    rows = parquet.read_table(trace / "events.parquet", columns=columns).to_pylist()
    gfp_pgtable_user = 0x440DC0  # 6.12 and 7.2
    birth = next(
        number
        for number, row in enumerate(rows)
        if row["event"] == Ev.MM_PAGE_ALLOC and row["gfp_flags"] == gfp_pgtable_user
    )
    taken = page_ref(Ev.PAGE_REF_MOD, rows[birth]["pfn"], 1, count=2)
    return plant(trace, folder, [(birth + 1, taken)])


SILENT = "who only reads a count fires no event (view count_readers)"


def run(*args: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        allocsim(*args), capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    return done.returncode, done.stdout, done.stderr


def test_a_clean_recording_has_no_hazards(trace: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.duckdb"
    code, out, err = run("hazards", trace, "--db", kept, "--format", "json")
    assert (code, json.loads(out)) == (0, [])
    assert err == f"linux-7.2 breaks none of these callers; {SILENT}\n"
    with duckdb.connect(kept, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]


def test_a_policy_that_breaks_a_caller_ends_in_1(trace: Path, tmp_path: Path) -> None:
    planted = with_page_table_referenced(trace, tmp_path)
    code, out, err = run("hazards", planted, "--policy", "frozen-page-tables")
    assert code == 1
    assert err == f"frozen-page-tables breaks 1 of these callers; {SILENT}\n"
    head, _, row = out.splitlines()
    assert head.split()[:3] == ["trace", "rule", "outcome"]
    assert row.split()[:3] == [f"{trace.name}-planted", "H5", "predicted"]
    assert run("hazards", planted)[0] == 0, "linux-7.2 leaves page tables alone"


def test_validate_prints_stores_and_ends_in_0(trace: Path, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    code, out, err = run("validate", trace, "--db", db, "--format", "json")
    assert code == 0, out
    rows = json.loads(out)
    assert f"{len(rows)} comparisons" in err
    exact = [row for row in rows if row["quantity"] == "page_ref_locked" and row["scope"] == "slab"]
    assert [(row["kernel"], row["model"], row["ok"]) for row in exact] == [(525, 525, True)]
    with duckdb.connect(db, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM validation").fetchall() == [(len(rows),)]


def test_validate_ends_in_1_where_kernel_and_model_part(trace: Path, tmp_path: Path) -> None:
    planted = with_page_table_referenced(trace, tmp_path)
    code, out, _ = run("validate", planted, "--db", tmp_path / "r.duckdb", "--format", "json")
    assert code == 1
    beyond = {(row["quantity"], row["scope"]) for row in json.loads(out) if row["ok"] is False}
    assert beyond == {
        ("page_ref_locked", "page_table"),
        ("page_ref_locked_per_life", "page_table"),
    }


def test_without_page_ref_events_hazards_are_not_known() -> None:
    recording = RECORDINGS / "6.12-hackbench"
    if not recording.is_dir():
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    code, out, err = run("hazards", recording)
    assert (code, out) == (1, "")
    assert err.startswith("allocsim: 6.12-hackbench: has no page_ref events")
    assert err.count("\n") == 1
