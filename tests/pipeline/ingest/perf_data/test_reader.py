"""Hand-made perf.data files, of every kind that perf may write."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.convert import Conversion
from pipeline.ingest.perf_data.reader import PerfReader
from pipeline.ingest.perf_data.records import RecordWalker
from pipeline.ingest.recording import import_recording
from pipeline.ingest.stacks.symbols import Kallsyms
from pipeline.ingest.stream import SLACK
from pipeline.trace_set.reader import TraceSet
from tests.conftest import examples
from tests.oracle import perf_data
from tests.oracle.perf_data import Attr, PerfFile
from tests.oracle.perf_script import script
from tests.oracle.trace_dat import KFREE, OTHER
from tests.pipeline.ingest.trace_dat.test_reader import columns, converted

if TYPE_CHECKING:
    from pipeline.ingest.reader import SymbolTable

KINDS = [
    {"order": order, "piped": piped, "compression": compression, "closed": closed}
    for order in "<>"
    for piped in (False, True)
    for compression, closed in ((0, False), (81, False), (81, True), (83, False))
] + [{"order": order, "long_size": 4} for order in "<>"]
CHAIN = (perf_data.KERNEL, 0x5001, 0x5002, perf_data.USER, 0x401000, (1 << 64) - 1)
STACK = [0x5001, 0x5002]


def imported(file: PerfFile, folder: Path) -> TraceSet:
    source = folder / "made.data"
    source.write_bytes(file.encode())
    return TraceSet.open(import_recording(source, folder, force=True))


def some_of_everything(file: PerfFile) -> PerfFile:
    """Events of all kinds on two CPUs, the one CPU's behind the other's."""
    made = file.made
    file.fork(8, 7, ts=900)
    file.comm(7, "init", ts=800)
    file.comm(8, "a b", ts=1500)
    file.sample(1000, made.kmalloc(0xA0, 64))
    file.sample(1004, made.cache_alloc(0xB0, "dentry", flags=1))
    file.sample(1003, made.kfree(0xA0, pid=1 << 22))
    file.sample(1005, made.record(OTHER, b"\0" * 16))
    file.sample(1007, made.cache_free(0xB0, "a name that is longer than thirty-two bytes"))
    file.other(68, b"")
    file.sample(1000, made.page_alloc(5, 3), cpu=1)
    file.sample(1 << 40, made.page_alloc((1 << 64) - 1, 0), cpu=1)
    return file


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_reads_every_layout(tmp_path: Path, kind: dict[str, Any]) -> None:
    trace = imported(some_of_everything(PerfFile(**kind)), tmp_path)
    found = columns(trace)
    assert found["ts"].tolist() == [1000, 1000, 1003, 1004, 1007, 1 << 40]
    assert found["cpu"].tolist() == [0, 1, 0, 0, 0, 1]
    assert found["pid"].tolist() == [7, 7, 1 << 22, 7, 7, 7]
    assert found["irq_flags"].tolist() == [0, 0, 0, 1, 0, 0]
    assert found["event"].tolist() == [
        *(Ev.KMALLOC, Ev.MM_PAGE_ALLOC, Ev.KFREE),
        *(Ev.KMEM_CACHE_ALLOC, Ev.KMEM_CACHE_FREE, Ev.MM_PAGE_ALLOC),
    ]
    assert found["call_site"].tolist() == [0x1040, 0, 0x2000, 0x3000, 0x4000, 0]
    assert found["bytes_req"].tolist() == [64, 0, 0, 0, 0, 0]
    assert found["pfn"].tolist() == [0, 5, 0, 0, 0, -1]
    names = [*trace.names["cache"], None]
    long = "a name that is longer than thirty-two bytes"
    assert [names[code] for code in found["cache"]] == [*[None] * 3, "dentry", long, None]
    meta = trace.meta
    assert meta["source"]["format"] == "perf.data"
    assert (meta["kernel_release"], meta["arch"], meta["cpus"]) == ("6.12.0", "x86_64", 2)
    assert (meta["clock"], meta["ts_unit"], meta["page_size"]) == ("perf", "ns", 4096)
    assert meta["dropped"] == {"large_kmalloc_repeats": 0, "sched_nothing": 1}
    assert meta["comms"] == {"7": "init", "8": "a b"}
    assert [text.split(":")[0] for text in meta["lacks"]] == ["no symbols"]


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
@pytest.mark.parametrize("order", ["<", ">"])
def test_perf_reads_what_the_tests_write(tmp_path: Path, order: str) -> None:
    attrs = [Attr(sample_type=perf_data.USUAL | perf_data.CALLCHAIN)]
    file = PerfFile(order=order, attrs=attrs)
    for ts in range(1000, 1100, 10):
        file.sample(ts, file.made.kmalloc(0xA0, ts), chain=CHAIN[:-1], cpu=ts // 10 % 2)
    source = tmp_path / "made.data"
    source.write_bytes(file.encode())
    theirs = script(source, tmp_path).events
    assert theirs["ts"].to_list() == list(range(1000, 1100, 10))
    assert theirs["cpu"].to_list() == [0, 1] * 5
    assert columns(imported(file, tmp_path))["ts"].tolist() == theirs["ts"].to_list()


def test_keeps_the_kernels_part_of_a_chain(tmp_path: Path) -> None:
    kind = perf_data.USUAL | perf_data.CALLCHAIN
    file = PerfFile(attrs=[Attr(sample_type=kind), Attr("kmem:kfree", KFREE, ids=(20, 21))])
    made = file.made
    file.sample(1000, made.kmalloc(0xA0, 64), chain=CHAIN)
    file.sample(1001, made.kmalloc(0xA1, 64), chain=(perf_data.USER, 0x401000))
    file.sample(1002, made.kfree(0xA0), attr=1)
    file.sample(1003, made.kmalloc(0xA2, 64), chain=())
    file.sample(1004, made.kmalloc(0xA3, 64), chain=(0x77, *CHAIN), cpu=1)
    trace = imported(file, tmp_path)
    stacks = [
        trace.stacks.frames(number).tolist() if number >= 0 else None
        for number in columns(trace)["stack"].tolist()
    ]
    assert stacks == [STACK, None, None, None, STACK]
    assert trace.meta["stacks"] == {"events": 2, "unattached": 0, "distinct": 1}


@pytest.mark.parametrize(
    ("extra", "read_format"),
    [
        (perf_data.ADDR | perf_data.STREAM_ID | perf_data.ID, 0),
        (perf_data.READ, 0),
        (perf_data.READ, perf_data.ENABLED | perf_data.READ_ID | perf_data.READ_LOST),
        (perf_data.READ | perf_data.CALLCHAIN, perf_data.GROUP | perf_data.READ_LOST),
    ],
)
def test_finds_the_record_behind_all_other_fields(
    tmp_path: Path, extra: int, read_format: int
) -> None:
    attr = Attr(sample_type=perf_data.USUAL | extra, read_format=read_format)
    file = some_of_everything(PerfFile(attrs=[attr]))
    assert columns(imported(file, tmp_path))["call_site"].tolist()[0] == 0x1040


def test_counts_samples_of_other_events(tmp_path: Path) -> None:
    other = Attr("cycles", 0, kind=0, sample_type=perf_data.USUAL & ~perf_data.RAW, ids=(20, 21))
    file = PerfFile(attrs=[Attr(), other])
    file.sample(1000, file.made.kfree(0xA0))
    file.sample(1001, b"", attr=1)
    dropped = imported(file, tmp_path).meta["dropped"]
    assert dropped == {"large_kmalloc_repeats": 0, "other_samples": 1}


def test_keeps_one_of_two_samples_where_an_event_was_asked_for_twice(tmp_path: Path) -> None:
    attrs = [
        Attr(),
        Attr(sample_type=perf_data.USUAL | perf_data.CALLCHAIN, ids=(20, 21)),
        Attr(ids=(30, 31)),
        Attr("kmem:kfree", KFREE, ids=(40, 41)),
    ]
    file = PerfFile(attrs=attrs)
    for attr in range(3):
        file.sample(1000, file.made.kmalloc(0xA0, 64), attr=attr, chain=CHAIN)
    file.sample(1001, file.made.kfree(0xA0), attr=3)
    trace = imported(file, tmp_path)
    found = columns(trace)
    assert found["ts"].tolist() == [1000, 1001]
    assert found["stack"].tolist() == [0, -1]
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0, "other_samples": 2}


def test_counts_lost_events_once_whoever_tells_of_them(tmp_path: Path) -> None:
    file = PerfFile()
    index = [(10, 0, 0, -1), (11, 1, 1, -1)]
    file.plain = [file.record(69, file.n(8, 2, *(word for entry in index for word in entry)))]
    file.sample(1000, file.made.kfree(0xA0))
    file.other(2, file.n(8, 11, 30), cpu=1, id_=11)
    file.other(2, file.n(8, 11, 12), cpu=1, id_=11)
    file.other(13, file.n(8, 40), id_=11)
    file.other(13, file.n(8, 3), id_=10)
    file.other(5, file.n(8, 1001, 10, 0))
    lost = imported(file, tmp_path).meta["lost"]
    assert lost["per_cpu"] == {"0": 3, "1": 42}
    assert lost["sources"]["lost"] == {"0": 0, "1": 42}
    assert lost["sources"]["lost_samples"] == {"0": 3, "1": 40}
    assert lost["sources"]["marks_without_a_number"] == {"0": 1, "1": 0}


def test_uses_the_kallsyms_beside_it_if_it_is_of_the_same_boot(tmp_path: Path) -> None:
    file = some_of_everything(PerfFile())
    kernel = file.n(4, -1, 0) + file.n(8, 0x1000, 0x9000, 0x1000)
    file.plain = [file.record(1, kernel + b"[kernel.kallsyms]_text".ljust(24, b"\0"))]
    lines = "0000000000001000 T _text\n0000000000001030 t one\n0000000000002000 t two\t[m]\n"
    (tmp_path / "kallsyms").write_text(lines)
    trace = imported(file, tmp_path)
    assert "lacks" not in trace.meta
    assert [trace.symbols.name(at) for at in (0x1040, 0x2000)] == ["one", "two"]
    for moved in (lines.replace("1000 T", "1008 T"), lines.partition("\n")[2]):
        (tmp_path / "kallsyms").write_text(moved)
        with pytest.raises(InputError, match="kallsyms beside it is of another boot"):
            imported(file, tmp_path)


def test_says_when_only_some_tasks_were_recorded(tmp_path: Path) -> None:
    file = PerfFile()
    file.sample(1000, file.made.kfree(0xA0))
    file.plain = [file.record(69, file.n(8, 1, 10, 0, 0, 77))]
    assert any("not all tasks" in text for text in imported(file, tmp_path).meta["lacks"])


@pytest.mark.parametrize(
    ("attr", "message"),
    [
        (Attr(period=100), r"kmem:kmalloc was sampled \(one of 100\); record every event"),
        (Attr(flags=1 << 10), r"kmem:kmalloc was sampled \(at a frequency\)"),
        (Attr(sample_type=perf_data.USUAL & ~perf_data.CPU), "have no CPU; record all CPUs"),
        (Attr(sample_type=perf_data.USUAL & ~perf_data.TIME), "have no time"),
        (Attr(sample_type=perf_data.USUAL & ~perf_data.RAW), "no tracepoints; record with perf"),
        (Attr(kind=perf_data.SOFTWARE), "no tracepoints; record with perf"),
    ],
)
def test_refuses_what_cannot_be_replayed(tmp_path: Path, attr: Attr, message: str) -> None:
    file = PerfFile(attrs=[attr])
    file.sample(1000, file.made.kfree(0xA0))
    with pytest.raises(InputError, match=f"made.data: .*{message}"):
        imported(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made.data"]


@pytest.mark.parametrize(
    ("feature", "message"), [(18, r"hardware trace \(AUX\)"), (24, "perf record --threads")]
)
@pytest.mark.parametrize("piped", [False, True])
def test_refuses_other_kinds_of_recordings(
    tmp_path: Path, feature: int, message: str, *, piped: bool
) -> None:
    file = PerfFile(features={feature: bytes(8)}, piped=piped)
    file.sample(1000, file.made.kfree(0xA0))
    with pytest.raises(InputError, match=message):
        imported(file, tmp_path)


@pytest.mark.parametrize("kind", [66, 71, 81])
def test_refuses_records_that_cannot_be_there(tmp_path: Path, kind: int) -> None:
    file = PerfFile()
    file.sample(1000, file.made.kfree(0xA0))
    file.other(kind, bytes(16))
    with pytest.raises(InputError, match=r"made.data: records: byte \d+: it holds"):
        imported(file, tmp_path)


@pytest.mark.parametrize(("clock", "name"), [(1, "CLOCK_MONOTONIC"), (99, "clock 99")])
def test_names_the_clock(tmp_path: Path, clock: int, name: str) -> None:
    file = PerfFile(attrs=[Attr(clock=clock)], order=">")
    file.sample(1000, file.made.kfree(0xA0))
    assert imported(file, tmp_path).meta["clock"] == name


SAMPLES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3 * 10**7), st.integers(0, 7)), min_size=1
)


@examples(60, suppress_health_check=[HealthCheck.too_slow])
@given(samples=SAMPLES, budget=st.sampled_from([1, 500, 40_000]), chunk=st.sampled_from([64, 4096]))
def test_does_not_depend_on_where_windows_are_cut(
    samples: list[tuple[int, int, int]], budget: int, chunk: int
) -> None:
    kind = perf_data.USUAL | perf_data.CALLCHAIN
    file = PerfFile(cpus=4, attrs=[Attr(sample_type=kind, ids=(1, 2, 3, 4))])
    made = file.made
    records = [
        *(made.kmalloc(0xA000, 16384), made.kmalloc(0xA000, 16384), made.kmalloc(0xA001, 64)),
        *(made.kfree(1, flags=8), made.cache_alloc(1, "x"), made.page_alloc(5, 0)),
        *(made.record(OTHER, bytes(40)), made.kfree(7, pid=9)),
    ]
    for cpu, ts, what in samples:
        file.sample(ts, records[what], cpu=cpu, chain=(perf_data.KERNEL, *range(what)))
    if all(what == 6 for _, _, what in samples):
        return
    data = memoryview(file.encode())
    no_symbols: Future[SymbolTable] = Future()
    no_symbols.set_result(Kallsyms(memoryview(b"")))

    def read(size: int) -> dict[str, list[Any]]:
        return converted(Conversion(PerfReader("made", data, Path()), no_symbols), size)

    whole = read(1 << 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.ingest.perf_data.index._CHUNK", chunk)
        assert read(budget) == whole
    # Equal times stay in the order of the file.
    kept = sorted((ts, at) for at, (_, ts, what) in enumerate(samples) if what != 6)
    if not whole["repeats"][0]:
        assert whole["cpu"] == [samples[at][0] for _, at in kept]


@examples(60)
@given(
    sizes=st.lists(st.sampled_from([8, 16, 64, 104, 4096, 65528, 12]), min_size=1, max_size=400),
    seed=st.integers(0, 1 << 16),
    kinds=st.sampled_from([(9,), (9, 3), (1, 3)]),
)
def test_finds_records_whatever_they_hold(
    sizes: list[int], seed: int, kinds: tuple[int, ...]
) -> None:
    # Contents that look like headers: guesses are often wrong, what is found must not be.
    dice = np.random.default_rng(seed)
    parts, offsets, at = [], [], 0
    for size in sizes:
        body = dice.choice([9, 0, 16 << 16, 104 << 16, 1], size=size // 4 + 1).astype("<u4")
        body[:2] = (dice.choice(kinds), size << 16)
        parts.append(body.tobytes()[:size])
        offsets.append(at)
        at += size
    data = np.frombuffer(b"".join(parts) + bytes(SLACK), np.uint8)
    walker = RecordWalker(data, "<", str)
    found = walker.walk(0, at, at)
    assert found.offset.tolist() == offsets
    assert found.end == at
    first = walker.walk(0, at // 2, at)
    rest = walker.walk(first.end, at, at)
    assert [*first.offset.tolist(), *rest.offset.tolist()] == offsets


@pytest.mark.slow
def test_holds_no_more_than_a_window_in_memory(tmp_path: Path) -> None:
    # One CPU's events lie behind the other's: windows must take from both places.
    file = PerfFile()
    for cpu in range(2):
        for ts in range(20_000):
            file.sample(10**7 * ts, file.made.kfree(ts), cpu=cpu)
    reader = PerfReader("made", memoryview(file.encode()), tmp_path)
    budget = 1 << 18
    streams = list(reader.streams(budget))
    assert len(streams) > 10
    assert max(len(stream.data) for stream in streams) <= 2 * budget
    assert sum(int(stream.inside.sum()) for stream in streams) == 40_000
    assert pl.Series([int(stream.ts[stream.inside][0]) for stream in streams]).is_sorted()
