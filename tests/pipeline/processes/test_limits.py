"""What a process may have: of a machine, of its cgroup, and of the groups above."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.processes import limits

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
V2 = "0::/user/app\n"
V1 = "4:memory:/app\n3:cpu,cpuacct:/\n0::/\n"


@pytest.mark.parametrize(
    ("own", "files", "cpus", "memory"),
    [
        (V2, {}, 8, 32 * GIB),
        (V2, {"user/app/memory.max": "max", "user/app/cpu.max": "max 100000"}, 8, 32 * GIB),
        (
            V2,
            {"user/app/memory.max": f"{2 * GIB}", "user/app/cpu.max": "150000 100000"},
            2,
            2 * GIB,
        ),
        (V2, {"user/app/memory.max": f"{4 * GIB}", "user/memory.max": f"{GIB}"}, 8, GIB),
        (V2, {"cpu.max": "10000 100000"}, 1, 32 * GIB),  # as a container sees its own
        (V1, {"memory/app/memory.limit_in_bytes": f"{3 * GIB}"}, 8, 3 * GIB),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, 8, 32 * GIB),
        (
            V1,
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
            3,
            32 * GIB,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8, 32 * GIB),
        (None, {}, 8, 32 * GIB),  # no Linux
    ],
)
def test_the_smallest_limit_holds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: str | None,
    files: dict[str, str],
    cpus: int,
    memory: int,
) -> None:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text + "\n")
    if own is not None:
        (tmp_path / "own").write_text(own)
    monkeypatch.setattr(limits, "_OWN", tmp_path / "own")
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 32 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert (limits.cpus(), limits.memory()) == (cpus, memory)
