"""Events of which a recording has no format: counted and said, or a sign of damage."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pipeline.commands import import_
from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.oracle.trace_dat import CACHE_ALLOC, FORMATS, KFREE, KMALLOC, Cpu, Event, File

if TYPE_CHECKING:
    from pathlib import Path


def made(tmp_path: Path, *numbers: int, frees: int = 2, without: int = 0) -> Path:
    """A recording with an event of each number, and some frees; ``without`` a format of kmem."""
    formats = {
        system: [text for text in texts if f"ID: {without}\n" not in text]
        for system, texts in FORMATS.items()
    }
    file = File(formats=formats)
    bodies = [file.kfree(0xA0)] * frees
    bodies += [file.record(number, struct.pack("<QQ", 1, 2)) for number in numbers]
    file.cpus = {0: Cpu([Event(10 * ts, body) for ts, body in enumerate(bodies)])}
    source = tmp_path / "made.dat"
    source.write_bytes(file.encode())
    return source


def test_those_of_a_later_module_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_.import_([made(tmp_path, 2001, 2001, 2000)], tmp_path / "sets")
    said = " ".join(capsys.readouterr().out.split())
    assert "2 events, 0 lost" in said
    assert "3 events of other kinds dropped" in said
    assert "3 events are left out: the recording has no format of number 2000, 2001, as of" in said
    meta = TraceSet.open(tmp_path / "sets" / "made").meta
    assert meta["dropped"] == {"large_kmalloc_repeats": 0, "events of no format": 3}


def test_many_kinds_are_not_all_named(tmp_path: Path) -> None:
    set_ = TraceSet.open(import_recording(made(tmp_path, *range(2000, 2007)), tmp_path / "sets"))
    said = "7 events are left out: the recording has no format of number 2000, 2001, 2002, 2003, "
    assert set_.meta["lacks"][0].startswith(f"{said}2004 and 2 more")


def test_a_recording_of_nothing_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no kmem events .*it has 1 events of no format"):
        import_recording(made(tmp_path, 2001, frees=0), tmp_path / "sets")


def test_no_other_type_is_among_those_of_kmem(tmp_path: Path) -> None:
    """A kernel numbers the event types of a system in one go: one in between has lost its format.

    One at the end may be of anything.
    """
    said = f"1 of its events have number {CACHE_ALLOC}, among those of kmem, and no format has it"
    with pytest.raises(InputError, match=said):
        import_recording(made(tmp_path, CACHE_ALLOC, without=CACHE_ALLOC), tmp_path / "sets")
    assert KMALLOC < KFREE < CACHE_ALLOC
    import_recording(made(tmp_path, KMALLOC, without=KMALLOC), tmp_path / "sets")
