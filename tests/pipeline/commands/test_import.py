"""allocsim import: what it prints, where it puts trace sets, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.oracle.trace_dat import OTHER, Cpu, Event, File, Instance

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "import", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def made(printed: str) -> list[str]:
    """What was said of each trace set, on one line: what it goes on with is indented."""
    return printed.rstrip().replace("\n  ", " ").splitlines()


def recording() -> bytes:
    file = File(kallsyms="0000000000005000 t trace_event_raw_event_kmalloc\n")
    big = [file.kmalloc(0xA000, 16384)] * 2
    records = [*big, file.kfree(0xA000), file.record(OTHER, b""), file.stack(0x5001)]
    events = [Event(ts, record) for ts, record in enumerate(records)]
    file.cpus = {0: Cpu(events, {0: 4})}
    others = [Event(1, file.record(OTHER, b""))]
    file.instances = {"other": Instance({0: Cpu(others)})}
    return file.encode()


@pytest.mark.slow
def test_prints_what_it_made_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "one.dat").write_bytes(recording())
    folder = tmp_path / "workload"
    folder.mkdir()
    (folder / "trace.dat").write_bytes(recording())
    (folder / "cmdline").write_text("quiet")
    out = tmp_path / "sets"
    done = run(tmp_path / "one.dat", folder, "-o", out)
    said = (
        "2 events, 4 lost, 1 of 1 CPU, 1 repeat of large kmallocs dropped, "
        "1 event of other kinds dropped, 1 stack without an event, trace instances not read: other"
    )
    one, workload = made(done.stdout)
    assert one.startswith(f"{out}/one: {said} no snapshots: ")
    assert workload.startswith(f"{out}/workload: {said} taken along: cmdline no snapshots: ")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["one", "workload"]
    assert (out / "workload" / "cmdline").read_text() == "quiet"

    again = run(tmp_path / "one.dat", "-o", out)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"allocsim: {out}/one: already there; --force replaces it\n"
    assert run(tmp_path / "one.dat", "-o", out, "--force").returncode == 0


@pytest.mark.slow
def test_a_file_without_a_suffix_is_imported_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "hackbench").write_bytes(recording())
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "trace").write_bytes(recording())
    done = run("hackbench", "boot/trace", "-o", "sets", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in made(done.stdout)] == [
        "sets/hackbench-trace-set",
        "sets/boot",
    ]
    assert run("hackbench", cwd=tmp_path).stdout.startswith("hackbench-trace-set: 2 events")
    assert (tmp_path / "hackbench").read_bytes() == recording()


@pytest.mark.slow
def test_two_recordings_of_one_name_are_bad_usage(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.dat").write_bytes(recording())
    done = run(tmp_path / "a" / "same.dat", tmp_path / "b" / "same.dat", "-o", tmp_path / "sets")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("allocsim: two recordings are called same;")
    assert not (tmp_path / "sets").exists()
