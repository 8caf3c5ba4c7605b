"""Whole processes timed by the operating system's own account of them.

Every figure is quoted as a ratio to something run in the same minute, turn and turn about,
because the machines these run on are shared and noisy.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_UNCOMPILED = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process: seconds of wall clock and CPU, and its peak resident memory."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_once(command: list[str], cpus: set[int] | None = None) -> Run:
    """Run a command to its end, on the given CPUs only, its output thrown away.

    Raises:
        RuntimeError: the command failed; a failed run has no speed.
    """
    ours = os.sched_getaffinity(0)
    # With its modules compiled, as an installed program has them: a first run compiles them.
    environment = {key: value for key, value in os.environ.items() if key != _UNCOMPILED}
    began = time.perf_counter()
    try:
        os.sched_setaffinity(0, cpus or ours)  # inherited by the child
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
        )
    finally:
        os.sched_setaffinity(0, ours)
    with process:
        errors = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {errors.decode(errors='replace').strip()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(
    commands: dict[str, list[str]], runs: int, cpus: set[int] | None = None
) -> dict[str, list[Run]]:
    """Run several commands A B C A B C ..., after one uncounted round; their runs by name."""
    results: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            result = run_once(command, cpus)
            if turn:
                results[name].append(result)
    return results


def median(runs: list[Run], figure: str) -> float:
    """Median of one figure (``wall_s``, ``cpu_s``, ``peak_mib``) over runs."""
    return statistics.median(getattr(run, figure) for run in runs)


def machine() -> str:
    """One line that says what this was measured on."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return f"{model}, {os.cpu_count()} CPUs, {memory_kib / 2**20:.0f} GiB"
