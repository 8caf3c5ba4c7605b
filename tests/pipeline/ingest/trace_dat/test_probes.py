"""Probes of functions without a tracepoint: an event for each object of a call (T19)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from allocsim.trace.events import Ev, Probe
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.oracle.perf_data import Attr, PerfFile
from tests.oracle.trace_dat import FORMATS, Cpu, Event, File, format_text

if TYPE_CHECKING:
    from pathlib import Path

RCU, FREE, FREE_MORE, ALLOC, ASK, MORE, BACK = range(900, 907)
FORMAT_TEXTS = {
    **FORMATS,
    "allocsim": [
        format_text(
            "kfree_rcu_sheaf",
            RCU,
            ("unsigned long __probe_func", 8, 8, 0),
            ("unsigned long __probe_ret_ip", 16, 8, 0),
            ("__data_loc char[] cache", 24, 4, 1),
            ("u64 ptr", 28, 8, 0),
            ("u8 done", 36, 1, 0),
        ),
        format_text(
            "kmem_cache_free_bulk",
            FREE,
            ("unsigned long __probe_ip", 8, 8, 0),
            ("__data_loc char[] cache", 16, 4, 1),
            ("u64 nr", 20, 8, 0),
            ("u64 caller", 28, 8, 0),
            ("u64 ptrs[2]", 36, 16, 0),
        ),
        format_text(
            "kmem_cache_free_bulk_from_2",
            FREE_MORE,
            ("unsigned long __probe_ip", 8, 8, 0),
            ("u64 nr", 16, 8, 0),
            ("u64 caller", 24, 8, 0),
            ("u64 ptrs[3]", 32, 24, 0),
        ),
        format_text(
            "kmem_cache_alloc_bulk",
            ALLOC,
            ("unsigned long __probe_func", 8, 8, 0),
            ("unsigned long __probe_ret_ip", 16, 8, 0),
            ("__data_loc char[] cache", 24, 4, 1),
            ("u32 bytes_alloc", 28, 4, 0),
            ("u32 gfp", 32, 4, 0),
            ("u64 nr", 36, 8, 0),
            ("u8 done", 44, 1, 0),
            ("u64 ptrs[4]", 45, 32, 0),
        ),
        format_text(
            "kmem_cache_prefill_sheaf",
            ASK,
            ("unsigned long __probe_func", 8, 8, 0),
            ("unsigned long __probe_ret_ip", 16, 8, 0),
            ("__data_loc char[] cache", 24, 4, 1),
            ("u32 nr", 28, 4, 0),
            ("u64 sheaf", 32, 8, 0),
        ),
        format_text(
            "kmem_cache_refill_sheaf",
            MORE,
            ("unsigned long __probe_func", 8, 8, 0),
            ("unsigned long __probe_ret_ip", 16, 8, 0),
            ("u32 nr", 24, 4, 0),
            ("u64 was", 28, 8, 0),
        ),
        format_text(
            "kmem_cache_return_sheaf",
            BACK,
            ("unsigned long __probe_ip", 8, 8, 0),
            ("u64 sheaf", 16, 8, 0),
        ),
    ],
}


def name(text: str, at: int) -> tuple[int, bytes]:
    """A field that says where a text is, and the text; "" is what a probe could not read."""
    data = text.encode() + b"\0" if text else b""
    return len(data) << 16 | at, data


def rcu(file: File, ptr: int, *, done: int = 1) -> bytes:
    place, text = name("node", 37)
    return file.record(RCU, struct.pack("<QQIQB", 1, 0x77, place, ptr, done) + text)


def free(file: File, *ptrs: int, cache: str = "node") -> list[bytes]:
    place, text = name(cache, 52)
    first = struct.pack("<QIQQ2Q", 1, place, len(ptrs), 0x88, *(*ptrs, 5, 5)[:2]) + text
    more = struct.pack("<QQQ3Q", 1, len(ptrs), 0x88, *(*ptrs[2:], 5, 5, 5)[:3])
    return [file.record(FREE, first)] + [file.record(FREE_MORE, more)] * (len(ptrs) > 2)


def alloc(file: File, *ptrs: int, done: int = 1) -> bytes:
    place, text = name("node", 77)
    head = struct.pack("<QQIIIQB", 1, 0x99, place, 256, 0xCC0, len(ptrs), done)
    return file.record(ALLOC, head + struct.pack("<4Q", *(*ptrs, 5, 5, 5, 5)[:4]) + text)


def imported(folder: Path, *records: bytes, **kind: Any) -> tuple[TraceSet, list[dict[str, Any]]]:
    """A trace set of one CPU's records, an event each ns, and its events."""
    file = File(formats=FORMAT_TEXTS, options=[(4, b"")], **kind)
    file.cpus = {0: Cpu([Event(1 + at, record) for at, record in enumerate(records)])}
    (folder / "made.dat").write_bytes(file.encode())
    trace = TraceSet.open(import_recording(folder / "made.dat", folder, force=True))
    names = (
        *("ts", "event", "ptr", "probe", "cache", "call_site", "bytes_alloc", "gfp_flags"),
        *("count", "sheaf"),
    )
    rows: list[dict[str, Any]] = []
    for window in trace.windows():
        rows += [
            {key: window[key][at].item() for key in names if key in window}
            for at in range(len(window["ts"]))
        ]
    return trace, rows


