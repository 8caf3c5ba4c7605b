"""Folded stacks and speedscope files against sums asked in SQL, and a hand-made run."""

from __future__ import annotations

import json
from collections import Counter
from io import BytesIO
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipeline.export.flame_graphs import write_folded, write_speedscope
from pipeline.export.run_pair import RunPair, run_pair
from pipeline.export.stacks import PROFILES, StackWeight
from pipeline.store.database import reading
from pipeline.store.schema import create_tables
from reports.views import create_views
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What each weight comes to in all, asked another way.
TOTALS = {
    StackWeight.OBJECTS_ALLOCATED: "SELECT sum(bytes_alloc) FROM object_events WHERE run = 1",
    StackWeight.OBJECTS_WASTE: "SELECT sum(waste_bytes) FROM call_site_summary WHERE run = 1",
    StackWeight.PAGES_ALLOCATED: "SELECT 4096 * sum(pages_allocated) FROM life_counts"
    " WHERE run = 1",
    StackWeight.PAGES_OPERATIONS: "SELECT locked_ops FROM policy_summary"
    " INNER JOIN runs USING (run) WHERE run = 1 AND policy = own_policy",
}


def folded(connection: duckdb.DuckDBPyConnection, weight: StackWeight, run: int) -> Counter[str]:
    file = BytesIO()
    total = write_folded(connection, weight, RunPair(run, None, "x", 0, 1), file)
    found: Counter[str] = Counter()
    for line in file.getvalue().decode().splitlines():
        frames, _, value = line.rpartition(" ")
        assert frames not in found
        assert ";" in frames
        found[frames] = int(value)
    assert found.total() == total
    assert list(found.values()) == sorted(found.values(), reverse=True)
    return found


