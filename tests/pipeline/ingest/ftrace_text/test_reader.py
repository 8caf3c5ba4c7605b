"""Hand-made text as tracefs prints it, with every option that changes it."""

from __future__ import annotations

import gzip
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.convert import Conversion
from pipeline.ingest.ftrace_text.reader import ftrace_text
from pipeline.ingest.raw.text.numbers import prefixed, signed, unsigned
from pipeline.ingest.raw.text.symbols import TextSymbols
from pipeline.ingest.recording import import_recording
from pipeline.replay.recorded import recording_of
from pipeline.trace_set.reader import TraceSet
from tests.conftest import examples
from tests.pipeline.ingest.trace_dat.test_reader import columns, converted

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.ingest.reader import SymbolTable

HEAD = "# tracer: nop\n#\n# entries-in-buffer/entries-written: {}/{}   #P:{}\n#\n"
UNAME = "Linux box 6.12.1 #1 SMP x86_64 GNU/Linux\n"
KALLSYMS = (
    "ffffffff81000000 T _text\nffffffff81001000 t one\nffffffff81001100 t twin\n"
    "ffffffff81001180 t twin\nffffffff81001300 T three\nffffffffc0000000 t one\t[ext4]\n"
)
KMALLOC = (
    "kmalloc: call_site=one+0x40/0x100 ptr=ffff8880010000a0 bytes_req=64 bytes_alloc=64"
    " gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=false"
)
KFREE = "kfree: call_site=one+0x50/0x100 [ext4] ptr=ffff8880010000a0"
CACHE = (
    "kmem_cache_alloc: call_site=twin+0x8/0x180 ptr=ffff8880010000b0 name=my cache-8 bytes_req=8"
    " bytes_alloc=8 gfp_flags=none node=1 accounted=true"
)
PAGE_REF = "pfn=0x10 flags=locked|lru count=-1 mapcount=2 mapping=ffff88 mt=1 val=-1"
PAGE = (
    "mm_page_alloc: page=ffffea0000000000 pfn=0x1000 order=3 migratetype=1"
    " gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO"
)


def line(
    text: str,
    ts: float = 1.0,
    cpu: int = 0,
    *,
    pid: int = 7,
    comm: str = "sh",
    flags: str = ".....",
) -> str:
    marks = f" {flags}" if flags else ""
    return f"{comm:>16s}-{pid:<7d} [{cpu:03d}]{marks} {ts:12.6f}: {text}\n"


def imported(text: str | bytes, folder: Path, *, name: str = "made.txt") -> TraceSet:
    source = folder / name
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return TraceSet.open(import_recording(source, folder, force=True))


