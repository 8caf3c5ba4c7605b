"""Traces for Perfetto, read back by a plain decoder, against what SQL and plain Python count."""

from __future__ import annotations

from collections import Counter, defaultdict
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from pipeline.export.perfetto import write_perfetto
from pipeline.export.run_pair import run_pair
from pipeline.store.database import reading
from tests.oracle.protobuf import Track, perfetto

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

OBJECTS = "Live bytes of objects, by cache"
PAGES = "Live bytes of pages, by kind"
BYTES, COUNT = 3, 2  # CounterDescriptor.Unit
LONG = 20_000_000

Export = tuple["duckdb.DuckDBPyConnection", list[Track]]


def tracks(connection: duckdb.DuckDBPyConnection, step: int, long: int | None) -> list[Track]:
    file, parts = BytesIO(), [0.0]
    pair = run_pair(connection, None)
    assert (pair.recorded, pair.model) == (1, 2)
    written = write_perfetto(connection, pair, file, step=step, long=long, done=parts.append)
    assert parts == sorted(parts)
    assert parts[-1] == 1
    found = perfetto(file.getvalue())
    assert written.counters == sum(track.unit is not None for track in found)
    assert written.samples == sum(len(track.values) for track in found)
    assert written.lives == sum(len(track.slices) for track in found)
    return found


@pytest.fixture(scope="module")
def export(db: Path) -> Export:
    with reading(db) as connection:
        yield connection, tracks(connection, 1, LONG)


def of(found: list[Track], group: str) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    chosen = [track for track in found if track.names[0] == group and track.unit is not None]
    assert len({track.names for track in chosen}) == len(chosen)
    return {track.names[1:]: sorted(track.values) for track in chosen}


def run_up(rows: list[tuple[int, str, int]], first: int) -> dict[tuple[str, ...], list[tuple]]:
    """Values of counters after each change, those of one moment together."""
    changes: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for ts, name, delta in rows:
        changes[name][ts] += delta
    found = {}
    for name, by_time in changes.items():
        value, values = 0, [(first, 0)]
        for ts, delta in sorted(by_time.items()):
            value += delta
            values.append((ts, value))
        found[(name,)] = values
    return found


