"""One process of a campaign: changed inputs of one kind into who reads them, within caps.

    python -m tests.fuzz.worker TARGET SEED FIRST COUNT REPLAY FOLDER

writes a line of JSON for each failure, and for every input where it is.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import signal
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import AllocsimError
from tests.conftest import ROOT
from tests.fuzz.mutate import mutated
from tests.fuzz.readers import TARGETS, check, replayed

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = Path("/dev/shm")  # noqa: S108 - where making and removing files takes no time
#: Where to put what is thrown away.
SCRATCH = _MEMORY if _MEMORY.is_dir() else None
SECONDS, BYTES = 10, 1 << 30  #: an input may take
_MOST_KEPT = 400  # inputs that something new was said of


class TooLongError(Exception):
    """An input took more than its time."""


def main() -> None:
    """Read COUNT inputs from number FIRST on."""
    name, seed, first, count, replay, folder = sys.argv[1:]
    work = Path(folder)
    _read(name, TARGETS[name].seeds()[0], work / "try", replay=True)  # threads take memory once
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (4096 * pages + BYTES, resource.RLIM_INFINITY))
    for line in read_all(
        name, int(seed), range(int(first), int(first) + int(count)), work, float(replay)
    ):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def read_all(
    name: str, seed: int, numbers: range, work: Path, replay: float = 0
) -> Iterator[dict[str, object]]:
    """Where it is, before each input, and what failed.

    Args:
        name: the kind of input.
        seed: what the dice begin with.
        numbers: of the inputs; the first ones are the sound ones.
        work: an empty folder.
        replay: share of inputs that are replayed if they can be.
    """
    seeds = TARGETS[name].seeds()
    pool = list(seeds)
    seen: set[str] = set()
    for number in numbers:
        dice = random.Random(f"{seed} {name} {number}")  # noqa: S311
        sound = number < len(seeds)
        data = seeds[number] if sound else mutated(dice.choice(pool), dice, seeds)
        (work / "input").write_bytes(data)
        yield {"at": number}
        try:
            with _limited(SECONDS):
                said = _read(name, data, work / "try", replay=dice.random() < replay)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            yield {"at": number, "failed": signature(error), "trace": traceback.format_exc()}
            continue
        new = re.sub(r"\d+|'[^']*'|/\S+", "", said)
        if new not in seen and len(pool) < _MOST_KEPT:
            seen.add(new)
            pool.append(data)


def _read(name: str, data: bytes, folder: Path, *, replay: bool) -> str:
    """What is said of an input; what can be replayed may be."""
    folder.mkdir()
    try:
        made = TARGETS[name].read(data, folder)
        if made is not None and replay:
            replayed(made, folder)
    except AllocsimError as error:
        check(error)
        return str(error)
    finally:
        shutil.rmtree(folder)
    return "read"


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGPROF, too_long)  # of CPU: what waits for ever the campaign ends
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def signature(error: BaseException) -> str:
    """What failed, and where in our code: the same for one fault whatever the input."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if each.filename.startswith(f"{ROOT}/")]
    ours = [each for each in ours if "/tests/" not in each.filename and "/." not in each.filename]
    where = ours[-1] if ours else frames[-1]
    place = Path(where.filename)
    place = place.relative_to(ROOT) if place.is_relative_to(ROOT) else Path(place.name)
    return f"{type(error).__name__} at {place}:{where.lineno} {where.name}"


if __name__ == "__main__":
    main()
