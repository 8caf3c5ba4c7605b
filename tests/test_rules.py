"""The rulebook: rules cited are in docs/rules.md, and no number is printed without its title."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import duckdb
import pytest

from allocsim.refcount.policies import shipped_policies
from pipeline.docs.rulebook import RULES, RulebookError, parse_rules, rules, titles_file
from reports.rules import NUMBER, titled, titles, with_titles
from tests.conftest import ROOT
from tests.reports.sections.test_build import report_on, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOOK = rules()
#: What is ours and cites rules. Lint rules have names like T20 (pyproject.toml).
CITING = ("allocsim", "pipeline", "reports", "tests", "docs", "bench", "traces")
TEXTS = {".py", ".sql", ".toml", ".md", ".typ", ".c", ".sh"}


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of each file that may cite rules."""
    for top in CITING:
        for path in sorted((ROOT / top).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in TEXTS and not name.startswith("tests/data/"):
                yield name, path.read_text("utf-8")
    yield "README.md", (ROOT / "README.md").read_text("utf-8")


def bare(text: str) -> list[str]:
    """Numbers of rules that stand in a text without their title."""
    return [
        found[0]
        for found in NUMBER.finditer(text)
        if (title := titles().get(found[0]))
        and not text[found.end() :].startswith((f" {title}", f" “{title}”"))
    ]


def test_every_rule_cited_is_in_the_rulebook() -> None:
    missing = {
        f"{name}: {number}"
        for name, text in texts()
        for number in NUMBER.findall(text)
        if number not in BOOK and name != "tests/test_rules.py"
    }
    assert not missing


def test_nothing_cites_what_the_rulebook_was_made_of() -> None:
    cited = [name for name, text in texts() if re.search(r"\b[Ss]pec \d+(\.\d+)*\b", text)]
    assert not cited


def test_each_rule_says_where_in_the_kernel_it_stands() -> None:
    for rule in BOOK.values():
        assert rule.title, rule.number
        assert rule.text, rule.number
        assert rule.kernels, rule.number
        assert rule.known.split()[0].strip(":,;") in {
            "read", "measured", "published", "worked", "inferred", "assumed",
        }, rule.number  # fmt: skip
        assert rule.citations or rule.known.startswith(("published", "assumed")), rule.number
        for citation in rule.citations:
            assert citation.kernels, f"{rule.number}: {citation.function}"


def test_titles_are_told_apart() -> None:
    assert len({rule.title for rule in BOOK.values()}) == len(BOOK)


def test_rules_refer_to_rules() -> None:
    text = RULES.read_text("utf-8")
    assert not {number for number in NUMBER.findall(text) if number not in BOOK}


def test_pointers_into_the_plain_model_lead_somewhere() -> None:
    for rule in BOOK.values():
        for file, name in rule.oracle:
            assert name in defined(ROOT / file), f"{rule.number}: {file}:{name}"


def test_the_walk_through_the_plain_model_leads_somewhere() -> None:
    page = (ROOT / "docs" / "reading-the-model.md").read_text("utf-8")
    pointers = re.findall(r"`(?:(tests/oracle/\w+\.py):)?([\w.]+)\(\)`", page)
    assert len(pointers) > 20
    file = "tests/oracle/slub.py"
    for named, name in pointers:
        file = named or file
        assert name in defined(ROOT / file), f"{file}: {name}"


def defined(path: Path) -> set[str]:
    """Functions, classes and Class.method of a module."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in methods(node)}
    return names


def methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [each for each in node.body if isinstance(each, ast.FunctionDef)]


def test_policies_cite_rules() -> None:
    for policy in shipped_policies().values():
        for where, row in policy.tables.items():
            assert row.rule in BOOK, f"{policy.name}: {where}: {row.rule!r}"


def test_every_rule_of_a_policy_file_is_in_the_rulebook() -> None:
    for path in (ROOT / "allocsim" / "refcount" / "policies").glob("*.toml"):
        for rule in rules_in(tomllib.loads(path.read_text("utf-8"))):
            assert rule in BOOK, f"{path.name}: {rule}"


def rules_in(table: dict[str, object]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from rules_in(value)
        elif key == "rule":
            yield str(value)


def test_titles_that_ship_are_the_rulebooks() -> None:
    assert (ROOT / "reports" / "rules.toml").read_text("utf-8") == titles_file(), "make docs"


def test_titles_stand_behind_numbers() -> None:
    assert titled("T6") == "T6 Calls without an event"
    assert titled("measured") == "measured"
    assert (
        with_titles("lost (T16, as 6.12 does; T99)")
        == "lost (T16 “Lost events”, as 6.12 does; T99)"
    )
    assert bare(with_titles("R4.1 and R4.12, not R4.123")) == []
    assert bare("R4.1 and T6 Calls without an event") == ["R4.1"]


def test_what_reports_say_of_rules_goes_through_titles() -> None:
    """Every text in the code of reports, docstrings apart, that has a rule's number."""
    for path in (ROOT / "reports").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        covered = {
            id(inner)
            for node in ast.walk(tree)
            if (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "with_titles")
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert id(node) in covered or not bare(node.value), f"{path.name}:{node.lineno}"


def test_values_of_views_have_titles() -> None:
    for path in (ROOT / "reports" / "sql").rglob("*.sql"):
        for value in re.findall(r"'([^']*)'", re.sub(r"--.*", "", path.read_text("utf-8"))):
            assert not bare(value), f"{path.name}: {value}"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What commands print of a shipped recording, with the report as text."""
    db = tmp_path_factory.mktemp("rules") / "results.duckdb"
    trace = "traces/6.12p-hackbench-gt"

    def said(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        return done.stdout + done.stderr

    found = {
        "replay": said("replay", "--db", str(db), trace),
        "info": said("info", trace),
        "validate": said("validate", "--db", str(db), "--all", trace),
        "hazards": said("sql", "--db", str(db), "from hazards"),
        "takers": said("hazards", trace),
        "compare": said("compare", f"{db}:1", f"{db}:1"),
        "policy_ops": said("sql", "--db", str(db), "from policy_ops"),
    }
    with duckdb.connect(str(db), read_only=True) as connection:
        return found | {"report": told(report_on(connection))}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["replay", "info", "validate", "hazards", "takers", "compare", "policy_ops", "report"],
)
def test_no_number_is_printed_without_its_title(printed: dict[str, str], command: str) -> None:
    text = " ".join(printed[command].split())
    assert text
    assert "Traceback" not in text
    assert not bare(text)


def test_a_rule_without_a_source_is_refused() -> None:
    page = "### R1.1 One\n\nText.\n\n- Kernels: all\n- Known: read\n"
    with pytest.raises(RulebookError, match=r"R1\.1 says nothing of its Source"):
        parse_rules(page)
    whole = (
        "### R1.1 One\n\nText.\n\n- Kernels: all\n- Source: a/b.c:f, g (6.12, 7.2)\n- Known: read\n"
    )
    (rule,) = parse_rules(whole).values()
    assert [(each.file, each.function, each.kernels) for each in rule.citations] == [
        ("a/b.c", "f", ("6.12", "7.2")),
        ("a/b.c", "g", ("6.12", "7.2")),
    ]
    with pytest.raises(RulebookError, match="twice"):
        parse_rules(whole + whole)
