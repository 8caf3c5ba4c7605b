"""What a trace set holds besides its events, and how it is told from other folders.

Apart from pipeline.trace_set so that whoever only writes one need not wait for a Parquet reader.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.tables import I8, U8

SCHEMA_VERSION = 1
SNAPSHOTS = "snapshots"  #: the folder that has what /proc and /sys said, "before" and "after"
CPUS = 8192  #: most that a kernel can have (NR_CPUS, arch/x86/Kconfig)
PIDS = 1 << 22  #: PID_MAX_LIMIT (include/linux/threads.h, 7.2)
PAGE_SIZES = (1 << 12, 1 << 14, 1 << 16)  #: that a kernel can have

# What meta.json must hold, and of which type; it may hold more. A list of one type stands for an
# array or an object whose values are all of that type.
_META = {
    "name": str,
    "source": {"format": str, "version": int, "files": [str], "sha256": str},
    "kernel_release": str | None,
    "arch": str | None,
    "cpus": int,
    "page_size": int,
    "clock": str,
    "ts_unit": str,
    "first_ts": int,
    "last_ts": int,
    "events": [int],
    "recorded_events": [str],
    "dropped": [int],
    "lost": {"per_cpu": [int], "sources": {"marks_without_a_number": [int]}},
    "stacks": {"events": int, "unattached": int},
    "comms": [str],
    "direct_map": {
        "base": int | None,
        "votes": int,
        "candidates": int,
        "share": float | int,
        "how": str,
    },
    "symbols": {"resolved": int, "unresolved": int},
    "snapshots": [str],
}


@dataclass(frozen=True, slots=True)
class Stacks:
    """Every distinct kernel stack.

    Attributes:
        start: i8, length stacks + 1: stack ``s`` is ``address[start[s]:start[s + 1]]``.
        address: u8, the frames' addresses, innermost first.
    """

    start: I8
    address: U8

    def __len__(self) -> int:
        return len(self.start) - 1

    def frames(self, stack: int) -> U8:
        """The addresses of one stack, innermost first."""
        return self.address[self.start[stack] : self.start[stack + 1]]


@dataclass(frozen=True, slots=True)
class Symbols:
    """Code addresses and the symbols they lie in.

    Attributes:
        address: u8, ascending: every call site and stack address of the trace set.
        symbol: the symbol an address lies in; None where no symbol is known.
        offset: i8, bytes from the symbol's beginning; 0 where no symbol is known.
        module: the module the symbol belongs to; None for the kernel itself.
    """

    address: U8
    symbol: list[str | None]
    offset: I8
    module: list[str | None]

    def name(self, address: int) -> str | None:
        """The symbol ``address`` lies in; None where it is not known."""
        at = int(np.searchsorted(self.address, np.uint64(address)))
        if at == len(self.address) or int(self.address[at]) != address:
            return None
        return self.symbol[at]


def is_trace_set(path: Path) -> bool:
    """Whether the folder looks like a trace set (rather than a recording)."""
    return (path / "events.parquet").is_file() or (path / "meta.json").is_file()


def read_meta(folder: Path) -> dict[str, Any]:
    """What meta.json in the trace set ``folder`` says, of a schema version that can be read.

    Raises:
        InputError: there is none, or one of another schema version.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(f"{folder}: not a trace set (it has no meta.json)")
    try:
        meta = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why})") from None
    if not isinstance(meta, dict) or "schema_version" not in meta:
        raise InputError(f"{path}: not the meta.json of a trace set (it has no schema_version)")
    if meta["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {meta['schema_version']}, this allocsim reads version "
            f"{SCHEMA_VERSION}; import the recording again"
        )
    return meta


def check_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Refuse a meta.json that lacks something an import writes.

    Raises:
        InputError: names what is missing, or of another type than it should be.
    """
    fault = _fault(meta, _META, "")
    if not fault and not all(pid.isdecimal() for pid in meta["comms"]):
        fault = "comms names a task by something else than its pid"
    fault = fault or _wrong_value(meta)
    if fault:
        raise InputError(f"{folder / 'meta.json'}: {fault}; import the recording again")


def _wrong_value(meta: dict[str, Any]) -> str | None:
    """Which value cannot be; None if all can."""
    if not 1 <= meta["cpus"] <= CPUS:
        return f"cpus is {meta['cpus']}"
    if meta["page_size"] not in PAGE_SIZES:
        return f"page_size is {meta['page_size']}"
    if not -(1 << 62) < meta["first_ts"] <= meta["last_ts"] < 1 << 62:
        return f"first_ts is {meta['first_ts']}, last_ts {meta['last_ts']}"
    if not 0 <= (meta["direct_map"]["base"] or 0) < 1 << 64:
        return f"direct_map.base is {meta['direct_map']['base']}"
    counts = (meta["events"], meta["dropped"], meta["lost"]["per_cpu"])
    if not all(0 <= count < 1 << 62 for each in counts for count in _values(each)):
        return "a number of events is below 0, or too large"
    return None


def _fault(found: object, wanted: object, name: str) -> str | None:
    """What is wrong with a part of meta.json; None if nothing is."""
    if not isinstance(wanted, dict):
        return None if _is(found, wanted) else f"{name} is {found!r}"
    if not isinstance(found, dict):
        return f"{name} is {found!r}"
    for key, part in wanted.items():
        where = f"{name}.{key}".removeprefix(".")
        if key not in found:
            return f"{where} is missing"
        fault = _fault(found[key], part, where)
        if fault:
            return fault
    return None


def _is(found: object, wanted: object) -> bool:
    """Whether a value is of a type, or all in it are of the one type in a list."""
    if isinstance(wanted, type | UnionType):
        return isinstance(found, wanted)
    if not isinstance(wanted, list) or not isinstance(found, dict | list):
        return False
    return all(isinstance(value, wanted[0]) for value in _values(found))


def _values(found: dict[str, Any] | list[Any]) -> list[Any]:
    return list(found.values()) if isinstance(found, dict) else found
