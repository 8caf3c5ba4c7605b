"""Which trace instance of a trace.dat is read, and what each has of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.errors import InputError, UsageError
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS
from tests.oracle.trace_dat import OTHER, Cpu, Event, File, Instance

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [(6, "none", "<"), (6, "none", ">"), (7, "none", "<"), (7, "zstd", "<"), (7, "zlib", ">")]


def imported(file: File | bytes, folder: Path, instance: str | None = None) -> TraceSet:
    source = folder / "made.dat"
    source.write_bytes(file if isinstance(file, bytes) else file.encode())
    return TraceSet.open(import_recording(source, folder, force=True, instance=instance))


def pointers(trace: TraceSet) -> list[int]:
    return [int(ptr) for window in trace.windows() for ptr in window["ptr"]]


def two_with_kmem(**kind: Any) -> File:
    """kmem events in the top instance and in "net"; another event in "sched"."""
    file = File(options=[(4, b"")], **kind)
    file.cpus = {0: Cpu([Event(1, file.kfree(0xA0))])}
    net = {0: Cpu([Event(5, file.kfree(0xB0))]), 2: Cpu([Event(4, file.kfree(0xC0))])}
    file.instances = {
        "net": Instance(net, "mono"),
        "sched": Instance({0: Cpu([Event(2, file.record(OTHER, b""))])}),
    }
    return file


@pytest.mark.parametrize(("version", "compression", "order"), KINDS)
def test_an_instance_is_read_by_its_name(
    tmp_path: Path, version: int, compression: str, order: str
) -> None:
    file = two_with_kmem(version=version, compression=compression, order=order)
    net = imported(file, tmp_path, "net")
    assert pointers(net) == [0xC0, 0xB0]
    assert (net.meta["instance"], net.meta["clock"], net.meta["cpus"]) == ("net", "mono", 3)
    assert net.meta["other_buffers"] == ["top", "sched"]
    top = imported(file, tmp_path, "top")
    assert pointers(top) == [0xA0]
    assert (top.meta["instance"], top.meta["clock"]) == ("", "local")


@pytest.mark.parametrize(("version", "compression", "order"), KINDS)
def test_several_instances_with_kmem_events_are_asked_about(
    tmp_path: Path, version: int, compression: str, order: str
) -> None:
    file = two_with_kmem(version=version, compression=compression, order=order)
    with pytest.raises(InputError, match=r"several trace instances \(top, net\); choose one with"):
        imported(file, tmp_path)
    with pytest.raises(InputError, match=r"no trace instance 'nett' .* it has top, net, sched"):
        imported(file, tmp_path, "nett")


def test_the_only_instance_with_kmem_events_is_read(tmp_path: Path) -> None:
    file = two_with_kmem()
    file.cpus = {0: Cpu([Event(1, file.record(OTHER, b""))] * 3)}
    trace = imported(file, tmp_path)
    assert (trace.meta["instance"], pointers(trace)) == ("net", [0xC0, 0xB0])
    file.instances.pop("net")
    with pytest.raises(
        InputError, match="instance top: 3 sched_nothing; instance sched: 1 sched_nothing"
    ):
        imported(file, tmp_path)


def test_an_instance_named_top_comes_before_the_one_without_a_name(tmp_path: Path) -> None:
    file = two_with_kmem()
    file.instances["top"] = file.instances.pop("net")
    assert pointers(imported(file, tmp_path, "top")) == [0xC0, 0xB0]


def test_an_instance_has_a_page_size_of_its_own(tmp_path: Path) -> None:
    file = File()
    frees = [Event(ts, file.kfree(ts)) for ts in range(1, 2000)]
    file.instances = {"large": Instance({1: Cpu(frees)}, page_size=16384)}
    assert pointers(imported(file, tmp_path)) == list(range(1, 2000))


def test_counts_of_lost_events_are_the_instances_own(tmp_path: Path) -> None:
    """trace-cmd writes those of the top instance first, then a heading before each other's."""
    stats = [b"CPU: 0\noverrun: 7\n\0", b"\nBuffer: net\n\n\0", b"CPU: 0\noverrun: 9\n\0"]
    file = two_with_kmem()
    file.options += [(2, text) for text in stats]
    assert imported(file, tmp_path, "top").meta["lost"]["per_cpu"] == {"0": 7}
    assert imported(file, tmp_path, "net").meta["lost"]["per_cpu"] == {"0": 9, "2": 0}


def test_an_instance_that_was_never_written_is_none(tmp_path: Path) -> None:
    """Version 6 puts a 0 where its data should be until it is there."""
    file = two_with_kmem(version=6)
    data = bytearray(file.encode())
    at = data.index(b"net\0") - 8
    data[at : at + 8] = bytes(8)
    trace = imported(bytes(data), tmp_path)
    assert (pointers(trace), trace.meta["other_buffers"]) == ([0xA0], ["sched"])


def test_only_a_trace_dat_has_instances(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# tracer: nop\n")
    with pytest.raises(UsageError, match=r"only a trace\.dat has trace instances"):
        import_recording(tmp_path / "a.txt", tmp_path, instance="net")


def test_kmem_events_in_an_instance_only(tmp_path: Path) -> None:
    """The fault's file: kmem events in the buffer kmemtrace, the top one empty."""
    trace = TraceSet.open(import_recording(FAULTS / "instance_only.dat.gz", tmp_path))
    assert trace.meta["instance"] == "kmemtrace"
    assert trace.meta["events"] == {"kmalloc": 10, "kfree": 10}
    [window] = trace.windows()
    assert np.array_equal(window["ts"], np.arange(1000, 1000 * 21, 1000))


@pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not at hand")
@pytest.mark.parametrize("version", [6, 7])
def test_trace_cmd_reads_the_same_instances(tmp_path: Path, version: int) -> None:
    file = two_with_kmem(version=version)
    (tmp_path / "made.dat").write_bytes(file.encode())
    report = ["trace-cmd", "report", "-i", tmp_path / "made.dat", "-N", "-t"]
    out = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ *net:.*\[(\d+)\] +0\.(\d+): kfree:", out, re.MULTILINE)
    windows = list(imported(file, tmp_path, "net").windows())
    ours = [(w["cpu"].tolist(), w["ts"].tolist()) for w in windows]
    assert ours == [([int(cpu) for cpu, _ in found], [int(ts) for _, ts in found])]
    assert ours == [([2, 0], [4, 5])]
