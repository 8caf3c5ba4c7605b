"""Descriptors and costs of real recordings, against their snapshots and against each other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from allocsim.recording.kpageflags import KPF_BUDDY, KPF_LRU, KPF_SLAB
from pipeline.replay.pricing import find_policies, shipped_pricing
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.store.database import reading
from pipeline.trace_set.reader import TraceSet
from pipeline.trace_set.snapshots import page_flags
from pipeline.validation.bounds import CountCheck, judged
from pipeline.validation.descriptors import KNOWN, descriptors
from reports.sections.validation.standings import Standing
from tests.conftest import ROOT

if TYPE_CHECKING:
    import duckdb

pytestmark = pytest.mark.slow

NAMES = ("6.12-tmpfsfiles", "6.12p-hackbench-gt", "7.2p-net-gt", "7.3-tmpfsfiles")
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs 1 to 4 of NAMES; run 5: the third without its snapshots, iomem and cpuinfo; run 7
    simulates run 1.
    """
    folder = tmp_path_factory.mktemp("descriptors")
    path = folder / "results.duckdb"
    bare = folder / "bare"
    shutil.copytree(ROOT / "traces" / NAMES[2], bare)
    shutil.rmtree(bare / "snapshots")
    for name in ("iomem", "cpuinfo"):
        (bare / name).unlink()
    counted = folder / "counted"  # as bare, but for meminfo: run 6
    shutil.copytree(bare, counted)
    (counted / "snapshots" / "before").mkdir(parents=True)
    meminfo = Path("snapshots", "before", "meminfo")
    shutil.copy(ROOT / "traces" / NAMES[2] / meminfo, counted / meminfo)
    for trace in (*(ROOT / "traces" / name for name in NAMES), bare, counted):
        replay_trace(TraceSet.open(trace), path, find_policies([]), shipped_pricing())
    trace_set = TraceSet.open(ROOT / "traces" / NAMES[0])
    schemes = shipped_pricing().schemes
    simulate_run(trace_set, path, 1, {}, window_rows=1 << 18, schemes=schemes)
    return path


def _ask(connection: duckdb.DuckDBPyConnection, sql: str, *values: object) -> Rows:
    return connection.execute(sql, list(values)).fetchall()


@pytest.mark.parametrize("name", NAMES)
def test_descriptors_by_events_are_those_of_the_snapshot_but_for_what_is_unknowable(
    db: Path, name: str
) -> None:
    run = NAMES.index(name) + 1
    with reading(db) as connection:
        rows = _compared(connection, run, ROOT / "traces" / name)
    # The one row that could fail holds; the others are ranges made of what cannot be known.
    standings = {scope: judged(row)["standing"] for scope, row in rows.items()}
    assert standings.pop(KNOWN) == Standing.WITHIN
    assert set(standings.values()) == {Standing.WIDE_INTERVAL}
    total, known = rows["total"], rows[KNOWN]
    # A page freed and taken anew behind the end can be another kind's by the snapshot.
    assert known.kernel > 200_000
    assert abs(known.model - known.kernel) < 0.0005 * known.kernel
    # Known, and what the recording could not know, are all there is.
    assert total.low is not None
    assert total.high is not None
    assert total.kernel - total.high == known.kernel - known.model - (total.model - total.low)
    # The kernel counted more allocations and frees without an event than there must have been.
    assert 0 < rows["freed"].model < rows["freed"].kernel
    assert 0 < rows["allocated"].model < rows["allocated"].kernel


