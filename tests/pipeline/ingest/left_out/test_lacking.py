"""Events without a field that a replay needs, and frames of struct page pointers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.trace.events import NEEDED, Ev
from pipeline.commands import import_
from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import recording_of, replay_traces
from pipeline.store.database import reading
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS
from tests.oracle.trace_dat import PAGE_ALLOC, Cpu, Event, File, format_text

if TYPE_CHECKING:
    from pathlib import Path

VMEMMAP, DIRECT_MAP = 0xFFFF_EA00_0000_0000, 0xFFFF_8800_0000_0000
PAGE_FREE = 25
UNAME = (5, b"Linux x 3.10.0-1160.el7.x86_64 x86_64\0")

# What include/trace/events/kmem.h of 6.12 says of each event: name, number, fields in order.
_FIELDS = {
    "kmalloc": (
        20,
        ("unsigned long call_site", 8),
        ("const void * ptr", 8),
        ("size_t bytes_req", 8),
        ("size_t bytes_alloc", 8),
        ("unsigned long gfp_flags", 8),
    ),
    "kfree": (21, ("unsigned long call_site", 8), ("const void * ptr", 8)),
    "mm_page_alloc": (
        PAGE_ALLOC,
        ("unsigned long pfn", 8),
        ("unsigned int order", 4),
        ("gfp_t gfp_flags", 4),
        ("int migratetype", 4),
    ),
    "mm_page_free": (PAGE_FREE, ("unsigned long pfn", 8), ("unsigned int order", 4)),
}


def made(*renamed: tuple[str, str, str]) -> File:
    """A slab page's life on CPU 0, eight times over; (event, field, what it is called instead)."""
    names = {(event, field): to for event, field, to in renamed}
    texts = []
    for name, (number, *fields) in _FIELDS.items():
        at, lines = 8, []
        for declaration, size in fields:
            kind, _, field = declaration.rpartition(" ")
            lines.append((f"{kind} {names.get((name, field), field)}", at, size, 0))
            at += size
        texts.append(format_text(name, number, *lines))
    return File(options=[UNAME], formats={"ftrace": [], "kmem": texts})


def lives(file: File, page: list[int], pfn: list[int]) -> Cpu:
    """Of each page: allocated, an object of 64 bytes on it allocated and freed, and freed."""
    out = []
    for number, (frame, place) in enumerate(zip(page, pfn, strict=True)):
        ptr = DIRECT_MAP + (place << 12) + 64
        bodies = (
            (PAGE_ALLOC, struct.pack("<QIIi", frame, 0, 0x52CC0, 0)),
            (20, struct.pack("<QQQQQ", 0x1000, ptr, 50, 64, 0xCC0)),
            (21, struct.pack("<QQ", 0x2000, ptr)),
            (PAGE_FREE, struct.pack("<QI", frame, 0)),
        )
        for step, (kind, body) in enumerate(bodies):
            out.append(Event(1000 + 10 * number + step, file.record(kind, body)))
    return Cpu(out)


PFNS = [5, 8, 9, 1000, 1001, 77777, 5, 12]


def imported(file: File, tmp_path: Path) -> TraceSet:
    (tmp_path / "made.dat").write_bytes(file.encode())
    return TraceSet.open(import_recording(tmp_path / "made.dat", tmp_path, force=True))


def old(size: int, *, base: int = VMEMMAP, pfns: list[int] | None = None) -> File:
    """As 3.10: a pointer to struct page, of ``size`` bytes, in the place of the pfn."""
    file = made(("mm_page_alloc", "pfn", "page"), ("mm_page_free", "pfn", "page"))
    frames = pfns or PFNS
    file.cpus = {0: lives(file, [base + size * pfn for pfn in frames], frames)}
    return file


@pytest.mark.slow
@pytest.mark.parametrize("size", [56, 64, 80, 128])
def test_frames_come_from_struct_page_pointers(tmp_path: Path, size: int) -> None:
    trace = imported(old(size), tmp_path)
    [window] = trace.windows()
    pages = window["event"] == Ev.MM_PAGE_ALLOC
    assert window["pfn"][pages].tolist() == PFNS
    assert window["pfn"][window["event"] == Ev.MM_PAGE_FREE].tolist() == PFNS
    assert trace.meta["direct_map"]["base"] == DIRECT_MAP
    [said] = trace.meta["lacks"]
    assert f"struct page pointers, {size} bytes each from 0xffffea0000000000 on (by 8 vot" in said
    db = tmp_path / "results.duckdb"
    replay_traces([trace.path], db, find_policies([]), Progress())
    with reading(db) as connection:
        kinds = "SELECT page_kind, count(*) FROM pages GROUP BY page_kind"
        assert connection.execute(kinds).fetchall() == [("slab", 8)]