def test_reads_every_event(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    (tmp_path / "uname").write_text(UNAME)
    text = HEAD.format(8, 8, 2) + "".join(
        [
            line(KMALLOC, 1.000001, 1, flags="d..1."),
            line(KFREE, 1.000002, 1, flags="..s.."),
            line(CACHE, 1.000002, flags="bNH2."),
            line(PAGE, 1.000003),
            line(
                "mm_page_alloc: page=0000000000000000 pfn=0x0 order=9 migratetype=0 gfp_flags=none"
            ),
            line("rss_stat: mm_id=4294967295 curr=1 type=MM_SHMEMPAGES size=-4096B", 1.000004),
            line(
                "mm_page_alloc_extfrag: page=ffffea0000000000 pfn=0x200 alloc_order=1 "
                "fallback_order=9 pageblock_order=9 alloc_migratetype=2 fallback_migratetype=1 "
                "fragmenting=0 change_ownership=1",
                1.000005,
            ),
            line(
                "mm_setup_per_zone_wmarks: node_id=0 zone name=DMA32 watermark min=1 low=2 high=3 "
                "promo=4",
                1.000006,
            ),
            line(
                "mm_setup_per_zone_lowmem_reserve: node_id=0 zone name=DMA upper_zone name=Normal "
                "lowmem_reserve_pages=77",
                1.000007,
            ),
            line("sched_switch: prev_comm=a prev_pid=1", 1.000008),
            line(f"page_ref_mod: {PAGE_REF}", 2),
        ]
    )
    trace = imported(text, tmp_path)
    found = columns(trace)
    assert found["ts"].tolist() == [
        *(10**9, 1_000_001_000, 1_000_002_000, 1_000_002_000, 1_000_003_000, 1_000_004_000),
        *(1_000_005_000, 1_000_006_000, 1_000_007_000, 2 * 10**9),
    ]
    assert found["event"].tolist() == [
        *(Ev.MM_PAGE_ALLOC, Ev.KMALLOC, Ev.KFREE, Ev.KMEM_CACHE_ALLOC, Ev.MM_PAGE_ALLOC),
        *(Ev.RSS_STAT, Ev.MM_PAGE_ALLOC_EXTFRAG, Ev.MM_SETUP_PER_ZONE_WMARKS),
        *(Ev.MM_SETUP_PER_ZONE_LOWMEM_RESERVE, Ev.PAGE_REF_MOD),
    ]
    assert found["irq_flags"].tolist()[:4] == [0, 0x01, 0x10, 0x80 | 0x24 | 0x18]
    assert found["cpu"].tolist()[:4] == [0, 1, 1, 0]
    symbols = [0xFFFFFFFF81001040, 0xFFFFFFFFC0000050, 0xFFFFFFFF81001188]
    assert found["call_site"].tolist()[1:4] == symbols
    assert [trace.symbols.name(at) for at in symbols] == ["one", "one", "twin"]
    assert trace.symbols.module == [None, None, "ext4"]
    assert found["bytes_req"].tolist()[1:4] == [64, 0, 8]
    assert found["gfp_flags"].tolist()[:5] == [0, 0xCC0 | 0x100, 0, 0, 0x100CCA | 0x100]
    assert found["pfn"].tolist()[0] == -1
    assert found["pfn"].tolist()[4] == 0x1000
    assert found["node"].tolist()[1:4] == [-1, 0, 1]
    assert trace.names["cache"][found["cache"][3]] == "my cache-8"
    assert (found["member"][5], found["size"][5], found["mm_id"][5]) == (3, -4096, 4294967295)
    assert (found["order"][6], found["fallback_order"][6], found["migratetype"][6]) == (1, 9, 2)
    assert [found[f"watermark_{name}"][7] for name in ("min", "low", "high", "promo")] == [
        1,
        2,
        3,
        4,
    ]
    assert trace.names["zone"][found["zone"][7]] == "DMA32"
    assert trace.names["upper_zone"][found["upper_zone"][8]] == "Normal"
    assert found["lowmem_reserve"][8] == 77
    assert (found["count"][9], found["mapcount"][9], found["val"][9]) == (-1, 2, -1)
    assert (found["mapping"][9], found["migratetype"][9]) == (0xFFFF88, 1)
    meta = trace.meta
    assert meta["source"]["format"] == "ftrace text"
    assert (meta["kernel_release"], meta["arch"], meta["cpus"]) == ("6.12.1", "x86_64", 2)
    assert meta["dropped"] == {"large_kmalloc_repeats": 0, "sched_switch": 1}
    assert meta["symbols"]["unresolved"] == 0
    assert [text.split()[0] for text in meta["lacks"]] == ["times"]


NAMES = ["a-1 [000] .....", " 1.000000: kfree", "=:[]-\xe4", "kworker/0:1-e", ""]


@pytest.mark.parametrize("comm", NAMES)
@pytest.mark.parametrize("flags", [".....", "d.h1", ""])
@pytest.mark.parametrize("tgid", ["", "(      9) ", "(-------) "])
def test_no_name_of_a_task_is_mistaken(tmp_path: Path, comm: str, flags: str, tgid: str) -> None:
    made = line(KFREE, 123456.000001, 3, pid=4194304, comm=comm[:15], flags=flags)
    made = made.replace("4194304 [", f"4194304 {tgid}[")
    trace = imported((line(KMALLOC) + made).encode("latin-1"), tmp_path)
    found = columns(trace)
    assert found["ts"].tolist()[1] == 123456000001000
    assert (found["cpu"][1], found["pid"][1], found["event"][1]) == (3, 4194304, Ev.KFREE)
    assert found["irq_flags"][1] == (0x09 if flags == "d.h1" else 0)
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0}


