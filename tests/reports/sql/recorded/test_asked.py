"""What developers ask, of twenty events whose answers are worked by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipeline.processes.progress import Progress
from pipeline.replay.recorded import replay_traces
from pipeline.store.database import reading
from tests.pipeline.ingest.ftrace_text.test_reader import HEAD, UNAME, imported, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = list[tuple[Any, ...]]

KALLSYMS = (
    "ffffffff81000000 T _text\nffffffff81001000 t keeps\nffffffff81001100 t passes\n"
    "ffffffff81001200 t frees\nffffffff81001300 t _etext\n"
)
# Two threads of one core, another core, another package.
CPUINFO = "".join(
    f"processor\t: {cpu}\nphysical id\t: {package}\ncore id\t\t: {core}\n\n"
    for cpu, core, package in ((0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 0, 1))
)
KEEPS, PASSES = "keeps+0x10/0x100", "passes+0x20/0x100"
A, B, C, D, SLAB = (0xFFFF888000100000 + at for at in (0x0, 0x40, 0x1000, 0x1080, 0x301000))


def kmalloc(site: str, ptr: int, asked: int, given: int, gfp: str = "GFP_KERNEL") -> str:
    return (
        f"kmalloc: call_site={site} ptr={ptr:016x} bytes_req={asked} bytes_alloc={given}"
        f" gfp_flags={gfp} node=-1 accounted=false"
    )


def kfree(ptr: int) -> str:
    return f"kfree: call_site=frees+0x8/0x100 ptr={ptr:016x}"


def page(pfn: int, order: int, migratetype: int, gfp: str) -> str:
    struct_page = 0xFFFFEA0000000000 + 64 * pfn if pfn else 0
    return (
        f"mm_page_alloc: page={struct_page:016x} pfn=0x{pfn:x} order={order}"
        f" migratetype={migratetype} gfp_flags={gfp}"
    )


TAKEN = (
    "mm_page_alloc_extfrag: page=ffffea0000018000 pfn=0x600 alloc_order=0 fallback_order=3"
    " pageblock_order=9 alloc_migratetype=2 fallback_migratetype=1 fragmenting=1 change_ownership=0"
)
EVENTS = (  # ms, CPU
    (0, 0, kmalloc(KEEPS, A, 50, 64)),
    (0.005, 0, kmalloc(KEEPS, B, 60, 64)),
    (0.01, 0, kfree(A)),
    (0.3, 1, kfree(B)),
    (1, 0, kmalloc(KEEPS, A, 40, 64)),
    (1.1, 2, kmalloc(PASSES, C, 100, 128)),
    (2, 3, kfree(C)),
    (3, 0, kmalloc(PASSES, D, 100, 128)),
    (4, 0, kmalloc(PASSES, D, 70, 128)),  # freed in between, without an event
    (5, 0, page(0x400, 0, 1, "GFP_HIGHUSER_MOVABLE|__GFP_ZERO")),
    (6, 1, page(0x401, 1, 0, "GFP_NOWAIT|__GFP_NORETRY|__GFP_COMP")),
    (7, 1, kmalloc(KEEPS, SLAB, 1500, 2048)),
    (10.5, 1, "mm_page_free: page=ffffea0000010000 pfn=0x400 order=0"),
    (11, 0, page(0, 9, 0, "GFP_ATOMIC|__GFP_NOWARN")),
    (12, 0, kmalloc(PASSES, 0, 100, 128, "GFP_NOWAIT")),
    (13, 2, TAKEN),
    (13, 2, page(0x600, 0, 2, "GFP_NOFS|__GFP_RECLAIMABLE")),
    (20, 0, page(0x800, 10, 1, "GFP_HIGHUSER_MOVABLE")),
)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Rows]]:
    folder = tmp_path_factory.mktemp("asked")
    for name, text in (("kallsyms", KALLSYMS), ("uname", UNAME), ("cpuinfo", CPUINFO)):
        (folder / name).write_text(text)
    text = HEAD.format(len(EVENTS), len(EVENTS), 4) + "".join(
        line(event, 1 + ms / 1000, cpu) for ms, cpu, event in EVENTS
    )
    db = folder / "results.duckdb"
    replay_traces([imported(text, folder).path], db, [], Progress())
    with reading(db) as connection:
        yield lambda query: connection.execute(query).fetchall()


def test_gfp_flags_read_as_they_were_printed(ask: Callable[[str], Rows]) -> None:
    printed = {word.partition("gfp_flags=")[2].partition(" ")[0] for _, _, word in EVENTS}
    assert {name for (name,) in ask("SELECT names FROM gfp_names")} == printed - {""}


def test_cpus_are_as_far_apart_as_cpuinfo_says(ask: Callable[[str], Rows]) -> None:
    found = ask("SELECT free_cpu, distance FROM cpu_distances WHERE alloc_cpu = 0 ORDER BY ALL")
    assert found == [(0, "same CPU"), (1, "same core"), (2, "same package"), (3, "other package")]
    assert ask("SELECT count(*) FROM cpu_distances") == [(16,)]


def test_who_frees_whose(ask: Callable[[str], Rows]) -> None:
    objects = "SELECT * EXCLUDE (run, trace) FROM remote_frees_by_site"
    assert ask(objects) == [
        ("kmalloc-128", "passes+0x20", "frees+0x8", "other package", 1, 128, 100.0),
        ("kmalloc-64", "keeps+0x10", "frees+0x8", "same CPU", 1, 64, 50.0),
        ("kmalloc-64", "keeps+0x10", "frees+0x8", "same core", 1, 64, 50.0),
    ]
    pages = ask("SELECT * EXCLUDE (run, trace) FROM page_remote_frees")
    assert pages == [("anon", None, 0, 1, "same core", 1, 1, 100.0)]


def test_what_got_nothing_and_what_was_anothers(ask: Callable[[str], Rows]) -> None:
    names = 'seq, seconds, event, "order", bytes_req, site, gfp, may_wait, quiet'
    assert ask(f"SELECT {names} FROM failed_requests") == [
        (13, 0.011, "mm_page_alloc", 9, None, None, "GFP_ATOMIC|__GFP_NOWARN", False, True),
        (14, 0.012, "kmalloc", None, 100, "passes+0x20", "GFP_NOWAIT", False, True),
    ]
    [taken] = ask("SELECT * EXCLUDE (run, trace) FROM extfrag_events")
    assert taken == (
        *(15, 0.013, 2, 7, "sh", 0x600, 0, "reclaimable", 3, "movable", False, True),
    )  # fmt: skip


def test_what_is_wasted_and_stays(ask: Callable[[str], Rows]) -> None:
    names = "site, cache, allocs, waste_bytes, live_objects, live_waste_bytes, live_bytes_alloc"
    assert ask(f"SELECT {names} FROM waste_by_site") == [
        ("keeps+0x10", "kmalloc-2k", 1, 548, 1, 548, 2048),
        ("passes+0x20", "kmalloc-128", 3, 114, 1, 58, 128),  # D's first life ended unseen
        ("keeps+0x10", "kmalloc-64", 3, 42, 1, 24, 64),
    ]
    # 19, 16 and 13 ms old.
    ages = ask("SELECT cache, age_from, age_to, objects, bytes_req FROM live_age")
    decade = (10_000_000, 100_000_000, 1)
    assert ages == [
        ("kmalloc-2k", *decade, 1500),
        ("kmalloc-128", *decade, 70),
        ("kmalloc-64", *decade, 40),
    ]


def test_what_does_not_live_long(ask: Callable[[str], Rows]) -> None:
    names = "cache, allocs, freed, within_10_events, within_100us, within_1ms, same_cpu"
    assert ask(f"SELECT {names} FROM temporaries") == [
        ("kmalloc-64", 3, 2, 2, 1, 2, 1),
        ("kmalloc-128", 3, 1, 1, 0, 1, 0),
        ("kmalloc-2k", 1, 0, 0, 0, 0, 0),
    ]


def test_what_was_live_at_the_peaks(ask: Callable[[str], Rows]) -> None:
    names = "seconds, cache, page_kind, live, amount"
    objects = ("kmalloc-2k", 2048), ("kmalloc-128", 128), ("kmalloc-64", 64)
    assert ask(f"SELECT {names} FROM peak WHERE measure = 'object bytes'") == [
        (0.007, cache, None, 1, amount) for cache, amount in objects
    ]
    found = ask(f"SELECT {names} FROM peak WHERE measure = 'slab objects' ORDER BY amount, cache")
    assert found == [(0.007, cache, None, 1, 1) for cache, _ in sorted(objects)]
    assert ask(f"SELECT {names} FROM peak WHERE measure = 'pages'") == [
        (0.02, None, "anon", 1, 1024),
        (0.02, None, "slab", 1, 2),
        (0.02, None, "other", 1, 1),
    ]


def test_what_lies_in_a_block(ask: Callable[[str], Rows]) -> None:
    names = "slice, unmovable, movable, reclaimable, unknown, mixed"
    block = f"SELECT {names} FROM pageblocks WHERE block_bytes = $1 AND block = $2 ORDER BY slice"
    # Slices last 1.000001 ms: 5 ms is in slice 4, 10.5 in slice 10.
    assert ask(block.replace("$1", "2 << 20").replace("$2", "2")) == [
        (4, 0, 1, 0, 0, False),
        *((slice_, 2, 1, 0, 0, True) for slice_ in range(5, 10)),
        *((slice_, 2, 0, 0, 0, False) for slice_ in range(10, 20)),
    ]
    for half in "45":  # of one allocation of 4 MiB
        found = ask(block.replace("$1", "2 << 20").replace("$2", half))
        assert found == [(19, 0, 512, 0, 0, False)]
    *_, last = ask(block.replace("$1", "1 << 30").replace("$2", "0"))
    assert last == (19, 2, 1024, 1, 0, True)


def test_how_many_regions_slabs_touch(ask: Callable[[str], Rows]) -> None:
    names = "cache, slabs, pages, regions, regions_peak, fill_pct"
    assert ask(f"SELECT {names} FROM huge_regions") == [(None, 1, 2, 1, 1, 100 * 2 / 512)]