def test_a_wrong_kind_or_a_page_that_nothing_freed_is_told_from_what_is_unknowable(
    db: Path, tmp_path: Path
) -> None:
    """Snapshots that were changed by hand, block by block."""
    name = NAMES[3]
    trace = tmp_path / name
    shutil.copytree(ROOT / "traces" / name, trace)
    path = trace / "snapshots" / "after" / "kpageflags.zst"
    path.chmod(0o644)
    flags = page_flags(path)
    assert flags is not None
    with reading(db) as connection:
        lives = _ask(
            connection,
            """
            SELECT pfn, free_seq IS NULL FROM (
                SELECT pfn, free_seq, "order", page_kind FROM pages WHERE run = 4
                QUALIFY row_number() OVER (PARTITION BY pfn ORDER BY page DESC) = 1
            ) WHERE page_kind = 'slab' AND "order" = 0
            """,
        )
        shows_slab = {pfn for (pfn, _) in lives if flags[pfn] == 1 << KPF_SLAB}
        live = sorted(pfn for (pfn, there) in lives if there and pfn in shows_slab)
        gone_by = sorted(pfn for (pfn, there) in lives if not there and flags[pfn] == 0)

        def changed(pfn: int, bit: int) -> dict[str, CountCheck]:
            words = flags.copy()
            words[pfn] = 1 << bit
            with pa.output_stream(str(path), compression="zstd") as stream:
                stream.write(words.tobytes())
            return _compared(connection, 4, trace)

        plain = _compared(connection, 4, ROOT / "traces" / name)
        # A live slab that the snapshot calls a file's page: 16 bytes more, and the model's fault.
        kind = changed(live[0], KPF_LRU)
        assert kind[KNOWN].kernel - plain[KNOWN].kernel == 16
        assert kind[KNOWN].model == plain[KNOWN].model
        # The same slab, free in the snapshot: nobody saw it freed, so nobody can know.
        gone = changed(live[0], KPF_BUDDY)
        assert gone[KNOWN].kernel - plain[KNOWN].kernel == -64
        assert gone[KNOWN].model - plain[KNOWN].model == -64
        assert gone["freed"].model - plain["freed"].model == 1
        assert gone["total"].model == plain["total"].model
        # A frame that was seen freed last, a slab in the snapshot.
        came = changed(gone_by[0], KPF_SLAB)
        assert came[KNOWN] == plain[KNOWN]
        assert came["total"].kernel - plain["total"].kernel == 64
        assert came["allocated"].model - plain["allocated"].model == 1


def _compared(
    connection: duckdb.DuckDBPyConnection, run: int, trace: Path
) -> dict[str, CountCheck]:
    return {row.scope: row for row in descriptors(connection, run, TraceSet.open(trace))}


def test_a_snapshot_s_memmap_is_64_bytes_a_page(db: Path) -> None:
    with reading(db) as connection:
        for run, name in enumerate(NAMES, 1):
            [(word,)] = _ask(
                connection,
                "SELECT DISTINCT bytes FROM descriptor_overhead WHERE run = ? AND part = 'word'"
                " AND scheme = 'struct-page'",
                run,
            )
            vmstat = (ROOT / "traces" / name / "snapshots" / "after" / "vmstat").read_text()
            kernel = sum(
                int(line.split()[1])
                for line in vmstat.splitlines()
                if line.startswith(("nr_memmap_pages ", "nr_memmap_boot_pages "))
            )
            # The kernel maps whole sections, of which a few pages have no memory behind them.
            assert 0 <= kernel * 4096 - word < 0.001 * word


def test_all_views_of_descriptors_agree(db: Path) -> None:
    with reading(db) as connection:
        assert not _ask(
            connection,
            """
            SELECT run, scheme, saved_bytes, of_kinds FROM descriptor_summary
            JOIN (
                SELECT run, scheme, sum(saved_bytes) AS of_kinds FROM descriptor_kinds GROUP BY ALL
            ) USING (run, scheme)
            WHERE abs(saved_bytes - of_kinds) > 1
            """,
        )
        # Waste is what slabs have beyond descriptors, never less than nothing; peaks hold.
        assert not _ask(
            connection, "FROM descriptor_overhead WHERE part = 'slab waste' AND bytes < 0"
        )
        assert not _ask(
            connection,
            "FROM descriptor_summary WHERE peak_bytes < end_bytes OR peak_bytes < mean_bytes"
            " OR start_bytes > peak_bytes",
        )
        # Every slab of descriptors has a descriptor itself.
        assert not _ask(
            connection,
            """
            SELECT run, scheme, moment, objects, slabs, blocks FROM (
                SELECT run, scheme, moment, sum(objects) AS objects, sum(slabs) AS slabs
                FROM internal.descriptor_slabs GROUP BY ALL
            ) JOIN (
                SELECT run, scheme, moment, sum(blocks) AS blocks FROM internal.live_blocks
                JOIN scheme_sizes USING (run, page_kind, charged)
                WHERE sure AND NOT bound AND bytes > 0 GROUP BY ALL
            ) USING (run, scheme, moment)
            WHERE objects <> blocks + slabs
            """,
        )


