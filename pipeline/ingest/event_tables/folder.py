"""Folders of Parquet files, one an event: which is one, and what is said beside the events.

LISA's trace-dump writes EVENT.parquet with the event's fields as columns, common_ts (ns) and
common_cpu, and a meta.json. Source: github.com/ARM-software/lisa, bb5ff50 of 2026-08-12,
tools/trace-parser/trace-tools/src/lib/tracedat/parquet/dump.rs:make_schemas, :Metadata. Frames that
LISA's Python hands out have Time, __cpu, __pid and __comm instead (lisa/trace.py:
TraceDumpTraceParser._fixup_df, TraceParserBase.parse_event).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocsim.trace.events import EVENTS
from pipeline.errors import InputError
from pipeline.trace_set.parts import CPUS, PIDS
from pipeline.trace_set.side_files import side_bytes
from pipeline.untrusted import number, shown

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".parquet"
META = "meta.json"
STACK, USER_STACK = "kernel_stack", "user_stack"
#: Names of events whose tables are read.
READ = (*(name for event in EVENTS for name in (event.name, *event.aliases)), STACK, USER_STACK)
_LONGEST_META = 1 << 28  # bytes: it has all symbols of the kernel
_NAMED_AS_EVENT = 80  # bytes of an event's name


@dataclass(frozen=True, slots=True)
class DumpMeta:
    """What trace-dump's meta.json says.

    Attributes:
        cpus: CPUs of the machine.
        clock: the name of the clock; "" if it does not say.
        comms: names of tasks by pid.
        kallsyms: the kernel's symbols, as /proc/kallsyms has them.
        errors: of each event the first error that trace-dump had with it.
    """

    cpus: int = 1
    clock: str = ""
    comms: dict[str, str] = field(default_factory=dict)
    kallsyms: bytes = b""
    errors: dict[str, str] = field(default_factory=dict)


def tables_in(folder: Path) -> dict[str, Path]:
    """The tables of a folder by the event's name; empty where none is of an event that is kept.

    Links out of the folder are not followed.
    """
    if not folder.is_dir():
        return {}
    found = {
        path.name.removesuffix(SUFFIX): path
        for path in sorted(folder.glob(f"*{SUFFIX}"))
        if path.is_file() and path.resolve().is_relative_to(folder.resolve())
    }
    found = {name: path for name, path in found.items() if len(name) <= _NAMED_AS_EVENT}
    return found if any(name in READ for name in found) else {}


def read_dump_meta(folder: Path) -> DumpMeta:
    """What the meta.json of a folder says; nothing where it has none.

    Raises:
        InputError: it is not as trace-dump writes it.
    """
    path = folder / META
    data = side_bytes(path, _LONGEST_META)
    if data is None:
        return DumpMeta()
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why[:200]})") from None
    if not isinstance(said, dict):
        raise InputError(f"{path}: not the meta.json of trace-dump: not a table of JSON")
    cpus = said.get("cpus-count", 1)
    if not isinstance(cpus, int) or isinstance(cpus, bool) or not 1 <= cpus <= CPUS:
        raise InputError(f"{path}: cpus-count is {shown(str(cpus)[:80])}")
    comms = _pairs(said.get("pid-comms"), path, "pid-comms")
    names = {str(pid): name for pid, name in comms if isinstance(name, str)}
    if any(number(pid, most=PIDS) is None for pid in names):
        raise InputError(f"{path}: pid-comms names a task by something else than its pid")
    clock = said.get("trace-clock")
    return DumpMeta(
        cpus,
        clock if isinstance(clock, str) and clock.isprintable() else "",
        names,
        _kallsyms(_pairs(said.get("symbols-address"), path, "symbols-address")),
        _errors(said.get("events-info")),
    )


def _pairs(said: object, path: Path, name: str) -> list[tuple[Any, Any]]:
    if said is None:
        return []
    if not isinstance(said, list) or not all(
        isinstance(each, list) and len(each) == 2 for each in said
    ):
        raise InputError(f"{path}: {name} is not a list of pairs")
    return [(one, other) for one, other in said]


def _kallsyms(symbols: list[tuple[Any, Any]]) -> bytes:
    lines = []
    for address, names in symbols:
        if isinstance(address, int) and 0 <= address < 1 << 64 and isinstance(names, list):
            texts = [name for name in names if isinstance(name, str) and name.split() == [name]]
            lines += [f"{address:016x} t {name}\n" for name in texts]
    return "".join(sorted(lines)).encode("utf-8", "replace")


def _errors(said: object) -> dict[str, str]:
    if not isinstance(said, list):
        return {}
    errors = {}
    for each in said:
        if isinstance(each, dict) and isinstance(each.get("event"), str):
            first = next(iter(each.get("errors") or ()), None)
            if isinstance(first, str):
                errors[each["event"]] = shown(first)
    return errors
