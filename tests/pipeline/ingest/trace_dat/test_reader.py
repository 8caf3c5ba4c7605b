"""Hand-made trace.dat files, of every kind that a recorder may write."""

from __future__ import annotations

import hashlib
import json
import struct
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.convert import Conversion
from pipeline.ingest.formats import parse_fields
from pipeline.ingest.recording import import_recording
from pipeline.ingest.stacks.symbols import Kallsyms
from pipeline.ingest.trace_dat.clock import Clock
from pipeline.ingest.trace_dat.container import read_trace_dat
from pipeline.ingest.trace_dat.reader import TraceDatReader
from pipeline.ingest.trace_dat.ring_buffer import PageLayout
from pipeline.ingest.trace_dat.windows import NEAR, cpu_pages, read_windows
from pipeline.trace_set.reader import TraceSet
from tests.conftest import examples
from tests.oracle.trace_dat import OTHER, Cpu, Event, File

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.ingest.reader import SymbolTable
    from pipeline.trace_set.column import Values

BIG = 1 << 27  # the first time difference that does not fit into an entry


def imported(file: File, folder: Path) -> TraceSet:
    source = folder / "made.dat"
    source.write_bytes(file.encode())
    return TraceSet.open(import_recording(source, folder, force=True))


def columns(trace: TraceSet) -> dict[str, Any]:
    windows = list(trace.windows())
    return {name: np.concatenate([window[name] for window in windows]) for name in windows[0]}


def some_of_everything(file: File) -> File:
    """Events of all kinds on two CPUs, over several sub-buffers."""
    first = [
        Event(1000, file.kmalloc(0xA0, 64)),
        Event(1000, file.cache_alloc(0xB0, "dentry", flags=1)),
        Event(1000 + BIG, file.kfree(0xA0)),
        Event(1001 + BIG, file.record(OTHER, b"\0" * 200)),
        Event(1005 + BIG, file.kfree(0xA1), "discarded"),
        Event(1007 + BIG, file.cache_free(0xB0, "a name that is longer than thirty-two bytes")),
    ]
    second = [
        Event(1000, file.page_alloc(5, 3)),
        Event(1001, file.kfree(0xC0, pid=1 << 22)),
        Event(1 << 40, file.page_alloc((1 << 64) - 1, 0)),
    ]
    file.cpus = {0: Cpu(first), 3: Cpu(second)}
    return file


KINDS = [
    {"version": version, "compression": compression, "order": order, "long_size": long_size}
    for version, compression in [(6, "none"), (7, "none"), (7, "zlib"), (7, "zstd")]
    for order in "<>"
    for long_size in (4, 8)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("absolute", [False, True], ids=["deltas", "stamps"])
def test_reads_every_layout(
    tmp_path: Path, kind: dict[str, Any], page_size: int, *, absolute: bool
) -> None:
    kind = {**kind, "page_size": page_size, "absolute": absolute, "room": 200}
    trace = imported(some_of_everything(File(**kind)), tmp_path)
    found = columns(trace)
    assert found["ts"].tolist() == [
        *(1000, 1000, 1000, 1001),
        *(1000 + BIG, 1007 + BIG, 1 << 40),
    ]
    assert found["cpu"].tolist() == [0, 0, 3, 3, 0, 0, 3]
    assert found["pid"].tolist() == [7, 7, 7, 1 << 22, 7, 7, 7]
    assert found["irq_flags"].tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert found["event"].tolist() == [
        *(Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC, Ev.MM_PAGE_ALLOC, Ev.KFREE),
        *(Ev.KFREE, Ev.KMEM_CACHE_FREE, Ev.MM_PAGE_ALLOC),
    ]
    assert found["call_site"].tolist() == [0x1040, 0x3000, 0, 0x2000, 0x2000, 0x4000, 0]
    assert found["ptr"].tolist() == [0xA0, 0xB0, 0, 0xC0, 0xA0, 0xB0, 0]
    assert found["bytes_req"].tolist() == [64, 0, 0, 0, 0, 0, 0]
    assert found["gfp_flags"].tolist() == [3, 5, 0, 0, 0, 0, 0]
    assert found["node"].tolist() == [-1, 0, 0, 0, 0, 0, 0]
    assert found["accounted"].tolist() == [False, True, *[False] * 5]
    assert found["pfn"].tolist() == [0, 0, 5, 0, 0, 0, -1]
    names = [*trace.names["cache"], None]
    long = "a name that is longer than thirty-two bytes"
    assert [names[code] for code in found["cache"]] == [None, "dentry", *[None] * 3, long, None]
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0, "sched_nothing": 1}
    assert trace.meta["ignored_fields"] == {"kmalloc": ["surprise"]}
    assert trace.meta["comms"] == {"1": "init"}
    assert (trace.meta["first_ts"], trace.meta["last_ts"]) == (1000, 1 << 40)