def test_a_stack_belongs_to_the_event_before_it(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    frames = " => one\n => three+0x5/0x80\n => one+0x9/0x99 [ext4] <ffffffffc0000009>\n"
    text = "".join(
        [
            line("<stack trace>", 0.5) + " => three\n",
            line(PAGE, 1.0),
            line(KFREE, 1.0, flags="..h.."),
            line("<stack trace>", 1.01) + frames,
            line(KFREE, 1.2),
            line("<stack trace>", 1.3, pid=8) + " => one\n",
            line("<stack trace>", 1.4, 1),
        ]
    )
    trace = imported(text, tmp_path)
    found = columns(trace)
    assert [stack >= 0 for stack in found["stack"].tolist()] == [True, False, False]
    stack = trace.stacks.frames(found["stack"][0]).tolist()
    assert stack == [0xFFFFFFFF81001000, 0xFFFFFFFF81001305, 0xFFFFFFFFC0000009]
    assert [trace.symbols.name(frame) for frame in stack] == ["one", "three", "one"]
    assert trace.meta["stacks"] == {"events": 4, "unattached": 3, "distinct": 4}


def test_without_symbols_functions_are_told_apart_by_name(tmp_path: Path) -> None:
    trace = imported(line(KMALLOC) + line(KFREE) + line(KMALLOC) + line(CACHE), tmp_path)
    sites = columns(trace)["call_site"].tolist()
    assert sites[0] == sites[2]
    assert len(set(sites)) == 3
    assert max(sites) < 1 << 63
    assert [trace.symbols.name(site) for site in sites] == ["one", "one", "one", "twin"]
    assert trace.symbols.module.count("ext4") == 1
    lacks = " ".join(trace.meta["lacks"])
    assert "made-up addresses of functions: 3;" in lacks
    assert "release is not in the text" in lacks


def test_says_that_addresses_are_hashed(tmp_path: Path) -> None:
    hashed = KMALLOC.replace("ffff8880010000a0", "000000003f5a9c11")
    trace = imported(line(hashed) + line(KFREE.replace("ffff8880010000a0", "0" * 16)), tmp_path)
    assert any("addresses of objects are hashed" in text for text in trace.meta["lacks"])
    assert trace.meta["direct_map"]["base"] is None
    one_is_not = imported(line(hashed) + line(KFREE), tmp_path)
    assert not any("hashed" in text for text in one_is_not.meta["lacks"])


def test_counts_lost_events(tmp_path: Path) -> None:
    text = (
        HEAD.format(2, 102, 4) + line(KMALLOC, 1, 0) + "CPU:1 [LOST 30 EVENTS]\n"
        + "CPU:1 [LOST 12 EVENTS]\nCPU:2 [LOST EVENTS]\n##### CPU 1 buffer started ####\n"
        + line(KFREE, 2, 1)
    )  # fmt: skip
    lost = imported(text, tmp_path).meta["lost"]
    assert lost["per_cpu"] == {"0": 0, "1": 42, "2": 0, "3": 0, "unknown": 58}
    assert lost["sources"]["marks_without_a_number"]["2"] == 1


def test_tasks_have_their_last_names(tmp_path: Path) -> None:
    text = line(KMALLOC, comm="sh") + line(KFREE, comm="a b-9") + line(KFREE, pid=0, comm="<idle>")
    assert imported(text, tmp_path).meta["comms"] == {"0": "<idle>", "7": "a b-9"}


def test_what_an_old_kernel_does_not_print_is_null(tmp_path: Path) -> None:
    bare = (KMALLOC.replace("GFP_KERNEL|__GFP_ZERO", ""), CACHE.replace("my cache-8", ""))
    trace = imported("".join(map(line, bare)), tmp_path)
    assert "gfp_flags" not in trace.meta["fields"]["kmalloc"]
    assert "cache" not in trace.meta["fields"]["kmem_cache_alloc"]
    assert "cache" not in columns(trace)


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense\n",
        line(KFREE).replace("ptr=", "prt="),
        line(KFREE).replace("a0", "g0"),
        line(KFREE).replace("ptr=ffff8880010000a0", "ptr=(____ptrval____)"),
        line(KMALLOC).replace("GFP_KERNEL", "GFP_NEVER"),
        line(CACHE).replace("accounted=true", "accounted=maybe"),
        line(KMALLOC + " new=1"),
        line(KFREE).replace("[000]", "[0x0]"),
        line(KFREE)[:60] + "\n",
        " => one\n",
    ],
)
def test_counts_lines_that_it_cannot_read(tmp_path: Path, bad: str) -> None:
    trace = imported(line(KMALLOC) + line(KFREE) + bad + line(KFREE, 3), tmp_path)
    assert trace.meta["dropped"]["unreadable_lines"] == 1
    assert trace.rows == 3


