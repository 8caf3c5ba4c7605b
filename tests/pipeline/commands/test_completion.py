"""What shells are told when TAB is pressed: names that exist, in one line each."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def told(line: str) -> dict[str, str]:
    """What fish is offered: words, and what each is."""
    done = subprocess.run(
        [sys.executable, "-m", "allocsim"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ
        | {
            "_ALLOCSIM_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": line,
        },
    )
    return dict(row.partition("\t")[::2] for row in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("allocsim re", {"record", "replay", "report"}),
        ("allocsim replay --policy frozen", {"frozen-page-tables"}),
        ("allocsim hazards --policy every", {"everything-freezable"}),
        ("allocsim replay --scheme struct", {"struct-page"}),
        ("allocsim replay --costs ", {"x86-64", "arm64"}),
        ("allocsim sweep x --vary sheaf.", {"sheaf.capacity=", "sheaf.flush_batch="}),
        ("allocsim replay --placement ", {"recorded", "simulated"}),
        ("allocsim synth producer", {"producer-consumer"}),
    ],
)
def test_names_are_offered(line: str, words: set[str]) -> None:
    assert set(told(line)) == words


def test_each_command_is_a_line() -> None:
    for word, doc in told("allocsim re").items():
        assert doc.endswith("."), word


def test_bash_is_given_a_script() -> None:
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "allocsim", "--show-completion", "bash"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert "_ALLOCSIM_COMPLETE=complete_bash" in done.stdout
    assert "complete -o default -F _allocsim_completion allocsim" in done.stdout