def test_counts_lost_events_by_the_marks_and_by_the_statistics(tmp_path: Path) -> None:
    statistics = b"CPU: 2\nentries: 9\noverrun: 5\ncommit overrun: 1\ndropped events: 0\n\0"
    file = File(room=40, options=[(2, statistics)])
    events = [Event(ts, file.kfree(0xA0)) for ts in range(4)]
    file.cpus = {1: Cpu(events, {1: 17, 3: 4}), 2: Cpu(events, {2: -1})}
    lost = imported(file, tmp_path).meta["lost"]
    assert lost["per_cpu"] == {"1": 21, "2": 6}
    assert lost["sources"]["marks"] == {"1": 2, "2": 1}
    assert lost["sources"]["marks_without_a_number"] == {"1": 0, "2": 1}
    assert lost["sources"]["overrun"] == {"2": 5}


def test_turns_tsc_cycles_into_nanoseconds(tmp_path: Path) -> None:
    # 3 GHz: 1 / 3 as a fraction of 2^32, and 7 ns on top.
    conversion = struct.pack("<IIQ", (1 << 32) // 3, 32, 0)
    file = File(clock="x86-tsc", options=[(14, conversion), (7, b"7\0")])
    cycles = [0, 3_000, 3_000_000, (1 << 40) + 1]
    file.cpus = {0: Cpu([Event(ts, file.kfree(0xA0)) for ts in cycles])}
    trace = imported(file, tmp_path)
    assert columns(trace)["ts"].tolist() == [
        ts * ((1 << 32) // 3) // (1 << 32) + 7 for ts in cycles
    ]
    assert (trace.meta["clock"], trace.meta["ts_unit"]) == ("x86-tsc", "ns")


def test_a_clock_that_counts_no_time_is_labelled_so(tmp_path: Path) -> None:
    file = File(clock="counter")
    file.cpus = {0: Cpu([Event(5, file.kfree(0xA0))])}
    assert imported(file, tmp_path).meta["ts_unit"] == "events"


@pytest.mark.parametrize("interpolate", [False, True])
def test_shifts_a_guests_time_to_its_hosts(tmp_path: Path, *, interpolate: bool) -> None:
    times, offsets = [1000, 2000, 4000], [-100, 300, 301]
    samples = struct.pack("<I3Q3q3Q", 3, *times, *offsets, 1, 1, 1)
    option = struct.pack("<QII", 1, interpolate, 1) + samples
    file = File(options=[(12, option)])
    stamps = [500, 1000, 1999, 2000, 3001, 5000]
    file.cpus = {0: Cpu([Event(ts, file.kfree(0xA0)) for ts in stamps])}
    if interpolate:
        # C divides towards zero: -199.5 is -199, so the first is shifted by -100 - 199.
        expected = [500 - 299, 900, 1999 + 300, 2300, 3001 + 301, 5000 + 302]
    else:
        expected = [400, 900, 1899, 2300, 3301, 5300]
    assert columns(imported(file, tmp_path))["ts"].tolist() == expected


def test_gives_a_stack_to_its_event_past_interrupts(tmp_path: Path) -> None:
    names = "0000000000005000 t trace_event_raw_event_mm_page_alloc\n"
    file = File(kallsyms=names + "0000000000006000 T somebody\n0000000000007000 T else\n")
    irq = {"flags": 0x08}
    events = [
        file.stack(0x5001, 0x6001),  # its event was not recorded
        file.page_alloc(1, 0),
        file.page_alloc(2, 0, **irq),
        file.stack(0x5001, 0x6002, **irq),
        file.kfree(0xA0, **irq),
        file.stack(0x5001, 0x6003),
        file.page_alloc(3, 0),
        file.page_alloc(4, 0),
        file.stack(0x5001, 0x6002),
        file.stack(0x5001, 0x6002),  # a second one
        file.kfree(0xA0),
        file.stack(0x5001, 0x6001),  # not a kfree's
        file.kfree(0xA1),
        file.stack(0x6005),  # any event's
        file.page_alloc(5, 0),
        file.stack(0x5001, 0x6001, pid=8),  # another task's
    ]
    file.cpus = {0: Cpu([Event(ts, record) for ts, record in enumerate(events)])}
    trace = imported(file, tmp_path)
    found = columns(trace)
    frames = [trace.stacks.frames(s).tolist() if s >= 0 else None for s in found["stack"]]
    assert frames == [
        *([0x5001, 0x6003], [0x5001, 0x6002], None, None),
        *([0x5001, 0x6002], None, [0x6005], None),
    ]
    assert trace.meta["stacks"] == {"events": 8, "unattached": 4, "distinct": 4}
    assert trace.symbols.name(0x6003) == "somebody"


def test_drops_the_first_event_of_a_large_kmalloc(tmp_path: Path) -> None:
    file = File()
    big, irq = 16384, {"flags": 0x10}
    events = [
        file.kmalloc(0xA000, big, 0x7000),
        file.kmalloc(0xA000, big),
        file.kmalloc(0xB000, big),  # once: its size is a constant
        file.kmalloc(0xC0, 64),
        file.kmalloc(0xC0, 64),  # small: an untraced free between
        file.kmalloc(0xD000, big),
        file.kfree(0x1, **irq),
        file.kmalloc(0xD000, big),
        *[file.kmalloc(0, big)] * 4,  # two that failed
        file.kmalloc(0xE000, big),
        file.kfree(0x2),
        file.kmalloc(0xE000, big),  # not at once
    ]
    file.cpus = {0: Cpu([Event(ts, record) for ts, record in enumerate(events)])}
    trace = imported(file, tmp_path)
    assert columns(trace)["ts"].tolist() == [1, 2, 3, 4, 6, 7, 9, 11, 12, 13, 14]
    assert trace.meta["dropped"]["large_kmalloc_repeats"] == 4
    # Of the second event of each two the call site of the first.
    inner = [0x7000, 0, 0, 0, 0, 0x5000, 0x5000, 0x5000, 0, 0, 0]
    assert columns(trace)["inner_site"].tolist() == inner
    assert 0x7000 in trace.symbols.address


def test_marks_the_allocators_own_metadata(tmp_path: Path) -> None:
    file = File(kallsyms="0000000000002000 t barn_shrink.isra.0\n0000000000003000 T other\n")
    file.cpus = {0: Cpu([Event(1, file.kfree(0xA0)), Event(2, file.cache_alloc(0xB0, "x"))])}
    assert columns(imported(file, tmp_path))["metadata"].tolist() == [True, False]


def test_takes_symbols_as_trace_cmd_does(tmp_path: Path) -> None:
    text = (
        "0000000000000000 A fixed_percpu_data\n"
        "0000000000001800 T first\n0000000000001800 t second\n"
        "0000000000001900 t $x\nnonsense\n0000000000003000 t deep\t[module]\n"
    )
    file = File(kallsyms=text)
    events = [file.kmalloc(0xA0, 8), file.kmalloc(0xA1, 0x900), file.cache_alloc(0xB0, "x")]
    file.cpus = {0: Cpu([Event(1, record) for record in events])}
    symbols = imported(file, tmp_path).symbols
    assert symbols.address.tolist() == [0x1008, 0x1900, 0x3000]
    assert symbols.symbol == [None, "first", "deep"]
    assert symbols.offset.tolist() == [0, 0x100, 0]
    assert symbols.module == [None, None, "module"]


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),  # CPU
        st.integers(0, 3),  # time since the one before
        st.sampled_from(["kmalloc", "kfree", "cache", "page", "stack", "other", "discarded"]),
        st.integers(0, 5),
        st.sampled_from([0, 0, 0, 0x08]),
    ),
    min_size=1,
    max_size=120,
)


