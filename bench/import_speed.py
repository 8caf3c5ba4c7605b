"""How fast `allocsim import` is, against the recorder's own report of the same file, in turn.

    python bench/import_speed.py [RECORDING [RUNS]]

RECORDING is a folder with a recording, or the name of one among those that ALLOCSIM_RECORDINGS
names; by default 7.3-churn-4cpu (trace.dat, 1.57 million events). A trace.dat is compared with
`trace-cmd report`, a perf.data with `perf script`, tracefs's text (repeated up to 40 MB, as if its
events had happened later and later) with a plain loop over its lines in Python, the parser of the
tests. Start-up is what the interpreter and the modules
an import needs take when nothing is imported; it is taken off for the first ratio, not for the
second. What is compressed as a whole is decompressed beforehand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import in_turn, machine, median

from tests.conftest import RECORDINGS, ROOT

LOOP = """
import sys
from pathlib import Path
from tests.oracle.ftrace_text import parse
parse(Path(sys.argv[1]).read_text("utf-8", "replace"))
"""
# By the recording's name: what its rival is called, and its command.
RIVALS = {
    "trace.dat": ("trace-cmd report", ["trace-cmd", "report"]),
    "perf.data": ("perf script", ["perf", "script", "-i"]),
    "ftrace.txt": ("a loop over lines", [sys.executable, "-c", LOOP]),
}
TEXT_BYTES = 40 << 20
TIME = re.compile(rb"(?<=\] ..... )( *)(\d+)(?=\.\d{6}: )")


def main(folder: Path, runs: int) -> None:
    """Measure, and print one line a figure."""
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        name, file = plain(folder, Path(scratch))
        said, rival = RIVALS[name]
        start_up = "import pipeline.cli, pipeline.ingest.recording"
        made = Path(scratch) / "made"
        allocsim = [sys.executable, "-m", "pipeline", "import", "--force", "-o", str(made)]
        results = in_turn(
            {
                said: [*rival, str(file)],
                "allocsim import": [*allocsim, str(file.parent)],
                "start-up": [sys.executable, "-c", start_up],
            },
            runs,
        )
        meta = json.loads((made / file.parent.name / "meta.json").read_text())
    events = sum(meta["events"].values())
    for command, measured in results.items():
        wall, cpu = median(measured, "wall_s"), median(measured, "cpu_s")
        peak = median(measured, "peak_mib")
        print(f"{command}: {wall:.3f} s, {cpu:.3f} s of CPU, {peak:.0f} MiB at the most")
    theirs, ours, start = (
        median(results[command], "wall_s") for command in (said, "allocsim import", "start-up")
    )
    print(f"{events} events of {folder.name}; median of {runs} runs in turn; {machine()}")
    print(f"import without start-up: {theirs / (ours - start):.1f} times the speed of {said},")
    print(f"    {events / (ours - start) / 1e6:.2f} million events/s")
    print(f"import as a process: {theirs / ours:.1f} times the speed of {said}")


def plain(folder: Path, scratch: Path) -> tuple[str, Path]:
    """Kind of the folder's recording, and the file; a compressed one is written to ``scratch``."""
    for name in RIVALS:
        if (folder / name).is_file():
            return name, folder / name
        packed = folder / f"{name}.zst"
        if packed.is_file():
            target = scratch / folder.name / name
            target.parent.mkdir()
            with (
                pa.input_stream(str(packed), compression="zstd") as source,
                target.open("wb") as out,
            ):
                shutil.copyfileobj(source, out)
            if name == "ftrace.txt":
                lengthen(target)
            return name, target
    raise SystemExit(f"{folder}: no recording that can be compared")


def lengthen(file: Path) -> None:
    """Repeat a text, each time some seconds later."""
    text = file.read_bytes()
    head, _, body = text.partition(b"FUNCTION\n")
    times = [int(found[2]) for found in TIME.finditer(body)]
    step = max(times) - min(times) + 1
    with file.open("wb") as out:
        out.write(head + b"FUNCTION\n")
        for turn in range(max(TEXT_BYTES // len(body), 1)):
            out.write(TIME.sub(lambda found, by=turn * step: b"%5d" % (int(found[2]) + by), body))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        RECORDINGS / (given[0] if given else "7.3-churn-4cpu"),
        int(given[1]) if len(given) > 1 else 5,
    )
