"""What the ring buffer counted of itself, per CPU, from a recording's CPUSTAT options."""

from __future__ import annotations

import re

_LINE = re.compile(r"^\s*([A-Za-z ]+):\s*(\d+)\s*$", re.MULTILINE)
#: kernel/trace/trace.c:tracing_stats_read (7.2): events overwritten before they were read, events
#: that found no room because an interrupted writer held it, events that found the buffer full.
LOST = ("overrun", "commit overrun", "dropped events")


def lost_by_cpu(texts: list[str]) -> dict[int, dict[str, int]]:
    """Per CPU, the counters of lost events; texts without a CPU's number are passed over."""
    out: dict[int, dict[str, int]] = {}
    for text in texts:
        counters = {name.strip(): int(value) for name, value in _LINE.findall(text)}
        if "CPU" in counters:
            out[counters["CPU"]] = {name: counters.get(name, 0) for name in LOST}
    return out
