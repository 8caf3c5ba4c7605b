"""A whole report: what it says, and that the PDF says the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.store.schema import TABLES
from reports import queries
from reports.render.document import Answer, Bar, Bullets, Chart, Heading, Table, Text
from reports.render.pdf import render
from reports.render.text import cell_text, to_markdown, to_text
from reports.sections import kinds
from reports.sections.build import build
from tests.reports.conftest import ANON, same_as_golden

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from reports.render.document import Block, Report

    AddRun = Callable[..., None]


def report_on(connection: DuckDBPyConnection) -> Report:
    """The whole report, with its appendix."""
    return build(connection, queries.runs(connection), full=True)


def block_lines(block: Block) -> list[str]:
    match block:
        case Heading():
            return ["", f"== {block.text}"]
        case Text():
            return [block.text]
        case Answer():
            return [f"ANSWER {block.text}", f"  ({block.note})"]
        case Bullets():
            return [f"* {item}" for item in block.items]
        case Chart():
            return [f"FIGURE {block.caption}"]
        case Table():
            rows = [[column.title for column in block.columns]]
            rows += [[cell_text(cell) for cell in row] for row in block.rows]
            return [f"TABLE {block.caption}", *(" | ".join(row) for row in rows)]


def told(report: Report) -> str:
    """Everything a report says, as text."""
    lines = [report.title, report.footer]
    for section in report.sections:
        lines += ["", f"= {section.title}", section.subtitle]
        for block in section.blocks:
            lines += block_lines(block)
    return "\n".join(lines) + "\n"


def pdf_text(pdf: bytes, tmp_path: Path) -> list[str]:
    """The text of each page."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf)
    text = subprocess.run(["pdftotext", "-layout", file, "-"], check=True, capture_output=True)
    return text.stdout.decode().split("\f")[:-1]


def test_the_report_on_the_small_database_reads_as_it_did(small: DuckDBPyConnection) -> None:
    same_as_golden("small.txt", told(report_on(small)))


@pytest.mark.parametrize(("layout", "name"), [(to_text, "report.txt"), (to_markdown, "report.md")])
def test_the_default_report_is_the_golden_file(
    small: DuckDBPyConnection, layout: Callable[[Report], str], name: str
) -> None:
    same_as_golden(name, layout(build(small, queries.runs(small))))


@pytest.mark.slow
def test_the_same_database_gives_the_same_bytes(small: DuckDBPyConnection) -> None:
    assert render(report_on(small)) == render(report_on(small))


@pytest.mark.slow
def test_the_pdf_holds_the_text_of_tables_and_figures(
    small: DuckDBPyConnection, tmp_path: Path
) -> None:
    report = report_on(small)
    pages = pdf_text(render(report), tmp_path)
    squeezed = re.sub(r"\s+", "", "".join(pages))
    for section in report.sections:
        assert re.sub(r"\s+", "", section.title) in squeezed
        for block in section.blocks:
            words = [block.caption] if isinstance(block, Table | Chart) else []
            if isinstance(block, Table):
                words += [cell_text(c) for row in block.rows for c in row if not isinstance(c, Bar)]
            for text in words:
                assert all(re.sub(r"\s+", "", word) in squeezed for word in text.split())
    assert f"1 of {len(pages)}" in pages[0]
    assert "lockedreference-countinstructions" in re.sub(r"\s+", "", pages[0])
    assert any("since the first event" in page for page in pages)


@pytest.mark.slow
def test_a_name_is_never_read_as_markup_or_mathematics(
    empty: DuckDBPyConnection, add_run: AddRun, tmp_path: Path
) -> None:
    name = r"#strong[x] $a_b$ *c* @d <e> `f` \g // h"
    add_run(empty, 1, name)
    pages = pdf_text(render(report_on(empty)), tmp_path)
    assert re.sub(r"\s+", "", name) in re.sub(r"\s+", "", pages[0])
    assert r"alloc_skb#$_*@\+0x1c" in "".join(pages)


