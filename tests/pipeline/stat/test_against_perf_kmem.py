"""Every table and sort key against perf kmem: equal, or different by what is named, to the last."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from pipeline.processes.progress import Progress
from pipeline.stat.asked import asked
from pipeline.stat.rows import sorted_rows
from pipeline.stat.run import total
from pipeline.stat.selection import Selection, selection
from pipeline.stat.summary import perf_totals
from pipeline.stat.tables import PAGE, SLAB, StatTable
from tests.conftest import ROOT
from tests.oracle.perf_kmem import PageRow, SlabRow, parsed, perf_kmem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.stat.run import Stat

installed = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")

RECORDINGS = ("6.12-perf-mixed", "7.3-perf-mixed")
KEPT = ROOT / "tests" / "data" / "perf-kmem"  #: some of the first, and what perf 6.1 printed of it


def every_recording(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test on each recording where perf is installed, and where there are any."""
    on_each = pytest.mark.parametrize("recording", RECORDINGS, indirect=True)
    return pytest.mark.slow(installed(on_each(test)))


EVERYTHING = Selection()
SLAB_KEYS = (
    "frag,hit,bytes",
    "hit",
    "bytes",
    "frag",
    "pingpong",
    "pingpong,frag,bytes",
    "hit,frag",
)
PAGE_BY = ("order", "migratetype", "gfp")
# perf 6.1 prints pfn, order, gfp and so on; its call sites are the address of the tracepoint where
# there are no stacks: one and the same.
PAGE_KEYS = ("bytes,hit", "hit", "order,bytes", "migtype,gfp", "gfp", "hit,order,migtype,gfp,bytes")


@pytest.fixture
def file(recording: Path, tmp_path: Path) -> Path:
    """The recording, unpacked: perf reads no other."""
    return unpacked(recording / "perf.data.zst", tmp_path)


def unpacked(packed: Path, folder: Path) -> Path:
    plain = folder / "perf.data"
    with pa.input_stream(str(packed), compression="detect") as stream:
        plain.write_bytes(stream.read())
    return plain


def totals(file: Path, by: dict[str, tuple[str, ...]], chosen: Selection = EVERYTHING) -> Stat:
    return total(file, by, chosen, Progress())


def as_perf_counts(table: StatTable) -> StatTable:
    """The figures as perf has them: with repeats (T3), and frees once more (T6) as ping-pongs."""
    figures = dict(table.figures)
    figures["allocations"] = figures["allocations"] + figures["repeats"]
    figures["bytes_alloc"] = figures["bytes_alloc"] + figures["repeats_bytes_alloc"]
    figures["bytes_req"] = figures["bytes_req"] + figures["repeats_bytes_req"]
    figures["pingpong"] = figures["pingpong"] + figures["freed_again"]
    some = figures["allocations"] > 0
    keys = {name: values[some] for name, values in table.keys.items()}
    return StatTable(table.layer, table.by, keys, {n: v[some] for n, v in figures.items()})


def slab_rows(table: StatTable, sort: str) -> list[SlabRow]:
    rows = sorted_rows(table, sort.split(","), live=False)
    [keys] = table.keys.values()
    names = ("bytes_alloc", "bytes_req", "allocations", "pingpong")
    figures = [table.figures[name][rows].tolist() for name in names]
    return [
        SlabRow(*row) for row in zip(keys[rows].view(np.uint64).tolist(), *figures, strict=True)
    ]


def test_what_perf_printed_once() -> None:
    """Without perf, and without a recording: some seconds of one, and its tables of them."""
    theirs = parsed((KEPT / "caller.txt").read_text("utf-8"))
    found = totals(KEPT / "perf.data.zst", {SLAB: ("site",), PAGE: PAGE_BY})
    ours = perf_totals(found)
    assert slab_rows(as_perf_counts(found.tables[SLAB]), "frag,hit,bytes") == theirs.slab
    assert page_rows(found.tables[PAGE], "bytes,hit") == theirs.page
    assert theirs.totals["Total bytes freed"] == (ours["bytes_freed"], None)
    assert found.matrix is not None
    assert orders(found.matrix, "allocations") == theirs.orders
    by_address = totals(KEPT / "perf.data.zst", {SLAB: ("address",)}).tables[SLAB]
    largest = parsed((KEPT / "alloc.txt").read_text("utf-8")).slab
    assert slab_rows(as_perf_counts(by_address), "bytes,hit,ptr")[: len(largest)] == largest
    assert len(largest) == 60
    # What makes the difference is there.
    for name in ("repeats", "freed_again", "ended_unseen", "pingpong"):
        assert by_address.total(name) > 0, name


