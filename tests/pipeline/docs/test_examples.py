"""The examples of the docs print what they show, and every first screen fits a mail."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from pipeline.cli.typer_app import typer_app
from pipeline.docs.pages import answered, commands, with_console_blocks
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = sorted(path.parent.name for path in (ROOT / "traces").glob("*/meta.json"))
PAGES = with_console_blocks()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_it_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    assert commands(text), "nothing to run"
    assert answered(text, tmp_path) == text, "say make docs"
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert max(map(len, block.splitlines())) <= 100
        last = commands(f"```console\n{block}```")[-1]
        assert not block.endswith(f"{last}\n"), f"{last} prints nothing"


def test_a_block_is_answered_anew_and_the_rest_stays(tmp_path: Path) -> None:
    text = (
        "Before.\n\n```console\n$ echo one \\\n    two\nold\n$ ls traces | head -1\n```\n\nAfter.\n"
    )
    answer = "Before.\n\n```console\n$ echo one \\\n    two\none two\n$ ls traces | head -1\n"
    assert answered(text, tmp_path) == f"{answer}{SHIPPED[0]}\n```\n\nAfter.\n"
    assert commands(text) == ["echo one \\\n    two", "ls traces | head -1"]


def screen(*words: str) -> str:
    """What a command prints on stdout, in this process."""
    out = TextIOWrapper(BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        get_command(typer_app())(list(words), standalone_mode=False)
    out.seek(0)
    return out.read()


@pytest.mark.slow
def test_every_first_screen_of_every_shipped_set_fits(tmp_path: Path) -> None:
    db = str(tmp_path / "results.duckdb")
    traces = [str(ROOT / "traces" / name) for name in SHIPPED]
    vary = ("--vary", "sheaf.capacity=4,60", "--jobs", "1", "--db", db)
    screens = {
        "replay": screen("replay", *traces, "--db", db),
        "validate": screen("validate", *traces, "--db", db),
        "validate --all": screen("validate", *traces, "--db", db, "--all"),
        "hazards": screen("hazards", f"{ROOT}/traces/7.2p-hackbench-gt"),
        "stat": screen("stat", f"{ROOT}/traces/7.2p-hackbench-gt"),
        "sweep": screen("sweep", f"{ROOT}/traces/6.12p-net-gt", *vary),
        "sweep --by cache": screen("sweep", f"{ROOT}/traces/6.12p-net-gt", *vary, "--by", "cache"),
        **{
            f"info {name}": screen("info", trace)
            for name, trace in zip(SHIPPED, traces, strict=True)
        },
    }
    for name, text in screens.items():
        assert text.strip(), name
        wide = [line for line in text.splitlines() if len(line) > 100]
        assert not wide, name
    # The sentence comes first: a heading a trace, then what freezing saves.
    for name in SHIPPED:
        at = screens["replay"].index(f"{name}, run ")
        sentence = r".*\n(Freezing|There is|The recorded kernel freezes)"
        assert re.match(sentence, screens["replay"][at:])
    assert screens["validate"].startswith("verdict: ")


# Versions, years, rules, sizes of blocks, names of recordings and code are no figures of an answer.
NO_FIGURES = re.compile(
    r"`[^`]*`|\]\([^)]*\)|\b(?:[A-Z]\d+(?:\.\d+)?[a-z]?|20\d\d|[67]\.(?:\d+[\w-]*|x)|[12] [MG]iB)\b"
    r"|user-tools 25|netdata 6802|issues 1125 and 4766|42 KB|1 to 4 GiB"
    r"|(?:LISA|schedviz|Perfetto) \d+(?: and \d+)?"
)
# Held where the recordings are: tests/reports/sql/test_recordings.py.
NOT_SHIPPED = re.compile(r"[^.]*7\.2p-boot-churn.*?[.](?=\s)", re.DOTALL)


def test_figures_of_questions_are_in_the_answers_above() -> None:
    text = (ROOT / "docs" / "questions.md").read_text("utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```console\n.*?^```$", section, re.MULTILINE | re.DOTALL)
        shown = set(re.findall(r"\d[\d,.]*", "\n".join(blocks)))
        title, _, prose = section.partition("\n")
        for block in blocks:
            prose = prose.replace(block, "")
        said = re.findall(r"\d(?:[\d,.]*\d)?", NO_FIGURES.sub("", NOT_SHIPPED.sub("", prose)))
        assert set(said) <= shown, title