@pytest.mark.parametrize("pfn", [1 << 28, (1 << 36) - 1])
def test_frames_beyond_belief_are_left_out_and_said(tmp_path: Path, pfn: int) -> None:
    wild = PAGE.replace(PAGE.partition("pfn=")[2].split()[0], hex(pfn))
    trace = imported(line(PAGE) + line(wild) + line(KFREE), tmp_path)
    assert trace.meta["events"] == {"mm_page_alloc": 1, "kfree": 1}
    assert trace.meta["dropped"]["wild_page_frames"] == 1
    said = f"1 event is left out, the first of page frame {pfn}:"
    assert any(said in text for text in trace.meta["lacks"])
    before = tmp_path / "snapshots" / "before"
    before.mkdir(parents=True)
    zone = f"Node 0, zone   Normal\n        spanned  {1 << 36}\n        start_pfn:           0\n"
    (before / "zoneinfo").write_text(zone)
    assert imported(line(PAGE) + line(wild), tmp_path).meta["events"] == {"mm_page_alloc": 2}


@pytest.mark.parametrize(("field", "value"), [("pfn", hex(1 << 36)), ("order", "17")])
def test_values_that_cannot_be_are_lines_that_cannot_be_read(
    tmp_path: Path, field: str, value: str
) -> None:
    bad = PAGE.replace(f"{field}={PAGE.partition(f'{field}=')[2].split()[0]}", f"{field}={value}")
    trace = imported(line(PAGE) + line(bad) + line(KFREE), tmp_path)
    assert trace.meta["dropped"]["unreadable_lines"] == 1
    assert trace.rows == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD.format(1, 1, 1) + line(KMALLOC).replace("1.000000:", "123456789:"),
            "no line is an event",
        ),
        (
            HEAD.format(1, 1, 1) + "# nop latency trace v1.1.5 on 6.18\n" + line(KMALLOC),
            "in the latency format",
        ),
        (HEAD.format(0, 0, 1), "no line is an event as tracefs prints it"),
        (line("sched_switch: prev_comm=a"), "no kmem events in this recording"),
        (line(KFREE).replace("ptr=", "ptr=x"), "1 of 1 kmem events are not as tracefs prints"),
        (line(KMALLOC, cpu=9999), "an event of CPU 9999 cannot be"),
        (line(KFREE) + line(KFREE)[:-30], "byte 111: the file ends in the middle of this line"),
        (line(KMALLOC) + "   <idle>-0  [00", "byte 190: the file ends in the middle of this line"),
    ],
)
def test_refuses_other_texts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"made.txt: .*{message}"):
        imported(text, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made.txt"]


def test_reads_other_ends_of_lines_and_files(tmp_path: Path) -> None:
    text = line(KMALLOC) + line(KFREE)
    names = []
    for made in (text, text.replace("\n", "\r\n"), text.rstrip("\n"), text + "\n\n"):
        trace = imported(made, tmp_path)
        assert columns(trace)["ptr"].tolist() == [0xFFFF8880010000A0] * 2
        names.append(trace.path.name)
    trace = imported(gzip.compress(text.encode()), tmp_path, name="made.txt.gz")
    assert trace.rows == 2
    assert {*names, trace.path.name} == {"made"}


def test_a_folder_may_hold_text(tmp_path: Path) -> None:
    folder = tmp_path / "6.12-mine"
    folder.mkdir()
    (folder / "ftrace.txt").write_text(line(KMALLOC))
    (folder / "uname").write_text(UNAME)
    trace = TraceSet.open(import_recording(folder, tmp_path / "made"))
    assert (trace.path.name, trace.meta["kernel_release"]) == ("6.12-mine", "6.12.1")


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 60_000), st.integers(0, 6)), min_size=1, max_size=40
)