def _file(events: list[tuple[int, int, str, int, int]], room: int) -> File:
    # Few sub-buffers a chunk, so that the smallest budget makes many windows.
    file = File(compression="zlib", room=room)
    file.cpus = {cpu: Cpu() for cpu in range(4)}
    times = dict.fromkeys(range(4), 10)
    for cpu, step, what, value, flags in events:
        times[cpu] += step + (what == "discarded")
        record = {
            "kmalloc": file.kmalloc(value << 20, 1 << (value + 11), flags=flags),
            "kfree": file.kfree(value, flags=flags),
            "cache": file.cache_alloc(value, "name" * value, flags=flags),
            "page": file.page_alloc(value, value, flags=flags),
            "stack": file.stack(*range(0x5000, 0x5000 + value), flags=flags),
            "other": file.record(OTHER, bytes(40 * value), flags=flags),
            "discarded": file.kfree(value),
        }[what]
        how = "discarded" if what == "discarded" else "event"
        file.cpus[cpu].events.append(Event(times[cpu], record, how))
    return file


@examples(60, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS, room=st.integers(60, 600), budget=st.sampled_from([1, 40_000, 1 << 24]))
def test_does_not_depend_on_where_windows_are_cut(
    events: list[tuple[int, int, str, int, int]], room: int, budget: int
) -> None:
    if all(what in ("stack", "other", "discarded") for _, _, what, _, _ in events):
        return
    data = memoryview(_file(events, room).encode())
    no_symbols: Future[SymbolTable] = Future()
    no_symbols.set_result(Kallsyms(memoryview(b"")))
    whole, pieces = (
        converted(Conversion(TraceDatReader("made", data), no_symbols), size)
        for size in (1 << 30, budget)
    )
    assert whole == pieces
    kept = [
        (ts, cpu)
        for cpu, step, ts in _times(events)
        if step in ("kmalloc", "kfree", "cache", "page")
    ]
    assert len(whole["ts"]) + whole["repeats"][0] == len(kept)
    assert set(zip(whole["ts"], whole["cpu"], strict=True)) <= set(kept)


