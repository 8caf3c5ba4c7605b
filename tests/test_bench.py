"""The benchmarks run: what they print is of no interest here, that they can is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["slub", "pages", "simulation"])
def test_a_benchmark_gives_its_figures(name: str) -> None:
    sizes = ("--events", "20000", "--window", "8192", "--oracle", "2000")
    done = subprocess.run(
        [sys.executable, f"bench/{name}.py", *sizes],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = {line[:34].strip() for line in done.stdout.splitlines()}
    assert {"events", "model", "copy of the same bytes", "oracle"} <= figures


@pytest.mark.parametrize(
    "command",
    [
        ("torture.py", "--kills", "2", "--disks", "1", "--again", "2", "--only", "import"),
        ("soak.py", "1000", "--steps", "synth+info+import"),
    ],
)
def test_commands_are_tortured_and_measured(command: tuple[str, ...]) -> None:
    name, *given = command
    done = subprocess.run(
        [sys.executable, f"bench/{name}", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nimport " in done.stdout