def test_places_count_every_operation_once(db: Path) -> None:
    with reading(db) as connection:
        # Each policy's stores and locked instructions are those of its summary.
        assert not _ask(
            connection,
            """
            SELECT run, policy, plain_ops, locked_ops, stores, locked FROM policy_summary
            LEFT JOIN (
                SELECT run, policy, sum(ops) FILTER (operation = 'store') AS stores,
                    sum(ops) FILTER (operation <> 'store') AS locked
                FROM op_costs GROUP BY ALL
            ) USING (run, policy)
            WHERE plain_ops <> coalesce(stores, 0) OR locked_ops <> coalesce(locked, 0)
                OR est_ns_low > est_ns_high OR saved_ns_low > saved_ns_high
            """,
        )
        # These machines are one package: no line was at a remote one.
        assert {
            place for (place,) in _ask(connection, "SELECT DISTINCT place FROM internal.op_places")
        } == {
            "own",
            "other",
            "unknown",
        }


def test_without_snapshots_what_is_not_known_is_a_band(db: Path) -> None:
    with reading(db) as connection:
        [(pages, how, source, unknown)] = _ask(
            connection,
            "SELECT pages, pages_how, stock_from, unknown_frames FROM machines WHERE run = 5",
        )
        [(end, high)] = _ask(
            connection,
            "SELECT end_bytes, end_high_bytes FROM descriptor_summary"
            " WHERE run = 5 AND scheme = 'memdesc-8'",
        )
        [(used, counted)] = _ask(
            connection, "SELECT unknown_frames, stock_from FROM machines WHERE run = 6"
        )
    assert (how, source) == ("assumed", "its frees")
    assert 0 < unknown < pages
    assert high - end >= 112 * unknown  # the largest descriptor there is, for each
    meminfo = (ROOT / "traces" / NAMES[2] / "snapshots" / "before" / "meminfo").read_text()
    kib = {line.split()[0]: int(line.split()[1]) for line in meminfo.splitlines()}
    assert counted == "meminfo"
    assert used == -(-(kib["MemTotal:"] - kib["MemFree:"]) // 4) < unknown


def test_a_simulated_run_has_the_slabs_the_model_made(db: Path) -> None:
    with reading(db) as connection:
        assert not _ask(
            connection,
            """
            SELECT "order", first, made, freed, last FROM (
                SELECT "order", arg_min(blocks, moment) AS first, arg_max(blocks, moment) AS last
                FROM internal.live_blocks
                WHERE run = 7 AND page_kind = 'slab' AND sure GROUP BY ALL
            ) FULL JOIN (
                SELECT "order", count(alloc_seq) AS made, count(free_seq) AS freed
                FROM placed_slabs WHERE run = 7 GROUP BY ALL
            ) USING ("order")
            WHERE coalesce(first, 0) + coalesce(made, 0) - coalesce(freed, 0) <> last
            """,
        )
        # All other pages are the recording's.
        others = """
            SELECT page_kind, "order", moment, sure, charged, blocks FROM internal.live_blocks
            WHERE run = ? AND page_kind <> 'slab' ORDER BY ALL
        """
        assert _ask(connection, others, 7) == _ask(connection, others, 1)


def test_the_figures_in_the_docs_are_true(db: Path) -> None:
    told = (ROOT / "docs" / "descriptors.md").read_text("utf-8")
    with reading(db) as connection:
        rows = _ask(
            connection,
            """
            SELECT concat_ws(' | ', trace,
                format('{:.2f} - {:.2f} MiB', summary.saved_low_bytes / 1048576,
                    summary.saved_bytes / 1048576),
                format('{:.2f} %', described_pct), format('{:.2f}', pages_per_block),
                format('{:.1f} KiB', used_saved_bytes / 1024),
                format('{:.2f} MiB', filled_saved_bytes / 1048576))
            FROM descriptor_summary AS summary JOIN descriptor_break_even USING (run, trace, scheme)
            WHERE scheme = 'memdesc-8' AND run < 5
            """,
        )
    assert len(rows) == len(NAMES)
    for (row,) in rows:
        assert f"| {row} |" in told