def changed(values: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without values that are as before, which may be written or not."""
    return [each for at, each in enumerate(values) if at == 0 or each[1] != values[at - 1][1]]


def same(ours: dict, plain: dict) -> None:
    assert ours.keys() == plain.keys()
    for name, values in plain.items():
        assert changed(ours[name]) == changed(values), name


Life = tuple[str, int, int | None, int, str]  # cache, begin, end, bytes, function


@pytest.fixture(scope="module")
def lives(export: Export) -> list[Life]:
    """Every object allocated in the recording, by plain Python over the rows of events."""
    connection, _ = export

    def column(query: str) -> dict:
        return dict(connection.execute(query).fetchall())

    names = column("SELECT cache, name FROM caches WHERE run = 1")
    functions = column("SELECT call_site, symbol FROM call_sites WHERE run = 1")
    again = column("SELECT object, again_ts FROM internal.unfreed_objects WHERE run = 1")
    slab_ends = column("SELECT page, free_ts FROM pages WHERE run = 1 AND free_seq IS NOT NULL")
    born: dict[int, tuple] = {}
    ends: dict[int, int] = {}
    for ts, event, handle, cache, how, size, site, page in connection.execute(
        "SELECT ts, event, object, cache, cache_how, bytes_alloc, call_site, page"
        " FROM object_events WHERE run = 1 AND object IS NOT NULL ORDER BY seq"
    ).fetchall():
        if event in {"kmalloc", "kmem_cache_alloc"}:
            assert (cache is None) == (how is None)
            born[handle] = names.get(cache, "large kmalloc"), ts, size, functions[site], page
        else:
            ends[handle] = ts
    for handle, when in again.items():
        told = (when, slab_ends.get(born[handle][4]))
        known = [end for end in told if end is not None and end >= born[handle][1]]
        if known:
            assert handle not in ends
            ends[handle] = min(known)
    return [
        (name, begin, ends.get(handle), size, function)
        for handle, (name, begin, size, function, _) in born.items()
    ]


def test_some_frees_have_no_event_and_some_objects_live_on(
    export: Export, lives: list[Life]
) -> None:
    how = "SELECT end_how, count(*) FROM object_lives WHERE run = 1 GROUP BY end_how"
    counts = dict(export[0].execute(how).fetchall())
    assert counts.keys() == {"observed", "inferred", None}
    assert sum(counts.values()) == len(lives)
    assert counts[None] == sum(end is None for _, _, end, *_ in lives)


def test_live_bytes_of_objects_are_what_their_events_add_up_to(
    export: Export, lives: list[Life]
) -> None:
    connection, found = export
    first = connection.execute("SELECT first_ts FROM runs WHERE run = 1").fetchone()[0]
    born = [(begin, name, size) for name, begin, _, size, _ in lives]
    died = [(end, name, -size) for name, _, end, size, _ in lives if end is not None]
    same(of(found, OBJECTS), run_up(born + died, first))


def test_live_bytes_of_pages_are_what_their_events_add_up_to(export: Export) -> None:
    connection, found = export
    first = connection.execute("SELECT first_ts FROM runs WHERE run = 1").fetchone()[0]
    kinds = dict(
        connection.execute(
            "SELECT page, page_kind FROM pages WHERE run = 1 AND alloc_seq IS NOT NULL"
        ).fetchall()
    )
    rows = [
        (ts, kinds[page], (1 if event == "mm_page_alloc" else -1) * (4096 << order))
        for ts, event, page, order in connection.execute(
            'SELECT ts, event, page, "order" FROM page_events WHERE run = 1'
            " AND event IN ('mm_page_alloc', 'mm_page_free')"
        ).fetchall()
        if page in kinds
    ]
    assert not connection.execute(
        "SELECT count(*) FROM pages WHERE run = 1 AND (alloc_ts IS NULL) <> (alloc_seq IS NULL)"
    ).fetchone()[0]
    same(of(found, PAGES), run_up(rows, first))


def last(values: list[tuple[int, int]]) -> int:
    return values[-1][1]


def test_requests_add_up_to_path_summary(export: Export) -> None:
    connection, found = export
    ours = of(found, "Model: requests so far, by the way they were served")
    assert {name: last(values) for name, values in ours.items()} == {
        (layer, path): requests
        for layer, path, requests in connection.execute(
            "SELECT layer, path, requests FROM path_summary WHERE run = 2"
        ).fetchall()
    }
    steps = [b[1] - a[1] for values in ours.values() for a, b in pairwise(values)]
    assert min(steps) > 0


def test_traffic_of_caches_adds_up_to_that_of_all(export: Export) -> None:
    _, found = export
    by_cache: dict[str, int] = defaultdict(int)
    for (_, path), values in of(
        found, "Model: traffic of sheaves, barn and slabs so far, by cache"
    ).items():
        by_cache[path] += last(values)
    every = of(found, "Model: requests so far, by the way they were served")
    hits = {"main_hit", "main_push"}
    assert by_cache == {
        path: last(values)
        for (layer, path), values in every.items()
        if layer == "object" and path not in hits
    }


def test_free_blocks_are_those_of_free_memory(export: Export) -> None:
    connection, found = export
    ours = of(found, "Model: free blocks, by zone")
    kinds = ("unmovable", "movable", "reclaimable", "highatomic")
    rows = connection.execute(
        f'SELECT zone, "order", {", ".join(kinds)}, coalesce(runs.first_ts + slice * slice_ns,'
        " last_ts) FROM free_memory INNER JOIN runs USING (run) WHERE run = 2"
    ).fetchall()
    checked = 0
    for zone, order, *blocks, ts in rows:
        for kind, count in zip(kinds, blocks, strict=True):
            values = ours.get((zone, f"order {order}, {kind}"), [(0, 0)])
            at = [value for when, value in values if when <= ts]
            assert at[-1] == count
            checked += count > 0
    assert checked > 100


def test_lives_that_took_long_are_slices(export: Export, lives: list[Life]) -> None:
    connection, found = export
    until = connection.execute("SELECT last_ts FROM runs WHERE run = 1").fetchone()[0]
    ours = Counter(
        (track.names[1], begin, end, size, name)
        for track in found
        for begin, end, name, size in track.slices
        if track.names[0] == "Long lives of objects, by cache"
    )
    assert ours == Counter(
        life for life in lives if (until if life[2] is None else life[2]) - life[1] >= LONG
    )
    assert {True, False} == {end is None for _, _, end, *_ in ours}
    pages = [track for track in found if track.names[0] == "Long lives of page blocks, by kind"]
    assert sum(len(track.slices) for track in pages) > 10
    assert all(len(track.slices) <= 1 for track in found)


def test_without_lives_and_with_a_step_there_is_less_and_nothing_else(export: Export) -> None:
    connection, fine = export
    coarse = tracks(connection, 10_000_000, None)
    assert not any(track.slices for track in coarse)
    assert {track.names for track in coarse} == {
        track.names for track in fine if not track.names[0].startswith("Long lives")
    }
    for group in {track.names[0] for track in coarse}:
        ours, every = of(coarse, group), of(fine, group)
        assert {name: last(values) for name, values in ours.items()} == {
            name: last(values) for name, values in every.items()
        }
        assert all(set(ours[name]) <= set(every[name]) for name in ours)
    assert sum(len(track.values) for track in coarse) < sum(len(track.values) for track in fine) / 5


def test_units_and_sentences_stand_with_the_counters(export: Export) -> None:
    _, found = export
    for track in found:
        if len(track.names) == 1:
            assert track.doc.endswith(".")
        elif track.unit is not None:
            assert track.unit == (BYTES if track.names[0].startswith("Live bytes") else COUNT)
