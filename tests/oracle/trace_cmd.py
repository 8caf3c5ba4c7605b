"""What trace-cmd makes of a recording: an oracle for the reader of trace.dat files."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

# Latency format: eight characters of the task's name, pid, CPU, five flags, time, event, fields.
# Between colons, for patterns take long on long lines.
_HEAD = r"^-(?P<pid>\d+)\s+(?P<cpu>\d+)(?P<flags>[^\s\d]..{3})\s+(?P<s>\d+)(?:\.(?P<ns>\d{9}))?$"
_EVENT = r"^ (\w+)$"
_FRAME = r"^=> (?P<symbol>.*) \((?P<address>[0-9a-f]+)\)$"


@dataclass(frozen=True)
class Report:
    """The events of a recording, in trace-cmd's order, as text.

    Attributes:
        events: number, pid, cpu, flags (five characters), ts (ns), event, fields; one row an event,
            kernel_stack too.
        frames: number (of the kernel_stack), symbol, address (hexadecimal); innermost first.
    """

    events: pl.DataFrame
    frames: pl.DataFrame


def report(recording: Path, scratch: Path) -> Report:
    """Run trace-cmd on a recording, raw fields for all but stacks."""
    out = scratch / "report.txt"
    with out.open("wb") as file:
        command = ["trace-cmd", "report", "-t", "-l", "-r", "kmem", "-r", "page_ref"]
        subprocess.run(
            [*command, str(recording)], stdout=file, stderr=subprocess.DEVNULL, check=True
        )
    lines = pl.read_csv(
        out, has_header=False, separator="\x01", quote_char=None, new_columns=["line"]
    )
    out.unlink()
    text = pl.col("line")
    lines = lines.with_columns(is_frame=text.str.starts_with("=> "))
    heads = lines.with_columns(is_head=~pl.col("is_frame") & text.str.contains(r"^.{8}-\d"))
    numbered = heads.with_columns(number=pl.col("is_head").cum_sum().cast(pl.Int64) - 1)
    events = numbered.filter("is_head").select(
        "number",
        text.str.slice(8).str.splitn(":", 3).struct.rename_fields(["head", "event", "fields"]),
    )
    events = events.unnest("line").select(
        "number",
        pl.col("head").str.extract_groups(_HEAD),
        pl.col("event").str.extract(_EVENT),
        "fields",
    )
    events = events.unnest("head").select(
        "number",
        pl.col("pid").cast(pl.Int32),
        pl.col("cpu").cast(pl.Int16),
        "flags",
        # Clocks that count something else than ns (x86-tsc, counter) have no point.
        pl.when(pl.col("ns").is_null())
        .then(pl.col("s").cast(pl.Int64))
        .otherwise(pl.col("s").cast(pl.Int64) * 1_000_000_000 + pl.col("ns").cast(pl.Int64)),
        "event",
        "fields",
    )
    assert events["event"].null_count() == 0
    frames = numbered.filter("is_frame").select("number", "line")
    told = frames.select("line").unique().with_columns(text.str.extract_groups(_FRAME).alias("as"))
    frames = frames.join(told, on="line", how="left", maintain_order="left")
    return Report(events.rename({"s": "ts"}), frames.select("number", "as").unnest("as"))


def value(fields: pl.Series, name: str) -> pl.Series:
    """One field of raw events: the text behind ``name=``."""
    return (" " + fields).str.extract(rf" {re.escape(name)}=(\S*)")
