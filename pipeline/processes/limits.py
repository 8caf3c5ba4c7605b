"""What this process may have of the machine: CPUs and memory, of its cgroup too.

A container's limits are those of a cgroup: of version 2 cpu.max and memory.max, of version 1
cpu.cfs_quota_us with cpu.cfs_period_us and memory.limit_in_bytes, each of every group above too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cpus() -> int:
    """How many threads can run at a time, at least 1."""
    quotas = [
        -(-int(quota) // int(period))
        for quota, period in (
            *(text.split() for text in _found("", "cpu.max")),
            *zip(
                _found("cpu", "cpu.cfs_quota_us"), _found("cpu", "cpu.cfs_period_us"), strict=False
            ),
        )
        if quota.isdecimal()  # not "max", nor -1
    ]
    return max(1, min(len(_allowed()), *quotas) if quotas else len(_allowed()))


def memory() -> int:
    """Bytes of memory there are, all used and free ones."""
    limits = [*_found("", "memory.max"), *_found("memory", "memory.limit_in_bytes")]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(int(limit) for limit in limits if limit.isdecimal())])


def _allowed() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not on macOS
        return set(range(os.cpu_count() or 1))


def _found(controller: str, name: str) -> Iterator[str]:
    """What a file of this process's cgroup says, and of those above; "": version 2."""
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            group = Path(path.lstrip("/"))
            for each in (group, *group.parents):
                try:
                    yield (_CGROUPS / controller / each / name).read_text().strip()
                except OSError:
                    continue
