"""page_owner as mm/page_owner.c prints it: by hand, for no kernel with it was recorded."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from allocsim.page_alloc.zones import Mt
from pipeline.errors import InputError
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_path
from pipeline.trace_set.page_owner import page_owners
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_RECORDING = ROOT / "tests" / "data" / "page_owner"
_TEXT = (_RECORDING / "snapshots" / "before" / "page_owner").read_text()


def test_every_block_and_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "page_owner").write_text(_TEXT)
    found = page_owners(tmp_path / "page_owner")
    assert found is not None
    assert found.pfn.tolist() == [0x1000, 0x1008, 0x1010, 0x1011, 0x1020, 0x1030]
    assert found.order.tolist() == [0, 3, 0, 0, 2, 0]
    assert found.gfp_flags.tolist()[:2] == [0x100DCA, 0xD20C0]
    assert found.ts.tolist() == [100, 200, 300, 301, 400, 500]
    assert found.block_type.tolist()[:3] == [Mt.MOVABLE, Mt.UNMOVABLE, Mt.MOVABLE]
    assert found.stack.tolist() == [0, 1, 2, 2, 3, 4]
    assert found.stacks[2][3:] == ["anon_pipe_write", "vfs_write"]
    assert (found.unread, found.first_unread) == (1, "'Page allocated via order...'")


@pytest.mark.parametrize("piece", [1, 100, 1000, 1 << 20])
def test_compressed_and_in_pieces(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = page_owners(_RECORDING / "snapshots" / "before" / "page_owner")
    packed = pa.compress(_TEXT.encode(), "zstd", asbytes=True)
    (tmp_path / "page_owner.zst").write_bytes(packed)
    monkeypatch.setattr("pipeline.trace_set.page_owner._PIECE", piece)
    found = page_owners(tmp_path / "page_owner")
    assert found is not None
    assert whole is not None
    for name in ("pfn", "order", "gfp_flags", "ts", "block_type", "stack"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert (found.stacks, found.unread) == (whole.stacks, whole.unread)
    assert page_owners(tmp_path / "nothing") is None


def test_older_kernels_and_frames_that_are_twice(tmp_path: Path) -> None:
    old = (
        "Page allocated via order 1, mask 0xcc0(GFP_KERNEL), pid 5, ts 7 ns, free_ts 6 ns\n"
        "PFN 4096 type Unmovable Block 8 type CMA Flags 0x0()\n one+0x1/0x2 [m]\n\n"
    )
    again = old.replace("PFN 4096", "PFN 4097").replace("order 1", "order 0")
    wild = old.replace("PFN 4096", "PFN 0xfffffffffffff")
    (tmp_path / "page_owner").write_text(old + again + wild + "\0\xff" * 10)
    found = page_owners(tmp_path / "page_owner")
    assert found is not None
    assert (found.pfn.tolist(), found.order.tolist()) == ([4096], [1])
    assert (found.block_type.tolist(), found.stacks[0]) == ([-1], ["one"])
    assert found.unread == 2


def test_damaged_compression_is_one_line(tmp_path: Path) -> None:
    packed = pa.compress(_TEXT.encode(), "zstd", asbytes=True)
    (tmp_path / "page_owner.zst").write_bytes(packed[:50])
    with pytest.raises(InputError, match=r"page_owner\.zst: cannot be read"):
        page_owners(tmp_path / "page_owner")


def test_tells_of_pages_that_were_there_before(tmp_path: Path) -> None:
    """And of them only: not of blocks that came back as others, nor of later lives."""
    db = tmp_path / "results.duckdb"
    bare = tmp_path / "bare"
    shutil.copytree(_RECORDING, bare)
    shutil.rmtree(bare / "snapshots")
    for recording in (_RECORDING, bare):
        replay_path(recording, db, find_policies([]), Progress(), [], None)
    query = (
        'SELECT pfn, "order", page_kind, kind_how, gfp_flags, caller FROM pages'
        " LEFT JOIN stacks USING (run, stack) WHERE run = ? ORDER BY page"
    )
    with duckdb.connect(db, read_only=True) as connection:
        told = connection.execute(query, [1]).fetchall()
        without = connection.execute(query, [2]).fetchall()
        stock = connection.execute(
            'SELECT "order", migratetype, block_type, page_kind, kind_how, blocks, pages, caller,'
            " first_ts, last_ts FROM opening_stock LEFT JOIN stacks USING (run, stack)"
            " ORDER BY entry LIMIT 3"
        ).fetchall()
        counts = dict(
            connection.execute(
                "SELECT name, value FROM quality_counts WHERE name LIKE 'page_owner%'"
            ).fetchall()
        )
    unknown = ("unknown", "unknown", None, None)
    assert told == [
        (0x1000, 0, "anon", "observed", 0x100DCA, "do_anonymous_page"),
        (0x1008, 3, "slab", "observed", 0xD20C0, "allocate_slab"),
        (0x1010, 0, "pipe", "observed", 0x500CC2, "anon_pipe_write"),
        (0x1020, 1, *unknown),
        told[4],
        (0x1000, 0, *unknown),
        (0x2000, 0, *unknown),
    ]
    assert told[4][:2] == (0x1030, 0)
    assert told[4] == without[4]
    assert {row[2] for row in without} == {"unknown", told[4][2]}
    assert stock[0] == (3, *("unmovable",) * 2, "slab", "observed", 1, 8, "allocate_slab", 200, 200)
    pipes = ("pipe", "observed", 2, 2, "anon_pipe_write", 300, 301)
    assert stock[2] == (0, "unmovable", "movable", *pipes)
    assert counts == {"page_owner_blocks": 6, "page_owner_unread": 1}
