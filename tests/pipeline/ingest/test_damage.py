"""Damaged recordings: each one clear line, nothing half-written, no hang and no memory eaten."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.errors import InputError, OutputError
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT
from tests.oracle.perf_data import CALLCHAIN, KERNEL, USUAL, Attr, PerfFile
from tests.oracle.trace_dat import KFREE as KFREE_NUMBER
from tests.oracle.trace_dat import Cpu, Event, File
from tests.pipeline.ingest.ftrace_text.test_reader import CACHE, HEAD, KFREE, KMALLOC, PAGE, line
from tests.pipeline.ingest.printed.test_small import EVENTS, STACK
from tests.pipeline.ingest.printed.test_small import report as of_trace_cmd
from tests.pipeline.ingest.printed.test_small import script as of_perf

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = [
    {"version": 6},
    {"version": 7, "compression": "none"},
    {"version": 7, "compression": "zlib"},
    {"version": 7, "compression": "zstd"},
    {"version": 7, "compression": "none", "order": ">", "long_size": 4},
]
ROUNDS = 150
NUMBERS = (b"\xff\xff\xff\xff", bytes(4), b"\0\0\0\x7f", b"\x7f\0\0\0")


def small(kind: dict[str, Any] | None = None) -> bytes:
    """A small recording with a bit of everything."""
    symbols = "0000000000002000 t one\n0000000000005000 t two\t[m]\n"
    file = File(room=300, kallsyms=symbols, **kind or {})
    file.options = [(2, b"CPU: 0\noverrun: 1\n\0"), (7, b"5\0"), (8, b"\2\0\0\0")]
    records = [
        file.kmalloc(0xA000, 64),
        file.cache_alloc(0xB000, "dentry"),
        file.page_alloc(4, 1),
        file.stack(0x5001, 0x5002),
        file.cache_free(0xB000, "dentry"),
        file.kfree(0xA000),
    ]
    for cpu in range(2):
        events = [Event(10 * n + cpu, record) for n, record in enumerate(records * 6)]
        file.cpus[cpu] = Cpu(events, {1: 3})
    return file.encode()


@contextmanager
def limited(seconds: int, memory: int) -> Iterator[None]:
    """No more than so much time, and so much more memory, for the block."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"still at it after {seconds} s")

    # Of writable memory: address space alone costs nothing, and every thread reserves some.
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (4096 * pages + memory, before[1]))
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_DATA, before)


def survives(data: bytes, folder: Path) -> bool:
    """Import damaged data: True if that worked, False if it was refused as it should be."""
    source = folder / "damaged.dat"
    source.write_bytes(data)
    refusal = None
    try:
        trace = TraceSet.open(import_recording(source, folder))
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.startswith(str(source))
        assert "\n" not in refusal
        assert [path.name for path in folder.iterdir()] == ["damaged.dat"]
        return False
    # Fields of events can hold anything; what no kernel can have said is refused when it is read.
    refusal = None
    try:
        rows = sum(len(window["ts"]) for window in trace.windows())
    except InputError as error:
        refusal = str(error)
    shutil.rmtree(trace.path)
    if refusal is not None:
        assert "damaged: " in refusal
        assert "\n" not in refusal
        return False
    assert rows == sum(trace.meta["events"].values())
    return True


def damaged(whole: bytes, damage: str, dice: np.random.Generator) -> bytes:
    """A recording with one damage at random, half of all where its headers are."""
    data = bytearray(whole)
    at = int(dice.integers(min(dice.choice([2500, len(data)]), len(data))))
    if damage == "flip":
        data[at] ^= 1 << int(dice.integers(8))
    elif damage == "cut":
        del data[at:]
    elif damage == "number":
        data[at : at + 4] = NUMBERS[dice.integers(len(NUMBERS))]
    else:
        data[at : at + 64] = dice.bytes(64)
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("damage", ["flip", "cut", "number", "shuffle"])
def test_damage_is_an_error_or_harmless(kind: dict[str, Any], damage: str, tmp_path: Path) -> None:
    whole = small(kind)
    dice = np.random.default_rng(list(f"{damage} {sorted(kind.items())}".encode()))
    refused = 0
    with limited(seconds=120, memory=1 << 30):
        assert survives(whole, tmp_path)
        for _ in range(ROUNDS):
            refused += not survives(damaged(whole, damage, dice), tmp_path)
    # Most damage is where nothing is compared with anything: in addresses, names, paddings.
    assert refused == ROUNDS if damage == "cut" else refused > 0


PERF_KINDS = [{}, {"order": ">"}, {"piped": True}, {"compression": 81}]
PERF_ROUNDS = 60


