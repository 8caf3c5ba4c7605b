"""The view hazards on real recordings: clean as they are, and with hazards planted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from allocsim.trace.events import Ev
from pipeline.ingest.recording import import_recording
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.trace_set.reader import TraceSet
from tests.conftest import RECORDINGS
from tests.planted import page_ref, plant

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

COUNTED, FROZEN = "6.12p-hackbench-gt", "7.2p-hackbench-gt"
WINDOW = 40_000


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if not all((RECORDINGS / name).is_dir() for name in (COUNTED, FROZEN)):
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    folder = tmp_path_factory.mktemp("traces")
    return {name: import_recording(RECORDINGS / name, folder) for name in (COUNTED, FROZEN)}


def hazards(trace: Path, folder: Path) -> list[dict[str, Any]]:
    db = folder / "results.duckdb"
    replay_trace(TraceSet.open(trace), db, find_policies([]), window_rows=WINDOW)
    with duckdb.connect(db, read_only=True) as connection:
        rows = connection.execute("FROM hazards")
        names = [name for name, *_ in rows.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def slab_object(trace: Path) -> dict[str, int]:
    """An object allocated and freed while its slab, begun in the recording, lives; and its page."""
    events = pl.read_parquet(trace / "events.parquet").with_row_index("seq")
    base = TraceSet.open(trace).meta["direct_map"]["base"]
    stacks = TraceSet.open(trace).stacks
    symbols = TraceSet.open(trace).symbols
    slab = [
        number
        for number in range(len(stacks))
        if any(symbols.name(int(a)) == "allocate_slab" for a in stacks.frames(number))
    ]
    # A slab page that is never freed, and an object on it with its free well behind its birth.
    born = events.filter((pl.col("event") == Ev.MM_PAGE_ALLOC) & pl.col("stack").is_in(slab))
    freed = set(events.filter(pl.col("event") == Ev.MM_PAGE_FREE)["pfn"].to_list())
    for page in born.filter(~pl.col("pfn").is_in(list(freed))).iter_rows(named=True):
        first = base + page["pfn"] * 4096
        on = events.filter(pl.col("ptr").is_between(first, first + 4095)).sort("seq")
        for ptr in on["ptr"].unique(maintain_order=True):
            life = on.filter(pl.col("ptr") == ptr)
            if len(life) == 2 and life["event"].to_list() in ([0, 1], [2, 3]):
                return {"pfn": page["pfn"], "alloc": life["seq"][0], "free": life["seq"][1]}
    raise AssertionError("no such object")


@pytest.mark.parametrize("name", [COUNTED, FROZEN])
def test_a_real_recording_has_none(traces: dict[str, Path], name: str, tmp_path: Path) -> None:
    assert [row for row in hazards(traces[name], tmp_path) if row["policy"] == "linux-7.2"] == []


def test_a_reference_to_a_counted_slab_page_is_predicted_to_break(
    traces: dict[str, Path], tmp_path: Path
) -> None:
    trace = traces[COUNTED]
    at = slab_object(trace)
    planted = plant(
        trace,
        tmp_path,
        [
            (at["free"], page_ref(Ev.PAGE_REF_MOD, at["pfn"], 1, count=2, stack=0)),
            (at["free"] + 1, page_ref(Ev.PAGE_REF_MOD_AND_TEST, at["pfn"], -1, count=1, ret=0)),
        ],
    )
    rows = [row for row in hazards(planted, tmp_path) if row["policy"] == "linux-7.2"]
    [row] = rows
    assert (row["rule"], row["outcome"], row["breaks"]) == (
        "H3 Counted page touched",
        "predicted",
        True,
    )
    assert row["page_kind"] == "slab"
    assert (row["touches"], row["operations"], row["lives"]) == (1, 2, 1)
    assert row["freed_held"] == 1, "the object was freed while its page was held"
    assert row["first_seq"] == at["free"]
    assert row["frames"], "the stack of who took it"


def test_it_was_not_freed_under_a_holder_that_let_go_before(
    traces: dict[str, Path], tmp_path: Path
) -> None:
    trace = traces[COUNTED]
    at = slab_object(trace)
    planted = plant(
        trace,
        tmp_path,
        [
            (at["free"], page_ref(Ev.PAGE_REF_MOD, at["pfn"], 1, count=2)),
            (at["free"], page_ref(Ev.PAGE_REF_MOD_AND_TEST, at["pfn"], -1, count=1, ret=0)),
        ],
    )
    [row] = [row for row in hazards(planted, tmp_path) if row["policy"] == "linux-7.2"]
    assert (row["outcome"], row["freed_held"]) == ("predicted", 0)
    assert row["taker"] is None


def test_the_fatal_pair_on_a_frozen_slab_page(traces: dict[str, Path], tmp_path: Path) -> None:
    trace = traces[FROZEN]
    at = slab_object(trace)
    planted = plant(
        trace,
        tmp_path,
        [
            (at["free"], page_ref(Ev.PAGE_REF_MOD, at["pfn"], 1, count=1, stack=0)),
            (at["free"], page_ref(Ev.PAGE_REF_MOD_AND_TEST, at["pfn"], -1, count=0, ret=1)),
            (at["free"], {"event": int(Ev.MM_PAGE_FREE), "pfn": at["pfn"], "order": 0}),
        ],
    )
    [row] = [row for row in hazards(planted, tmp_path) if row["policy"] == "linux-7.2"]
    assert (row["rule"], row["outcome"], row["breaks"]) == ("H2 Frozen page touched", "freed", True)
    assert row["live_objects"] >= 1, "objects were live on the page"


@pytest.mark.parametrize(
    ("name", "ret", "outcome"),
    [(FROZEN, 0, "scanner"), (COUNTED, 0, "scanner"), (COUNTED, 1, "would be refused")],
)
def test_get_unless_zero_breaks_nothing(
    traces: dict[str, Path], tmp_path: Path, name: str, ret: int, outcome: str
) -> None:
    trace = traces[name]
    at = slab_object(trace)
    planted = plant(
        trace,
        tmp_path,
        [(at["free"], page_ref(Ev.PAGE_REF_MOD_UNLESS, at["pfn"], 1, count=2 * ret, ret=ret))],
    )
    [row] = [row for row in hazards(planted, tmp_path) if row["policy"] == "linux-7.2"]
    assert (row["outcome"], row["breaks"]) == (outcome, False)


def test_a_reference_to_a_page_table_blocks_only_its_freezing(
    traces: dict[str, Path], tmp_path: Path
) -> None:
    trace = traces[FROZEN]
    events = pl.read_parquet(trace / "events.parquet").with_row_index("seq")
    zeroed = events.filter(
        (pl.col("event") == Ev.MM_PAGE_ALLOC) & (pl.col("gfp_flags") == 0x440DC0)
    )
    page = zeroed.row(0, named=True)
    after = events.filter((pl.col("pfn") == page["pfn"]) & (pl.col("seq") > page["seq"]))["seq"]
    planted = plant(
        trace,
        tmp_path,
        [(after[1], page_ref(Ev.PAGE_REF_MOD, page["pfn"], 1, count=2))],
    )
    rows = [row for row in hazards(planted, tmp_path) if row["page_kind"] == "page_table"]
    assert {row["policy"] for row in rows} == {"frozen-page-tables", "everything-freezable"}
    assert {(row["rule"], row["outcome"]) for row in rows} == {
        ("H5 Page table touched", "predicted")
    }
