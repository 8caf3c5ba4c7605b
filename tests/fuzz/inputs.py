"""Damaged inputs through the commands they belong to: exit code, time, memory, and what is said.

    python -m tests.fuzz.inputs FOLDER

prints a row for each input of a folder and fails if one of them is not refused, or read, as it
should be.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

SECONDS, MIB = 10, 1024  #: no command may take more over a small input
_CAP = 3 << 30  # bytes after which a command is not let go on
_SMALL = ROOT / "traces" / "7.2p-hackbench-gt"
_SPEC = "hackbench"


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command.

    Attributes:
        code: its exit code; minus a signal's number if that ended it.
        seconds: how long it took, of CPU.
        wall: how long it took.
        mib: the most memory it held; 0 where that is no more than this process has held, whose
            own figure it begins with.
        said: what it wrote to stderr.
        left: files that it left where it wrote, though it failed.
    """

    code: int
    seconds: float
    wall: float
    mib: float
    said: str
    left: tuple[str, ...] = ()

    def fault(self) -> str | None:
        """What is wrong with how the command ended; None if nothing is."""
        lines = len(self.said.splitlines())
        faults = {
            f"exit code {self.code}": self.code not in (0, 1, 2),
            "traceback": "Traceback" in self.said,
            f"{lines} lines": self.code and lines != 1,
            "control characters": self.code and not self.said.strip().isprintable(),
            f"{self.seconds:.0f} s": self.seconds > SECONDS,
            f"{self.mib:.0f} MiB": self.mib > MIB,
            f"left {', '.join(self.left)}": self.code and self.left,
        }
        return next((name for name, there in faults.items() if there), None)


def commands(path: Path, out: Path) -> list[list[str]]:
    """The commands an input belongs to, the later ones for what the earlier ones have read.

    Args:
        path: the input; its name and its contents say what it is.
        out: where the commands may write.
    """
    db = str(out / "results.duckdb")
    replay = ["replay", "--db", db]
    name = path.name.removeprefix("toml_")
    if path.is_dir() and (path / "meta.json").exists():
        return [[*replay, str(path)], ["info", str(path)], ["validate", str(path)]]
    if name.endswith(".toml"):
        kind = name.replace(".", "_").split("_")[0]
        if kind == "spec":
            return [["synth", str(path), "-o", str(out), *_options(path)]]
        return [[*replay, f"--{kind}", str(path), str(_SMALL)]]
    if name.endswith((".db", ".duckdb")):
        return [
            ["sql", "--db", str(path), "select count(*) from runs"],
            ["report", "--db", str(path)],
        ]
    return [["import", str(path), "-o", str(out / "sets")], [*replay, str(path)]]


def _options(path: Path) -> list[str]:
    """Options of synth that a spec was made for, which the last line of it may tell."""
    last = path.read_bytes().rpartition(b"\n")[2].decode("utf-8", "replace")
    found = re.fullmatch(r"# synth x -o x (--events \d+) (--memory) (.*)", last)
    return [*found[1].split(), found[2], found[3]] if found else ["--events", "1000"]


def run(command: list[str], out: Path, seconds: float = 6 * SECONDS) -> Ran:
    """Run one command of allocsim; it may write to ``out`` and to a temporary folder in it."""
    before = set(_files(out))
    said = out.parent / f"{out.name}.stderr"
    began = time.monotonic()
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(out)},
            preexec_fn=_capped,  # noqa: PLW1509 - one thread, and nothing but a system call
        )
        signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(int(seconds))
        _, status, used = os.wait4(process.pid, 0)
        signal.alarm(0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    text = said.read_bytes().decode("utf-8", "replace")
    said.unlink()
    left = tuple(sorted(set(_files(out)) - before))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = used.ru_maxrss / 1024 if used.ru_maxrss > own else 0.0
    took = used.ru_utime + used.ru_stime  # of CPU: other work on the machine counts for nothing
    return Ran(process.returncode, took, wall, held, text, left)


def _capped() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_CAP, _CAP))


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def ran(path: Path) -> list[tuple[str, Ran]]:
    """The commands of an input, and what came of each until one failed."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        out.mkdir()
        for command in commands(path, out):
            found.append((command[0], run(command, out)))
            if found[-1][1].code:
                break
            shutil.rmtree(out)
            out.mkdir()
    return found


def main() -> None:
    """Print the table of a folder's inputs."""
    faults = 0
    print(f"{'command':<9}{'code':>4}{'CPU s':>7}{'s':>6}{'MiB':>6}  input: what is said")
    for path in sorted(Path(sys.argv[1]).iterdir()):
        if path.name == "README.md" or path.name not in (sys.argv[2:] or [path.name]):
            continue
        for command, one in ran(path):
            fault = one.fault()
            faults += fault is not None
            last = (one.said.strip().splitlines() or [""])[-1]
            mark = f"FAULT ({fault}) " if fault else ""
            said = last.replace(str(path), path.name)
            print(
                f"{command:<9}{one.code:>4}{one.seconds:>7.1f}{one.wall:>6.1f}{one.mib:>6.0f}  "
                f"{mark}{path.name}: {ascii(said)[1:-1][:300]}",
                flush=True,
            )
    print(f"{faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
