"""allocsim hazards and allocsim validate: what they print, and their exit codes."""

from __future__ import annotations

import json
import re
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

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording = RECORDINGS / "6.12p-hackbench-gt"
    if not recording.is_dir():
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    return import_recording(recording, tmp_path_factory.mktemp("traces"))


def with_page_table_referenced(trace: Path, folder: Path) -> Path:
    """The trace set with one reference taken on the first user page table it allocates."""
    birth = _user_page_table(trace)
    pfn = parquet.read_table(trace / "events.parquet", columns=["pfn"])["pfn"][birth].as_py()
    return plant(trace, folder, [(birth + 1, page_ref(Ev.PAGE_REF_MOD, pfn, 1, count=2))])


def _user_page_table(trace: Path) -> int:
    """The row of its allocation."""
    rows = parquet.read_table(trace / "events.parquet", columns=["event", "gfp_flags"]).to_pylist()
    gfp_pgtable_user = 0x440DC0  # 6.12 and 7.2
    return next(
        number
        for number, row in enumerate(rows)
        if row["event"] == Ev.MM_PAGE_ALLOC and row["gfp_flags"] == gfp_pgtable_user
    )


def run(*args: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        allocsim(*args), capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    return done.returncode, done.stdout, done.stderr


def test_a_clean_recording_has_no_hazards(trace: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.duckdb"
    code, out, err = run("hazards", trace, "--db", kept, "--format", "json")
    assert (code, json.loads(out)) == (0, [])
    assert err == ""
    with duckdb.connect(kept, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(1,)]


def test_a_policy_that_breaks_a_caller_ends_in_1(trace: Path, tmp_path: Path) -> None:
    planted = with_page_table_referenced(trace, tmp_path)
    code, out, err = run("hazards", planted, "--policy", "frozen-page-tables")
    assert code == 1
    assert err == ""
    assert out.startswith(
        f"{trace.name}-planted: 1 taker seen that frozen-page-tables breaks (1 touch). Looked"
    )
    [row] = (line.split() for line in out.splitlines() if " page_table  predicted " in line)
    assert row[:5] == ["–", "page_table", "predicted", "1", "1"]
    # The reference is planted at the time of the event behind the allocation.
    times = parquet.read_table(trace / "events.parquet", columns=["ts"])["ts"]
    birth = _user_page_table(trace)
    assert row[5:7] == [f"{(times[birth + 1].as_py() - times[birth].as_py()) / 1000:.3f}", "µs"]
    assert max(map(len, out.splitlines())) <= 100
    code, out, _ = run("hazards", planted)
    assert code == 0, "linux-7.2 leaves page tables alone"
    assert "no caller seen that linux-7.2 breaks. Looked at " in " ".join(out.split())
    both = ("--policy", "linux-7.2", "--policy", "frozen-page-tables")
    code, out, _ = run("hazards", planted, *both)
    assert code == 1
    found = [line for line in out.splitlines() if line.startswith(f"{planted.name}: ")]
    assert [" ".join(line.split()[1:7]) for line in found] == [
        "no caller seen that linux-7.2 breaks.",
        "1 taker seen that frozen-page-tables breaks",
    ]
    _, out, _ = run("hazards", planted, *both, "--format", "json")
    assert [row["policy"] for row in json.loads(out)] == ["frozen-page-tables"]


def test_validate_prints_stores_and_ends_in_0(trace: Path, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    code, out, err = run("validate", trace, "--db", db, "--all", "--format", "json")
    assert code == 0, out
    rows = json.loads(out)
    checks = [row for row in rows if row["standing"] == "within"]
    assert err.startswith(f"verdict: {len(checks)} checks that could fail: {len(checks)} within")
    assert f"counted apart, {len(rows) - len(checks)} rows that cannot fail" in err
    # What cannot fail is not held: shapes of slabs, wide bounds and intervals, no bound.
    assert all((row["ok"] is True) == (row["standing"] == "within") for row in rows)
    exact = [row for row in rows if row["quantity"] == "page_ref_locked" and row["scope"] == "slab"]
    assert [(row["kernel"], row["model"], row["ok"]) for row in exact] == [(525, 525, True)]
    with duckdb.connect(db, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM validation").fetchall() == [(len(rows),)]


def test_validate_prints_the_verdict_first_and_rows_only_where_they_miss(
    trace: Path, tmp_path: Path
) -> None:
    db = tmp_path / "results.duckdb"
    code, few, err = run("validate", trace, "--db", db)
    assert (code, err) == (0, "")
    assert few.startswith("verdict: ")
    assert "\n\n" not in few
    code, all_of_them, _ = run("validate", trace, "--db", db, "--all")
    assert (code, all_of_them[: len(few)]) == (0, few)
    assert re.search(r"^  slab +525 +525 +\+0\.00 % +0  within$", all_of_them, re.MULTILINE)
    planted = with_page_table_referenced(trace, tmp_path)
    code, misses, _ = run("validate", planted, "--db", db)
    assert code == 1
    assert misses.splitlines()[0].endswith(", 2 beyond")
    assert misses.splitlines()[1] == f"  {planted.name}, run 2"
    # Nothing may be off there: that is worse than any share of a bound.
    assert "  beyond 0  page_ref_locked of page_table" in misses
    _, *groups = misses.split("\n\n")
    assert [group.split(",")[0] for group in groups] == [
        *("page_ref_locked", "page_ref_locked_per_life"),
    ]
    assert all("page_table" in group and " beyond\n" in f"{group}\n" for group in groups)
    for text in (few, all_of_them, misses):
        assert max(map(len, text.splitlines())) <= 100


def test_validate_of_a_synthetic_trace_says_that_there_is_nothing_to_check(
    tmp_path: Path,
) -> None:
    made = run("synth", "--list")[1].split()[0]
    assert run("synth", made, "-o", tmp_path / "made")[0] == 0
    [made_set] = (path.parent for path in tmp_path.rglob("meta.json"))
    code, out, _ = run("validate", made_set, "--db", tmp_path / "results.duckdb")
    assert code == 0
    assert out.startswith(
        "verdict: there is nothing to check here: no row that could have failed\n"
    )
    for source in ("page_ref events", "kpageflags", "/sys/kernel/slab", "SLUB_STATS"):
        assert source in out


@pytest.mark.parametrize("content", [b"", b"not a trace at all", b"\x17\x08\x44tracing7\0"])
def test_validate_of_what_is_no_trace_is_one_line_and_1(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.dat"
    path.write_bytes(content)
    code, out, err = run("validate", path, "--db", tmp_path / "results.duckdb")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert str(path) in err
    assert not (tmp_path / "results.duckdb").exists()


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
