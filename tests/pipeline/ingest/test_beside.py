"""What lies beside a recording, and is taken into its trace set where it is plainly its own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline.cli.typer_app import typer_app
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS

if TYPE_CHECKING:
    from pathlib import Path

RECORDING = FAULTS / "named_at_free.dat"
RELEASE = "6.12.0"  # of that recording


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recording and all that may lie beside one."""
    made = tmp_path / "mine"
    for when in ("before", "after"):
        (made / "snapshots" / when).mkdir(parents=True)
        (made / "snapshots" / when / "slabinfo").write_text(f"{when}\n", "utf-8")
    for name in ("iomem", "cmdline", "cpuinfo", "trace_stats"):
        (made / name).write_text(f"{name}\n", "utf-8")
    (made / "uname").write_text(f"Linux host {RELEASE} #1 SMP x86_64 GNU/Linux\n", "utf-8")
    shutil.copyfile(RECORDING, made / "trace.dat")
    return made


def _imported(source: Path, tmp_path: Path) -> TraceSet:
    return TraceSet.open(import_recording(source, tmp_path / "sets", force=True))


def _contents(trace: TraceSet) -> dict[str, bytes]:
    made = {"events.parquet", "stacks.parquet", "symbols.parquet", "meta.json"}
    files = (path for path in trace.path.rglob("*") if path.is_file())
    found = {path.relative_to(trace.path).as_posix(): path.read_bytes() for path in files}
    return {name: text for name, text in found.items() if name not in made}


def test_of_a_file_is_taken_what_is_of_its_folder(folder: Path, tmp_path: Path) -> None:
    by_folder = _contents(_imported(folder, tmp_path))
    by_file = _imported(folder / "trace.dat", tmp_path)
    assert len(by_folder) == 7
    assert _contents(by_file) == by_folder
    assert by_file.meta["snapshots"] == ["after", "before"]
    assert by_file.meta["beside"] == {
        "taken": [
            *("snapshots/before", "snapshots/after"),
            *("iomem", "cmdline", "cpuinfo", "uname", "trace_stats"),
        ],
        "missed": [],
    }
    (folder / "trace.dat").rename(folder / "any name.dat")
    assert _contents(_imported(folder / "any name.dat", tmp_path)) == by_folder


def test_beside_other_recordings_only_the_one_the_folder_stands_for(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copyfile(RECORDING, folder / "second.dat")
    (folder / "notes.txt").write_text("not a recording\n", "utf-8")
    assert _imported(folder / "trace.dat", tmp_path).meta["snapshots"]
    second = _imported(folder / "second.dat", tmp_path)
    assert not _contents(second)
    why, cost = second.meta["beside"]["missed"]
    assert why == ("what lies beside it is not taken: other recordings lie there too (trace.dat)")
    assert cost.startswith("no snapshots: ")
    shutil.copyfile(RECORDING, folder / "third.dat")
    why, _ = _imported(folder / "third.dat", tmp_path).meta["beside"]["missed"]
    assert why.endswith("other recordings lie there too (second.dat and 1 more)")


def test_what_another_kernel_says_is_not_taken(folder: Path, tmp_path: Path) -> None:
    (folder / "uname").write_text("Linux host 6.1.0-56 #1 SMP x86_64 GNU/Linux\n", "utf-8")
    trace = _imported(folder / "trace.dat", tmp_path)
    assert not _contents(trace)
    assert trace.meta["beside"]["missed"][0] == (
        f"what lies beside it is not taken: the uname there is of Linux 6.1.0-56, "
        f"the recording of {RELEASE}"
    )


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "slabinfo").write_text("secret\n", "utf-8")
    (folder / "iomem").unlink()
    (folder / "iomem").symlink_to(secret / "slabinfo")
    shutil.rmtree(folder / "snapshots" / "before")
    (folder / "snapshots" / "before").symlink_to(secret)
    (folder / "snapshots" / "after" / "vmstat").symlink_to(secret / "slabinfo")
    (folder / "cpuinfo").unlink()
    (folder / "cpuinfo").symlink_to("cmdline")
    os.mkfifo(folder / "truth.json")
    trace = _imported(folder / "trace.dat", tmp_path)
    found = _contents(trace)
    assert set(found) == {"snapshots/after/slabinfo", "cmdline", "cpuinfo", "uname", "trace_stats"}
    assert b"secret\n" not in found.values()
    assert trace.meta["beside"]["missed"][0] == (
        "links out of its folder not followed: iomem, snapshots"
    )


def test_a_recording_alone_says_what_that_costs(tmp_path: Path) -> None:
    shutil.copyfile(RECORDING, tmp_path / "alone.dat")
    said = CliRunner().invoke(
        typer_app(), ["import", str(tmp_path / "alone.dat"), "-o", str(tmp_path)]
    )
    assert said.exit_code == 0
    assert "no snapshots: the memory zones" in said.output
    assert max(map(len, said.output.splitlines()[1:])) <= 100
