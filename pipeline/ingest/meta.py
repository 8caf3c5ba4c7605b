"""What meta.json says of a recording."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from allocsim.trace.events import EVENT_NAMES, EVENTS
from pipeline.ingest.left_out.two_clocks import said

if TYPE_CHECKING:
    from pipeline.ingest.convert import Conversion
    from pipeline.trace_set.parts import Symbols


def describe(
    conversion: Conversion, symbols: Symbols, files: list[str], sha256: str
) -> dict[str, Any]:
    """The parts of meta.json that come from the recording itself.

    Args:
        conversion: a conversion whose windows have all been made.
        symbols: the addresses of the trace set, resolved.
        files: names of the recording's files.
        sha256: the digest of what they hold.
    """
    facts, counts, stacks = conversion.reader.facts(), conversion.counts, conversion.stacks
    recorded = {EVENT_NAMES[code]: int(counts.events[code]) for code in range(len(EVENTS))}
    recorded = {name: count for name, count in recorded.items() if count}
    resolved = sum(name is not None for name in symbols.symbol)
    vote = conversion.vote.result(facts.arch)
    clocks = conversion.clocks.behind() if facts.ts_unit == "ns" else []
    says = [said(clocks)] if clocks else []
    probes = conversion.types.probes
    wild = {"wild_page_frames": conversion.wild} if conversion.wild else {}
    lacks = [
        *says,
        *facts.lacks,
        *_struct_pages(conversion),
        *conversion.said_of_frames(),
        *conversion.said_of_unknown(),
        *probes.said(),
        *conversion.lacking.said(conversion.dropped, recorded),
    ]
    return {
        "source": {
            "format": facts.format,
            "version": facts.version,
            "files": files,
            "sha256": sha256,
        },
        "kernel_release": facts.kernel_release,
        "arch": facts.arch,
        "cpus": facts.cpus,
        "page_size": conversion.reader.page_size,
        "clock": facts.clock,
        "ts_unit": facts.ts_unit,
        "first_ts": counts.first_ts,
        "last_ts": counts.last_ts,
        "events": recorded,
        "recorded_events": list(recorded),
        "fields": _fields(conversion, recorded),
        "ignored_fields": _ignored(conversion, recorded),
        "dropped": {
            "large_kmalloc_repeats": counts.repeats,
            **conversion.dropped,
            **facts.dropped,
            **wild,
        },
        "instance": facts.instance,
        "other_buffers": facts.other_buffers,
        "lost": facts.lost,
        "coverage": {
            "cpus": conversion.coverage.describe(facts, whole=conversion.since is None),
            "common_start": conversion.since,
            "left_out": conversion.left_out,
        },
        "stacks": {
            "events": stacks.seen,
            "unattached": stacks.seen - stacks.attached - stacks.of_others,
            "distinct": len(stacks.start) - 1,
            **({"of_others": stacks.of_others} if stacks.of_others else {}),
        },
        "comms": facts.comms,
        "direct_map": {
            "base": vote.base,
            "votes": vote.votes,
            "candidates": vote.candidates,
            "share": vote.share,
            "alignment": vote.alignment,
            "how": "vote" if vote.base is not None else "none",
        },
        "symbols": {
            "source": "kallsyms" if len(conversion.symbols) else "none",
            "resolved": resolved,
            "unresolved": len(symbols.symbol) - resolved,
        },
        "synthetic": False,
        **({"two_clocks": {"says": says[0], "pairs": [*map(asdict, clocks)]}} if clocks else {}),
        **({"lacks": lacks} if lacks else {}),
        **(
            {"probes": {one.name.lower(): n for one, n in probes.shown.items()}}
            if probes.slots
            else {}
        ),
    }


def _struct_pages(conversion: Conversion) -> list[str]:
    """How frame numbers are known where the recording has none of its own."""
    pages = conversion.types.struct_pages
    if pages is None:
        return []
    how = f"by {pages.votes} votes" if pages.votes else "by the pointers alone"
    where = f"{pages.size} bytes each from {pages.base:#x} on ({how})"
    return [f"page events have no pfn: frames are inferred from struct page pointers, {where}"]


def _fields(conversion: Conversion, recorded: dict[str, int]) -> dict[str, list[str]]:
    """Of each recorded event the columns its fields land in."""
    return {
        kept.event.name: list(kept.columns)
        for slot, kept in enumerate(conversion.types.kept)
        if kept.event.name in recorded and slot not in conversion.types.probes.slots
    }


def _ignored(conversion: Conversion, recorded: dict[str, int]) -> dict[str, list[str]]:
    return {
        kept.format.name: kept.ignored
        for slot, kept in enumerate(conversion.types.kept)
        if kept.event.name in recorded
        and kept.ignored
        and slot not in conversion.types.probes.slots
    }
