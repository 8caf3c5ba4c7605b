"""Text of tracefs with options, and of old kernels: read whole, or refused whole."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.kernels.release import GFP_BITS
from allocsim.trace.events import EVENT_COLUMN, Ev
from pipeline.errors import InputError
from pipeline.ingest.raw.text.gfp import GfpWords
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS
from tests.pipeline.ingest.ftrace_text.test_reader import (
    CACHE,
    HEAD,
    KALLSYMS,
    KFREE,
    KMALLOC,
    PAGE,
    UNAME,
    imported,
    line,
)
from tests.pipeline.ingest.trace_dat.test_reader import columns

if TYPE_CHECKING:
    from pathlib import Path


def fault(name: str, tmp_path: Path) -> TraceSet:
    """The trace set of a recording that was once answered wrongly."""
    source = shutil.copytree(FAULTS / name, tmp_path / name)
    return TraceSet.open(import_recording(source, tmp_path / "made"))


# --- option fields


def test_fields_by_name(tmp_path: Path) -> None:
    trace = fault("text_fields", tmp_path)
    found = columns(trace)
    assert found["event"].tolist() == [Ev.KMEM_CACHE_ALLOC, Ev.KMEM_CACHE_FREE]
    assert found["call_site"].tolist() == [0xFFFFFFFF92D10D97, 0xFFFFFFFF92CFBEA7]
    assert found["ptr"].tolist() == [0xFFFF9E0E8571E000] * 2
    assert [found[name][0] for name in ("bytes_req", "bytes_alloc")] == [4096, 4096]
    assert (found["gfp_flags"][0], found["node"][0]) == (0xCC0, -1)
    assert not found["accounted"][0]
    assert [trace.names["cache"][code] for code in found["cache"]] == ["names_cache"] * 2
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0}
    assert not any("hashed" in text for text in trace.meta["lacks"])


def number(size: int, value: int) -> str:
    """A number of ``size`` bytes as kernel/trace/trace_output.c:print_fields has it."""
    if size == 1:
        shown = f"'{chr(value)}'" if chr(value).isprintable() else ""
        return f"{shown}({value})"
    return f"{value % (1 << 8 * size):#x} ({value})"


# Of each event: its text, and its fields by name, with their sizes in the record.
BOTH = [
    (
        KMALLOC.replace("one+0x40/0x100", "ffffffff81001040"),
        "kmalloc",
        {
            "call_site": (8, 0xFFFFFFFF81001040 - (1 << 64)),
            "ptr": (8, 0xFFFF8880010000A0 - (1 << 64)),
            "bytes_req": (8, 64),
            "bytes_alloc": (8, 64),
            "gfp_flags": (8, 0xDC0),
            "node": (4, -1),
        },
    ),
    (
        CACHE.replace("twin+0x8/0x180", "ffffffff81001188").replace("=none", "=GFP_ATOMIC"),
        "kmem_cache_alloc",
        {
            "call_site": (8, 0xFFFFFFFF81001188 - (1 << 64)),
            "ptr": (8, 0xFFFF8880010000B0 - (1 << 64)),
            "name": "my cache-8",
            "bytes_req": (8, 8),
            "bytes_alloc": (8, 8),
            "gfp_flags": (8, 0x820),
            "node": (4, 1),
            "accounted": (1, 1),
        },
    ),
    (
        PAGE,
        "mm_page_alloc",
        {
            "pfn": (8, 0x1000),
            "order": (4, 3),
            "gfp_flags": (8, 0x100DCA),
            "migratetype": (4, 1),
        },
    ),
    (
        "mm_page_alloc: page=0000000000000000 pfn=0x0 order=9 migratetype=0 gfp_flags=none",
        "mm_page_alloc",
        {"pfn": (8, -1), "order": (4, 9), "gfp_flags": (8, 0), "migratetype": (4, 0)},
    ),
    (
        "rss_stat: mm_id=4294967295 curr=1 type=MM_SHMEMPAGES size=-4096B",
        "rss_stat",
        {"mm_id": (4, -1), "curr": (4, 1), "member": (4, 3), "size": (8, -4096)},
    ),
    (
        (
            "mm_page_alloc_extfrag: page=ffffea0000000000 pfn=0x200 alloc_order=1 "
            "fallback_order=9 pageblock_order=9 alloc_migratetype=2 fallback_migratetype=1 "
            "fragmenting=0 change_ownership=1"
        ),
        "mm_page_alloc_extfrag",
        {
            "pfn": (8, 0x200),
            "alloc_order": (4, 1),
            "fallback_order": (4, 9),
            "alloc_migratetype": (4, 2),
            "fallback_migratetype": (4, 1),
            "change_ownership": (4, 1),
        },
    ),
    (
        "mm_setup_per_zone_wmarks: node_id=0 zone name=DMA32 watermark min=1 low=2 high=3 promo=4",
        "mm_setup_per_zone_wmarks",
        {
            "node_id": (4, 0),
            "name": "DMA32",
            **{f"watermark_{name}": (8, at) for at, name in enumerate(("min", "low"), 1)},
            **{f"watermark_{name}": (8, at) for at, name in enumerate(("high", "promo"), 3)},
        },
    ),
    (
        (
            "mm_setup_per_zone_lowmem_reserve: node_id=0 zone name=DMA upper_zone name=Normal "
            "lowmem_reserve_pages=77"
        ),
        "mm_setup_per_zone_lowmem_reserve",
        {"node_id": (4, 0), "name": "DMA", "upper_name": "Normal", "lowmem_reserve": (8, 77)},
    ),
]


def test_fields_say_what_the_text_says(tmp_path: Path) -> None:
    (tmp_path / "uname").write_text(UNAME)
    plain, by_name = [], []
    for place, (text, name, fields) in enumerate(BOTH):
        plain.append(line(text, 1 + place))
        values = (
            f"{field}={value if isinstance(value, str) else number(*value)}"
            for field, value in fields.items()
        )
        by_name.append(line(f"{name}: {' '.join(values)}", 1 + place))
    text = imported("".join(plain), tmp_path)
    fields = imported("".join(by_name), tmp_path, name="fields.txt")
    one, other = columns(text), columns(fields)
    assert one.keys() == other.keys()
    for name, values in one.items():
        if EVENT_COLUMN[name].dtype == "str":
            texts = [
                [([*trace.names[name], ""])[code] for code in found[name].tolist()]
                for trace, found in ((text, one), (fields, other))
            ]
            assert texts[0] == texts[1]
        else:
            assert values.tolist() == other[name].tolist(), name


def test_fields_of_a_newer_kernel_name_functions(tmp_path: Path) -> None:
    """6.15 and later print what could be an address as a place in code (%pS)."""
    site = f"call_site=kmem_made+0x97/0x1e0 ({0xFFFFFFFF92D10D97 - (1 << 64)})"
    ptr = f"ptr=0xffff9e0e8571e000 ({0xFFFF9E0E8571E000 - (1 << 64)})"
    trace = imported(line(f"kfree: {site} {ptr}") * 2, tmp_path)
    assert columns(trace)["call_site"].tolist() == [0xFFFFFFFF92D10D97] * 2
    assert trace.symbols.name(0xFFFFFFFF92D10D97) == "kmem_made"
    assert not any("made up" in text for text in trace.meta["lacks"])


def test_page_refs_have_their_flags_in_fields(tmp_path: Path) -> None:
    fields = "pfn=0x10 (16) flags=0xffffff0000000 (4503599358935040) count=0x1 (1) mapcount=0x0 (0)"
    fields += " mapping=0x0 (0) mt=0x1 (1) val=0xffffffff (-1)"
    found = columns(imported(line(f"page_ref_mod: {fields}"), tmp_path))
    assert (found["page_flags"][0], found["val"][0]) == (4503599358935040, -1)


# --- stacks of user space


def test_user_stacks_are_counted_and_skipped(tmp_path: Path) -> None:
    trace = fault("text_userstacktrace", tmp_path)
    assert columns(trace)["ptr"].tolist() == [0xFFFF888000000040, 0xFFFF888000001040]
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0, "user_stack": 2}
    assert trace.meta["stacks"]["events"] == 0
    assert not any("2 of the functions" in text for text in trace.meta["lacks"])


USER = " => /usr/lib/libc.so.6[+0x29d90]\n =>  <00007f792eecaaa7>\n => ??\n"


@pytest.mark.parametrize("user", [USER, "", USER.partition("\n")[0] + "\n"])
def test_a_user_stack_may_stand_before_the_kernels(tmp_path: Path, user: str) -> None:
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    stacks = line("<user stack trace>", 1) + user, line("<stack trace>", 1) + " => three\n"
    orders = [(stacks[0], stacks[1]), (stacks[1], stacks[0])]
    text = "".join(
        line(PAGE, 1 + place) + "".join(order).replace("1.000000", f"{1 + place}.000000")
        for place, order in enumerate(orders)
    )
    trace = imported(text, tmp_path)
    assert columns(trace)["stack"].tolist() == [0, 0]
    assert trace.stacks.frames(0).tolist() == [0xFFFFFFFF81001300]
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0, "user_stack": 2}
    assert trace.meta["stacks"]["unattached"] == 0


def test_stacks_of_other_events_are_counted_apart(tmp_path: Path) -> None:
    text = line("sched_switch: prev_comm=a") + line("<stack trace>") + " => three\n"
    text += line(KFREE, 2) + line("<stack trace>", 2) + " => three\n"
    text += line("<stack trace>", 3) + " => three\n"
    stacks = imported(text, tmp_path).meta["stacks"]
    assert (stacks["events"], stacks["unattached"], stacks["of_others"]) == (3, 1, 1)


# --- old kernels


def test_old_gfp_names(tmp_path: Path) -> None:
    trace = fault("text_old_gfp", tmp_path)
    found = columns(trace)
    kernel, zero = 0xCC0, GFP_BITS["__GFP_ZERO"]
    assert found["gfp_flags"].tolist() == [kernel, kernel | zero, 0, 0, kernel]
    assert found["ptr"].tolist() == [0xC147DD20, 0xC14A4BA0, 0, 0xC14A4BA0, 0xC1610C08]
    assert found["bytes_req"].tolist()[:2] == [29, 36]
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0}
    # Addresses of 32 bits are no hashed ones.
    assert not any("hashed" in text for text in trace.meta["lacks"])


BITS = GFP_BITS
WAIT = ["__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM"]
RECLAIM = sum(BITS[name] for name in WAIT)


@pytest.mark.parametrize(
    ("version", "word", "names"),
    [
        ((3, 10), "GFP_WAIT", WAIT),
        ((3, 10), "GFP_ATOMIC", ["__GFP_HIGH", "__GFP_KSWAPD_RECLAIM"]),
        ((3, 10), "GFP_NOWAIT", ["__GFP_KSWAPD_RECLAIM"]),
        ((3, 10), "GFP_REPEAT|GFP_THISNODE", ["__GFP_RETRY_MAYFAIL", "__GFP_THISNODE"]),
        # Bits without a name in 3.x: HIGHMEM, FS, WRITE (include/linux/gfp.h of 3.10).
        ((3, 10), "GFP_IO|0x2", ["__GFP_IO", "__GFP_HIGHMEM"]),
        ((3, 10), "0x1000080", ["__GFP_WRITE", "__GFP_FS"]),
        ((3, 10), "0x80d0", ["__GFP_ZERO", "__GFP_FS", "__GFP_IO", *WAIT]),
        ((4, 4), "GFP_ZERO|0x1000000", ["__GFP_ZERO", "__GFP_WRITE"]),
        ((4, 4), "GFP_KSWAPD_RECLAIM", ["__GFP_KSWAPD_RECLAIM"]),
        ((6, 12), "__GFP_ZERO|0x1000", ["__GFP_ZERO", "__GFP_WRITE"]),
        (None, "0x100", ["__GFP_ZERO"]),
    ],
)
def test_flags_of_every_age_mean_the_same(
    version: tuple[int, int] | None, word: str, names: list[str]
) -> None:
    assert GfpWords(version).bits(word) == sum(BITS[name] for name in names)


def test_flags_without_a_place_are_read_and_told_apart() -> None:
    words = GfpWords((3, 10))
    cold, other = words.bits("GFP_COLD"), words.bits("GFP_OTHER_NODE")
    assert cold is not None
    assert other is not None
    assert cold != other
    assert min(cold, other) > max(BITS.values())
    huge = words.bits("GFP_TRANSHUGE")
    assert huge is not None
    assert huge & RECLAIM == BITS["__GFP_DIRECT_RECLAIM"]
    assert huge & BITS["__GFP_NORETRY"]
    assert GfpWords(None).bits("GFP_KERNEL|__GFP_NOLOCKDEP") is not None


@pytest.mark.parametrize("word", ["GFP_NEVER", "0x", "0xg", "", "0x" + "f" * 17, "12"])
def test_what_is_no_flag(word: str) -> None:
    assert GfpWords(None).bits(word) is None
    assert GfpWords((3, 10)).bits(word) is None


OLD = "order=4 migratetype=0 gfp_flags"
NODE = "ptr=ffff880001000000 bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL node=0"


def test_old_values_are_read_as_they_were_printed(tmp_path: Path) -> None:
    """Decimal page frames up to 5.14, NULL as a word, no flags column before 3.2, _node events."""
    (tmp_path / "uname").write_text("Linux box 3.0.0 #1 SMP x86_64 GNU/Linux\n")
    text = HEAD.format(6, 6, 2) + "".join(
        line(text, 1 + place, flags="" if place % 2 else "d.h1")
        for place, text in enumerate(
            [
                f"mm_page_alloc: page=ffffea0000347a70 pfn=1000 {OLD}=GFP_KERNEL|GFP_ZERO",
                f"mm_page_alloc: page=          (null) pfn=0 {OLD}=GFP_NOWARN|GFP_COMP",
                "mm_page_free: page=ffffea0000347a70 pfn=1000 order=0",
                "mm_page_free_batched: page=ffffea0000347a70 pfn=1001 order=0 cold=0",
                f"kmalloc_node: call_site=ffffffff81001040 {NODE}",
                "kfree: call_site=ffffffff81001041 ptr=          (null)",
            ]
        )
    )
    trace = imported(text, tmp_path)
    found = columns(trace)
    assert found["pfn"].tolist() == [1000, -1, 1000, 1001, 0, 0]
    assert found["event"].tolist()[4:] == [Ev.KMALLOC, Ev.KFREE]
    assert found["ptr"].tolist()[4:] == [0xFFFF880001000000, 0]
    assert found["call_site"].tolist()[4:] == [0xFFFFFFFF81001040, 0xFFFFFFFF81001041]
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": 0}
    assert np.unique(found["order"]).tolist() == [0, 4]


# --- lines that are no event's


def test_a_probe_of_an_events_name_is_no_event(tmp_path: Path) -> None:
    trace = fault("text_kprobe_named_kmalloc", tmp_path)
    found = columns(trace)
    assert found["event"].tolist() == [Ev.KFREE] * 2
    assert found["ptr"].tolist() == [0, 0]
    dropped = trace.meta["dropped"]
    assert dropped == {
        "large_kmalloc_repeats": 0,
        "bprint": 1,
        "lines_named_kmalloc": 1,
        "lines_of_no_event": 3,
    }


NAMESAKES = [
    "kfree: (kfree+0x0/0x200)",
    "kfree: (kfree+0x0/0x200) object=0xffff888001000000",
    # An event probe's arguments may have the event's own names.
    "kfree: (kmem.kfree) call_site=0xffffffff81001040 ptr=0xffff8880010000a0",
    "kfree: (0x55d0c1a2b3c4) arg1=1",
    "kfree: lat=5 comm=sh",
    "kfree: a message of trace_printk in kfree()",
    "kfree <-do_sys_openat2",
]


@pytest.mark.parametrize("namesake", NAMESAKES)
def test_only_lines_with_its_fields_are_the_event(tmp_path: Path, namesake: str) -> None:
    text = "".join(line(namesake, 1 + place / 100) for place in range(40))
    trace = imported(text + line(KFREE, 2) + line(KMALLOC, 3) + line(KFREE, 4), tmp_path)
    assert columns(trace)["ts"].tolist() == [2 * 10**9, 3 * 10**9, 4 * 10**9]
    others = {k: n for k, n in trace.meta["dropped"].items() if k != "large_kmalloc_repeats"}
    assert sum(others.values()) == 40
    assert "unreadable_lines" not in others
    assert not any("cannot be read" in text for text in trace.meta["lacks"])


def test_says_which_line_was_the_first_that_it_could_not_read(tmp_path: Path) -> None:
    bad = line(KFREE.replace("ptr=", "prt="), 2)
    good = line(KMALLOC) + line(KFREE)
    trace = imported(good + bad + line("sched_switch: a=1") + good + "nonsense\n", tmp_path)
    [told] = [text for text in trace.meta["lacks"] if "cannot be read" in text]
    assert told.startswith("2 lines cannot be read and are left out: the first, line 3: '")
    assert "prt=ffff8880010000a0" in told
    dropped = {"large_kmalloc_repeats": 0, "unreadable_lines": 2, "sched_switch": 1}
    assert trace.meta["dropped"] == dropped


# --- no kmem events


def test_says_what_there_is_instead(tmp_path: Path) -> None:
    text = "# tracer: function\n#\n" + line("sched_switch: prev_comm=a") * 3
    text += line("kfree <-do_sys_openat2") + line("kfree: (kfree+0x0/0x200)")
    with pytest.raises(
        InputError,
        match=r"no kmem events .*\(it has 3 sched_switch, 1 lines_named_kfree, 1 lines_of_no_event;"
        r" tracer function\)",
    ):
        imported(text, tmp_path)
    graph = "# tracer: function_graph\n#\n# CPU\n 0)   0.5 us    |  /* kfree: call_site=x */\n"
    with pytest.raises(InputError, match=r"no line is an event.*\(tracer function_graph\)"):
        imported(graph, tmp_path)


# --- damage


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 5000])
def test_numbers_of_any_length_are_one_line(tmp_path: Path, digits: str) -> None:
    good = line(KMALLOC) + line(KFREE)
    with pytest.raises(InputError, match="in the head, the entries written is '9999"):
        imported(HEAD.format(1, digits, 2) + good, tmp_path)
    (tmp_path / "uname").write_text(f"Linux box {digits}.1 #1 x86_64 GNU/Linux\n")
    with pytest.raises(InputError, match="the uname beside it names release '9999"):
        imported(good, tmp_path)
    (tmp_path / "uname").unlink()
    flags = line(KMALLOC.replace("GFP_KERNEL", "0x" + digits))
    said = rf"line at byte {len(good)}: '0x9999.*' is no number of a kernel"
    with pytest.raises(InputError, match=said):
        imported(good + flags, tmp_path)
    with pytest.raises(InputError, match=r"line at byte 0: '9999.*' is no number of a kernel"):
        imported(f"CPU:0 [LOST 9{digits} EVENTS]\n{good}", tmp_path)
    with pytest.raises(InputError, match="its head is damaged: 'entries-in-buffer"):
        imported(HEAD.partition("#P")[0].format(digits, "") + "\n" + good, tmp_path)
    with pytest.raises(InputError, match=r"so far into a function|is no number of a kernel"):
        imported(line(KFREE.replace("one+0x50", f"one+0x{digits}")), tmp_path)
    (tmp_path / "kallsyms").write_text(f"{KALLSYMS}zz t four\n")
    with pytest.raises(InputError, match="line 7 of the kallsyms beside it has no address"):
        imported(good, tmp_path)


def test_one_time_that_is_far_away_is_damage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its first and last event are 1157 days apart"):
        imported(line(KMALLOC) + line(KFREE, 99999999), tmp_path)


def test_a_damaged_head_takes_no_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a recording that can be read"):
        imported("x" * 16 + "-1 " + "[000] " * 1300, tmp_path)
