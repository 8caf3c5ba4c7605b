"""What meta.json of a trace set must hold: checked once, when the trace set is opened."""

from __future__ import annotations

import json
from types import UnionType
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.trace_set.parts import CPUS, PAGE_SIZES, PIDS, SCHEMA_VERSION
from pipeline.untrusted import number, shown

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 1 << 26  # bytes: the names of all tasks that a kernel can have are less
_ALL = "*"
_TEXT = str | None
_NUMBER = int | None

# Every key and the type of its value; a "?" behind it: it may be missing; "*": the same for all
# keys there are. A list of one type stands for an array whose values are all of that type. What is
# not named here nobody reads.
_META: dict[str, Any] = {
    "name": str,
    "source": {"format": str, "version": int, "files": [str], "sha256": str},
    "kernel_release": _TEXT,
    "arch": _TEXT,
    "cpus": int,
    "page_size": int,
    "clock": str,
    "ts_unit": str,
    "first_ts": int,
    "last_ts": int,
    "events": {_ALL: int},
    "recorded_events": [str],
    "fields?": {_ALL: [str]},
    "dropped": {_ALL: int},
    "lost": {"per_cpu": {_ALL: int}, "sources": {"marks_without_a_number": {_ALL: int}}},
    "coverage?": {
        "cpus": {
            _ALL: {
                "events": int,
                "first_ts": int,
                "last_ts": int,
                "longest_gap": int,
                "overwritten": _NUMBER,
                "late": _TEXT,
                "early": _TEXT,
            }
        },
    },
    "stacks": {"events": int, "unattached": int, "distinct?": int, "of_others?": int},
    "comms": {_ALL: str},
    "direct_map": {
        "base": _NUMBER,
        "votes": int,
        "candidates": int,
        "share": float | int,
        "how": str,
    },
    "symbols": {"resolved": int, "unresolved": int},
    "snapshots": [str],
    "two_clocks?": {"says": str},
    "lacks?": [str],
    "probes?": {_ALL: int},
    "beside?": {"missed": [str]},
    "synth?": {"seed": int, "changes": {_ALL: int | float | str}},
}


def read_meta(folder: Path) -> dict[str, Any]:
    """What meta.json in the trace set ``folder`` says, of a schema version that can be read.

    Raises:
        InputError: there is none, or one of another schema version.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(f"{folder}: not a trace set (it has no meta.json)")
    try:
        size = path.stat().st_size
        if size > _LONGEST:
            raise InputError(f"{path}: {size} bytes are not believed, {_LONGEST} are the most")
        meta = json.loads(path.read_text("utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why})") from None
    if not isinstance(meta, dict) or "schema_version" not in meta:
        raise InputError(f"{path}: not the meta.json of a trace set (it has no schema_version)")
    if meta["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {_said(meta['schema_version'])}, this allocsim reads "
            f"version {SCHEMA_VERSION}; import the recording again"
        )
    return meta


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def check_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Refuse a meta.json that lacks something an import writes.

    Raises:
        InputError: names what is missing, or of another type than it should be.
    """
    fault = _fault(meta, _META, "") or _wrong_value(meta)
    if fault:
        raise InputError(f"{folder / 'meta.json'}: {fault}; import the recording again")


def _wrong_value(meta: dict[str, Any]) -> str | None:
    """Which value cannot be; None if all can."""
    first, last = meta["first_ts"], meta["last_ts"]
    counts = (meta["events"], meta["dropped"], meta["lost"]["per_cpu"])
    covered = meta.get("coverage", {"cpus": {}})["cpus"]
    right = {
        f"cpus is {meta['cpus']}": 1 <= meta["cpus"] <= CPUS,
        f"page_size is {meta['page_size']}": meta["page_size"] in PAGE_SIZES,
        f"first_ts is {first}, last_ts {last}": -(1 << 62) < first <= last < 1 << 62,
        f"direct_map.base is {meta['direct_map']['base']}": (meta["direct_map"]["base"] or 0) >= 0,
        "a number of events is below 0, or too large": all(
            0 <= count < 1 << 62 for each in counts for count in each.values()
        ),
        "comms names a task by something else than its pid": all(
            number(pid, most=PIDS) is not None for pid in meta["comms"]
        ),
        "coverage.cpus has something else than a CPU": all(
            number(cpu, most=CPUS - 1) is not None for cpu in covered
        ),
    }
    return next((fault for fault, fine in right.items() if not fine), None)


def _fault(found: object, wanted: Any, name: str) -> str | None:  # noqa: ANN401 - as _META has it
    """What is wrong with a part of meta.json; None if nothing is."""
    if not isinstance(wanted, dict):
        return None if _is(found, wanted) else f"{name} is {_said(found)}"
    if not isinstance(found, dict):
        return f"{name} is {_said(found)}"
    if _ALL in wanted:
        wanted = dict.fromkeys(found, wanted[_ALL])
    for key, part in wanted.items():
        plain = key.removesuffix("?")
        where = f"{name}.{plain}".removeprefix(".")
        if plain not in found:
            if plain == key:
                return f"{where} is missing"
            continue
        fault = _fault(found[plain], part, where)
        if fault:
            return fault
    return None


def _said(found: object) -> str:
    """A value as an error shows it."""
    size = abs(found).bit_length() if isinstance(found, int) else 0
    if size > 64:
        return f"a number of {size} bits"
    return str(found) if isinstance(found, int) else shown(str(found))


def _is(found: object, wanted: Any) -> bool:  # noqa: ANN401 - as _META has it
    """Whether a value is of a type, or all in it are of the one type in a list."""
    if isinstance(wanted, type | UnionType):
        if isinstance(found, bool) or (isinstance(found, int) and abs(found) >= 1 << 64):
            return False
        return isinstance(found, wanted)
    return isinstance(found, list) and all(_is(value, wanted[0]) for value in found)
