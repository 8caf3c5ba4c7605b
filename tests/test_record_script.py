"""record.sh and its command refuse what they cannot do, before they touch the tracer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ROOT / "pipeline" / "commands" / "record.sh"
SHELL = shutil.which("sh") or "/bin/sh"


def run(
    folder: Path, *arguments: str, uid: int = 0, program: tuple[str, ...] = (SHELL, str(SCRIPT))
) -> subprocess.CompletedProcess[str]:
    """The script with a PATH on which there is nothing but id, which says who calls."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "id").write_text(f"#!/bin/sh\necho {uid}\n", "utf-8")
    (tools / "id").chmod(0o755)
    (tools / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    return subprocess.run(
        [*program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PATH": str(tools), "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("arguments", [(), ("-o", "x"), ("-z", "true")])
def test_without_a_command_it_says_how_it_is_called(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage: record.sh [-o FOLDER]" in done.stderr
    assert done.stdout == ""


COMMAND = (sys.executable, "-m", "allocsim", "record")


@pytest.mark.parametrize("program", [(SHELL, str(SCRIPT)), COMMAND], ids=["script", "command"])
@pytest.mark.parametrize(
    ("uid", "message"),
    [(1000, "only root may trace the kernel"), (0, "there is no trace-cmd")],
)
def test_what_is_missing_is_told_in_a_line(
    tmp_path: Path, uid: int, message: str, program: tuple[str, ...]
) -> None:
    done = run(tmp_path, "-o", "recording", "true", uid=uid, program=program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"record.sh: {message}"
    assert (done.stderr.count("\n") == 1) == (program != COMMAND)
    assert not (tmp_path / "recording").exists()


def test_the_command_says_what_it_would_do_and_prints_the_script(tmp_path: Path) -> None:
    asked = ("-o", "mine", "-b", "5000", "-e", "page_ref", "--dry-run", "sleep", "-x", "it's 1")
    done = run(tmp_path, *asked, program=COMMAND)
    assert (done.returncode, done.stdout) == (0, SCRIPT.read_text("utf-8"))
    plan = done.stderr.splitlines()
    assert max(map(len, plan[:-1])) <= 80
    assert any("CPUs a ring buffer of 5,000 KB" in line for line in plan)
    line = "  sh record.sh -o mine -b 5000 -C global -e page_ref -- sleep -x 'it'\"'\"'s 1'"
    assert plan[-2:] == ["Nothing was done. It would be, as root:", line]
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_the_script_takes_what_the_command_gives_it(tmp_path: Path) -> None:
    """Options up to --, then the command with options of its own."""
    done = run(tmp_path, "-o", "mine", "-b", "5", "-C", "mono", "--", "sleep", "-x", uid=1)
    assert done.stderr == "record.sh: only root may trace the kernel\n"


def test_every_file_that_the_script_copies_is_in_the_plan(tmp_path: Path) -> None:
    plan = run(tmp_path, "--dry-run", "true", program=COMMAND).stderr
    script = SCRIPT.read_text("utf-8")
    copied = {*re.findall(r"/proc/(\w+)", script)}
    copied |= {
        name for names in re.findall(r"for name in (.*); do", script) for name in names.split()
    }
    assert {"slabinfo", "kpageflags", "vmstat", "iomem"} <= copied
    assert {name for name in copied if name not in plan} == set()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("current_tracer", "function\n"),
        ("set_event", "sched:sched_switch\n"),
        ("dynamic_events", "p:kprobes/mine vfs_read\n"),
    ],
)
def test_a_trace_that_is_on_is_left_on(tmp_path: Path, file: str, content: str) -> None:
    tracing = tmp_path / "tracing"
    (tracing / "events" / "kmem").mkdir(parents=True)
    found = {"trace": "", "current_tracer": "nop\n", "set_event": "", "dynamic_events": ""}
    for name, text in (found | {file: content}).items():
        (tracing / name).write_text(text, "utf-8")
    script = tmp_path / "record.sh"
    script.write_text(
        SCRIPT.read_text("utf-8").replace("tracing=/sys/kernel/tracing", f"tracing={tracing}")
    )
    (tmp_path / "tools").mkdir()
    tool = tmp_path / "tools" / "trace-cmd"
    tool.write_text(f"#!/bin/sh\necho > {tmp_path}/called\n", "utf-8")
    tool.chmod(0o755)
    done = run(tmp_path, "true", program=(SHELL, str(script)))
    assert done.returncode == 1
    assert content.rsplit(maxsplit=1)[-1] in done.stderr
    assert done.stderr.startswith("record.sh: tracing is in use (")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "called").exists()
    assert not (tmp_path / "recording").exists()
