"""What the README shows is what a user gets."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench import tradeoff_figure
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text("utf-8")


def allocsim(*arguments: str) -> str:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def asked(db: Path, sql: str) -> list[str]:
    """Rows of a query, a line of CSV each."""
    found = allocsim("sql", "--db", str(db), "--format", "csv", sql)
    return [row.strip('"') for row in found.splitlines()[1:]]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme") / "results.duckdb"


@pytest.mark.slow
def test_the_answer_it_opens_with(db: Path) -> None:
    shown = re.search(r'\$ allocsim sql "(.*?)"\n(.*?)```', README, re.DOTALL)
    assert shown is not None
    sql, answer = shown.groups()
    allocsim("replay", "--placement", "recorded", "--db", str(db), "traces/6.12p-hackbench-gt")
    assert allocsim("sql", "--db", str(db), sql) == answer


@pytest.mark.slow
def test_the_sweep_it_shows(db: Path) -> None:
    command = re.search(r"`allocsim (sweep traces/\S+ --vary sheaf\S+)`:\n", README)
    assert command is not None
    allocsim(*command[1].split(), "--db", str(db))
    rows = asked(
        db,
        "select concat_ws(' | ', capacity, format('{:.1f} %', fastpath_pct),"
        " format('{:,}', refills), format('{:,}', flushes), format('{:,}', barn_traffic),"
        " slab_allocs) as cells from (select *, (settings->>'$.\"sheaf.capacity\"')::int as"
        " capacity from placement_summary) where capacity is not null order by capacity",
    )
    shown = re.findall(r"^\| (\d+ \| \d.*) \|$", README, re.MULTILINE)
    assert shown == rows


@pytest.mark.slow
def test_the_two_generations_of_slub_it_shows(db: Path) -> None:
    command = re.search(r"`allocsim (sweep traces/\S+ --vary kernel\S+)`:\n", README)
    assert command is not None
    allocsim(*command[1].split(), "--db", str(db))
    rows = asked(
        db,
        "select concat_ws(' | ', format('{:.1f} %', fastpath_pct),"
        " format('{:,}', freelist_cmpxchg), format('{:,}', frees_to_slabs),"
        " format('{:,}', list_locks), slab_allocs) as cells from placement_summary"
        " where settings->>'kernel' is not null order by settings->>'kernel'",
    )
    shown = re.findall(r"^\| (?:6\.12|7\.2): .*? \| (.*) \|$", README, re.MULTILINE)
    assert shown == rows
    made = re.search(r"The kernel itself made (\d+) slabs there", README)
    assert made is not None
    recorded = (
        "select distinct recorded_slab_allocs from placement_summary where settings->>'kernel'"
    )
    assert asked(db, f"{recorded} is not null") == [made[1]]


@pytest.mark.slow
def test_the_comparison_it_shows() -> None:
    shown = re.search(r"\$ allocsim (compare .*)\n((?:.*\n)*?)```", README)
    assert shown is not None
    assert allocsim(*shown[1].split()) == shown[2]


@pytest.mark.slow
def test_the_figure_it_shows_is_what_is_drawn(tmp_path: Path) -> None:
    assert f"({tradeoff_figure.FIGURE.relative_to(ROOT)})" in README
    assert f"--vary {tradeoff_figure.VARIED}`" in README
    drawn = tradeoff_figure.drawn(tmp_path / "results.duckdb")
    assert tradeoff_figure.FIGURE.read_text("utf-8") == drawn, "python bench/tradeoff_figure.py"


def test_the_exactness_it_opens_with_is_that_of_the_validation() -> None:
    said = " ".join(README.split())
    measured = (ROOT / "bench" / "VALIDATION.md").read_text("utf-8")
    [told] = re.findall(
        r"([\d,]+) of ([\d,]+) checks that could fail, on (\d+) recordings, are within", said
    )
    [(checks, recordings, within)] = re.findall(
        r"\*\*([\d,]+) checks that could fail on (\d+) recordings: ([\d,]+) within", measured
    )
    assert told == (within, checks, recordings)
    by_kind = measured.partition("## Reference operations")[2].partition("\n\nEvery other kind")[0]
    pairs = re.findall(r"([\d,]+) of ([\d,]+)", by_kind)
    assert all(model == kernel.rstrip(",") for model, kernel in pairs)
    assert f"on all {len(re.findall('^. [67]', by_kind, re.MULTILINE))} recordings" in said
    slab, tables = re.findall(r"([\d,]+ of [\d,]+) on (?:slab pages|page tables)", said)
    assert f"{slab} | none, none | 602 of 602, {tables} |" in by_kind
    made = re.findall(r"([\d,]+) (?:slabs )?where (?:the kernel|it) made ([\d,]+) \((.+?)\)", said)
    assert len(made) == 2
    assert all(f"{kernel} / {model} ({error})" in measured for model, kernel, error in made)


@pytest.mark.slow
def test_the_pattern_it_sweeps(db: Path) -> None:
    shown = re.search(
        r"`allocsim (synth \S+)` makes.*?: ([\d,]+) flushes with a capacity of (\d+), "
        r"([\d,]+)\s+with (\d+),\s+(\d+) with (\d+)\.",
        README,
        re.DOTALL,
    )
    assert shown is not None
    made, *numbers = shown.groups()
    wanted = {int(numbers[at + 1]): int(numbers[at].replace(",", "")) for at in (0, 2, 4)}
    allocsim(*made.split(), "-o", str(db.parent))
    trace = str(db.parent / made.split()[1])
    varied = f"sheaf.capacity={','.join(map(str, wanted))}"
    allocsim("sweep", trace, "--vary", varied, "--db", str(db))
    rows = asked(
        db,
        "select (settings->>'$.\"sheaf.capacity\"')::int, flushes from placement_summary"
        " where trace = 'producer-consumer' and settings != '{}'",
    )
    found = dict(map(int, row.split(",")) for row in rows)
    assert found == wanted