@installed
def test_perf_prints_so_today(tmp_path: Path) -> None:
    file = unpacked(KEPT / "perf.data.zst", tmp_path)
    kept = parsed((KEPT / "caller.txt").read_text("utf-8"))
    assert perf_kmem(file, "--slab", "--page", "--caller") == kept


@every_recording
@pytest.mark.parametrize(
    ("by", "option", "own"), [("site", "--caller", "callsite"), ("address", "--alloc", "ptr")]
)
def test_objects(file: Path, by: str, option: str, own: str) -> None:
    found = as_perf_counts(totals(file, {SLAB: (by,)}).tables[SLAB])
    for sort in (*SLAB_KEYS, own, f"bytes,{own}"):
        theirs = perf_kmem(file, "--slab", option, "--sort", sort).slab
        assert slab_rows(found, sort) == theirs, sort


@every_recording
def test_totals_of_objects(file: Path) -> None:
    found = totals(file, {SLAB: ("site",)})
    theirs = perf_kmem(file, "--slab").totals
    ours = perf_totals(found)
    assert theirs["Total bytes requested"] == (ours["bytes_req"], None)
    assert theirs["Total bytes allocated"] == (ours["bytes_alloc"], None)
    assert theirs["Total bytes freed"] == (ours["bytes_freed"], None)
    # Of the node that a request names, none does here.
    assert theirs["Cross CPU allocations"] == (0, ours["allocations"])
    # What is net to perf still has what ended unseen, and lacks what it takes for freed again.
    table = found.tables[SLAB]
    net, _ = theirs["Net total bytes allocated"]
    assert net == (
        table.total("live_bytes_alloc")
        + table.total("bytes_ended_unseen")
        + table.total("repeats_bytes_alloc")
        - table.total("bytes_freed_again")
    )


