"""Reading what tracefs prints, the plain way: line by line, with regular expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(
    r"^(?P<comm>.{16})-(?P<pid>\d+) +(?:\( *(?:\d+|-+)\) )?\[(?P<cpu>\d+)\] "
    r"(?:(?P<flags>[^ \d].{3,4}) )? *(?P<s>\d+)\.(?P<us>\d{6}): (?P<text>.*)$"
)
_EVENT = re.compile(r"^(?P<event>\w+): (?P<fields>.*)$")
_VALUE = re.compile(r"(?:^| )((?:zone |upper_zone |watermark )?\w+)=")
_FRAME = re.compile(r"^ => (.*)$")


@dataclass
class Event:
    """An event: its fields by their names in the text, as text, and its stack."""

    ts: int
    cpu: int
    pid: int
    flags: str
    event: str
    fields: dict[str, str]
    stack: list[str] | None = None


@dataclass
class Parsed:
    """All events in the order of the text, and what is not of them."""

    events: list[Event] = field(default_factory=list)
    loose_stacks: int = 0
    other: list[str] = field(default_factory=list)


def parse(text: str) -> Parsed:
    """Read a text."""
    out = Parsed()
    # The last line of each CPU and context (an interrupt's lines lie between those of a task), and
    # the stacks with the lines before them.
    last: dict[tuple[int, str], Event | None] = {}
    stacks: list[tuple[Event | None, list[str]]] = []
    stack: list[str] | None = None
    for line in text.split("\n"):
        if match := _FRAME.match(line):
            if stack is not None:
                stack.append(match[1].strip())
            continue
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            out.other.append(line)
            continue
        cpu = int(match["cpu"])
        context = (cpu, (match["flags"] or "...")[2])
        if match["text"] == "<stack trace>":
            stack = []
            before = last.get(context)
            mine = before if before and before.pid == int(match["pid"]) else None
            stacks.append((mine, stack))
            last[context] = None
            continue
        found = _EVENT.match(match["text"])
        if found is None:
            out.other.append(line)
            continue
        ts = int(match["s"]) * 10**9 + int(match["us"]) * 1000
        flags = match["flags"] or ""
        event = Event(ts, cpu, int(match["pid"]), flags, found["event"], _fields(found["fields"]))
        out.events.append(event)
        last[context] = event
    for before, frames in stacks:
        if before is not None and _is_of(frames, before.event):
            before.stack = frames
        else:
            out.loose_stacks += 1
    return out


def _is_of(frames: list[str], event: str) -> bool:
    """Whether a stack begins with the probe of this event (those with a class of their own)."""
    probe = re.match(r"trace_event_raw_event_(\w+)", frames[0] if frames else "")
    return probe is None or probe[1] == event


def _fields(text: str) -> dict[str, str]:
    names = list(_VALUE.finditer(text))
    ends = [*(match.start() for match in names[1:]), len(text)]
    return {
        match[1]: text[match.end() : end].rstrip() for match, end in zip(names, ends, strict=True)
    }