def small_perf(kind: dict[str, Any]) -> bytes:
    """A small recording of perf with a bit of everything."""
    attrs = [Attr(sample_type=USUAL | CALLCHAIN), Attr("kmem:kfree", KFREE_NUMBER, ids=(20, 21))]
    file = PerfFile(attrs=attrs, **kind)
    made = file.made
    file.comm(7, "init", ts=5)
    for ts in range(0, 400, 20):
        cpu = ts // 20 % 2
        file.sample(ts, made.kmalloc(0xA000, 64), cpu=cpu, chain=(KERNEL, 0x5001, 0x5002))
        file.sample(ts + 5, made.cache_alloc(0xB000, "dentry"), cpu=cpu, chain=(KERNEL, 0x5001))
        file.sample(ts + 10, made.page_alloc(4, 1), cpu=cpu)
        file.sample(ts + 15, made.kfree(0xA000), cpu=cpu, attr=1)
        file.fork(8, 7, ts=ts)
    file.other(2, file.n(8, 10, 3), ts=400)
    return file.encode()


@pytest.mark.slow
@pytest.mark.parametrize("kind", PERF_KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("damage", ["flip", "cut", "number", "shuffle"])
def test_damage_to_what_perf_writes(kind: dict[str, Any], damage: str, tmp_path: Path) -> None:
    whole = small_perf(kind)
    dice = np.random.default_rng(list(f"{damage} {sorted(kind.items())}".encode()))
    refused = 0
    with limited(seconds=120, memory=1 << 30):
        assert survives(whole, tmp_path)
        for _ in range(PERF_ROUNDS):
            refused += not survives(damaged(whole, damage, dice), tmp_path)
    # A pipe's recording may end behind any record.
    assert refused == PERF_ROUNDS if damage == "cut" and "piped" not in kind else refused > 0


def small_text() -> bytes:
    """A small recording of tracefs's text with a bit of everything."""
    events = (KMALLOC, CACHE, PAGE, "<stack trace>", KFREE, "sched_nothing: a=1")
    lines = [line(text, 1 + n / 1000, n % 2) for n, text in enumerate(events * 6)]
    lines[3] += " => one\n => two+0x1/0x2 [m]\n"
    return (HEAD.format(36, 40, 2) + "".join(lines) + "CPU:0 [LOST 4 EVENTS]\n").encode()


def small_report() -> bytes:
    """A small text of trace-cmd report with a bit of everything."""
    lines = [of_trace_cmd(text, 1 + at / 1000) for at, text in enumerate([*EVENTS, STACK] * 4)]
    lines[5] += "=> two (ffffffff81001301)\n=> one+0x10\n"
    return ("cpus=2\n" + "".join(lines) + "CPU:0 [4 EVENTS DROPPED]\n").encode()


def small_script() -> bytes:
    """A small text of perf script with a bit of everything."""
    lines = [of_perf(text, 1 + at / 1000, period="  1 ") for at, text in enumerate([*EVENTS] * 4)]
    lines[5] += "\tffffffff81001040 one+0x40 ([kernel.kallsyms])\n\t    5001 [unknown] (x)\n\n"
    lines.append(of_perf("x", 2).replace("kmem:x:", "PERF_RECORD_LOST lost 12"))
    return ("# ========\n# captured on    : Mon\n#\n" + "".join(lines)).encode()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "cut", "number", "shuffle"])