def short(rows: list[dict[str, Any]]) -> list[tuple[int, int, int, int]]:
    return [(row["ts"], row["event"], row["ptr"], row["probe"]) for row in rows]


def test_an_event_for_each_object_of_a_call(tmp_path: Path) -> None:
    file = File(formats=FORMAT_TEXTS)
    trace, rows = imported(
        tmp_path,
        file.kmalloc(0xA0, 64),
        alloc(file, 0xB0, 0xB1, 0xB2),
        *free(file, 0xB0, 0xB1, 0xB2, 0xC0),
        rcu(file, 0xA0),
    )
    alloc_bulk, free_bulk = Probe.KMEM_CACHE_ALLOC_BULK, Probe.KMEM_CACHE_FREE_BULK
    assert short(rows) == [
        (1, Ev.KMALLOC, 0xA0, 0),
        *((2, Ev.KMEM_CACHE_ALLOC, ptr, alloc_bulk) for ptr in (0xB0, 0xB1, 0xB2)),
        *((3, Ev.KMEM_CACHE_FREE, ptr, free_bulk) for ptr in (0xB0, 0xB1)),
        *((4, Ev.KMEM_CACHE_FREE, ptr, free_bulk) for ptr in (0xB2, 0xC0)),
        (5, Ev.KFREE, 0xA0, Probe.KFREE_RCU_SHEAF),
    ]
    assert [row["call_site"] for row in rows] == [0x1040, *[0x99] * 3, *[0x88] * 4, 0x77]
    assert [row["bytes_alloc"] for row in rows[1:4]] == [256] * 3
    assert [row["gfp_flags"] for row in rows[1:4]] == [0xCC0] * 3
    assert trace.meta["events"] == {
        "kmalloc": 1,
        "kfree": 1,
        "kmem_cache_alloc": 3,
        "kmem_cache_free": 4,
    }
    assert trace.meta["probes"] == {
        "kfree_rcu_sheaf": 1,
        "kmem_cache_free_bulk": 4,
        "kmem_cache_alloc_bulk": 3,
    }


