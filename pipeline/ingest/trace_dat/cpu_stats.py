"""What the ring buffer counted of itself, per CPU, from a recording's CPUSTAT options."""

from __future__ import annotations

import re

from pipeline.untrusted import must_be_number

_LINE = re.compile(r"^[ \t]*([A-Za-z ]+):[ \t]*(\d+)[ \t]*$", re.MULTILINE)
# What precedes those of an instance (trace-cmd 3.1 tracecmd/trace-record.c:add_buffer_stat).
_INSTANCE = "Buffer: "
_MAX_CPU = 1 << 16
#: kernel/trace/trace.c:tracing_stats_read (7.2): events overwritten before they were read, events
#: that found no room because an interrupted writer held it, events that found the buffer full.
LOST = ("overrun", "commit overrun", "dropped events")


def lost_by_cpu(texts: list[str], instance: str, where: str) -> dict[int, dict[str, int]]:
    """Per CPU, the counters of lost events; texts without a CPU's number are passed over.

    Args:
        texts: the texts of all instances, in the file's order: the top one's come first.
        instance: whose counters; "" for the top one.
        where: the file's name, for errors.

    Raises:
        InputError: a counter is no number that can be.
    """
    out: dict[int, dict[str, int]] = {}
    of = ""
    for text in texts:
        heading = text.strip()
        if heading.startswith(_INSTANCE):
            of = heading.removeprefix(_INSTANCE)
        if of != instance:
            continue
        found = {name.strip(): value for name, value in _LINE.findall(text)}
        if "CPU" in found:
            cpu = must_be_number(
                found["CPU"], f"{where}: the CPU of a CPU's statistics", most=_MAX_CPU
            )
            out[cpu] = {
                name: must_be_number(
                    found.get(name, "0"), f"{where}: {name!r} of CPU {cpu}'s statistics"
                )
                for name in LOST
            }
    return out
