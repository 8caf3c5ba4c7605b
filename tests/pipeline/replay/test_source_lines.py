"""Source places of call sites in a results database, by name and by the kernel's image."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.errors import AllocsimError
from pipeline.processes.progress import Progress
from pipeline.replay.recorded import replay_traces
from pipeline.store.database import reading
from tests.conftest import ROOT
from tests.pipeline.source_places.conftest import Image, image

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["image"]

TRACE = ROOT / "traces" / "7.2p-hackbench-gt"


def asked(db: Path, query: str) -> list[tuple[Any, ...]]:
    with reading(db) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def trace(tmp_path: Path, image: Image) -> tuple[Path, str]:
    """A trace set whose first call site lies where the image has one, and its function."""
    path = tmp_path / "trace"
    shutil.copytree(TRACE, path)
    table = pq.read_table(path / "symbols.parquet")
    [(name, offset)] = [(name, at) for _, name, at in image.sites if name == "__alloc_skb"]
    rows = len(table)
    columns = {
        "symbol": pa.array([name] + [None] * (rows - 1)),
        "offset": pa.array([offset] + [0] * (rows - 1)),
    }
    for column, values in columns.items():
        at = table.schema.get_field_index(column)
        table = table.set_column(
            at, table.schema.field(at), values.cast(table.schema.field(at).type)
        )
    pq.write_table(table, path / "symbols.parquet")
    return path, name


def test_an_image_gives_lines_to_a_run_that_is_there(
    tmp_path: Path, trace: tuple[Path, str], image: Image
) -> None:
    path, name = trace
    db = tmp_path / "results.duckdb"
    first = replay_traces([path], db, [], Progress())
    query = "SELECT file, line, directory, place_how FROM call_sites ORDER BY call_site LIMIT 1"
    assert asked(db, query) == [("net/core/skbuff.c", None, "net/core", "inferred")]
    again = replay_traces([path], db, [], Progress(), vmlinux=image.path)
    assert (first.runs, again.added) == (again.runs, [])
    file, line = image.lines[name]
    assert asked(db, query) == [(file, line, file.rpartition("/")[0], "observed")]
    [(places, sites)] = asked(
        db, "SELECT places, (SELECT count(*) FROM call_sites) FROM runs WHERE run = 1"
    )
    assert places.startswith("DWARF of the kernel (build id ")
    assert places.endswith("); else names of functions in the sources of Linux 7.2")
    assert sites == len(pq.read_table(path / "symbols.parquet"))


def test_the_image_of_another_kernel_changes_nothing(tmp_path: Path, image: Image) -> None:
    db = tmp_path / "results.duckdb"
    with pytest.raises(AllocsimError, match=r"not the recorded kernel's.*added to .* run 1"):
        replay_traces([TRACE], db, [], Progress(), vmlinux=image.path)
    [(places,)] = asked(db, "SELECT places FROM runs")
    assert places == "names of functions in the sources of Linux 7.2"
    known, unknown = (
        asked(db, f"SELECT count(*) FROM call_sites WHERE place_how {how} 'inferred'")[0][0]
        for how in ("=", "<>")
    )
    assert known > 20 * unknown
    # Directories have what sites have, and what is allocated by none of them is not lost.
    sums = "sum(allocs), sum(bytes_req), sum(bytes_alloc), sum(waste_bytes)"
    assert asked(db, f"SELECT {sums} FROM waste_by_directory") == asked(
        db, f"SELECT {sums} FROM waste_by_site"
    )
    by_hand = asked(
        db,
        "SELECT directory, count(*), sum(bytes_alloc - bytes_req)::BIGINT FROM object_events"
        " LEFT JOIN call_sites USING (run, call_site)"
        " WHERE event IN ('kmalloc', 'kmem_cache_alloc') GROUP BY directory",
    )
    assert set(by_hand) == set(
        asked(db, "SELECT directory, allocs, waste_bytes FROM waste_by_directory")
    )
