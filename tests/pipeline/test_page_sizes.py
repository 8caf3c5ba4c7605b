"""Machines whose pages are not 4 KiB: what is carried through, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import Pricing, find_policies, find_schemes
from pipeline.replay.recorded import replay_traces
from pipeline.store.database import reading
from pipeline.trace_set.reader import TraceSet
from reports.sections.memdesc import descriptors
from tests.conftest import FAULTS
from tests.oracle.trace_dat import Cpu, Event, File

if TYPE_CHECKING:
    from pathlib import Path

ARM64_64K = FAULTS / "arm64_64k_memstart_512m.dat.gz"


def test_a_recording_of_64_kib_pages_is_replayed(tmp_path: Path) -> None:
    """The fault's file: 40 slab pages of 64 KiB, 4 kmalloc-512 each; memory begins at 512 MiB."""
    trace = import_recording(ARM64_64K, tmp_path)
    found = TraceSet.open(trace).meta["direct_map"]
    assert (found["base"], found["share"]) == (0xFFFE_FFFF_E000_0000, 1.0)
    assert (found["candidates"], found["alignment"]) == (40, 512 << 20)
    db = tmp_path / "results.duckdb"
    pricing = Pricing(find_schemes([]), None)
    [run] = replay_traces([trace], db, find_policies([]), Progress(), None, pricing).runs
    with reading(db) as connection:
        saved = "SELECT frozen_ops_saved FROM policy_summary WHERE policy = 'linux-7.2'"
        assert connection.execute(saved).fetchall() == [(40,)]
        kinds = "SELECT DISTINCT page_kind FROM pages"
        assert connection.execute(kinds).fetchall() == [("slab",)]
        assert connection.execute("SELECT count(*) FROM schemes").fetchall() == [(0,)]
        _, text = descriptors.blocks(connection, run)
        assert "65,536" in str(text).replace("\N{NARROW NO-BREAK SPACE}", ",")


def test_a_simulated_placement_of_64_kib_pages_is_refused(tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    with pytest.raises(InputError, match="pages of 65536 bytes; the simulated placement is that"):
        replay_traces([ARM64_64K], db, [], Progress(), {})
    assert not db.exists()


def _made(tmp_path: Path, page_size: int, machine: bytes, order: int = 0) -> TraceSet:
    file = File(page_size=page_size, options=[(5, b"Linux x 6.12.0 " + machine + b"\0")])
    file.cpus = {0: Cpu([Event(1, file.page_alloc(1 << 13, order))])}
    (tmp_path / "made.dat").write_bytes(file.encode())
    return TraceSet.open(import_recording(tmp_path / "made.dat", tmp_path, force=True))


def test_orders_go_as_far_as_the_page_size_takes_them(tmp_path: Path) -> None:
    trace = _made(tmp_path, 65536, b"aarch64", 13)
    assert [window["order"].tolist() for window in trace.windows()] == [[13]]
    with pytest.raises(InputError, match=r"order 11, which cannot be \(0 to 10\)"):
        list(_made(tmp_path, 4096, b"aarch64", 11).windows())


def test_larger_sub_buffers_are_not_larger_pages(tmp_path: Path) -> None:
    """buffer_subbuf_size_kb: trace-cmd's header has the size of a sub-buffer."""
    assert _made(tmp_path, 65536, b"x86_64").meta["page_size"] == 4096
    with pytest.raises(InputError, match="sub-buffers of 32768 bytes do not tell the page size"):
        _made(tmp_path, 32768, b"aarch64")
