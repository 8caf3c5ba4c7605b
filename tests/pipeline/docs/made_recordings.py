"""The small recordings under traces/recordings, which the pages of docs/ import.

    python -m tests.pipeline.docs.made_recordings

writes them anew.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import polars as pl

from allocsim.trace.events import Ev
from tests.conftest import ROOT
from tests.oracle.trace_dat import OTHER, Cpu, Event, File, Instance

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "traces" / "recordings"
_SECOND = 10**9
_UNAME = (5, b"Linux box 6.12.0 x86_64\0")
_SYMBOLS = "0000000000001040 t seq_open\n0000000000002000 t seq_release\n"
_SHIFTED = ROOT / "traces" / "6.12p-hackbench-gt"
_ROWS = 15_000


def instances() -> bytes:
    """kmem events in the instance "mm" and, by somebody else, in "other"; none in the top one."""
    file = File(options=[_UNAME], kallsyms=_SYMBOLS)
    file.cpus = {0: Cpu([Event(_SECOND + at, file.record(OTHER, b"")) for at in range(5)])}
    pairs = [
        Event(_SECOND + 1000 * at, file.kmalloc(0xA000, 64) if at % 2 == 0 else file.kfree(0xA000))
        for at in range(8)
    ]
    file.instances = {
        "mm": Instance({0: Cpu(pairs), 1: Cpu([Event(_SECOND + 500, file.kfree(0xB000))])}, "mono"),
        "other": Instance({1: Cpu([Event(_SECOND + 600, file.kfree(0xC000))])}),
    }
    return file.encode()


def flight_recorder() -> bytes:
    """The ring buffer wrote over what CPU 1 had before 5 s; CPU 0 has all since 1 s."""
    statistics = [
        (2, f"CPU: {cpu}\nentries: 1\noverrun: {overrun}\ndropped events: 0\n\0".encode())
        for cpu, overrun in ((0, 0), (1, 1203))
    ]
    file = File(options=[_UNAME, *statistics], kallsyms=_SYMBOLS, clock="global")
    for cpu, begin in ((0, 1), (1, 5)):
        times = range(begin * _SECOND, 9 * _SECOND, _SECOND // 5)
        key = 0xA000 + 0x1000 * cpu
        events = [
            Event(ts, file.kmalloc(key, 64) if at % 2 == 0 else file.kfree(key))
            for at, ts in enumerate(times)
        ]
        file.cpus[cpu] = Cpu(events, {0: 1203} if cpu else {})
    return file.encode()


def two_clocks(folder: Path, behind: int = _SECOND // 2) -> None:
    """Object events of a shipped recording, with CPU 1's clock ``behind`` by ns, as tables."""
    folder.mkdir()
    events = pl.read_parquet(_SHIFTED / "events.parquet")
    events = events.filter(pl.col("event") <= int(Ev.KMEM_CACHE_FREE)).head(_ROWS)
    shift = pl.when(pl.col("cpu") == 1).then(behind).otherwise(0)
    for event in (Ev.KMALLOC, Ev.KFREE, Ev.KMEM_CACHE_ALLOC, Ev.KMEM_CACHE_FREE):
        rows = events.filter(pl.col("event") == int(event)).with_columns(ts=pl.col("ts") - shift)
        columns = {
            "common_ts": pl.col("ts").cast(pl.UInt64),
            "common_cpu": pl.col("cpu").cast(pl.UInt32),
            "common_flags": pl.col("irq_flags"),
            "common_pid": pl.col("pid"),
            "call_site": pl.col("call_site"),
            "ptr": pl.col("ptr"),
        }
        if event in (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC):
            names = ("bytes_req", "bytes_alloc", "gfp_flags", "node")
            columns |= {name: pl.col(name) for name in names}
        rows.sort("ts", maintain_order=True).select(**columns).write_parquet(
            folder / f"{event.name.lower()}.parquet", compression="zstd", compression_level=19
        )
    shutil.copyfile(_SHIFTED / "uname", folder / "uname")


def write(folder: Path) -> None:
    """Write all that are made by code into an existing folder."""
    (folder / "instances.dat").write_bytes(instances())
    (folder / "flight-recorder.dat").write_bytes(flight_recorder())
    two_clocks(folder / "two-clocks")


if __name__ == "__main__":
    shutil.rmtree(FOLDER / "two-clocks", ignore_errors=True)
    write(FOLDER)