def page_rows(table: StatTable, sort: str, *, live: bool = False) -> list[PageRow]:
    rows = sorted_rows(table, sort.split(","), live=live)
    bytes_, hit = ("live_bytes_alloc", "live") if live else ("bytes_alloc", "allocations")
    columns = [
        table.keys["address"][rows].tolist() if "address" in table.keys else [None] * len(rows),
        (table.figures[bytes_][rows] // 1024).tolist(),
        table.figures[hit][rows].tolist(),
        *(table.keys[name][rows].tolist() for name in PAGE_BY),
    ]
    return [PageRow(*row) for row in zip(*columns, strict=True)]


def in_one_piece(file: Path) -> str:
    """The time up to which perf kmem --page gets: until a block is freed in parts, it gives up.

    It looks up what it knows of the block by the order of the free, and does not find it.
    """
    with pytest.raises(subprocess.CalledProcessError) as caught:
        perf_kmem(file, "--page")
    assert "error during process events: -12" in caught.value.stderr
    low, high = 0, 1 << 16  # ms
    while high - low > 1:
        middle = (low + high) // 2
        try:
            perf_kmem(file, "--page", "--time", f",{middle / 1000:.3f}")
            low = middle
        except subprocess.CalledProcessError:
            high = middle
    return f"{low / 1000:.3f}"


def perf_until(file: Path) -> tuple[list[str], Selection]:
    """perf's options and our selection of what perf can read of a recording's pages."""
    try:
        perf_kmem(file, "--page")
    except subprocess.CalledProcessError:
        until = in_one_piece(file)
        return ["--time", f",{until}"], selection(None, until, [], [], [])
    return [], EVERYTHING


@every_recording
def test_pages(file: Path) -> None:
    time, chosen = perf_until(file)
    by = {PAGE: ("address", *PAGE_BY)}
    of_addresses = totals(file, by, chosen)
    of_callers = totals(file, {PAGE: PAGE_BY}, chosen)
    for sort in PAGE_KEYS:
        theirs = perf_kmem(file, "--page", "--caller", "--sort", sort, *time)
        assert page_rows(of_callers.tables[PAGE], sort) == theirs.page, sort
    for sort in (*PAGE_KEYS, "page", "migtype,page"):
        theirs = perf_kmem(file, "--page", "--alloc", "--sort", sort, *time)
        assert page_rows(of_addresses.tables[PAGE], sort) == theirs.page, sort
    assert len(theirs.page) > 1000


@every_recording
def test_live_pages(file: Path) -> None:
    time, chosen = perf_until(file)
    found = totals(file, {PAGE: ("address", *PAGE_BY)}, chosen)
    theirs = perf_kmem(file, "--page", "--live", "--alloc", "--sort", "page", *time)
    assert page_rows(found.tables[PAGE], "page", live=True) == theirs.page
    matrix = found.matrix
    assert matrix is not None
    assert orders(matrix, "live") == theirs.orders


def orders(matrix: StatTable, figure: str) -> dict[tuple[int, int], int]:
    keys = (matrix.keys[name].tolist() for name in ("order", "migratetype"))
    numbers = matrix.figures[figure].tolist()
    return {
        key: number for key, number in zip(zip(*keys, strict=True), numbers, strict=True) if number
    }


@every_recording
def test_totals_of_pages(file: Path) -> None:
    time, chosen = perf_until(file)
    found = totals(file, {PAGE: PAGE_BY}, chosen)
    theirs = perf_kmem(file, "--page", *time)
    table, counts = found.tables[PAGE], found.pages
    allocated, size = table.total("allocations"), table.total("bytes_alloc")
    frees, freed = table.total("frees"), table.total("bytes_freed")
    assert theirs.totals == {
        "Total allocation requests": (allocated + counts.failed, size // 1024),
        "Total free requests": (
            frees + counts.unknown_frees,
            (freed + counts.unknown_bytes_freed) // 1024,
        ),
        "Total alloc+freed requests": (frees, freed // 1024),
        "Total alloc-only requests": (allocated - frees, (size - freed) // 1024),
        "Total free-only requests": (counts.unknown_frees, counts.unknown_bytes_freed // 1024),
        "Total allocation failures": (counts.failed, counts.failed_bytes // 1024),
    }
    assert found.matrix is not None
    assert orders(found.matrix, "allocations") == theirs.orders


@every_recording
@pytest.mark.parametrize(("since", "until"), [("8.6", "9.1"), (None, "8.75"), ("9.25", None)])
def test_times(file: Path, since: str | None, until: str | None) -> None:
    """perf's times select the same allocations; to perf, objects of before are unknown."""
    found = totals(file, {SLAB: ("site",)}, selection(since, until, [], [], []))
    theirs = perf_kmem(file, "--slab", "--caller", "--time", f"{since or ''},{until or ''}")
    ours = slab_rows(as_perf_counts(found.tables[SLAB]), "callsite")
    assert len(ours) > 10
    assert [replace(row, pingpong=0) for row in ours] == [
        replace(row, pingpong=0) for row in sorted(theirs.slab, key=lambda row: -row.address)
    ]
    pingpong = {row.address: row.pingpong for row in theirs.slab}
    assert all(row.pingpong >= pingpong[row.address] for row in ours)


def test_takes_what_perf_asks_for() -> None:
    """Each of perf's keys means one of ours in the table that has it."""
    for layer, by, keys in (
        (SLAB, "site,address", "ptr,callsite,bytes,hit,pingpong,frag"),
        (PAGE, "address,site,order,migratetype,gfp", "page,callsite,bytes,hit,order,migtype,gfp"),
    ):
        asked(
            slab=layer == SLAB,
            page=layer == PAGE,
            by=by,
            selection=EVERYTHING,
            live=False,
            sort=keys,
            lines=0,
        )