@pytest.mark.slow
def test_several_runs_have_an_overview_and_a_section_each(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    add_run(empty, 1, "one")
    long = "a-trace-with-a-name-that-is-longer-than-any-table-would-have-it"
    add_run(empty, 2, long, stacks=False)
    report = report_on(empty)
    assert [section.title for section in report.sections[:3]] == [
        "allocsim report: 2 replays",
        "one",
        long,
    ]
    [table] = [block for block in report.sections[0].blocks if isinstance(block, Table)]
    assert [cell_text(row[-3]) for row in table.rows] == ["28.57\u202f%"] * 2
    assert "no kernel stacks were recorded" in told(report)
    assert render(report).startswith(b"%PDF-")


@pytest.mark.slow
def test_only_the_chosen_runs_are_told_of(empty: DuckDBPyConnection, add_run: AddRun) -> None:
    add_run(empty, 1, "first-trace")
    add_run(empty, 2, "second-trace", policies={"refcounted": {}, "second-policy": {}})
    text = told(build(empty, queries.runs(empty)[:1], full=True))
    assert "first-trace" in text
    assert "second-" not in text


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 7])
def test_any_number_of_policies_has_its_columns(
    empty: DuckDBPyConnection, add_run: AddRun, number: int
) -> None:
    names = ["refcounted", *(f"policy-{i}-" + "x" * 8 * i for i in range(1, number))]
    used = {name: ANON | {"use": (0, at)} for at, name in enumerate(names)}
    add_run(empty, 1, "trace", policies={name: {"anon": anon} for name, anon in used.items()})
    report = report_on(empty)
    tables = [
        block for part in report.sections[:2] for block in part.blocks if isinstance(block, Table)
    ]
    assert [cell_text(row[0]) for row in tables[0].rows] == names
    assert len(tables[2].columns) == 4 + number
    assert render(report).startswith(b"%PDF-")