def test_a_failed_allocation_has_no_frame(tmp_path: Path) -> None:
    file = old(64)
    body = struct.pack("<QIIi", 0, 0, 0xCC0, 0)
    file.cpus[0].events.append(Event(5000, file.record(PAGE_ALLOC, body)))
    [window] = imported(file, tmp_path).windows()
    assert window["pfn"][-1] == -1


def test_pointers_alone_tell_the_size_where_only_one_fits(tmp_path: Path) -> None:
    file = old(64)
    kept = [event for event in file.cpus[0].events if event.record[0] in {PAGE_ALLOC, PAGE_FREE}]
    file.cpus[0].events = kept
    trace = imported(file, tmp_path)
    [window] = trace.windows()
    assert np.array_equal(window["pfn"][::2], PFNS)
    assert "(by the pointers alone)" in trace.meta["lacks"][0]


@pytest.mark.parametrize(
    "file",
    [
        old(64, base=0xFFFF_C000_0000_0000),  # CONFIG_SPARSEMEM without vmemmap: lists of sections
        old(64, base=VMEMMAP + 8),
        old(1, base=0x9000),
    ],
    ids=["elsewhere", "odd", "no pointers"],
)
def test_pointers_that_tell_no_frames_leave_pages_out(tmp_path: Path, file: File) -> None:
    trace = imported(file, tmp_path)
    assert trace.meta["events"] == {"kmalloc": 8, "kfree": 8}
    assert trace.meta["dropped"] == {
        "large_kmalloc_repeats": 0,
        "mm_page_alloc": 8,
        "mm_page_free": 8,
    }
    [said] = trace.meta["lacks"]
    missing = "mm_page_alloc has no pfn, mm_page_free has no pfn"
    assert said == f"{missing}: events of pages are left out; kmalloc objects can be replayed"


LACKING = [
    (event.name.lower(), field)
    for event, needed in NEEDED.items()
    if event.name.lower() in _FIELDS
    for field in needed
]


@pytest.mark.slow
@pytest.mark.parametrize(("event", "field"), LACKING, ids=map("-".join, LACKING))
def test_what_lacks_no_field_is_replayed(tmp_path: Path, event: str, field: str) -> None:
    """The half that lacks a field is left out, whole and aloud; the other is replayed."""
    file = made((event, field, "something_else"))
    file.cpus = {0: lives(file, PFNS, PFNS)}
    trace = imported(file, tmp_path)
    gone = {"kmalloc", "kfree"} if event in {"kmalloc", "kfree"} else {"mm_page_alloc"}
    gone |= set() if "kmalloc" in gone else {"mm_page_free"}
    assert trace.meta["events"] == dict.fromkeys(set(_FIELDS) - gone, 8)
    [said] = trace.meta["lacks"]
    assert said.startswith(f"{event} has no {field}: events of ")
    db = tmp_path / "results.duckdb"
    replay_traces([trace.path], db, find_policies([]), Progress(), {})
    with reading(db) as connection:
        asked = "SELECT count(*) FROM object_events UNION ALL SELECT count(*) FROM page_events"
        counts = [count for (count,) in connection.execute(asked).fetchall()]
    assert sorted(counts) == [0, 16]


def test_every_lacking_field_is_named_in_one_line(tmp_path: Path) -> None:
    file = made(
        *(("kmalloc", name, f"x{name}") for name in ("bytes_alloc", "gfp_flags")),
        *(("mm_page_free", name, f"x{name}") for name in ("pfn", "order")),
    )
    file.cpus = {0: lives(file, PFNS, PFNS)}
    with pytest.raises(InputError) as caught:
        imported(file, tmp_path)
    said = str(caught.value)
    assert "kmalloc has no bytes_alloc and no gfp_flags" in said
    assert "mm_page_free has no pfn and no order" in said
    assert "nothing can be replayed" in said


def test_a_trace_set_of_somebody_else_may_lack_fields(tmp_path: Path) -> None:
    file = made()
    file.cpus = {0: lives(file, PFNS, PFNS)}
    trace = imported(file, tmp_path)
    recording_of(trace)
    trace.columns = tuple(column for column in trace.columns if column.name != "order")
    with pytest.raises(InputError, match="mm_page_alloc has no order, mm_page_free has no order"):
        recording_of(trace)


def test_a_kernel_of_3_10_without_frames(tmp_path: Path) -> None:
    """The fault's file: `page` is no pointer into vmemmap, so the slab half is left."""
    trace = import_recording(FAULTS / "old_struct_page.dat.gz", tmp_path)
    meta = TraceSet.open(trace).meta
    assert meta["events"] == {"kmalloc": 80, "kfree": 80}
    assert "mm_page_alloc has no pfn, mm_page_free has no pfn" in meta["lacks"][0]
    said = import_._summary(meta)  # they are not "events of other kinds"
    assert said.endswith("40 events left out for a field that is missing")
    db = tmp_path / "results.duckdb"
    replay_traces([trace], db, find_policies([]), Progress(), {})
    with reading(db) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(2,)]
