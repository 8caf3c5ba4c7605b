"""Recordings, and the text that trace-cmd report and perf script make of them: the same events."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from pipeline.ingest.recording import import_recording
from tests.conftest import recordings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

#: Recordings of two kernels and with all that is printed, one with -t and one without.
_DATS = [(file, ns) for ns, file in enumerate(recordings("7.3-hackbench/trace.dat"))]
_DATS += [(file, True) for file in recordings("7.2p-net-gt/trace.dat")]
_PERFS = recordings("7.3-perf-mixed/perf.data.zst")
_HERE = "no recordings at hand (set ALLOCSIM_RECORDINGS)"


def compared(ours: Path, theirs: Path, *, ns: bool, places: bool) -> dict[str, int]:
    """Every column of two trace sets; those that may differ with the number of rows that do.

    Not compared are irq_flags, which these tools do not print, and the flags of pages, which they
    print by name.
    """
    one, other = (pl.read_parquet(path / "events.parquet") for path in (ours, theirs))
    assert len(one) == len(other)
    assert set(one.columns) - set(other.columns) <= {"page_flags"}
    if not ns:  # trace-cmd rounds, perf cuts
        assert ((one["ts"] - other["ts"]).abs() < 1000).all()
    differing = {}
    for name in other.columns:
        if name in {"irq_flags", "stack", *([] if ns else ["ts"])}:
            continue
        differing[name] = int((~one[name].eq_missing(other[name])).sum())
    if places:
        frames = [
            events.select("stack").join(stacks, on="stack", how="left", maintain_order="left")
            for events, stacks in ((one, _frames(ours)), (other, _frames(theirs)))
        ]
        same = frames[0]["address"].eq_missing(frames[1]["address"])
        differing["stack"] = int((~same).sum())
    return {name: count for name, count in differing.items() if count}


def _frames(path: Path) -> pl.DataFrame:
    stacks = pl.read_parquet(path / "stacks.parquet").sort("stack", "depth")
    return stacks.group_by("stack", maintain_order=True).agg("address")


@pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not installed")
@pytest.mark.skipif(not _DATS, reason=_HERE)
@pytest.mark.parametrize(("file", "ns"), _DATS, ids=lambda each: getattr(each, "parent", each))
def test_what_trace_cmd_prints_is_what_the_trace_dat_has(
    file: Path, ns: bool, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.mkdir()
    shutil.copyfile(file.parent / "uname", text / "uname")
    symbols = _output(["trace-cmd", "report", "-f", str(file)]).split(b"\n")
    names = [line.split(maxsplit=1) for line in symbols if line]
    kallsyms = b"".join(b"%s t %s\n" % (address, name) for address, name in names)
    (text / "kallsyms").write_bytes(kallsyms)
    command = ["trace-cmd", "report", *(["-t"] if ns else []), str(file)]
    (text / "report.txt").write_bytes(_output(command))
    theirs = import_recording(text / "report.txt", tmp_path)
    ours = import_recording(file, tmp_path)
    places = file.parent.name.endswith("-gt")
    # Without interrupt flags a stack that an interrupt parts from its event finds none.
    differing = compared(ours, theirs, ns=ns, places=places)
    assert differing.pop("stack", 0) <= 20
    assert differing == {}


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
@pytest.mark.skipif(not _PERFS, reason=_HERE)
@pytest.mark.parametrize("file", _PERFS, ids=lambda file: file.parent.name)
@pytest.mark.parametrize("options", [[], ["--header", "--ns", "-F", "+period,+pid"]])
def test_what_perf_prints_is_what_the_perf_data_has(
    file: Path, options: list[str], tmp_path: Path
) -> None:
    plain = tmp_path / "perf.data"
    with pa.input_stream(str(file), compression="zstd") as packed:
        plain.write_bytes(packed.read())
    text = tmp_path / "text"
    text.mkdir()
    shutil.copyfile(file.parent / "uname", text / "uname")
    (text / "script.txt").write_bytes(_output(["perf", "script", *options, "-i", str(plain)]))
    theirs = import_recording(text / "script.txt", tmp_path)
    ours = import_recording(plain, tmp_path)
    # Of a task that is ending perf knows no pid any more.
    assert compared(ours, theirs, ns="--ns" in options, places=False) == {"pid": 1}


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, stdout=-1, stderr=subprocess.DEVNULL, check=True).stdout
