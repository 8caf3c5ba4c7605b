"""Measuring what operations on reference counts take on the present machine.

A few lines of C, built with the machine's own compiler into a folder that is thrown away.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from allocsim.refcount.costs import MEASURED_PLACES, OPERATIONS, CostTable, Range, costs_for
from pipeline.errors import AllocsimError
from pipeline.processes.scratch import scratch

_CPUS = Path("/sys/devices/system/cpu")
_SECONDS = 120  # until a run is given up


class CalibrationError(AllocsimError):
    """Nothing could be measured; a shipped table serves."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One operation at one place: ns over many batches.

    Args:
        least: the fastest batch.
        median: the middle one.
        high: three of four were not slower.
        most: the slowest; a preempted one, as a rule.
        batches: how many there were.
    """

    least: float
    median: float
    high: float
    most: float
    batches: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured.

    Args:
        costs: the table made of it.
        samples: by operation and place: "own", "near", "remote", as far as there are such CPUs,
            and "walk near" and "walk remote", what the walk over lines takes by itself.
        ticks: ticks of the time-stamp counter a ns; None where there is none.
        pairs: the CPUs of each place.
    """

    costs: CostTable
    samples: dict[tuple[str, str], Sample]
    ticks: float | None
    pairs: dict[str, tuple[int, int]]


def calibrate(compiler: str) -> Calibration:
    """Measure the operations on this machine.

    Args:
        compiler: the C compiler.

    Raises:
        CalibrationError: there is no such compiler, or what it makes does not run.
    """
    pairs = cpu_pairs(_CPUS, sorted(os.sched_getaffinity(0)))
    samples: dict[tuple[str, str], Sample] = {}
    ticks = None
    source = (resources.files(__name__) / "locked_ops.c").read_text("utf-8")
    with scratch() as folder:
        text, program = folder / "locked_ops.c", folder / "locked_ops"
        text.write_text(source, "utf-8")
        _run([compiler, "-O2", "-pthread", "-o", str(program), str(text)])
        for place, (own, other) in pairs.items():
            found, measured = parse_output(_run([str(program), str(own), str(other)]))
            ticks = found or ticks
            for (operation, where), sample in measured.items():
                name = {"other": place, "walk": f"walk {place}"}.get(where, where)
                samples.setdefault((operation, name), sample)
    return Calibration(_costs(samples, pairs), samples, ticks, pairs)


def cpu_pairs(root: Path, cpus: list[int]) -> dict[str, tuple[int, int]]:
    """A CPU, and one of each place for it; (CPU, -1) where it is alone.

    Args:
        root: /sys/devices/system/cpu.
        cpus: those that may be used.
    """
    first = cpus[0]
    caches = sorted((root / f"cpu{first}" / "cache").glob("index*/shared_cpu_list"))
    # The last index is the largest cache: the domain within which a line need not leave it.
    domain = _listed(caches[-1]) if caches else set(cpus)
    siblings = _listed(root / f"cpu{first}" / "topology" / "thread_siblings_list")
    near = [cpu for cpu in cpus if cpu in domain and cpu != first]
    near = [cpu for cpu in near if cpu not in siblings] or near
    remote = [cpu for cpu in cpus if cpu not in domain]
    pairs = {"near": (first, near[0])} if near else {}
    if remote:
        pairs["remote"] = (first, remote[-1])
    return pairs or {"own": (first, -1)}


def _listed(path: Path) -> set[int]:
    """The CPUs in a list of sysfs, such as 0-3,8."""
    cpus: set[int] = set()
    if path.is_file():
        for part in path.read_text("ascii").strip().split(","):
            first, _, last = part.partition("-")
            cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def parse_output(text: str) -> tuple[float | None, dict[tuple[str, str], Sample]]:
    """Ticks a ns, and the samples by operation and place, of what the program prints.

    Raises:
        CalibrationError: it is not what the program prints.
    """
    ticks, samples = None, {}
    try:
        for line in text.splitlines():
            words = line.split()
            if words[0] == "tsc":
                ticks = float(words[1])
                continue
            operation, place, least, median, high, most, batches = words
            samples[operation, place] = Sample(
                float(least), float(median), float(high), float(most), int(batches)
            )
    except (ValueError, IndexError) as error:
        raise CalibrationError(f"calibration: the program printed {line!r}; {_SERVES}") from error
    return ticks, samples


_SERVES = "nothing was measured, the shipped table of the recorded machine serves"


def _run(command: list[str]) -> str:
    name = command[0] if "locked_ops" not in Path(command[0]).name else "calibration"
    try:
        done = subprocess.run(  # noqa: S603 - our own program, the user's own compiler
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        raise CalibrationError(f"{name}: not found; {_SERVES} (--cc names a compiler)") from None
    except OSError as error:
        raise CalibrationError(f"{name}: cannot be run: {error.strerror}; {_SERVES}") from error
    except subprocess.TimeoutExpired:
        raise CalibrationError(f"{name}: took over {_SECONDS} s; {_SERVES}") from None
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        why = next((line for line in said if "error" in line), said[0])
        raise CalibrationError(f"{name}: failed: {why}; {_SERVES}")
    return done.stdout


def _costs(samples: dict[tuple[str, str], Sample], pairs: dict[str, tuple[int, int]]) -> CostTable:
    """A table of what was measured; what could not be stands as it ships, and says so.

    A line from elsewhere takes what its walk takes longer than one over the CPU's own lines, on
    top of the operation itself.
    """
    machine = platform.machine()
    shipped = costs_for(machine)
    model = _model()
    ranges = {}
    for operation in OPERATIONS:
        own = samples[operation, "own"]
        said = _spread_text(own, f"{model}, CPU {next(iter(pairs.values()))[0]}")
        ranges[operation, "own"] = Range(own.least, own.high, "measured", said)
        for place in MEASURED_PLACES[1:]:
            if (operation, place) in samples:
                walk, other = (samples[operation, each] for each in (f"walk {place}", place))
                way = [max(value - walk.median, 0.0) for value in (other.least, other.high)]
                cpus = " and ".join(map(str, pairs[place]))
                ranges[operation, place] = Range(
                    own.least + way[0],
                    own.high + way[1],
                    "measured",
                    f"{_spread_text(other, f'{model}, CPUs {cpus}')}, less {walk.median:.2f} of "
                    "the walk itself, and the operation",
                )
            elif place == "remote" and (operation, "near") in ranges:
                near = ranges[operation, "near"]
                text = "no CPU outside the cache domain there: as near"
                ranges[operation, place] = Range(near.low, near.high, "measured", text)
            else:
                each = shipped.ranges[operation, place]
                text = f"not measurable there; {shipped.name}: {each.source}"
                ranges[operation, place] = Range(each.low, each.high, each.known, text)
    return CostTable("calibrated", f"Measured on {model}.", "calibrated", (machine,), ranges)


def _spread_text(sample: Sample, where: str) -> str:
    return (
        f"{where}: min {sample.least:.2f}, median {sample.median:.2f}, upper quartile "
        f"{sample.high:.2f}, max {sample.most:.2f} ns over {sample.batches} batches"
    )


def _model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
