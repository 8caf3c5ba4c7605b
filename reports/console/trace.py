"""A trace set as text: what was recorded, and what is missing."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from reports.render.console import WIDTH, printable
from reports.render.wording import NARROW, count, duration, listed, percent, plural
from reports.sections.coverage import in_short, table, warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def trace_text(
    meta: Mapping[str, Any],
    nodes: int = 1,
    local: int | None = None,
    other: int | None = None,
    *,
    own_policy: str = "",
) -> str:
    """Lines to read in a terminal: a heading and a value each, then events by type.

    Args:
        meta: meta.json of the trace set.
        nodes: memory nodes of its machine.
        local: page allocations on the node of the CPU that asked; None: not known.
        other: those on another node.
        own_policy: the policy that is the recorded kernel's own; empty: not known.
    """
    lines = list(_facts(meta, own_policy))
    if nodes > 1:
        lines.append(("memory nodes", _nodes(nodes, local, other)))
    width = max(len(name) for name, _ in lines)
    text = [line for name, value in lines for line in _under(name.ljust(width), value)]
    text.append("")
    text += _counts("event", meta["events"])
    cpus = table(meta)
    if cpus:
        text.append("")
        text += _columns(("CPU", "events", f"from ({_unit(meta)})", "to"), cpus)
    dropped = {name.replace("_", " "): n for name, n in meta["dropped"].items() if n}
    if dropped:
        text.append("")
        text += _counts("left out on import", dropped)
    return "".join(f"{line}\n" for line in text).replace(NARROW, " ")


def _under(name: str, value: str) -> list[str]:
    """A heading and its value, in lines."""
    lines = wrap(printable(value).replace(NARROW, " "), WIDTH - len(name) - 2) or [""]
    return [f"{name if at == 0 else ' ' * len(name)}  {line}" for at, line in enumerate(lines)]


def _facts(meta: Mapping[str, Any], own_policy: str) -> Iterator[tuple[str, str]]:
    source = meta["source"]
    release = meta["kernel_release"] or "not known"
    arch = f" ({meta['arch']})" if meta["arch"] else ""
    yield "trace", meta["name"]
    yield "source", _source(meta)
    yield "sha256", source["sha256"]
    yield "kernel", f"{release}{arch}, {plural(meta['cpus'], 'CPU')}"
    if own_policy:
        yield "own policy", own_policy
    yield "page size", f"{count(meta['page_size'])} bytes"
    yield "clock", f"{meta['clock']}, in {meta['ts_unit']}"
    yield "length", _length(meta)
    yield "events", count(sum(meta["events"].values()))
    yield "lost", _lost(meta["lost"])
    yield "CPUs", in_short(meta)
    for text in warnings(meta):
        yield "", text
    yield "direct map", _direct_map(meta["direct_map"])
    yield "stacks", _stacks(meta["stacks"])
    symbols = meta["symbols"]
    addresses = symbols["resolved"] + symbols["unresolved"]
    yield "symbols", f"{count(symbols['resolved'])} of {plural(addresses, 'address', 'addresses')}"
    yield "page_ref", _page_ref(meta["recorded_events"])
    yield "snapshots", listed(meta["snapshots"]) or "none"
    for text in meta.get("lacks", ()):
        yield "lacks", text
    for text in meta.get("beside", {}).get("missed", ()):
        yield "missed", text


def _source(meta: Mapping[str, Any]) -> str:
    source = meta["source"]
    text = f"{source['format']} version {source['version']}, {listed(source['files'])}"
    if "synth" not in meta:
        return text
    made = f"{text}, seed {meta['synth']['seed']}: synthetic, no kernel did this"
    changes = [f"{key} {value}" for key, value in meta["synth"]["changes"].items()]
    return made + (f"; changed: {listed(changes)}" if changes else "")


def _length(meta: Mapping[str, Any]) -> str:
    length = meta["last_ts"] - meta["first_ts"]
    return duration(length) if meta["ts_unit"] == "ns" else f"{count(length)} {meta['ts_unit']}"


def _lost(lost: Mapping[str, Any]) -> str:
    by_cpu = {cpu: number for cpu, number in lost["per_cpu"].items() if number}
    parts = [plural(sum(by_cpu.values()), "event")]
    if by_cpu:
        parts.append(listed([f"{count(number)} on CPU {cpu}" for cpu, number in by_cpu.items()]))
    gaps = sum(lost["sources"]["marks_without_a_number"].values())
    if gaps:
        parts.append(f"and {plural(gaps, 'gap')} of unknown length")
    return ", ".join(parts)


def _direct_map(direct_map: Mapping[str, Any]) -> str:
    if direct_map["base"] is None:
        return "base not found: no object can be placed on a page"
    if direct_map.get("how") == "declared":
        return f"{direct_map['base']:#x}, declared"
    votes = f"{count(direct_map['votes'])} of {plural(direct_map['candidates'], 'vote')}"
    share = percent(direct_map["votes"], direct_map["candidates"])
    return f"{direct_map['base']:#x}, by {votes} ({share})"


def _stacks(stacks: Mapping[str, Any]) -> str:
    others = stacks.get("of_others", 0)
    text = f"after {plural(stacks['events'] - others, 'event')}"
    if "distinct" in stacks:
        text += f", {count(stacks['distinct'])} distinct"
    if stacks["unattached"]:
        text += f"; {count(stacks['unattached'])} without an event"
    if others:
        text += f"; {count(others)} more after events that are left out"
    return text


def _page_ref(recorded: list[str]) -> str:
    if any(name.startswith("page_ref_") for name in recorded):
        return "recorded: the use stage is observed"
    return "not recorded: the use stage is assumed"


def _nodes(nodes: int, local: int | None, other: int | None) -> str:
    text = f"{nodes}"
    if local is None or other is None or local + other <= 0:
        return text
    total = local + other
    share = f"{count(other)} of {plural(total, 'page allocation')} ({percent(other, total)})"
    return f"{text}; {share} between the snapshots were on another node than the CPU's"


def _unit(meta: Mapping[str, Any]) -> str:
    return "s" if meta["ts_unit"] == "ns" else str(meta["ts_unit"])


def _counts(what: str, counts: Mapping[str, int]) -> list[str]:
    return _columns((what, "count"), [(name, count(number)) for name, number in counts.items()])


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(line[at]) for line in (heads, *rows)) for at in range(len(heads))]
    return [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in (heads, *rows)
    ]
