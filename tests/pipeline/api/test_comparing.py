"""A comparison as an object has what the command writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

import allocsim
from pipeline.commands.compare import compare as command
from pipeline.commands.options.common import PlacementChoice
from pipeline.commands.options.formats import DocumentFormat
from tests.pipeline.api.conftest import TRACE

if TYPE_CHECKING:
    from pathlib import Path

OTHER = TRACE.with_name("6.16-mixed")


@pytest.fixture(scope="module")
def found(replayed: Path) -> allocsim.ComparisonResult:
    """Of results that are open, and a trace set."""
    with allocsim.open(replayed) as results:
        found = allocsim.compare(OTHER, results, placement="recorded")
        assert results.runs.collect().height == 2
    return found


@pytest.mark.slow
def test_it_is_what_the_command_writes(
    found: allocsim.ComparisonResult, replayed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(OTHER), str(replayed)]
    command(sides, placement=PlacementChoice.RECORDED, format_=[DocumentFormat.JSON])
    assert json.loads(found.json()) == json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_its_rows_are_all_that_it_says(found: allocsim.ComparisonResult) -> None:
    content = json.loads(found.json())
    rows = found.rows.collect()
    assert rows.height == 2 * len(content["rows"])
    assert found.sides == ("6.16-mixed", "6.18-mixed")
    for side in (0, 1):
        label = found.sides[side]
        mine = rows.filter(pl.col("side") == label)
        told = [row["sides"][side] for row in content["rows"]]
        assert mine["value"].to_list() == [each["value"] for each in told]
        changes = [each["against_baseline"] or {} for each in told]
        assert mine["change"].to_list() == [each.get("change") for each in changes]
        assert mine["change_high"].to_list() == [each.get("high") for each in changes]
        assert mine["verdict"].to_list() == [each.get("verdict") for each in changes]


@pytest.mark.slow
def test_it_reads_as_a_mail(found: allocsim.ComparisonResult) -> None:
    brief, whole = found.text(brief=True), found.text()
    assert len(brief.splitlines()) < len(whole.splitlines()) / 2
    for text in (brief, whole):
        assert max(map(len, text.splitlines())) <= 80
    assert brief.startswith("6.18-mixed (B) against 6.16-mixed (A)\n")
    assert whole.startswith("6.18-mixed against 6.16-mixed\n")
    assert brief.splitlines()[3] in found._repr_html_()


def test_what_cannot_be_compared_is_told(replayed: Path, tmp_path: Path) -> None:
    with pytest.raises(allocsim.UsageError, match="two sides or more"):
        allocsim.compare(TRACE)
    with pytest.raises(allocsim.UsageError, match="not one of the sides"):
        allocsim.compare(TRACE, OTHER, baseline="6.16")
    with pytest.raises(allocsim.InputError, match="no trace set, recording or results file"):
        allocsim.compare(TRACE, tmp_path / "nothing")
    with pytest.raises(allocsim.UsageError, match="no run or trace of"):
        allocsim.compare(f"{replayed}:1", f"{replayed}:7")
    with pytest.raises(allocsim.UsageError, match="say simulated or recorded"):
        allocsim.compare(TRACE, OTHER, placement="mine")