def _times(events: list[tuple[int, int, str, int, int]]) -> list[tuple[int, str, int]]:
    times = dict.fromkeys(range(4), 10)
    out = []
    for cpu, step, what, _, _ in events:
        times[cpu] += step + (what == "discarded")
        out.append((cpu, what, times[cpu]))
    return out


def converted(conversion: Conversion, budget: int) -> dict[str, list[Any]]:
    """All columns as lists, None for null, codes replaced by what they mean."""
    out: dict[str, list[Any]] = {}
    total = 0
    for rows, window in conversion.windows(budget):
        for name in out.keys() | window.keys():
            column = out.setdefault(name, [None] * total)
            column += _plain(rows, window[name]) if name in window else [None] * rows
        total += rows
    stacks = conversion.stacks
    out["stack"] = [
        None if s is None else stacks.address[stacks.start[s] : stacks.start[s + 1]].tolist()
        for s in out.get("stack", [None] * total)
    ]
    out["repeats"] = [conversion.counts.repeats]
    out["unattached"] = [stacks.seen, stacks.attached]
    vote = conversion.vote.result()
    out["vote"] = [vote.base, vote.votes, vote.candidates]
    return out


def _plain(rows: int, column: Values) -> list[Any]:
    values = column.values.tolist()
    if column.dictionary is not None:
        values = [column.dictionary[code] for code in values]
    if column.valid is None:
        return values
    assert len(column.valid) == rows
    rest = iter(values)
    return [next(rest) if valid else None for valid in column.valid]


def test_holds_no_more_than_a_window_in_memory() -> None:
    file = File(compression="none", room=100)
    busy = [Event(ts, file.kfree(ts)) for ts in range(6000)]
    file.cpus = {0: Cpu(busy), 1: Cpu([Event(6000, file.kfree(1))]), 2: Cpu(busy[::3])}
    trace = read_trace_dat("made", memoryview(file.encode()))
    layout = PageLayout.of(parse_fields(trace.header_page, "made"), 4096, "<", "made")
    cpus = cpu_pages(trace, trace.buffers[0], layout, Clock("local"))
    budget = 1 << 20
    sizes = [
        sum(len(piece) for _, _, pieces in window.cpus for piece in pieces)
        for window in read_windows(cpus, budget)
    ]
    assert len(sizes) > 5
    # Besides what was asked for, the neighbours on both sides, and what is read at one time.
    assert max(sizes) <= budget + len(cpus) * (2 * NEAR * 4096 + 8 * (1 << 16))
    assert sum(sizes) >= sum(cpu.size for cpu in trace.buffers[0].cpus)


@pytest.mark.parametrize("version", [6, 7])
def test_without_kmem_events_says_so(tmp_path: Path, version: int) -> None:
    file = File(version=version, compression="none")
    file.cpus = {0: Cpu([Event(1, file.record(OTHER, b""))])}
    with pytest.raises(InputError, match="no kmem events in this recording"):
        imported(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made.dat"]


def test_the_digest_is_the_files_own(tmp_path: Path) -> None:
    file = some_of_everything(File())
    trace = imported(file, tmp_path)
    assert trace.meta["source"]["sha256"] == hashlib.sha256(file.encode()).hexdigest()
    assert json.loads((trace.path / "meta.json").read_text())["name"] == "made"