def test_damage_to_text(damage: str, tmp_path: Path) -> None:
    whole = small_text()
    dice = np.random.default_rng(list(damage.encode()))
    imported = 0
    with limited(seconds=120, memory=1 << 30):
        assert survives(whole, tmp_path)
        for _ in range(ROUNDS):
            imported += survives(damaged(whole, damage, dice), tmp_path)
    # A text goes on behind a line that cannot be read, but not one that ends in the middle of one.
    assert imported < ROUNDS / 2 if damage == "cut" else imported > ROUNDS / 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (np.random.default_rng(1).bytes(5000), "not a recording that can be read"),
        (b"\x17\x08\x44tracing5\0" + bytes(100), "version '5' is not known"),
        (b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0lzma\x001\0" + bytes(8), "compressed with 'lzma'"),
        (b"PERFILE2" + bytes(100), "a header of 0 bytes is not known, only 104"),
        (b"PERFILE2\x68" + bytes(100), "perf record was not ended properly"),
        (b"PERFILE2\x10" + bytes(7), "perf record was not ended properly"),
        (b"PERFFILE" + bytes(100), "perf.data of version 1 .* is not read"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "the compressed data is damaged"),
        (b"\x1f\x8b" + bytes(100), "the compressed data is damaged"),
    ],
)
def test_says_what_is_wrong_with_the_file(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.dat").write_bytes(data)
    with pytest.raises(InputError, match=f"bad.dat: .*{message}"):
        import_recording(tmp_path / "bad.dat", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.dat"]


def test_says_where_a_file_was_truncated(tmp_path: Path) -> None:
    (tmp_path / "cut.dat").write_bytes(small({"version": 6})[:-100])
    with pytest.raises(InputError, match=r"CPU 1's data ends at byte \d+, .* truncated"):
        import_recording(tmp_path / "cut.dat", tmp_path)


@pytest.mark.parametrize(
    ("at", "put", "message"),
    [
        (268, b"\x1c", "byte 268: an entry points out of its sub-buffer"),
        (16, bytes(8), "byte 16: an event of 0 bytes cannot be"),
        (8, b"\xff\xff\0\0", "byte 0: 65535 bytes of events, there is room for 4080"),
        (0, bytes(8), r"byte \d+: the time goes back here, the data is damaged"),
        (20, b"\x14\0", r"byte 20: a record of kmalloc has 24 bytes, its format needs 52"),
    ],
)
def test_says_where_a_sub_buffer_is_damaged(
    at: int, put: bytes, message: str, tmp_path: Path
) -> None:
    file = File(version=6, room=300)
    events = [Event(ts, file.kfree(0xA0)) for ts in range(1, 41)]
    file.cpus = {0: Cpu(events), 1: Cpu(events)}
    data = bytearray(file.encode())
    # Ten events a sub-buffer: the last four are CPU 1's, and this is the third of these.
    page = len(data) - 2 * 4096
    data[page + at : page + at + len(put)] = put
    (tmp_path / "bad.dat").write_bytes(data)
    with pytest.raises(InputError, match=f"bad.dat: CPU 1, sub-buffer 2, {message}"):
        import_recording(tmp_path / "bad.dat", tmp_path)


def test_a_folder_without_a_recording_says_what_was_looked_for(tmp_path: Path) -> None:
    said = r"no recording in this folder \(it has no trace.dat, perf.data, ftrace.txt\)"
    with pytest.raises(InputError, match=said):
        import_recording(tmp_path, tmp_path)
    (tmp_path / "perf.data.zst").touch()
    with pytest.raises(InputError, match=r"perf.data.zst: the file is empty"):
        import_recording(tmp_path, tmp_path)
    with pytest.raises(InputError, match="no such recording"):
        import_recording(tmp_path / "nothing", tmp_path)


def test_replaces_a_trace_set_only_when_told_and_nothing_else_ever(tmp_path: Path) -> None:
    source = tmp_path / "one.dat"
    source.write_bytes(small())
    made = import_recording(source, tmp_path)
    with pytest.raises(OutputError, match="already there; --force replaces it"):
        import_recording(source, tmp_path)
    (made / "left").touch()
    assert import_recording(source, tmp_path, force=True) == made
    assert not (made / "left").exists()
    shutil.rmtree(made)
    made.mkdir()
    (made / "precious").touch()
    with pytest.raises(OutputError, match="not a trace set, and not replaced"):
        import_recording(source, tmp_path, force=True)
    assert (made / "precious").exists()


def test_a_failed_import_leaves_the_old_trace_set(tmp_path: Path) -> None:
    source = tmp_path / "one.dat"
    source.write_bytes(small())
    made = import_recording(source, tmp_path)
    before = (made / "events.parquet").read_bytes()
    source.write_bytes(small()[:-1])
    with pytest.raises(InputError):
        import_recording(source, tmp_path, force=True)
    assert (made / "events.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.dat"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    source = tmp_path / "one.dat"
    source.write_bytes(small())
    # A file may not grow beyond 1 KiB: writing fails as on a full disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(OutputError, match=r"one: cannot be written \(File too large\)"):
            import_recording(source, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["one.dat"]


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    source = tmp_path / "one.dat"
    source.write_bytes(small())
    with pytest.raises(OutputError, match=r"one\.dat: cannot be written to"):
        import_recording(source, source)
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="locked: cannot be written to"):
            import_recording(source, tmp_path / "locked")


@pytest.mark.slow
def test_the_command_prints_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.dat").write_bytes(b"nonsense")
    run = subprocess.run(
        [sys.executable, "-m", "pipeline", "import", tmp_path / "bad.dat", "-o", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (run.returncode, run.stdout) == (1, "")
    said = (
        "not a recording that can be read: neither trace.dat nor perf.data, nor the text of tracefs"
    )
    assert run.stderr == f"allocsim: {tmp_path}/bad.dat: {said}\n"
