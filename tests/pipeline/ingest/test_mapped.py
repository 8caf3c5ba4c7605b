"""A recording that changes while it is read: one line, and nothing is made of it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.ingest.ftrace_text.reader import ftrace_text
from pipeline.ingest.raw.mapped import let_go, mapped
from tests.conftest import ROOT

SIZE = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_bytes(b"\x01" * SIZE)
    return path


def test_a_file_that_stays_is_read(file: Path) -> None:
    with mapped(file) as data:
        assert bytes(data[-3:]) == b"\1\1\1"


@pytest.mark.parametrize("size", [0, SIZE // 2, SIZE + 1])
def test_a_file_that_changes_is_refused(file: Path, size: int) -> None:
    def read() -> None:
        with mapped(file) as data:
            os.truncate(file, size)
            last.append(data[-1])  # which must not end the process
            raise InputError("what comes of it")

    last: list[int] = []
    said = f"recording: changed from {SIZE} to {size} bytes while it was read"
    with pytest.raises(InputError, match=said):
        read()
    assert last == [0 if size < SIZE else 1]


def test_a_fault_of_other_memory_still_ends_the_process(file: Path) -> None:
    other = (
        "import os, mmap, sys; from pathlib import Path; from pipeline.ingest.raw.mapped import *\n"
    )
    other += "with mapped(Path(sys.argv[1])), open(sys.argv[2], 'r+b') as f:\n"
    other += " m = mmap.mmap(f.fileno(), 0); f.truncate(0); m[0]\n"
    second = file.with_name("other")
    second.write_bytes(b"\1" * SIZE)
    run = subprocess.run(
        [sys.executable, "-c", other, file, second], cwd=ROOT, check=False, capture_output=True
    )
    assert run.returncode == -7


def test_a_file_that_is_another_of_the_same_size_is_refused(file: Path) -> None:
    def read() -> None:
        with mapped(file):
            os.truncate(file, 0)
            os.truncate(file, SIZE)

    with pytest.raises(InputError, match="recording: changed while it was read"):
        read()


def test_every_thread_may_be_at_what_is_gone(file: Path) -> None:
    """Hashing faults without the interpreter's lock, in all threads at once."""
    meet = threading.Barrier(8)

    def hashed(data: memoryview) -> bytes:
        meet.wait()
        return hashlib.sha256(data).digest()

    def read() -> None:
        with mapped(file) as data, ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(hashed, data) for _ in range(8)]
            os.truncate(file, 0)
            wait(futures)

    with pytest.raises(InputError, match=f"changed from {SIZE} to 0 bytes"):
        read()


def test_a_system_call_that_is_given_what_is_gone(file: Path) -> None:
    def read() -> None:
        with mapped(file) as data:
            os.truncate(file, 0)
            file.with_name("copy").write_bytes(data)

    with pytest.raises(InputError, match="changed from"):
        read()


LINE = (
    "            task-100     [000] .....  1.000000: kmalloc: call_site=f+0x1/0x2"
    " ptr=ffff888000000040 bytes_req=60 bytes_alloc=64 gfp_flags=GFP_KERNEL node=-1"
    " accounted=false\n"
)


def resident(file: Path) -> int:
    """Bytes of a mapped file that this process has in its memory."""
    found, of_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.partition("-")[0].isalnum():  # of a mapping, not of a number about it
            of_file = line.endswith(str(file))
        elif of_file and line.startswith("Rss:"):
            found += int(line.split()[1]) << 10
    return found


def test_what_was_read_is_let_go(file: Path) -> None:
    with mapped(file) as data:
        assert sum(data) == SIZE
        assert resident(file) == SIZE
        let_go(np.frombuffer(data, np.uint8)[100:])
        assert resident(file) == 0
        assert data[-1] == 1


def test_of_a_text_that_is_indexed_a_part_is_held(file: Path) -> None:
    file.write_text("# tracer: nop\n#\n" + LINE * 80_000)
    with mapped(file) as data:
        ftrace_text(str(file), data, "")
        assert len(data) > 12 << 20
        assert resident(file) <= 5 << 20