@examples(50, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS, budget=st.sampled_from([1, 500, 1 << 20]), chunk=st.sampled_from([64, 4096]))
def test_does_not_depend_on_where_windows_are_cut(
    events: list[tuple[int, int, int]], budget: int, chunk: int
) -> None:
    large = KMALLOC.replace("=64", "=16384")
    texts = [large, KFREE, CACHE, PAGE, "sched_nothing: a=1", "<stack trace>", large]
    text = "".join(
        line(texts[what], ts / 10**6, cpu) + (" => one\n => two\n" if what == 5 else "")
        for cpu, ts, what in events
    )
    if all(what in (4, 5) for _, _, what in events):
        return

    def read(size: int) -> dict[str, list[Any]]:
        reader = ftrace_text("made", memoryview(text.encode()), UNAME)
        symbols: Future[SymbolTable] = Future()
        symbols.set_result(reader.symbols(lambda: memoryview(KALLSYMS.encode())))
        found = converted(Conversion(reader, symbols), size)
        assert reader.facts().dropped == {}
        return found

    whole = read(1 << 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.ingest.raw.text.reader._CHUNK", chunk)
        patch.setattr("pipeline.ingest.raw.text.reader._BLOCK", 4 * chunk + 256)
        assert read(budget) == whole
    kept = [ts * 1000 for _, ts, what in events if what not in (4, 5)]
    if not whole["repeats"][0]:
        assert whole["ts"] == sorted(kept)


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=30))
def test_numbers(values: list[int]) -> None:
    for read, shown in (
        (signed, [str(value) for value in values if abs(value) < 10**19]),
        (unsigned, [str(abs(value)) for value in values]),
        (prefixed, [hex(abs(value)) for value in values]),
    ):
        data = np.frombuffer(" ".join([*shown, "x" * 20]).encode(), np.uint8)
        end = np.cumsum([len(text) + 1 for text in shown], dtype=np.int64) - 1
        start = end - np.array([len(text) for text in shown], np.int64)
        found, good = read(data, start, end)
        assert good.all()
        assert found.view(np.int64).tolist() == [
            value - (1 << 64) if value >= 1 << 63 else value for value in (int(t, 0) for t in shown)
        ]


@pytest.mark.parametrize("text", ["", "-", "12a", "1 2", "-x", "9" * 20])
def test_what_is_no_number(text: str) -> None:
    data = np.frombuffer(f"{text}{' ' * 40}".encode(), np.uint8)
    _, good = signed(data, np.array([0]), np.array([len(text)]))
    assert not good.any()


def test_addresses_are_the_same_each_time() -> None:
    symbols = TextSymbols(memoryview(KALLSYMS.encode()))
    assert symbols.address("one+0x40/0x100") == 0xFFFFFFFF81001040
    assert symbols.address("twin+0x1/0x180") == 0xFFFFFFFF81001181
    assert symbols.address("0xffffffff81001234") == 0xFFFFFFFF81001234
    assert symbols.unclear == 0
    made_up = symbols.address("nowhere+0x1/0x2")
    assert symbols.address("nowhere+0x1/0x2") == made_up
    assert (symbols.name(made_up), symbols.made_up) == ("nowhere", 1)


def test_a_replay_says_what_the_text_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not known which kernel was recorded; put the output of"):
        recording_of(imported(line(KMALLOC), tmp_path))
    (tmp_path / "uname").write_text(UNAME)
    assert recording_of(imported(line(KMALLOC), tmp_path)).release == "6.12.1"
    bare = imported(line(KMALLOC.replace("GFP_KERNEL|__GFP_ZERO", "")), tmp_path)
    assert any("no gfp flags" in text for text in bare.meta["lacks"])
    with pytest.raises(
        InputError, match="kmalloc has no gfp_flags in this recording, which a replay needs"
    ):
        recording_of(bare)