@pytest.mark.slow
@pytest.mark.parametrize(("length_ms", "last"), [(95, 0.095), (90, 0.09), (1, 0.001)])
def test_slices_cover_the_recording_not_only_its_page_events(
    small: DuckDBPyConnection, length_ms: int, last: float
) -> None:
    small.execute("UPDATE runs SET last_ts = first_ts + ?", [length_ms * 1_000_000])
    [run] = queries.runs(small)
    edges = kinds.slice_edges(run)
    assert edges[:-1] == [slice_ / 100 for slice_ in range(length_ms // 10 + 1)]
    assert edges[-1] == pytest.approx(last, abs=1e-8)
    assert edges[-1] > edges[-2]


@pytest.mark.slow
def test_without_the_baseline_no_saving_is_claimed(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    add_run(empty, 1, "trace", policies={"linux-6.12": {}, "linux-7.2": {}})
    text = told(report_on(empty))
    assert "ANSWER Under the policy linux-6.12 the pages of this recording need 8 locked" in text
    assert "No saving is given" in text


@pytest.mark.slow
def test_a_policy_that_only_adds_is_said_to_add(empty: DuckDBPyConnection, add_run: AddRun) -> None:
    worse: dict[str, Any] = {"anon": {"alloc": (1, 0), "use": (0, 9), "free": (0, 1)}}
    add_run(empty, 1, "trace", policies={"refcounted": {}, "own": worse})
    text = told(report_on(empty))
    assert "ANSWER Freezing, as own does, removes none of the 8 locked reference-count" in text
    assert (
        "Other rules of own add 18 on anon pages, which is not freezing’s doing; in total it needs "
        "18 more than refcounted (225.00\u202f%)."
    ) in text


@pytest.mark.slow
def test_lost_events_are_told_beside_the_answer(empty: DuckDBPyConnection, add_run: AddRun) -> None:
    add_run(empty, 1, "trace")
    assert "lower bounds" not in told(report_on(empty))
    empty.execute("UPDATE traces SET lost_events = 12345, lost_gaps = 2")
    text = told(report_on(empty))
    assert "Events | 21 replayed ●, 12,345 lost ●, and 2 gaps of unknown size" in text
    assert "Events of the recording were lost: these are lower bounds.)" in text


@pytest.mark.slow
def test_two_clocks_are_told_with_the_quality(small: DuckDBPyConnection) -> None:
    assert "two clocks" not in told(report_on(small)).lower()
    meta = '{"two_clocks": {"says": "two clocks: CPU 1 is 5 s behind", "pairs": []}}'
    small.execute("UPDATE traces SET meta = ?", [meta])
    assert "Two clocks: CPU 1 is 5 s behind. ◐" in told(report_on(small))


@pytest.mark.slow
def test_a_synthetic_trace_is_not_called_a_recording(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    add_run(empty, 1, "trace")
    assert "in this recording." in told(report_on(empty))
    empty.execute("UPDATE traces SET source_format = 'synth'")
    text = told(report_on(empty))
    assert "in this synthetic trace." in text
    assert "this recording" not in text


@pytest.mark.slow
def test_a_recording_without_pages_or_objects_still_has_a_report(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    add_run(empty, 1, "trace", lives=(), objects=False)
    report = report_on(empty)
    text = told(report)
    assert "ANSWER There is nothing to count: no page was allocated or freed" in text
    assert "No object was allocated in this trace." in text
    assert "No page was allocated or freed in this trace." in text
    assert render(report).startswith(b"%PDF-")


@pytest.mark.slow
def test_page_ref_events_are_set_against_the_model(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    lives = (
        ("slab", "observed", 0, True, 1, 0),
        ("anon", "observed", None, True, 1, 5),
        ("anon", "observed", None, True, 0, 2),
    )
    add_run(empty, 1, "trace", lives=lives)
    text = told(report_on(empty))
    assert "== The kernel’s own count" in text
    # Plain stores, then locked instructions: recorded, the model's, the difference.
    assert "anon | 1 | 1 | 1 | 0 | 6 | 6 | 0" in text
    assert "slab | 1 | 1 | 1 | 0 | 1 | 1 | 0" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "policy", "row"),
    [
        ("6.1.0-56-cloud", "linux-6.12", "slab | 1 | 1 | 1 | 0 | 1 | 1 | 0"),
        ("7.2.13", "linux-7.2", "slab | 1 | 1 | 0 | \u22121 | 1 | 0 | \u22121"),
    ],
)
def test_the_kernels_count_is_set_against_the_policy_of_that_kernel(
    empty: DuckDBPyConnection, add_run: AddRun, kernel: str, policy: str, row: str
) -> None:
    add_run(empty, 1, "trace", lives=(("slab", "observed", 0, True, 1, 0),), kernel=kernel)
    text = told(report_on(empty))
    assert f"Under {policy}, the policy of the recorded kernel" in text
    assert row in text


@pytest.mark.slow
def test_where_the_policy_is_an_older_kernel_s_the_report_says_so(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    lives = (("slab", "observed", 0, True, 1, 0),)
    add_run(empty, 1, "trace", lives=lives, kernel="6.13.2")
    text = told(report_on(empty))
    note = "no policy of Linux 6.13, which was not read: that of 6.12, the nearest older one"
    assert f"Under linux-6.12, the policy of the recorded kernel ({note})" in text
    assert f"The kernel’s own policy | linux-6.12 |  | N{note[1:]}." in text


@pytest.mark.slow
def test_the_parts_by_how_they_are_known_add_up(small: DuckDBPyConnection) -> None:
    sums = small.execute(
        "SELECT policy, sum(plain_ops), sum(locked_ops), sum(locked_ops_saved) "
        "FROM policy_how_summary GROUP BY policy ORDER BY policy"
    ).fetchall()
    whole = small.execute(
        "SELECT policy, plain_ops, locked_ops, locked_ops_saved FROM policy_summary ORDER BY policy"
    ).fetchall()
    assert sums == whole
    assert small.execute(
        "SELECT how, locked_ops FROM policy_how_summary WHERE policy = 'refcounted' ORDER BY how"
    ).fetchall() == [("observed", 3), ("inferred", 4), ("assumed", 7)]


def copy_runs(connection: DuckDBPyConnection, runs: int) -> None:
    """Copies of run 1 under other numbers and names, up to run ``runs``."""
    for table in TABLES:
        names = {column.name for column in table.columns}
        new = [f"{name} + n AS {name}" for name in ("run", "trace_id") if name in names]
        new += ["trace || n AS trace"] if table.name == "traces" else []
        if new:
            connection.execute(
                f"INSERT INTO {table.sql_name} SELECT * EXCLUDE (n) REPLACE ({', '.join(new)})"
                f" FROM {table.sql_name}, range(1, {runs}) AS numbers (n)"
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "least", "most"), [(1, 3, 3), (7, 7, 8), (60, 2, 4), (200, 4, 14)]
)
def test_pages_stay_few_however_many_runs(
    empty: DuckDBPyConnection, add_run: AddRun, tmp_path: Path, runs: int, least: int, most: int
) -> None:
    add_run(empty, 1, "some-name-")
    copy_runs(empty, runs)
    assert len(queries.runs(empty)) == runs
    pages = pdf_text(render(build(empty, queries.runs(empty))), tmp_path)
    assert least <= len(pages) <= most
    assert "What freezing saves" in pages[0]
    text = re.sub(r"\s+", "", "".join(pages))
    assert all(f"some-name-{number}" in text for number in range(1, runs))


def test_views_are_tables_only_while_a_report_is_made(small: DuckDBPyConnection) -> None:
    def locked() -> int:
        return int(queries.policies(small, 1)[0]["locked_ops"])

    before = locked()
    build(small, queries.runs(small))
    small.execute("UPDATE policy_ops SET locked_ops = locked_ops + 1 WHERE stage = 'free'")
    assert locked() > before
    with queries.kept(small, [1]):
        small.execute("UPDATE policy_ops SET locked_ops = 0")
        assert locked() > before
    assert locked() < before
