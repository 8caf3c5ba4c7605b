"""Kills and full disks at any moment of a command, and what is there afterwards.

    python bench/torture.py                                    # 200 kills, 40 full disks a command
    python bench/torture.py --kills 20 --disks 5 --only sweep,replay

A kill is a SIGKILL at a random moment of the command, first to last (--seed). A full disk is a
tmpfs with room for a part of what the command writes, from none on; that takes root and Linux's
unshare, and is left out, visibly, where they are not. After each:

* runs that were in the database have the same rows, and no run is there in part;
* a trace set, a PDF, a comparison and a spec are the old one or the new one, whole;
* no process of the command is alive;
* on a full disk: one line on stderr and exit code 1, and nothing is left behind;
* after a kill, what is left is of names that the next run removes; the next run, made to its end
  after every --again kills, succeeds and leaves nothing else than what was there.

Prints a table, and the failures; the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from soak import write_text

ROOT = Path(__file__).resolve().parent.parent
_EVENTS = 6000
_SYNTH = f"--events {_EVENTS} --force"
_LEFT = re.compile(r"\.?allocsim-[0-9a-f]{16}|\.allocsim-[0-9a-f]{16}\.part|\..+\.unfinished")
_ENDS_S = 10  #: that the processes of a command may outlive it
_SETS = ("sets/rec", "sets/made")
_REPORTS = {
    "report": ["report.pdf"],
    "compare": ["c.txt", "c.html"],
    "fit": ["spec.toml"],
}  #: what is replaced besides

#: What is tortured, in a folder that has all it needs and what it replaces.
COMMANDS = {
    "import": "import rec.txt -o sets --force",
    "replay": "replay other --db results.duckdb",
    "sweep": "sweep trace --db results.duckdb --vary sheaf.capacity=12,24,60 --jobs 2",
    "synth": f"synth hackbench -o sets --name made --seed 2 {_SYNTH}",
    "report": "report --db results.duckdb -o report.pdf --force",
    "compare": "compare trace other -o c.txt -o c.html --force",
    "fit": "fit trace -o spec.toml --force",
    "validate": "validate other --db results.duckdb",
}
_SET_UP = (
    f"synth hackbench -o . --name trace {_SYNTH}",
    f"synth hackbench -o . --name other --seed 3 {_SYNTH}",
    f"synth hackbench -o sets --name made {_SYNTH}",
    "replay trace --db results.duckdb",
    COMMANDS["import"],
)


def allocsim(folder: Path, command: str) -> subprocess.Popen[bytes]:
    """A command begun in a folder, with temporary files in its folder tmp."""
    own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "TORTURED": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | own,
        start_new_session=True,
    )


def done(folder: Path, command: str) -> tuple[int, str]:
    """A command run to its end: its exit code, and what it said on stderr."""
    process = allocsim(folder, command)
    said = process.communicate()[1].decode()
    return process.returncode, said


def set_up(folder: Path, only: list[str]) -> None:
    """Fill a folder, for these commands.

    Raises:
        RuntimeError: a command failed.
    """
    (folder / "tmp").mkdir(parents=True)
    write_text(folder / "rec.txt", _EVENTS)
    for command in _SET_UP + tuple(COMMANDS[name] for name in only if name in _REPORTS):
        code, said = done(folder, command)
        if code:
            raise RuntimeError(f"{command}: {said}")


Counts = dict[str, tuple[int, object]]


@dataclass(frozen=True, slots=True)
class State:
    """What a folder holds.

    Args:
        runs: of each run, by number: what it is of, and of each table its rows and their hash.
        files: digests of what commands replace.
        names: of all files there, but for those in trace sets.
    """

    runs: dict[int, tuple[tuple[object, ...], Counts]]
    files: dict[str, str]
    names: frozenset[str]


def state(folder: Path) -> State:
    """What a folder holds.

    Raises:
        duckdb.Error: the database cannot be read.
        OSError: something is missing.
    """
    files = {
        name: _digest(*(folder / name / each for each in ("events.parquet", "stacks.parquet")))
        for name in _SETS
    }
    for path in (folder / name for names in _REPORTS.values() for name in names):
        if path.exists():
            files[path.name] = _digest(path)
    found = (path for part in (".", "sets", "tmp") for path in (folder / part).iterdir())
    names = frozenset(str(path.relative_to(folder)) for path in found)
    return State(_runs(folder / "results.duckdb"), files, names)


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _runs(db: Path) -> dict[int, tuple[tuple[object, ...], Counts]]:
    with duckdb.connect(db, read_only=True) as connection:
        about = connection.execute("SELECT run, trace_id, placement, settings FROM runs").fetchall()
        runs: dict[int, tuple[tuple[object, ...], Counts]] = {
            run: (what, {}) for run, *what in ((run, *what) for run, *what in about)
        }
        tables = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_columns()"
            " SEMI JOIN duckdb_tables() USING (schema_name, table_name) WHERE column_name = 'run'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(
                f"SELECT run, count(*), sum(hash(t)) FROM {table} AS t GROUP BY run"  # noqa: S608
            ).fetchall()
            for run, count, hashed in rows:
                if run not in runs:
                    raise duckdb.DataError(f"{table} has rows of run {run}, which is not there")
                runs[run][1][table] = (count, hashed)
    return runs


@dataclass
class Judge:
    """What may be there after a command: the old, the new, and nothing in between."""

    old: State
    new: State

    def of_content(self, folder: Path) -> str | None:
        """What is wrong with what the folder holds; None: nothing."""
        try:
            found = state(folder)
        except (duckdb.Error, OSError) as error:
            return str(error).splitlines()[0]
        for number, run in self.old.runs.items():
            if found.runs.get(number) != run:
                return f"run {number} is not what it was"
        whole = {tuple(what): _sizes(counts) for what, counts in self.new.runs.values()}
        for number in found.runs.keys() - self.old.runs.keys():
            what, counts = found.runs[number]
            if whole.get(tuple(what)) != _sizes(counts):
                return f"run {number} is there in part"
        for name in self.old.files:
            if name not in found.files:
                return f"{name} is gone"
            digest = found.files[name]
            ends = {"report.pdf": b"%%EOF", "c.html": b"</html>"}
            if name in ends and (folder / name).read_bytes().rstrip().endswith(ends[name]):
                continue  # with the day of its making in it
            if digest not in (self.old.files[name], self.new.files[name]):
                return f"{name} is neither the old nor the new one"
        return None

    def of_litter(self, folder: Path, *, ended: int) -> str | None:
        """What is there that should not be, after a command that ended so; None: nothing."""
        names = {
            name
            for name in state(folder).names - self.new.names
            # The log is a part of the database, with all in it that has been committed.
            if not (ended and name == "results.duckdb.wal")
            and not (ended == -signal.SIGKILL and _LEFT.fullmatch(Path(name).name))
        }
        return f"left: {', '.join(sorted(names))}" if names else None


def _sizes(counts: Counts) -> dict[str, int]:
    return {table: count for table, (count, _) in counts.items()}


def alive(folder: Path) -> list[int]:
    """Processes of commands in a folder that run some seconds after their end."""
    mark = f"TORTURED={folder}".encode()
    until = time.monotonic() + _ENDS_S
    while True:
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and mark in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.02)


@dataclass
class Tally:
    """What became of one command."""

    kills: int = 0
    ended: int = 0  # before the kill
    again: int = 0
    disks: int = 0
    full: int = 0  # the disk, at some moment of the command
    failures: list[str] = field(default_factory=list)


def kill(  # noqa: PLR0913 - what, where, how often
    command: str, base: Path, work: Path, judge: Judge, kills: int, again: int, tally: Tally
) -> None:
    """Kill a command again and again, each at another moment."""
    began = time.monotonic()
    shutil.copytree(base, work)
    done(work, command)
    length = time.monotonic() - began
    for number in range(kills):
        if number % again == 0:
            shutil.rmtree(work)
            shutil.copytree(base, work)
        at = random.uniform(0, length)  # noqa: S311 - no secret
        process = allocsim(work, command)
        time.sleep(at)
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[1].decode()
        tally.kills += 1
        tally.ended += process.returncode != -signal.SIGKILL
        problems = [f"alive: {pid}" for pid in alive(work)]
        problems += [
            judge.of_content(work) or judge.of_litter(work, ended=process.returncode) or ""
        ]
        if "Traceback" in said:
            problems.append(said.splitlines()[-1])
        if number % again == again - 1:
            tally.again += 1
            code, said = done(work, command)
            if code:
                problems.append(f"the next run: {said.strip()}")
            problems += [judge.of_content(work) or judge.of_litter(work, ended=code) or ""]
        tally.failures += [f"killed after {at:.3f} s: {each}" for each in problems if each]


def fill(  # noqa: PLR0913 - as kill
    command: str, base: Path, disk: Path, judge: Judge, points: int, tally: Tally
) -> None:
    """Run a command on disks that have room for a part of what it writes."""
    mount(disk, 1 << 30)
    work = disk / "work"
    shutil.copytree(base, work)
    used = _used(disk)
    most = _most_used(disk, command, work) - used
    for number in range(points):
        shutil.rmtree(work)
        shutil.copytree(base, work)
        # Whole pages are what tmpfs counts in.
        mount(disk, _used(disk) + (most * number // points // 4096 + 1) * 4096, remount=True)
        code, said = done(work, command)
        mount(disk, 1 << 30, remount=True)
        tally.disks += 1
        tally.full += code != 0
        # That a log had to stay is said besides.
        lines = [each for each in said.strip().splitlines() if "keep them together" not in each]
        # A run can be committed though there is no room to take the log into the database.
        problems = [judge.of_content(work) or judge.of_litter(work, ended=1) or ""]
        if code not in (0, 1) or (code == 1 and len(lines) != 1):
            problems.append(f"exit code {code}, {len(lines)} lines: {lines[-1:]}")
        tally.failures += [
            f"with {number}/{points} of {most} bytes: {each}" for each in problems if each
        ]
    code, said = done(work, command)
    if problem := said.strip() if code else judge.of_litter(work, ended=1):
        tally.failures.append(f"the next run: {problem}")
    subprocess.run(["umount", str(disk)], check=True)


def mount(disk: Path, size: int, *, remount: bool = False) -> None:
    """Mount a tmpfs of a size, or change its size."""
    options = f"size={size}" + (",remount" if remount else "")
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)


def _used(disk: Path) -> int:
    space = os.statvfs(disk)
    return (space.f_blocks - space.f_bfree) * space.f_frsize


def _most_used(disk: Path, command: str, work: Path) -> int:
    """Bytes of a disk that are used at the most while a command runs."""
    process = allocsim(work, command)
    most = 0
    while process.poll() is None:
        most = max(most, _used(disk))
        time.sleep(0.002)
    process.communicate()
    return most


def can_mount() -> bool:
    """Whether this process, or one in a namespace of its own, may mount."""
    return (
        sys.platform == "linux"
        and not subprocess.run(
            ["unshare", "-m", "true"], check=False, capture_output=True
        ).returncode
    )


def main() -> None:
    """Torture every command, and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="of each command")
    parser.add_argument("--disks", type=int, default=40, help="full disks, of each command")
    parser.add_argument("--again", type=int, default=1, help="kills before a run to the end")
    parser.add_argument("--only", default=",".join(COMMANDS), help="commands, joined by commas")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--mounts", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.disks and not given.mounts and can_mount():
        again = [sys.executable, *sys.argv, "--mounts"]
        sys.exit(subprocess.run(["unshare", "-m", *again], check=False).returncode)
    random.seed(given.seed)
    disks = given.disks if given.mounts else 0
    if disks < given.disks:
        print("full disks are left out: they take root, and Linux's unshare")
    print(
        f"{'':8} {'kills':>6} {'too late':>9} {'next runs':>10} {'disks':>6} {'full':>5} failures"
    )
    failed = False
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        base = Path(scratch) / "base"
        only = given.only.split(",")
        set_up(base, only)
        for name in only:
            command, tally = COMMANDS[name], Tally()
            after = Path(scratch) / "after"
            shutil.copytree(base, after)
            code, said = done(after, command)
            if code:
                raise RuntimeError(f"{command}: {said}")
            judge = Judge(state(base), state(after))
            shutil.rmtree(after)
            if given.kills:
                work = Path(scratch) / "work"
                kill(command, base, work, judge, given.kills, given.again, tally)
                shutil.rmtree(work)
            if disks:
                fill(command, base, Path(scratch) / "disk", judge, disks, tally)
            print(
                f"{name:8} {tally.kills:6} {tally.ended:9} {tally.again:10} {tally.disks:6}"
                f" {tally.full:5} {len(tally.failures):9}",
                flush=True,
            )
            for failure in tally.failures:
                print(f"  {failure}")
            failed = failed or bool(tally.failures)
    sys.exit(failed)


if __name__ == "__main__":
    main()
