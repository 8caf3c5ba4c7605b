"""/proc/allocinfo as lib/alloc_tag.c prints it: by hand, for no kernel with it was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import InputError
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_path
from pipeline.trace_set.allocinfo import Tagged, allocinfo
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_RECORDING = ROOT / "traces" / "recordings" / "allocinfo"
_TEXT = (_RECORDING / "snapshots" / "after" / "allocinfo").read_text()


def read(folder: Path, text: str) -> dict[tuple[str, int, str, str], Tagged] | None:
    path = folder / "allocinfo"
    path.write_text(text)
    return allocinfo(path)


def test_every_line_of_either_version(tmp_path: Path) -> None:
    found = allocinfo(_RECORDING / "snapshots" / "after" / "allocinfo")
    assert found is not None
    assert len(found) == 7
    assert found["fs/ext4/super.c", 1389, "ext4", "ext4_alloc_inode"] == Tagged(14336, 14, 1)
    # An inline function of a header has a tag in every file that uses it.
    inline = found["include/linux/mm.h", 3071, "", "pagetable_alloc"]
    assert inline == Tagged(1056768 + 524288, 258 + 128, 2)
    assert not found["mm/memory.c", 1073, "", "folio_prealloc"].accurate
    assert found["fs/seq_file.c", 586, "", "seq_open"].accurate
    old = _TEXT.replace("2.0", "1.0").replace(" accurate:no", "")
    assert len(read(tmp_path, old) or ()) == 7


def test_sorted_headless_compressed_and_absent(tmp_path: Path) -> None:
    whole = read(tmp_path, _TEXT)
    lines = sorted(_TEXT.splitlines(keepends=True)[2:], reverse=True)
    assert read(tmp_path, "".join(lines)) == whole
    (tmp_path / "allocinfo").unlink()
    assert allocinfo(tmp_path / "allocinfo") is None
    packed = pa.compress(_TEXT.encode(), "zstd", asbytes=True)
    (tmp_path / "allocinfo.zst").write_bytes(packed)
    assert allocinfo(tmp_path / "allocinfo") == whole
    # A counter that was read while another CPU freed may be below zero.
    below = read(tmp_path, "        -512       18446744073709 a.c:1 func:one \n")
    assert below == {("a.c", 1, "", "one"): Tagged(-512, 18446744073709, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allocinfo - version: 3.0\n", r"version '3\.0' of allocinfo is not known; .* 1\.0, 2\.0"),
        (_TEXT + "nonsense\n", r"line 11 is not of an allocation tag: 'nonsense'"),
        ("1 2 a.c:1\n", r"line 1 is not of an allocation tag"),
        ("9999999999999999999 1 a.c:1 func:b\n", r"line 1: a number in it cannot be"),
        ("9000000000000000000 1 a.c:1 func:b\n" * 2, r"line 2: the sum of this place cannot be"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_stands_beside_what_was_recorded(tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    replay_path(_RECORDING, db, find_policies([]), Progress(), [], None)
    with duckdb.connect(db, read_only=True) as connection:
        places = connection.execute(
            "SELECT file, line, module, function, tags, bytes_before, calls_before, bytes_after,"
            " calls_after, accurate FROM allocinfo ORDER BY bytes_after DESC LIMIT 2"
        ).fetchall()
        rows = connection.execute(
            "SELECT function, places, bytes_change, calls_change, recorded_allocs, live_objects,"
            " live_bytes, unseen_bytes FROM allocinfo_by_function ORDER BY function"
        ).fetchall()
    inline = ("include/linux/mm.h", 3071, None, "pagetable_alloc", 2)
    assert places == [
        ("mm/memory.c", 1073, None, "folio_prealloc", 1, 67108864, 16384, 67117056, 16386, False),
        (*inline, 1572864, 384, 1581056, 386, True),
    ]
    both = "fs/pipe.c:825, fs/pipe.c:806"
    assert rows == [
        ("alloc_pipe_info", both, 1280, 2, 2, 2, 1280, 0),
        ("ext4_alloc_inode", "fs/ext4/super.c:1389", 2048, 2, 3, 2, 2048, 0),
        ("folio_prealloc", "mm/memory.c:1073", 8192, 2, 0, 0, 0, 8192),
        # One that was there before was freed: no event says whose it was.
        ("getname_flags", "fs/namei.c:136", -4096, -1, 1, 0, 0, -4096),
        ("pagetable_alloc", "include/linux/mm.h:3071", 8192, 2, 0, 0, 0, 8192),
        ("seq_open", "fs/seq_file.c:586", 128, 1, 1, 1, 128, 0),
    ]
