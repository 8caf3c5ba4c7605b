"""Damaged inputs of every kind, until a number of them or a time is reached (make fuzz).

    python -m tests.fuzz.run [--seed N] [--runs N] [--seconds N] [--save DIR] [TARGET...]

Each distinct failure is printed once, and its first input kept; the exit code is 1 if there is any.
Of byte readers four times as many inputs are read as of the other files.
"""

from __future__ import annotations

import argparse
import collections
import json
import select
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import ROOT
from tests.fuzz.readers import BYTE_READERS, TARGETS
from tests.fuzz.worker import SCRATCH, SECONDS

_HUNG = 6 * SECONDS  # without a word, after which a worker is ended
_AT_ONCE = 2000  # inputs of a worker, so that what it leaks is little
_REPLAYED = 0.01  # share of inputs that are replayed if they can be


class Failures(collections.Counter[str]):
    """How often each thing failed; the first input of each is kept.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def add(self, target: str, what: str, data: bytes, trace: str = "") -> None:
        """Note a failure."""
        key = f"{target}: {what}"
        self[key] += 1
        if self[key] == 1:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{len(self)}-{target.replace('/', '-')}"
            path.write_bytes(data)
            print(f"{key}\n  input: {path}\n{trace}", flush=True)


def campaign(target: str, seed: int, runs: int, until: float, failures: Failures) -> int:
    """Inputs of one kind, up to a number of them or a moment; returns how many were read."""
    done = 0
    with TemporaryDirectory(prefix="fuzz-", dir=SCRATCH) as folder:
        while done < runs and time.monotonic() < until:
            count = min(runs - done, _AT_ONCE)
            last = _worker(target, seed, done, count, until, Path(folder), failures)
            done = last + 1
    return done


def _worker(
    target: str, seed: int, first: int, count: int, until: float, folder: Path, failures: Failures
) -> int:
    """One process; returns the number of the last input that it began."""
    command = [sys.executable, "-m", "tests.fuzz.worker", target]
    command += [str(seed), str(first), str(count), str(_REPLAYED), str(folder)]
    last = first - 1
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while time.monotonic() < until or last < first:
            ready, _, _ = select.select([process.stdout], [], [], _HUNG)
            line = process.stdout.readline() if ready else ""
            if not line:
                break
            found = json.loads(line)
            last = found["at"]
            if "failed" in found:
                data = (folder / "input").read_bytes()
                failures.add(target, found["failed"], data, found["trace"])
        else:
            process.kill()
            return last
        hung = not ready
        process.kill() if hung else process.wait()
    if hung or process.returncode:
        what = "hangs" if hung else f"ends the process with {process.returncode}"
        begun = folder / "input"  # not there, if it had not yet come to the first
        failures.add(target, what, begun.read_bytes() if begun.exists() else b"")
        return max(last, first)
    return first + count - 1


def main() -> None:
    """Run campaigns and print what came of them."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=1e9, help="of all together")
    parser.add_argument("--save", type=Path, default=ROOT / "out" / "fuzz")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS])
    given = parser.parse_args()
    targets = given.targets or list(TARGETS)
    failures = Failures(given.save)
    end = time.monotonic() + given.seconds
    for place, target in enumerate(targets):
        now = time.monotonic()
        until = now + (end - now) / (len(targets) - place)
        runs = given.runs * (4 if target in BYTE_READERS else 1)
        done = campaign(target, given.seed, runs, until, failures)
        took = time.monotonic() - now
        print(f"{target}: {done} inputs in {took:.0f} s", flush=True)
    print(f"{len(failures)} distinct failures")
    for what, times in failures.most_common():
        print(f"{times:6} {what}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
