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
:0000064 destroy_by_rcu 1
made ctor init_once+0x0/0x20
made slab_size 64
made destroy_by_rcu 0
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
    sound, made, odd = kernel_slab_rows(snapshots)
    assert (made["slab_size"], made["free_pointer_behind"]) == (64, True)
    told = {name: value for name, value in sound.items() if value is not None}
    assert told == {
        "moment": "after", "name": ":0000064", "objects": 30, "object_size": 60, "order": 0,
        "aliases": 1, "flags": "*AT", "free_pointer_behind": True,
    }  # fmt: skip
    told = {name: value for name, value in odd.items() if value is not None}
    assert told == {
        "moment": "after", "name": "odd", "slabs": 1 << 34, "flags": "P",
        "free_pointer_behind": False,
    }  # fmt: skip
    assert kernel_cache_rows(snapshots) == [
        {"name": ":0000064", "merged": ":0000064", "object_size": 60},
        {"name": "made", "merged": "made", "object_size": None},
        {"name": "odd", "merged": "odd", "object_size": None},
        {"name": "merged", "merged": ":0000064", "object_size": 60},
    ]
