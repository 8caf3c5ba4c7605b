"""Selections against trace-cmd report's filters: as many events of each type, on a trace.dat."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pipeline.processes.progress import Progress
from pipeline.stat.run import total
from pipeline.stat.selection import selection
from pipeline.stat.tables import PAGE, SLAB

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not installed"),
]

_LINE = re.compile(r"\s(\d+)\.(\d{9}): (\w+):\s")


def reported(file: Path, filters: list[str], since: int, until: int) -> Counter[str]:
    """How many events of each type trace-cmd prints, of those from one time (ns) to another."""
    command = ["trace-cmd", "report", "-N", "-t", *filters, "-i", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        if match := _LINE.search(line):
            ts = int(match[1]) * 10**9 + int(match[2])
            found[match[3]] += since <= ts <= until
    return found


@pytest.mark.parametrize("recording", ["6.12-tmpfsfiles", "7.3-tmpfsfiles"], indirect=True)
@pytest.mark.parametrize(
    ("filters", "cpus", "pids", "since", "until"),
    [
        (["--cpu", "1"], ["1"], [], None, None),
        (["-F", "kmem: common_pid == 0"], [], ["0"], None, None),
        (["-F", "kmem: common_pid >= 14 && common_pid <= 180"], [], ["14-180"], None, None),
        (["--cpu", "0", "-F", "kmem: common_pid != 0"], ["0"], ["1-4000000"], "9", "10.5"),
        ([], [], [], "8.250000001", "11.1"),
    ],
    ids=["cpu", "pid", "pids", "all", "time"],
)
def test_selects_what_trace_cmd_does(
    recording: Path,
    filters: list[str],
    cpus: list[str],
    pids: list[str],
    since: str | None,
    until: str | None,
) -> None:
    file = recording / "trace.dat"
    chosen = selection(since, until, cpus, pids, [])
    found = total(file, {SLAB: ("site",), PAGE: ("order",)}, chosen, Progress())
    first, last = (
        int(float(moment) * 10**9) if moment else other
        for moment, other in ((since, 0), (until, 1 << 62))
    )
    theirs = reported(file, filters, first, last)
    objects, pages = found.tables[SLAB], found.tables[PAGE]
    assert sum(theirs.values()) > 0
    assert (
        theirs["kmalloc"] + theirs["kmem_cache_alloc"]
        == objects.total("allocations") + objects.total("repeats") + found.objects.failed
    )
    assert theirs["kfree"] + theirs["kmem_cache_free"] == (
        objects.total("frees")
        + objects.total("freed_again")
        + found.objects.unknown_frees
        + found.objects.null_frees
    )
    assert theirs["mm_page_alloc"] == pages.total("allocations") + found.pages.failed
    assert theirs["mm_page_free"] == pages.total("frees") + found.pages.unknown_frees
