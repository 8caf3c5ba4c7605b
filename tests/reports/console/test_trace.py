"""What info says of a trace, word for word."""

from __future__ import annotations

from typing import Any

from reports.console.trace import trace_text

META: dict[str, Any] = {
    "name": "net",
    "source": {"format": "trace.dat", "version": 7, "files": ["trace.dat"], "sha256": "ab" * 32},
    "kernel_release": "6.12.107",
    "arch": "x86_64",
    "cpus": 2,
    "page_size": 4096,
    "clock": "local",
    "ts_unit": "ns",
    "first_ts": 5_000,
    "last_ts": 1_500_005_000,
    "events": {"kmalloc": 12_345, "mm_page_alloc": 6},
    "recorded_events": ["kmalloc", "mm_page_alloc"],
    "dropped": {"large_kmalloc_repeats": 7, "sched_switch": 0},
    "lost": {
        "per_cpu": {"0": 0, "1": 1200},
        "sources": {"marks_without_a_number": {"0": 1, "1": 0}},
    },
    "coverage": {
        "cpus": {
            "0": {
                "events": 12_000,
                "first_ts": 5_000,
                "last_ts": 1_500_000_000,
                "late": None,
                "early": None,
                "overwritten": 0,
            }
        }
    },
    "stacks": {"events": 6, "unattached": 2, "distinct": 3},
    "direct_map": {"base": 0xFFFF888000000000, "votes": 485, "candidates": 486},
    "symbols": {"resolved": 30, "unresolved": 1},
    "snapshots": ["before", "after"],
}

TEXT = f"""\
trace       net
source      trace.dat version 7, trace.dat
sha256      {"ab" * 32}
kernel      6.12.107 (x86_64), 2 CPUs
page size   4,096 bytes
clock       local, in ns
length      1.500 s
events      12,351
lost        1,200 events, 1,200 on CPU 1, and 1 gap of unknown length
CPUs        1 of 2 CPUs
            no events of CPU 1 (of 2 CPUs): idle, or not recorded; what was freed there stays live
            here, what was allocated there is unknown
direct map  0xffff888000000000, by 485 of 486 votes (99.79 %)
stacks      after 6 events, 3 distinct; 2 without an event
symbols     30 of 31 addresses
page_ref    not recorded: the use stage is assumed
snapshots   before and after

event           count
kmalloc        12,345
mm_page_alloc       6

CPU  events  from (s)        to
0    12,000  0.000005  1.500000
1         0         –         –

left out on import     count
large kmalloc repeats      7
"""


def test_it_says_what_was_recorded_and_what_is_missing() -> None:
    assert trace_text(META) == TEXT


def test_several_memory_nodes_are_told_with_what_came_from_another_one() -> None:
    taken = "memory nodes  2"
    lines = trace_text(META, 2, 51_991, 27_747).splitlines()
    assert " ".join(line.strip() for line in lines[17:19]) == (
        f"{taken}; 27,747 of 79,738 page allocations (34.80 %) between the snapshots were on"
        " another node than the CPU's"
    )
    assert max(map(len, lines)) <= 100
    assert trace_text(META, 2).splitlines()[17] == taken


def test_what_is_not_known_is_said_so() -> None:
    nothing = {"base": None, "votes": 0, "candidates": 0}
    text = trace_text(
        META
        | {"kernel_release": None, "arch": None, "direct_map": nothing, "snapshots": []}
        | {"ts_unit": "ticks", "recorded_events": ["page_ref_set"], "dropped": {}, "events": {}}
    )
    assert "kernel      not known, 2 CPUs\n" in text
    assert "direct map  base not found: no object can be placed on a page\n" in text
    assert "length      1,500,000,000 ticks\n" in text
    assert "page_ref    recorded: the use stage is observed\n" in text
    assert "snapshots   none\n" in text
    assert text.partition("\nCPU  ")[0].endswith("\nevent  count\n")
    assert "CPU  events  from (ticks)" in text