@pytest.fixture(scope="module")
def connection(db: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with reading(db) as opened:
        yield opened


@pytest.mark.parametrize("weight", TOTALS)
def test_weights_add_up_to_what_views_say(
    connection: duckdb.DuckDBPyConnection, weight: StackWeight
) -> None:
    [(total,)] = connection.execute(TOTALS[weight]).fetchall()
    assert folded(connection, weight, 1).total() == total > 0


def test_what_is_live_is_what_was_allocated_less_what_ended(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    [(objects, waste)] = connection.execute(
        "SELECT sum(if(end_ts IS NULL, bytes_alloc, 0)),"
        " sum(if(end_ts IS NULL, bytes_alloc - bytes_req, 0)) FROM object_lives WHERE run = 1"
    ).fetchall()
    assert folded(connection, StackWeight.OBJECTS_LIVE, 1).total() == objects > 0
    assert folded(connection, StackWeight.OBJECTS_WASTE_LIVE, 1).total() == waste > 0
    pages = folded(connection, StackWeight.PAGES_LIVE, 1)
    assert pages.total() % 4096 == 0
    assert 0 < pages.total() < folded(connection, StackWeight.PAGES_ALLOCATED, 1).total()


def test_speedscope_has_a_profile_for_each_weight(connection: duckdb.DuckDBPyConnection) -> None:
    file = BytesIO()
    totals = write_speedscope(connection, run_pair(connection, 1), file)
    made: dict[str, Any] = json.loads(file.getvalue())
    # The required parts of https://www.speedscope.app/file-format-schema.json.
    assert made["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = [frame["name"] for frame in made["shared"]["frames"]]
    assert len(set(frames)) == len(frames)
    assert list(totals) == list(StackWeight)
    assert (
        made["profiles"][made["activeProfileIndex"]]["name"]
        == PROFILES[StackWeight.OBJECTS_LIVE].title
    )
    for weight, profile in zip(totals, made["profiles"], strict=True):
        assert profile.keys() == {
            "type", "name", "unit", "startValue", "endValue", "samples", "weights",
        }  # fmt: skip
        assert (profile["type"], profile["startValue"]) == ("sampled", 0)
        assert profile["unit"] == ("none" if weight is StackWeight.PAGES_OPERATIONS else "bytes")
        assert len(profile["samples"]) == len(profile["weights"])
        assert profile["endValue"] == sum(profile["weights"]) == totals[weight]
        stacks = {
            ";".join(frames[at] for at in sample): value
            for sample, value in zip(profile["samples"], profile["weights"], strict=True)
        }
        assert stacks == folded(connection, weight, 1)


@pytest.fixture
def by_hand() -> Iterator[duckdb.DuckDBPyConnection]:
    """Five objects and two blocks of pages of run 1; one object of run 2 with the same numbers."""
    with duckdb.connect() as opened:
        create_tables(opened)
        create_views(opened)
        insert(opened, "traces", trace_id=1, trace="x", page_size=4096)
        for run in (1, 2):
            insert(opened, "runs", run=run, trace_id=1, first_ts=0, last_ts=100, own_policy="p")
            insert(opened, "caches", run=run, cache=0, name="kmalloc-64", object_size=64)
            insert(opened, "call_sites", run=run, call_site=0x10, symbol="f", offset=4)
            insert(opened, "stacks", run=run, stack=0, caller="f", frames="main;g;f")
        # origin, run, site, asked, given, cache: of a cache, of one unknown, of whole pages.
        for origin, run, site, req, alloc, cache, how in (
            (1, 1, 0x10, 50, 64, 0, "named"),
            (2, 1, 0x20, 30, 32, None, "unresolved"),
            (3, 1, 0x10, 5000, 8192, None, None),
            (4, 2, 0x10, 1, 64, 0, "named"),
        ):
            insert(
                opened, "internal.object_origins", origin=origin, run=run, event="kmalloc",
                call_site=site, bytes_req=req, bytes_alloc=alloc, cache=cache, cache_how=how,
            )  # fmt: skip
        # seq, run, origin, lifetime, page: freed; live with a stack; live; reused; its slab freed.
        for seq, run, origin, lifetime, page in (
            (0, 1, 1, 7, None),
            (1, 1, 1, None, None),
            (2, 1, 2, None, None),
            (3, 1, 1, None, None),
            (4, 1, 3, None, 9),
            (1, 2, 4, None, None),
        ):
            insert(
                opened, "internal.object_facts", run=run, seq=seq, ts=10 + seq, cpu=0, pid=1,
                origin=origin, object=seq, lifetime=lifetime, page=page,
            )  # fmt: skip
        insert(opened, "internal.object_stacks", run=1, seq=1, stack=0)
        for seq, again in ((1, None), (2, None), (3, 50), (4, None)):
            insert(opened, "internal.unfreed_objects", run=1, object=seq, again_ts=again)
        for page, kind, order, stack, ended, gone in (
            (9, "large_kmalloc", 1, None, 60, 2),
            (8, "anon", 2, 0, None, 1),
        ):
            insert(
                opened, "pages", run=1, page=page, page_kind=kind, order=order, stack=stack,
                alloc_ts=14, free_ts=ended, free_seq=ended, pages_freed=gone,
            )  # fmt: skip
        yield opened


def test_a_run_made_by_hand(by_hand: duckdb.DuckDBPyConnection) -> None:
    alone = "(call site alone)"
    assert folded(by_hand, StackWeight.OBJECTS_LIVE, 1) == {
        "main;g;f;kmalloc-64": 64,
        f"{alone};0x20;cache not known": 32,
    }
    assert folded(by_hand, StackWeight.OBJECTS_ALLOCATED, 1) == {
        f"{alone};f;large kmalloc": 8192,
        f"{alone};f;kmalloc-64": 128,
        "main;g;f;kmalloc-64": 64,
        f"{alone};0x20;cache not known": 32,
    }
    assert folded(by_hand, StackWeight.OBJECTS_WASTE_LIVE, 1) == {
        "main;g;f;kmalloc-64": 14,
        f"{alone};0x20;cache not known": 2,
    }
    assert folded(by_hand, StackWeight.OBJECTS_LIVE, 2) == {f"{alone};f;kmalloc-64": 64}
    assert folded(by_hand, StackWeight.PAGES_LIVE, 1) == {"main;g;f;anon": 3 * 4096}
    assert folded(by_hand, StackWeight.PAGES_ALLOCATED, 1) == {
        "main;g;f;anon": 4 * 4096,
        "(no stack recorded);large_kmalloc": 2 * 4096,
    }
    ends = "SELECT object, end_ts, end_how FROM object_lives WHERE run = 1 ORDER BY object"
    assert by_hand.execute(ends).fetchall() == [
        (0, 17, "observed"),
        (1, None, None),
        (2, None, None),
        (3, 50, "inferred"),
        (4, 60, "inferred"),
    ]
