"""What sysfs says of slab caches, as it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pipeline.store.snapshot_rows import kernel_cache_rows, kernel_slab_rows, slab_snapshots

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.trace_set.reader import TraceSet

SYSFS = """\
:0000064 objects 30
:0000064 object_size 60
:0000064 order 0
:0000064 aliases 1
:0000064 hwcache_align 1
:0000064 trace 1
merged -> :0000064
odd objects 999999999999999999
odd object_size 4194305
odd order 11
odd slabs 17179869184 N0=1
odd poison 1
"""


class OneSnapshot:
    """A trace set with a snapshot after the recording."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def snapshot(self, name: str, when: str) -> Path:
        return self._folder / when / name


def test_what_the_files_say_and_what_no_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "after").mkdir()
    (tmp_path / "after" / "sysfs_slab.txt").write_text(SYSFS)
    trace = cast("TraceSet", OneSnapshot(tmp_path))
    snapshots = slab_snapshots(trace)
    sound, odd = kernel_slab_rows(snapshots)
    told = {name: value for name, value in sound.items() if value is not None}
    assert told == {
        "moment": "after", "name": ":0000064", "objects": 30, "object_size": 60, "order": 0,
        "aliases": 1, "flags": "*AT",
    }  # fmt: skip
    told = {name: value for name, value in odd.items() if value is not None}
    assert told == {"moment": "after", "name": "odd", "slabs": 1 << 34, "flags": "P"}
    assert kernel_cache_rows(snapshots) == [
        {"name": ":0000064", "merged": ":0000064", "object_size": 60},
        {"name": "odd", "merged": "odd", "object_size": None},
        {"name": "merged", "merged": ":0000064", "object_size": 60},
    ]
