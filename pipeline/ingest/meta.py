"""What meta.json says of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.events import EVENT_NAMES, EVENTS
from pipeline.ingest.cpu_stats import LOST, lost_by_cpu
from pipeline.ingest.trace_dat import CPUCOUNT, CPUSTAT, UNAME

if TYPE_CHECKING:
    from pipeline.ingest.convert import Conversion
    from pipeline.trace_set_parts import Symbols


def describe(conversion: Conversion, symbols: Symbols) -> dict[str, Any]:
    """The parts of meta.json that come from the recording's contents.

    Args:
        conversion: a conversion whose windows have all been made.
        symbols: the addresses of the trace set, resolved.
    """
    trace, counts, stacks = conversion.trace, conversion.counts, conversion.stacks
    release, arch = _uname(trace.text(UNAME))
    recorded = {EVENT_NAMES[code]: int(counts.events[code]) for code in range(len(EVENTS))}
    recorded = {name: count for name, count in recorded.items() if count}
    resolved = sum(name is not None for name in symbols.symbol)
    vote = conversion.vote.result()
    return {
        "kernel_release": release,
        "arch": arch,
        "cpus": _cpus(conversion),
        "page_size": trace.page_size,
        "clock": conversion.clock.name,
        "ts_unit": conversion.clock.unit,
        "first_ts": counts.first_ts,
        "last_ts": counts.last_ts,
        "events": recorded,
        "recorded_events": list(recorded),
        "fields": _fields(conversion, recorded),
        "ignored_fields": _ignored(conversion, recorded),
        "dropped": {"large_kmalloc_repeats": counts.repeats, **counts.dropped},
        "other_buffers": [buffer.name for buffer in trace.buffers if buffer.name],
        "lost": _lost(conversion),
        "stacks": {
            "events": stacks.seen,
            "unattached": stacks.seen - stacks.attached,
            "distinct": len(stacks.start) - 1,
        },
        "comms": _comms(trace.cmdlines),
        "direct_map": {
            "base": vote.base,
            "votes": vote.votes,
            "candidates": vote.candidates,
            "share": vote.share,
            "how": "vote" if vote.base is not None else "none",
        },
        "symbols": {
            "source": "kallsyms" if len(conversion.symbols) else "none",
            "resolved": resolved,
            "unresolved": len(symbols.symbol) - resolved,
        },
        "synthetic": False,
    }


def _uname(text: str) -> tuple[str | None, str | None]:
    """Release and machine: the option holds sysname, nodename, release and machine."""
    words = text.split()
    return (words[2], words[3]) if len(words) >= 4 else (None, None)


def _cpus(conversion: Conversion) -> int:
    """CPUs of the machine; numbers may have holes, and idle ones have no section of their own."""
    data = conversion.trace.option(CPUCOUNT)
    told = 0
    if data is not None and len(data) == 4:
        told = int(np.frombuffer(data, f"{conversion.trace.order}u4")[0])
    return max(told, 1, *(section.cpu + 1 for section in conversion.buffer.cpus))


def _fields(conversion: Conversion, recorded: dict[str, int]) -> dict[str, list[str]]:
    """Of each recorded event the columns its fields land in."""
    return {
        kept.event.name: list(kept.columns)
        for kept in conversion.types.kept
        if kept.event.name in recorded
    }


def _ignored(conversion: Conversion, recorded: dict[str, int]) -> dict[str, list[str]]:
    return {
        kept.format.name: kept.ignored
        for kept in conversion.types.kept
        if kept.event.name in recorded and kept.ignored
    }


def _lost(conversion: Conversion) -> dict[str, Any]:
    """Lost events per CPU, and who says so.

    The marks on sub-buffers and the statistics count the same losses, so the larger one counts.
    """
    trace = conversion.trace
    texts = [
        data.split(b"\0")[0].decode("utf-8", "replace")
        for number, data in trace.options
        if number == CPUSTAT
    ]
    said = lost_by_cpu(texts)
    marked = {cpu.cpu: cpu.lost for cpu in conversion.cpus}
    every = sorted({cpu.cpu for cpu in conversion.buffer.cpus} | set(said))
    counted = {cpu: sum(said.get(cpu, {}).values()) for cpu in every}
    return {
        "per_cpu": {str(cpu): max(counted[cpu], marked.get(cpu, 0)) for cpu in every},
        "sources": {
            "missed_events": {str(cpu): marked.get(cpu, 0) for cpu in every},
            "marks": {str(cpu.cpu): cpu.marks for cpu in conversion.cpus},
            "marks_without_a_number": {str(cpu.cpu): cpu.unknown for cpu in conversion.cpus},
            **{
                name.replace(" ", "_"): {str(cpu): said[cpu][name] for cpu in sorted(said)}
                for name in LOST
            },
        },
    }


def _comms(text: bytes) -> dict[str, str]:
    """Names of tasks by pid: lines of pid and name (tracefs saved_cmdlines)."""
    lines = text.split(b"\0")[0].decode("utf-8", "replace").splitlines()
    pairs = (line.partition(" ") for line in lines)
    return {pid: comm for pid, _, comm in pairs if pid.isdigit()}
