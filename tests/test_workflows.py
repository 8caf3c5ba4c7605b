"""Workflows and hooks are well-formed, and say to make only what the Makefile has."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHONS = ["3.11", "3.13", "3.14"]


def loaded(path: Any) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def made(commands: list[str]) -> set[str]:
    """Targets that commands name."""
    return {name for command in commands for name in re.findall(r"\bmake ([a-z]+)", command)}


def test_there_is_a_workflow_for_tests_docs_and_build() -> None:
    assert [path.stem for path in WORKFLOWS] == ["build", "docs", "test"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_its_target_of_the_makefile(path: Any) -> None:
    workflow = loaded(path)
    assert workflow["name"] == path.stem
    # YAML 1.1 reads the bare key "on" as true.
    assert set(workflow[True]) == {"push", "pull_request"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 30
        assert job["runs-on"].startswith("ubuntu-")
    for step in steps(workflow):
        assert len({"uses", "run"} & set(step)) == 1
        assert re.fullmatch(r"[\w./-]+@v\d+", step.get("uses", "actions/checkout@v4"))
    called = made([step.get("run", "") for step in steps(workflow)])
    assert called == {path.stem}
    assert called <= TARGETS


def test_tests_run_on_every_python_that_is_promised() -> None:
    [job] = loaded(ROOT / ".github" / "workflows" / "test.yml")["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    promised = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'requires-python = ">={PYTHONS[0]}"' in promised


def test_hooks_run_what_make_test_checks_first() -> None:
    [repository] = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    called = made([hook["entry"] for hook in repository["hooks"]])
    assert called == {"style", "types"} <= TARGETS
    assert re.search(r"^test: style types ", MAKEFILE, re.MULTILINE)


def test_make_help_says_something_of_every_target() -> None:
    said = set(re.findall(r"^([a-z]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert said == TARGETS
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS
