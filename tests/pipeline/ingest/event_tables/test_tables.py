"""Folders of tables, one an event: a trace set written as LISA writes it, and read again."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from allocsim.trace.events import EVENTS, Ev
from pipeline.errors import InputError
from pipeline.ingest.convert import Conversion
from pipeline.ingest.event_tables.reader import EventTablesReader
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT
from tests.pipeline.ingest.trace_dat.test_reader import columns, converted

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.ingest.reader import SymbolTable

_SET = ROOT / "traces" / "7.2p-net-gt"
_ROWS = 20_000
UNAME = "Linux box 7.2.13 #1 SMP x86_64 GNU/Linux\n"


def dumped(folder: Path, rows: int = _ROWS) -> pl.DataFrame:
    """The first events of a trace set as trace-dump writes them; returns these events."""
    folder.mkdir()
    events = pl.read_parquet(_SET / "events.parquet").head(rows)
    common = (
        pl.col("ts").cast(pl.UInt64).alias("common_ts"),
        pl.col("cpu").cast(pl.UInt32).alias("common_cpu"),
        pl.col("event").cast(pl.UInt16).alias("common_type"),
        pl.col("irq_flags").alias("common_flags"),
        pl.lit(0, pl.UInt8).alias("common_preempt_count"),
        pl.col("pid").alias("common_pid"),
    )
    for event in EVENTS:
        table = events.filter(pl.col("event") == int(event.code))
        field_of = {column: name for name, column in event.renamed.items()}
        fields = [
            pl.col(column).alias(field_of.get(column, column))
            for column in event.columns
            if column in table.columns and table[column].null_count() < len(table)
        ]
        if len(table):
            table.select(*common, *fields, pl.lit(5).alias("something")).write_parquet(
                folder / f"{event.name}.parquet", row_group_size=1000
            )
    stacks = pl.read_parquet(_SET / "stacks.parquet").sort("stack", "depth")
    frames = stacks.group_by("stack", maintain_order=True).agg(pl.col("address").alias("caller"))
    with_stack = events.filter(pl.col("stack").is_not_null())
    with_stack = with_stack.join(frames, on="stack", how="left", maintain_order="left")
    with_stack.select(*common, "caller").write_parquet(folder / "kernel_stack.parquet")
    pl.DataFrame({"common_ts": [1, 2], "common_cpu": [0, 0]}).write_parquet(
        folder / "sched_switch.parquet"
    )
    symbols = pl.read_parquet(_SET / "symbols.parquet").filter(pl.col("symbol").is_not_null())
    meta = json.loads((_SET / "meta.json").read_text())
    said = {
        "pid-comms": [[int(pid), name] for pid, name in meta["comms"].items()],
        "cpus-count": meta["cpus"],
        "symbols-address": [
            [address - offset, [name]] for address, name, offset, _ in symbols.iter_rows()
        ],
        "trace-clock": "global",
        "events-info": [{"event": "kfree", "errors": ["oh no"]}],
    }
    (folder / "meta.json").write_text(json.dumps(said))
    (folder / "uname").write_text(UNAME)
    return events


def test_a_round_trip_through_what_trace_dump_writes(tmp_path: Path) -> None:
    wanted = dumped(tmp_path / "mine")
    trace = TraceSet.open(import_recording(tmp_path / "mine", tmp_path / "sets"))
    found = pl.read_parquet(trace.path / "events.parquet")
    assert len(found) == _ROWS
    shared = [name for name in wanted.columns if name in found.columns and name != "stack"]
    assert set(shared) == {name for name in wanted.columns if wanted[name].null_count() < _ROWS} - {
        "stack"
    }
    # Of two events of one CPU and time nobody knows which came first.
    alone = ~wanted.select("ts", "cpu").is_duplicated()
    assert alone.sum() > 0.99 * _ROWS
    for name in shared:
        assert found[name].filter(alone).equals(wanted[name].filter(alone), null_equal=True), name
    assert trace.stacks.start.size - 1 == wanted["stack"].n_unique() - 1
    assert found["stack"].null_count() == wanted["stack"].null_count()
    for name in ("call_site", "stack"):
        assert found[name].n_unique() == wanted[name].n_unique()
    site = int(wanted["call_site"].drop_nulls()[0])
    assert trace.symbols.name(site) == TraceSet.open(_SET).symbols.name(site)
    meta = trace.meta
    assert (meta["source"]["format"], meta["clock"], meta["cpus"]) == (
        "tables of events",
        "global",
        json.loads((_SET / "meta.json").read_text())["cpus"],
    )
    assert len(meta["source"]["files"]) == len(list((tmp_path / "mine").glob("*.parquet")))
    assert meta["kernel_release"] == "7.2.13"
    assert meta["dropped"]["sched_switch"] == 2
    assert meta["ignored_fields"]["kfree"] == ["something"]
    assert "trace-dump could not read all of kfree: 'oh no'" in meta["lacks"]


@pytest.mark.parametrize("budget", [1 << 12, 1 << 16, 1 << 30])
def test_does_not_depend_on_where_windows_and_batches_are_cut(
    tmp_path: Path, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumped(tmp_path / "mine", 3000)

    def read(size: int) -> dict[str, list[Any]]:
        reader = EventTablesReader(tmp_path / "mine", UNAME)
        symbols: Future[SymbolTable] = Future()
        symbols.set_result(reader.symbols(lambda: memoryview(b"")))
        return converted(Conversion(reader, symbols), size)

    whole = read(1 << 40)
    monkeypatch.setattr("pipeline.ingest.event_tables.table._BATCH", 100)
    monkeypatch.setattr("pipeline.ingest.event_tables.reader.NEAR", 20_000)
    assert read(budget) == whole


@pytest.mark.parametrize("kind", ["seconds", "duration", "nanoseconds"])
def test_reads_the_frames_of_lisas_python(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    ts = [1_000_000_123, 2_000_000_456]
    times = {
        "seconds": pl.Series([t / 1e9 for t in ts]),
        "duration": pl.Series(ts).cast(pl.Duration("ns")),
        "nanoseconds": pl.Series(ts),
    }
    frame = pl.DataFrame(
        {
            "Time": times[kind],
            "__cpu": [0, 1],
            "__pid": [7, 8],
            "__comm": pl.Series(["sh", "cat"], dtype=pl.Categorical),
            "call_site": pl.Series([1 << 63, 1 << 63], dtype=pl.UInt64),
            "ptr": pl.Series([(1 << 63) + 8, 0], dtype=pl.UInt64),
        }
    )
    frame.write_parquet(folder / "kfree.parquet")
    trace = TraceSet.open(import_recording(folder, tmp_path / "sets"))
    found = columns(trace)
    assert found["ts"].tolist() == ts
    assert found["event"].tolist() == [Ev.KFREE] * 2
    assert found["ptr"].tolist() == [(1 << 63) + 8, 0]
    assert (found["cpu"].tolist(), found["pid"].tolist()) == ([0, 1], [7, 8])
    assert trace.meta["comms"] == {"7": "sh", "8": "cat"}
    said = " ".join(trace.meta["lacks"])
    for part in ("release is not in the tables", "no common_flags in kfree", "no symbols"):
        assert part in said


KFREE = pl.DataFrame(
    {
        "common_ts": pl.Series([1, 2], dtype=pl.UInt64),
        "common_cpu": [0, 1],
        "call_site": [5, 6],
        "ptr": [7, 8],
    }
)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (KFREE.drop("common_ts"), r"no column has the time \(common_ts or Time or __timestamp\)"),
        (KFREE.drop("common_cpu"), r"no column has the CPU \(common_cpu or __cpu\); found common"),
        (KFREE.reverse(), r"its rows are not in order of time; sort them by common_ts"),
        (KFREE.with_columns(common_cpu=9999), r"common_cpu is 9999, which cannot be \(0 to 8191\)"),
        (KFREE.with_columns(common_pid=-5), r"common_pid is -5, which cannot be"),
        (KFREE.with_columns(common_ts=pl.lit("x")), r"common_ts is large_string, no time"),
        (KFREE.with_columns(common_ts=pl.lit(1 << 62)), r"a time in common_ts cannot be"),
        (KFREE.with_columns(common_ts=float("nan")), r"a time in common_ts cannot be"),
        (KFREE.drop("ptr"), r"kfree has no ptr"),
        (KFREE.head(0), r"no kmem events in this recording"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, table: pl.DataFrame, message: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    table.write_parquet(folder / "kfree.parquet")
    with pytest.raises(InputError, match=message):
        import_recording(folder, tmp_path / "sets")
    assert not list((tmp_path / "sets").glob("*")) if (tmp_path / "sets").exists() else True


def test_rows_that_lack_a_value_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    table = KFREE.with_columns(ptr=pl.Series([None, 8]))
    table.write_parquet(folder / "kfree.parquet")
    trace = TraceSet.open(import_recording(folder, tmp_path / "sets"))
    assert columns(trace)["ts"].tolist() == [2]
    assert trace.meta["dropped"]["unreadable_lines"] == 1
    assert any(text.startswith("1 rows of kfree.parquet lack") for text in trace.meta["lacks"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"meta\.json: cannot be read"),
        ("[]", r"not the meta\.json of trace-dump"),
        ('{"cpus-count": 0}', r"cpus-count is '0'"),
        ('{"pid-comms": {"1": "a"}}', r"pid-comms is not a list of pairs"),
        ('{"pid-comms": [["x", "a"]]}', r"names a task by something else than its pid"),
    ],
)
def test_a_damaged_meta_json_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    KFREE.write_parquet(folder / "kfree.parquet")
    (folder / "meta.json").write_text(text)
    with pytest.raises(InputError, match=message):
        import_recording(folder, tmp_path / "sets")


def test_a_table_alone_names_its_folder(tmp_path: Path) -> None:
    KFREE.write_parquet(tmp_path / "kfree.parquet")
    with pytest.raises(InputError, match="a Parquet file; name the folder that has a table an ev"):
        import_recording(tmp_path / "kfree.parquet", tmp_path / "sets")
