"""allocsim report: what it writes, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pipeline.commands.options.formats import DocumentFormat
from pipeline.commands.report import report
from pipeline.errors import OutputError, StoreError, UsageError
from pipeline.store.adding import writing
from reports.queries import every_run, recorded_run
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    AddRun = Callable[..., None]


@pytest.fixture
def database(tmp_path: Path, add_run: AddRun) -> Path:
    """A results database with runs 1 and 2 of 'one' and run 3 of 'two', without page lives."""
    path = tmp_path / "results.duckdb"
    with writing(path) as connection:
        for run, trace in ((1, "one"), (2, "one"), (3, "two")):
            add_run(connection, run, trace, lives=())
    return path


@pytest.mark.slow
def test_it_writes_a_pdf_and_says_where(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "report.pdf"
    report(db=database, output=[output])
    assert output.read_bytes().startswith(b"%PDF-")
    assert capsys.readouterr().out == f"{output}\n"
    assert [path.name for path in output.parent.iterdir()] == ["report.pdf"]


def test_the_number_of_a_simulated_run_stands_for_its_recorded_one(database: Path) -> None:
    with writing(database) as connection:
        connection.execute("UPDATE runs SET placement = 'simulated', of_run = 1 WHERE run = 2")
        rows = every_run(connection)
    assert [run and run["run"] for run in map(partial(recorded_run, rows), (1, 2, 3, 4))] == [
        *(1, 1, 3, None)
    ]


@pytest.mark.slow
def test_without_a_file_it_prints_text_and_the_suffix_says_another_format(
    database: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    report(db=database, run=[1])
    text = capsysbinary.readouterr().out
    assert text.startswith(b"allocsim report: one\n====")
    files = {name: tmp_path / f"report.{name}" for name in ("txt", "md", "json", "html", "pdf")}
    report(db=database, run=[1], output=list(files.values()))
    assert files["txt"].read_bytes() == text
    assert files["md"].read_text().startswith("# allocsim report: one\n")
    assert json.loads(files["json"].read_text())["title"] == "allocsim report: one"
    assert files["html"].read_text().startswith("<!DOCTYPE html>")
    assert files["pdf"].read_bytes().startswith(b"%PDF-")
    report(db=database, run=[1], output=list(files.values()), force=True)


def test_a_simulated_run_is_reported_with_the_one_it_is_of(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with writing(database) as connection:
        insert(
            connection, "runs", run=4, trace_id=3, of_run=3, placement="simulated", settings="{}"
        )
    report(db=database, run=[4])
    assert capsys.readouterr().out.startswith("allocsim report: two\n")


def test_an_unknown_suffix_or_a_taken_name_is_refused_before_the_database_is_read(
    tmp_path: Path,
) -> None:
    absent = tmp_path / "absent.duckdb"
    with pytest.raises(UsageError, match="a format of that suffix is not known"):
        report(db=absent, output=[tmp_path / "report.doc"])
    (tmp_path / "report.txt").write_text("somebody's notes")
    with pytest.raises(OutputError, match="exists and is not a report as text"):
        report(db=absent, output=[tmp_path / "report.txt"], force=True)


@pytest.mark.slow
def test_it_replaces_a_report_and_nothing_else(database: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.pdf"
    output.write_bytes(b"%PDF-1.4 an older report")
    with pytest.raises(OutputError, match="already there; --force replaces it"):
        report(db=database, output=[output], run=[1])
    assert output.read_bytes() == b"%PDF-1.4 an older report"
    report(db=database, output=[output], run=[1], force=True)
    assert len(output.read_bytes()) > 10_000
    before = database.read_bytes()
    with pytest.raises(OutputError, match="exists and is not a PDF"):
        report(db=database, output=[database], format_=[DocumentFormat.PDF], force=True)
    assert database.read_bytes() == before
    with pytest.raises(OutputError, match="is a folder"):
        report(db=database, output=[tmp_path], format_=[DocumentFormat.PDF])


@pytest.mark.slow
def test_an_output_that_cannot_be_written_leaves_nothing(database: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file"))):
        report(db=database, output=[tmp_path / "file" / "report.pdf"])
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "trace", "message"),
    [
        ([7], None, "--run 7: not in the database, which has runs 1–3"),
        (None, ["three"], "--trace three: not in the database, which has one, two"),
    ],
)
def test_a_run_or_trace_that_is_not_there_is_bad_usage(
    database: Path,
    tmp_path: Path,
    run: list[int] | None,
    trace: list[str] | None,
    message: str,
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        report(db=database, output=[tmp_path / "report.pdf"], run=run, trace=trace)
    assert not (tmp_path / "report.pdf").exists()


def test_an_empty_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    with writing(path):
        pass
    with pytest.raises(StoreError, match=r"empty\.duckdb: holds no run"):
        report(db=path, output=[tmp_path / "report.pdf"])
    with pytest.raises(StoreError, match="no results database there"):
        report(db=tmp_path / "absent.duckdb", output=[tmp_path / "report.pdf"])
    assert not (tmp_path / "report.pdf").exists()
