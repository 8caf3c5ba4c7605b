"""Trace sets: what is written is what is read, by us and by every other reader of Parquet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from allocsim.trace.events import EVENT_COLUMN
from pipeline.errors import InputError
from pipeline.trace_set.column import Values
from pipeline.trace_set.parts import Stacks, Symbols
from pipeline.trace_set.reader import TraceSet
from pipeline.trace_set.writer import TraceSetWriter
from tests.conftest import examples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REQUIRED = ("ts", "cpu", "pid", "event", "irq_flags", "metadata")
NO_STACKS = Stacks(np.zeros(1, np.int64), np.zeros(0, np.uint64))
NO_SYMBOLS = Symbols(np.zeros(0, np.uint64), [], np.zeros(0, np.int64), [])
Rows = list[dict[str, Any]]


def values_of(name: str, rows: Sequence[dict[str, Any]], known: list[str] | None = None) -> Values:
    """A column of some rows, None for null, as an importer hands it over.

    ``known`` are the texts of windows before, which new ones come behind.
    """
    column = EVENT_COLUMN[name]
    cells = [row.get(name) for row in rows]
    having = [cell for cell in cells if cell is not None]
    valid = None if len(having) == len(cells) else np.array([c is not None for c in cells])
    if column.dtype == "str":
        texts = known if known is not None else []
        texts.extend(sorted(set(having) - set(texts)))
        codes = np.array([texts.index(cell) for cell in having], np.int32)
        return Values(codes, valid, tuple(texts))
    return Values(np.array(having, np.dtype(column.dtype)), valid)


def write(folder: Path, windows: Sequence[Rows]) -> Path:
    """A trace set of these windows of rows."""
    known: list[str] = []
    with TraceSetWriter(folder) as writer:
        for rows in windows:
            names = {name for row in rows for name in row if row[name] is not None}
            writer.add(len(rows), {name: values_of(name, rows, known) for name in names})
        writer.close({"name": "made"}, NO_STACKS, NO_SYMBOLS)
    return folder


def event(ts: int, **cells: object) -> dict[str, Any]:
    return {"ts": ts, "cpu": 1, "pid": 2, "event": 0, "irq_flags": 0, "metadata": False, **cells}


CELLS = st.fixed_dictionaries(
    {},
    optional={
        "ptr": st.sampled_from([0, 1, (1 << 64) - 1, 0xFFFF888000000000]),
        "gfp_flags": st.integers(0, (1 << 64) - 1),
        "bytes_req": st.integers(-(1 << 63), (1 << 63) - 1),
        "node": st.integers(-1, 3),
        "mm_id": st.integers(0, (1 << 32) - 1),
        "accounted": st.booleans(),
        "cache": st.sampled_from(["a", "kmalloc-64", "ünïcode", ""]),
        "pid": st.integers(0, 1 << 22),
        "irq_flags": st.integers(0, 255),
    },
)
WINDOWS = st.lists(st.lists(CELLS, min_size=1, max_size=20), min_size=1, max_size=4)


@examples(150)
@given(cells=WINDOWS, small_groups=st.booleans())
def test_every_reader_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, cells: list[Rows], *, small_groups: bool
) -> None:
    windows = [[event(0, **row) for row in rows] for rows in cells]
    everything = [row for rows in windows for row in rows]
    for ts, row in enumerate(everything):
        row["ts"] = ts * ts
    folder = tmp_path_factory.mktemp("set")
    with pytest.MonkeyPatch.context() as patch:
        if small_groups:
            patch.setattr("pipeline.trace_set.writer._MIN_ROWS", 1)
        write(folder, windows)
    file = folder / "events.parquet"
    present = {name for row in everything for name in row}
    table = parquet.read_table(file)
    assert table.column_names == [name for name in EVENT_COLUMN if name in present]
    expected = [{name: row.get(name) for name in table.column_names} for row in everything]
    assert table.to_pylist() == expected
    assert pl.read_parquet(file).to_dicts() == expected
    found = duckdb.sql(f"SELECT * FROM '{file}'").fetchall()
    assert found == [tuple(row.values()) for row in expected]

    metadata = parquet.read_metadata(file)
    assert metadata.num_row_groups == (len(windows) if small_groups else 1)
    assert metadata.row_group(0).sorting_columns[0].column_index == 0
    statistics = metadata.row_group(0).column(0).statistics
    assert (statistics.min, statistics.null_count) == (0, 0)

    trace = TraceSet.open(folder)
    for size in (1, 7, 1 << 20):
        read = list(trace.windows(size))
        assert [len(window["ts"]) for window in read[:-1]] == [size] * (len(read) - 1)
        for name in table.column_names:
            whole = np.concatenate([window[name] for window in read])
            assert whole.tolist() == [_filled(trace, name, row.get(name)) for row in everything]
            dtype = EVENT_COLUMN[name].dtype
            assert whole.dtype == np.dtype("i4" if dtype == "str" else dtype)


def _filled(trace: TraceSet, name: str, cell: Any) -> Any:
    if EVENT_COLUMN[name].dtype == "str":
        return -1 if cell is None else trace.names[name].index(cell)
    return 0 if cell is None else cell


def test_many_distinct_values_are_kept_too(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    count = 200_000
    call_site = dice.integers(0, 1 << 63, count).astype(np.uint64)
    few = dice.choice(call_site[:1500], count)
    columns = {
        "ts": Values(np.arange(count)),
        "cpu": Values(np.zeros(count, np.int16)),
        "pid": Values(dice.integers(0, 5000, count).astype(np.int32)),
        "event": Values(np.ones(count, np.uint8)),
        "irq_flags": Values(np.zeros(count, np.uint8)),
        "metadata": Values(np.zeros(count, np.bool_)),
        "call_site": Values(call_site),
        "gfp_flags": Values(few),
    }
    with TraceSetWriter(tmp_path) as writer:
        for _ in range(2):
            writer.add(count, columns)
        writer.close({"name": "made"}, NO_STACKS, NO_SYMBOLS)
    read = pl.read_parquet(tmp_path / "events.parquet")
    for name, column in columns.items():
        assert (read[name].to_numpy() == np.tile(column.values, 2)).all()


def test_stacks_and_symbols_come_back(tmp_path: Path) -> None:
    stacks = Stacks(np.array([0, 2, 3]), np.array([9, 8, 9], np.uint64))
    symbols = Symbols(
        np.array([8, 9], np.uint64), ["one", None], np.array([4, 0]), ["module", None]
    )
    with TraceSetWriter(tmp_path) as writer:
        writer.add(1, {name: values_of(name, [event(1)]) for name in REQUIRED})
        writer.close({"name": "made"}, stacks, symbols)
    trace = TraceSet.open(tmp_path)
    assert len(trace.stacks) == 2
    assert trace.stacks.frames(0).tolist() == [9, 8]
    assert trace.stacks.frames(1).tolist() == [9]
    assert [trace.symbols.name(address) for address in (7, 8, 9, 10)] == [None, "one", None, None]
    assert trace.symbols.module == ["module", None]
    assert trace.meta == {"schema_version": 1, "name": "made"}


def test_row_groups_say_their_bounds_and_the_file_what_it_is_of(tmp_path: Path) -> None:
    """In encodings that DuckDB 1.x and fastparquet read: of integers no others."""
    groups = [(5, 3, 9), (9, 0, 2), (40, 300, 1)]  # ts, cpu and event of the row in the middle
    with TraceSetWriter(tmp_path) as writer:
        for ts, cpu, code in groups:
            columns = {
                "ts": Values(np.sort(np.full(1 << 17, ts) + np.arange(-1, (1 << 17) - 1) % 3 - 1)),
                "cpu": Values(np.tile(np.array([cpu, cpu + 1], np.int16), 1 << 16)),
                "pid": Values(np.arange(1 << 17, dtype=np.int32)),
                "event": Values(np.tile(np.array([code, 21], np.uint8), 1 << 16)),
                "irq_flags": Values(np.zeros(1 << 17, np.uint8)),
                "metadata": Values(np.zeros(1 << 17, np.bool_)),
                "ptr": Values(np.arange(1 << 17, dtype=np.uint64) << np.uint64(40)),
                "cache": Values(np.zeros(1 << 17, np.int32), None, ("a",)),
            }
            writer.add(1 << 17, columns)
        meta = {"kernel_release": "6.12.0", "clock": "global", "source": {"sha256": "ab" * 32}}
        writer.close(meta, NO_STACKS, NO_SYMBOLS)
    found = parquet.read_metadata(tmp_path / "events.parquet")
    said = {key.decode(): value.decode() for key, value in found.metadata.items()}
    assert said == {
        "allocsim.schema_version": "1",
        "allocsim.kernel_release": "6.12.0",
        "allocsim.clock": "global",
        "allocsim.trace_id": "ab" * 32,
    }
    for number, (ts, cpu, code) in enumerate(groups):
        group = found.row_group(number)
        chunks = [group.column(at) for at in range(group.num_columns)]
        bounds = {
            chunk.path_in_schema: (chunk.statistics.min, chunk.statistics.max)
            for chunk in chunks
            if chunk.statistics is not None
        }
        assert bounds == {"ts": (ts - 1, ts + 1), "cpu": (cpu, cpu + 1), "event": (code, 21)}
        encodings = {encoding for chunk in chunks for encoding in chunk.encodings}
        assert encodings <= {"PLAIN", "RLE", "RLE_DICTIONARY"}
    file = parquet.ParquetFile(tmp_path / "events.parquet", page_checksum_verification=True)
    assert file.read(["cpu"])["cpu"].to_numpy().max() == 301


def test_another_schema_says_what_is_missing_and_what_was_found(tmp_path: Path) -> None:
    write(tmp_path, [[event(1)]])
    table = parquet.read_table(tmp_path / "events.parquet")
    parquet.write_table(table.drop_columns(["pid", "event"]), tmp_path / "events.parquet")
    with pytest.raises(InputError, match=r"missing pid, event; found ts, cpu, irq_flags, metadata"):
        TraceSet.open(tmp_path)
    wrong = table.set_column(0, "ts", pa.array([1.0]))
    parquet.write_table(wrong, tmp_path / "events.parquet")
    with pytest.raises(InputError, match=r"column ts is double, should be i8"):
        TraceSet.open(tmp_path)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "not a trace set"),
        ("{", r"meta\.json: cannot be read"),
        ("[]", "has no schema_version"),
        (json.dumps({"schema_version": 99}), "schema version 99, this allocsim reads version 1"),
    ],
)
def test_says_what_is_wrong_with_meta_json(tmp_path: Path, meta: str | None, message: str) -> None:
    write(tmp_path, [[event(1)]])
    (tmp_path / "meta.json").unlink()
    if meta is not None:
        (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(InputError, match=message):
        TraceSet.open(tmp_path)


def test_damaged_events_are_one_line(tmp_path: Path) -> None:
    write(tmp_path, [[event(n) for n in range(1000)]])
    file = tmp_path / "events.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"events\.parquet: cannot be read \(.*\)$"):
        TraceSet.open(tmp_path)
    file.write_bytes(whole[:30] + b"\xff" * 60 + whole[90:])
    with pytest.raises(InputError, match=r"events\.parquet: cannot be read \(.*\)$"):
        list(TraceSet.open(tmp_path).windows())


@pytest.mark.parametrize("groups", [0, 1])
def test_parquet_without_rows(tmp_path: Path, groups: int) -> None:
    """Read where nothing says that there were events; else they are gone."""
    path = tmp_path / "set"
    path.mkdir()
    write(path, [[event(1, cache="a")]])
    table = parquet.read_table(path / "events.parquet").slice(0, 0)
    with parquet.ParquetWriter(path / "events.parquet", table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table)
    trace = TraceSet.open(path)
    assert (trace.rows, trace.text("cache"), len(list(trace.windows()))) == (0, [], 0)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "events": {"kfree": 1}}))
    with pytest.raises(InputError, match=r"damaged: it has no events, and meta\.json says 1"):
        TraceSet.open(path)


@pytest.mark.parametrize("events", [None, [1], {"kfree": None}, {"kfree": "1"}])
def test_counts_of_events_that_are_none_are_left_to_the_check(
    tmp_path: Path, events: object
) -> None:
    path = tmp_path / "set"
    path.mkdir()
    write(path, [[event(1, cache="a")]])
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "events": events}))
    assert TraceSet.open(path).rows == 1
