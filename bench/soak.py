"""Every command on synthetic traces of any length: time, and the most memory at any moment.

    python bench/soak.py                                    # synth, both replays, report, sql; 1e9
    python bench/soak.py 6e6 60e6 --steps all               # every command, at two lengths

A length is a number of events. Time should be linear in it and memory flat: that of the CPUs, of
all processes of a command, which other work on the machine lengthens little. Memory is the sum of
what the process and all its children have resident, looked at 20 times a second: memory that
processes share counts for each of them. Beside it ("own") what of it is not of mapped files, whose
pages the kernel takes back at will. The simulated run is added to the database of the recorded one,
which report, sql, compare and sweep go on with. A trace takes 6 bytes an event of disk, a database
of two runs 24; all is removed at the end. An import is of the text of tracefs, compressed.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import machine

_ALLOCSIM = [sys.executable, "-m", "pipeline"]
_ROOT = Path(__file__).resolve().parent.parent
_LOOK_S = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")

#: What each step runs, in a folder of its own. Those of a soak first.
STEPS = {
    "synth": "synth {spec} --events {events} --name long -o .",
    "replay, recorded": "replay long --db results.duckdb --placement recorded",
    "replay, simulated": "replay long --db results.duckdb",
    "report": "report --db results.duckdb -o report.pdf",
    "sql": "sql --db results.duckdb --timeout 3600 --format csv {query}",
    "compare": "compare results.duckdb:1 results.duckdb:2 -o compare.txt",
    "sweep": "sweep long --db results.duckdb --vary sheaf.capacity=12,24 --jobs 2",
    "info": "info long",
    "validate": "validate long --db validated.duckdb",
    "import": "import long.txt.gz -o imported",
}
_SOAK = 5
_QUERY = "SELECT event, cache, count(*) FROM object_events GROUP BY ALL ORDER BY ALL"


@dataclass(frozen=True, slots=True)
class Took:
    """What a step took: seconds, CPU seconds, and MiB at the most, all and without mapped files."""

    seconds: float
    cpu_s: float
    peak_mib: float
    own_mib: float


def tree_rss(pid: int) -> tuple[int, int]:
    """Bytes that a process and all below it have resident: all, and without mapped files."""
    every = shared = 0
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        try:
            _, resident, of_files, *_ = Path(f"/proc/{each}/statm").read_text().split()
            every += int(resident)
            shared += int(of_files)
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return every * _PAGE, (every - shared) * _PAGE


def run(command: list[str], folder: Path) -> Took:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    began, peak, own = time.perf_counter(), 0, 0
    before = os.times()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
        )
        while process.poll() is None:
            every, without = tree_rss(process.pid)
            peak, own = max(peak, every), max(own, without)
            time.sleep(_LOOK_S)
    # validate says with 1 that a row is beyond its bound, which synthetic traces need not keep.
    if process.returncode and not (command[3] == "validate" and process.returncode == 1):
        raise RuntimeError(f"{' '.join(command[3:])}: {(folder / 'said').read_text().strip()}")
    after = os.times()
    cpu_s = sum(after[2:4]) - sum(before[2:4])  # of children that have ended, and of theirs
    return Took(time.perf_counter() - began, cpu_s, peak / 2**20, own / 2**20)


def main() -> None:
    """Run the steps at every length, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", nargs="*", type=float, default=[1e9])
    parser.add_argument("--steps", default="+".join(list(STEPS)[:_SOAK]), help="joined by +; all")
    parser.add_argument("--spec", default="hackbench", help="what the trace is of")
    parser.add_argument("--in", dest="where", type=Path, help="where to put the folder")
    given = parser.parse_args()
    steps = list(STEPS) if given.steps == "all" else given.steps.split("+")
    print(f"{machine()}; spec {given.spec}\n")
    heads = f"{'seconds':>9} {'CPU s':>9} {'ns/event':>9} {'peak MiB':>9} {'own':>6}"
    print(f"{'':18} {'events':>14} {heads}")
    for events in map(int, given.events):
        with TemporaryDirectory(prefix="soak-", dir=given.where) as folder:
            for step in steps:
                words = STEPS[step].split()
                filled = {"{spec}": given.spec, "{events}": str(events), "{query}": _QUERY}
                if step == "import":
                    write_text(Path(folder) / "long.txt.gz", events)
                took = run(_ALLOCSIM + [filled.get(word, word) for word in words], Path(folder))
                print(
                    f"{step:18} {events:14,} {took.seconds:9.1f} {took.cpu_s:9.1f}"
                    f" {took.cpu_s * 1e9 / events:9.0f} {took.peak_mib:9.0f} {took.own_mib:6.0f}",
                    flush=True,
                )


def write_text(path: Path, events: int) -> None:
    """The text of tracefs with so many allocations and frees, on 4 CPUs, compressed."""
    with gzip.open(path, "wt", compresslevel=1) as text:
        text.write("# tracer: nop\n#\n")
        text.writelines(map(text_line, range(events)))


def text_line(at: int) -> str:
    """A line of the text of tracefs: the allocation or free with this number."""
    seconds, micro = divmod(at, 10**6)
    where = f"            task-{100 + at % 4}     [00{at % 4}] .....  {seconds + 1}.{micro:06}: "
    ptr = f"{0xFFFF888000000000 + (at // 8 % 100000) * 64 + at // 4 % 2:016x}"
    if at // 4 % 2:
        return f"{where}kfree: call_site=f+0x1/0x2 ptr={ptr}\n"
    return (
        f"{where}kmalloc: call_site=f+0x1/0x2 ptr={ptr} bytes_req=60 bytes_alloc=64"
        " gfp_flags=GFP_KERNEL node=-1 accounted=false\n"
    )


if __name__ == "__main__":
    main()