def test_calls_for_prefilled_sheaves_are_events_of_no_object(tmp_path: Path) -> None:
    """I13: with the sheaf and how many objects it is to have, also where it was in vain."""
    file = File(formats=FORMAT_TEXTS)
    place, text = name("node", 40)
    trace, rows = imported(
        tmp_path,
        file.kmalloc(0xA0, 64),
        file.record(ASK, struct.pack("<QQIIQ", 1, 2, place, 7, 0xFFFF8880_00001000) + text),
        file.record(MORE, struct.pack("<QQIQ", 1, 2, 9, 0xFFFF8880_00001000)),
        file.record(BACK, struct.pack("<QQ", 1, 0xFFFF8880_00001000)),
        file.record(ASK, struct.pack("<QQIIQ", 1, 2, place, 5, 0) + text),
    )
    sheaf = 0xFFFF8880_00001000
    assert [(row["event"], row["count"], row["sheaf"]) for row in rows[1:]] == [
        (Ev.KMEM_CACHE_PREFILL_SHEAF, 7, sheaf),
        (Ev.KMEM_CACHE_REFILL_SHEAF, 9, sheaf),
        (Ev.KMEM_CACHE_RETURN_SHEAF, 0, sheaf),
        (Ev.KMEM_CACHE_PREFILL_SHEAF, 5, 0),
    ]
    assert trace.meta["events"]["kmem_cache_prefill_sheaf"] == 2


def test_a_call_in_vain_is_no_event(tmp_path: Path) -> None:
    """A kfree_rcu that goes past the sheaf is freed later, and that has an event of its own."""
    file = File(formats=FORMAT_TEXTS)
    records = (file.kfree(0xA0), rcu(file, 0xB0, done=0), alloc(file, 0xB1, 0xB2, done=0))
    _, rows = imported(tmp_path, *records)
    assert [row["ptr"] for row in rows] == [0xA0]


def test_a_name_that_could_not_be_read_is_none(tmp_path: Path) -> None:
    """kfree_bulk is kmem_cache_free_bulk without a cache."""
    file = File(formats=FORMAT_TEXTS)
    trace, rows = imported(tmp_path, *free(file, 0xA0, cache=""), *free(file, 0xA1))
    assert [row["ptr"] for row in rows] == [0xA0, 0xA1]
    assert rows[0]["cache"] == -1
    assert trace.names["cache"][rows[1]["cache"]] == "node"


def test_objects_that_no_array_shows_are_told(tmp_path: Path) -> None:
    file = File(formats=FORMAT_TEXTS)
    trace, rows = imported(tmp_path, *free(file, *range(0xA0, 0xA8)))
    assert [row["ptr"] for row in rows] == [0xA0, 0xA1, 0xA2, 0xA3, 0xA4]
    assert trace.meta["lacks"][0].startswith("3 of 8 objects of probed calls are not shown")


class WithProbes(PerfFile):
    """A perf.data that has the formats of probes."""

    @property
    def made(self) -> File:
        return File(version=6, formats=FORMAT_TEXTS)


def test_perf_data_has_them_too(tmp_path: Path) -> None:
    """As perf record -e 'kmem:*,allocsim:*' writes it."""
    attrs = [
        Attr(),
        Attr(name="allocsim:kfree_rcu_sheaf", config=RCU, ids=(20, 21)),
        Attr(name="allocsim:kmem_cache_free_bulk", config=FREE, ids=(30, 31)),
    ]
    file = WithProbes(attrs=attrs)
    file.sample(1000, file.made.kmalloc(0xA0, 64))
    file.sample(1001, free(file.made, 0xB0, 0xB1)[0], attr=2)
    file.sample(1002, rcu(file.made, 0xA0), attr=1)
    (tmp_path / "made.data").write_bytes(file.encode())
    trace = TraceSet.open(import_recording(tmp_path / "made.data", tmp_path, force=True))
    [window] = trace.windows()
    assert window["ptr"].tolist() == [0xA0, 0xB0, 0xB1, 0xA0]
    assert window["probe"].tolist() == [
        0,
        *[Probe.KMEM_CACHE_FREE_BULK] * 2,
        Probe.KFREE_RCU_SHEAF,
    ]


@pytest.mark.parametrize("nr", [(1 << 64) - 1, 1 << 40])
def test_a_number_that_cannot_be_is_no_more_than_the_array(tmp_path: Path, nr: int) -> None:
    file = File(formats=FORMAT_TEXTS)
    record = bytearray(free(file, 0xA0, 0xA1)[0])
    record[20:28] = nr.to_bytes(8, "little")
    _, rows = imported(tmp_path, bytes(record))
    assert [row["ptr"] for row in rows] == [0xA0, 0xA1]
