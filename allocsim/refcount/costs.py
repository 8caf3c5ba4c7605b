"""What an operation on a reference count takes: tables of ranges, as data (TOML).

R7.1: an uncontended locked instruction takes a few ns, a line that another CPU wrote last many
times that. A table gives, for each operation and place of the line, a low and a high figure with
its source; nothing here is one bare number. What a recording tells is which CPU had the page
before, so the line of an operation is at one of PLACES; of some only the ends of a range of places
are known, and the range covers them all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources

from allocsim.toml_data.table import TomlTable
from allocsim.toml_data.text import toml

#: Operations that a table tells of (R1.7: S and Z; A; T; R; U and F).
OPERATIONS = ("store", "lock_add", "dec_and_test", "xadd", "cmpxchg")
LOCKED = "locked"  #: any but a store: which one is not known
MEASURED_PLACES = ("own", "near", "remote")
#: Where a line was last written, as far as a recording tells, and the places that may mean.
PLACES: dict[str, tuple[str, ...]] = {
    "own": ("own",),  # by the CPU itself
    "other": ("near", "remote"),  # by another CPU of the package: it may share a cache or not
    "remote": ("remote",),  # by a CPU of another package
    "unknown": MEASURED_PLACES,  # nothing was recorded of the page before
}
_KNOWN = ("published", "estimated", "measured")
_NS = (Decimal(0), Decimal(10**6))


@dataclass(frozen=True, slots=True)
class Range:
    """What an operation takes.

    Args:
        low: at least, ns.
        high: at most, ns.
        known: published, estimated or measured.
        source: by whom, or from what.
    """

    low: float
    high: float
    known: str
    source: str


@dataclass(frozen=True, slots=True)
class CostTable:
    """A table as its file has it.

    Args:
        name: what it is called in results.
        doc: one sentence.
        source: "shipped", or the file it was read from.
        arch: machines it is for, as uname -m says.
        ranges: by operation and measured place.
    """

    name: str
    doc: str
    source: str
    arch: tuple[str, ...]
    ranges: dict[tuple[str, str], Range]


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation takes at a place a recording tells of: a row of ``cost_ops``."""

    operation: str
    place: str
    ns_low: float
    ns_high: float
    known: str
    source: str


def cost_ops(costs: CostTable) -> list[Cost]:
    """Every operation, any locked one among them, at every place a recording can tell of."""
    rows = []
    for operation in (*OPERATIONS, LOCKED):
        of = OPERATIONS[1:] if operation == LOCKED else (operation,)
        for place, measured in PLACES.items():
            ranges = [costs.ranges[each, where] for each in of for where in measured]
            known = [each.known for each in ranges]
            rows.append(
                Cost(
                    operation,
                    place,
                    min(each.low for each in ranges),
                    max(each.high for each in ranges),
                    known[0] if len(set(known)) == 1 else "mixed",
                    "; ".join(dict.fromkeys(each.source for each in ranges)),
                )
            )
    return rows


def parse_costs(text: str, source: str) -> CostTable:
    """Read a cost table from the text of its file.

    Args:
        text: TOML; docs/costs.md and the shipped files show the form.
        source: the file's name, for messages and results.

    Raises:
        DataFileError: no TOML, a key that is missing or unknown, or a value that will not do.
    """
    top = TomlTable.parse(text, source, "doc", "arch", *OPERATIONS)
    ranges = {}
    for operation in OPERATIONS:
        places = top.table(operation)
        places.only(*MEASURED_PLACES)
        for place in MEASURED_PLACES:
            if place not in places:
                places.refuse(None, f"the table {place} is missing: give it low and high, in ns")
            ranges[operation, place] = _range(places.table(place))
    arch = top.texts("arch")
    return CostTable(top.text("name"), top.text("doc", ""), source, arch, ranges)


def _range(row: TomlTable) -> Range:
    row.only("low", "high", "known", "source")
    low, high = (float(row.number(key, *_NS, what="ns, a number")) for key in ("low", "high"))
    if low > high:
        row.refuse(None, f"low = {low:g} is above high = {high:g}; both are in ns")
    return Range(low, high, row.choice("known", _KNOWN, "estimated"), row.text("source", ""))


@functools.cache
def shipped_costs() -> dict[str, CostTable]:
    """The tables that come with allocsim, by name."""
    folder = resources.files("allocsim.refcount") / "costs"
    texts = ((name, (folder / f"{name}.toml").read_text("utf-8")) for name in ("x86-64", "arm64"))
    return {name: parse_costs(text, "shipped") for name, text in texts}


def costs_for(arch: str | None) -> CostTable:
    """The shipped table for a machine; x86-64's for one that none is for."""
    tables = shipped_costs()
    return next((each for each in tables.values() if arch in each.arch), tables["x86-64"])


def to_toml(costs: CostTable) -> str:
    """The text of a table's file."""
    lines = [
        f"name = {toml(costs.name)}",
        f"doc = {toml(costs.doc)}",
        f"arch = {toml([*costs.arch])}",
    ]
    for (operation, place), each in costs.ranges.items():
        lines += [
            "",
            f"[{operation}.{place}]",
            f"low = {each.low:.2f}",
            f"high = {each.high:.2f}",
            f"known = {toml(each.known)}",
            f"source = {toml(each.source)}",
        ]
    return "\n".join(lines) + "\n"
