"""Text that looks like tracefs's and is another tool's: which, and what to import instead.

trace-cmd prints numbers, pointers and names otherwise than the kernel does, and with other
defaults (libtraceevent src/event-parse.c:tep_print_event), so half of its lines would be read.
"""

from __future__ import annotations

import re

from allocsim.trace.events import EVENTS

_NAMES = "|".join(sorted({name for event in EVENTS for name in (event.name, *event.aliases)}))
_SYSTEMS = "|".join(sorted({event.system for event in EVENTS}))
_LINES, _COLUMNS = 100, 200  # of a file's beginning, which tell
#: What to say of a text of trace-cmd.
REPORT = "what trace-cmd report prints, which is not read; import the trace.dat itself"
_SCRIPT = "what perf script prints, which is not read; import the perf.data itself"
# trace-cmd says how many CPUs there are, fills an event's name to 20 columns, and with -t prints
# nanoseconds; perf says the event's system.
_SIGNS = (
    (re.compile(r"^cpus=\d{1,6}$"), REPORT),
    (re.compile(rf"\s\d{{1,12}}\.\d{{6,9}}: (?:{_NAMES}): {{2,99}}\(?\w"), REPORT),
    (re.compile(rf"\s\d{{1,12}}\.\d{{9}}: (?:{_NAMES}): "), REPORT),
    (re.compile(rf"\s\d{{1,12}}\.\d{{6,9}}: +(?:{_SYSTEMS}):(?:{_NAMES}): "), _SCRIPT),
)


def other_tool(head: bytes) -> str | None:
    """What a file is that begins with ``head``, if another tool printed it; else None."""
    for line in head.decode("utf-8", "replace").splitlines()[:_LINES]:
        for sign, what in _SIGNS:
            if sign.search(line[:_COLUMNS]):
                return what
    return None
