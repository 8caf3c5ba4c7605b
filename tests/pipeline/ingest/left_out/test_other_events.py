"""Events of which a recording has no format: counted and said, or a sign of damage."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from allocsim.trace.events import EVENTS
from pipeline.commands import import_
from pipeline.errors import InputError
from pipeline.ingest.events import EventTypes
from pipeline.ingest.recording import import_recording
from pipeline.ingest.trace_dat.container import read_trace_dat
from pipeline.trace_set.reader import TraceSet
from tests.oracle.trace_dat import (
    CACHE_ALLOC,
    FORMATS,
    KFREE,
    KMALLOC,
    Cpu,
    Event,
    File,
    format_text,
)

if TYPE_CHECKING:
    from pathlib import Path


def made(
    tmp_path: Path,
    *numbers: int,
    frees: int = 2,
    without: int = 0,
    all_others: bool = False,
    kallsyms: str = "",
) -> Path:
    """A recording with an event of each number, and some frees; ``without`` a format of kmem.

    Args:
        tmp_path: where.
        numbers: of the events.
        frees: how many.
        without: the number of the format that is not there.
        all_others: there is one of every other event of kmem.
        kallsyms: the kernel's symbols.
    """
    formats = {
        system: [text for text in texts if f"ID: {without}\n" not in text]
        for system, texts in FORMATS.items()
    }
    if all_others:
        known = "".join(formats["kmem"])
        more = [
            event.name
            for event in EVENTS
            if event.system == "kmem" and f"name: {event.name}\n" not in known
        ]
        formats["kmem"] += [format_text(name, 40 + at) for at, name in enumerate(more)]
        formats["kmem"] += [format_text("kmem_cache_alloc", 90)]
    file = File(formats=formats, kallsyms=kallsyms)
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
        import_recording(
            made(tmp_path, CACHE_ALLOC, without=CACHE_ALLOC, all_others=True), tmp_path / "sets"
        )
    assert KMALLOC < KFREE < CACHE_ALLOC
    import_recording(made(tmp_path, KMALLOC, without=KMALLOC), tmp_path / "sets")


def test_what_somebody_else_enabled_in_the_buffer_is_counted(tmp_path: Path) -> None:
    """trace-cmd copies the formats of those events alone that it was asked for."""
    source = made(tmp_path, CACHE_ALLOC, CACHE_ALLOC, without=CACHE_ALLOC)
    trace = TraceSet.open(import_recording(source, tmp_path / "sets"))
    assert trace.meta["events"] == {"kfree": 2}
    assert trace.meta["dropped"]["events of no format"] == 2
    [said] = [text for text in trace.meta["lacks"] if "no format" in text]
    assert said.startswith(
        f"2 events are left out: the recording has no format of number {CACHE_ALLOC}"
    )
    assert "of kmem that somebody else enabled in the same buffer, or of a module" in said


@pytest.mark.parametrize("step", [8, 16])
def test_the_kernels_symbols_name_them(tmp_path: Path, step: int) -> None:
    """Where the pointers to the event types that are known lie as their numbers do."""
    names = ("kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free", "mm_page_alloc")
    symbols = "".join(
        f"{0xFFFFFFFF83000000 + step * at:016x} d __event_{name}\n" for at, name in enumerate(names)
    )
    source = made(tmp_path, *[CACHE_ALLOC] * 3, without=CACHE_ALLOC, kallsyms=symbols)
    trace = TraceSet.open(import_recording(source, tmp_path / "sets"))
    dropped = trace.meta["dropped"]
    if step == 16:  # not where their numbers say
        assert dropped["events of no format"] == 3
        return
    assert (dropped["kmem_cache_alloc"], dropped.get("events of no format")) == (3, None)
    [said] = [text for text in trace.meta["lacks"] if "no formats" in text]
    assert said.startswith(
        "3 kmem_cache_alloc: left out, for the recording has no formats of these"
    )


@pytest.mark.slow
@pytest.mark.parametrize("recording", ["6.12-hackbench", "7.3-hackbench"], indirect=True)
def test_symbols_of_recordings_name_what_their_formats_do(recording: Path) -> None:
    """All but two formats of kmem taken away: the symbols give the others' names back."""
    dat = read_trace_dat("made", memoryview((recording / "trace.dat").read_bytes()))
    whole = EventTypes.of(dat.formats, "made")
    some = EventTypes.of(
        [
            (system, text)
            for system, text in dat.formats
            if system != "kmem" or b"name: k" in bytes(text[:40])
        ],
        "made",
    )
    some.name_unlisted(dat.kallsyms(), 8)
    gone = {number: name for number, name in whole.names.items() if number not in some.names}
    assert len(gone) >= 7
    assert {number: some.unlisted.get(number) for number in gone} == gone
