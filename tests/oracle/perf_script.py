"""What `perf script` makes of a recording: an oracle for the reader of perf.data files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

_LINE = (
    r"^\s*(?P<pid>-?\d+)\s+\[(?P<cpu>\d+)\]\s+(?P<s>\d+)\.(?P<ns>\d{9}):\s+"
    r"kmem:(?P<event>\w+):\s(?P<fields>.*)$"
)
# Of a pipe's recording perf prints symbols whether it is asked to or not.
_FRAME = r"^\s+([0-9a-f]+)(?: [^\[\]]*| \[unknown\])?$"
_KERNEL = r"^ffffffff[0-9a-f]{8}$"


@dataclass(frozen=True)
class Script:
    """The events of a recording, in perf's order, as text.

    Attributes:
        events: number, ts (ns), cpu, pid, event, fields.
        frames: number (of the event), address: the kernel's frames, innermost first.
    """

    events: pl.DataFrame
    frames: pl.DataFrame


def script(recording: Path, scratch: Path) -> Script:
    """Run perf script on a recording."""
    out = scratch / "script.txt"
    with out.open("wb") as file:
        command = ["perf", "script", "--ns", "-F", "tid,cpu,time,event,trace,ip", "-i"]
        subprocess.run(
            [*command, str(recording)], stdout=file, stderr=subprocess.DEVNULL, check=True
        )
    lines = pl.read_csv(
        out, has_header=False, separator="\x01", quote_char=None, new_columns=["line"]
    )
    out.unlink()
    text = pl.col("line")
    lines = lines.filter(text.str.contains(r"\S")).with_columns(frame=text.str.extract(_FRAME))
    is_head = pl.col("frame").is_null()
    lines = lines.with_columns(number=is_head.cum_sum().cast(pl.Int64) - 1)
    heads = lines.filter(is_head).select("number", text.str.extract_groups(_LINE).alias("g"))
    events = heads.unnest("g").select(
        "number",
        (pl.col("s").cast(pl.Int64) * 10**9 + pl.col("ns").cast(pl.Int64)).alias("ts"),
        pl.col("cpu").cast(pl.Int16),
        pl.col("pid").cast(pl.Int32),
        "event",
        "fields",
    )
    assert events["event"].null_count() == 0
    frames = lines.filter(pl.col("frame").str.contains(_KERNEL))
    return Script(events, frames.select("number", address="frame"))
