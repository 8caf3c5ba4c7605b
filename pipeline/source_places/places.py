"""Source places of a trace set's code addresses, and how each is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from allocsim.trace.results import How
from pipeline.source_places import by_name
from pipeline.source_places.vmlinux import find_positions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.trace_set.reader import TraceSet


class SourcePlace(NamedTuple):
    """Where in the kernel's sources a code address lies.

    Args:
        file: from the top of the sources; None: not known.
        line: in it; None: not known.
        directory: of the file, or of several that all it can be; None: not known.
        how: observed in DWARF, inferred from the function's name, or unknown.
    """

    file: str | None
    line: int | None
    directory: str | None
    how: How


class SourcePlaces(NamedTuple):
    """Places of a trace set.

    Args:
        places: one a code address, in the order of TraceSet.symbols.
        source: what they are known by, as a phrase.
    """

    places: list[SourcePlace]
    source: str


NOWHERE = SourcePlace(None, None, None, How.UNKNOWN)


def source_places(
    trace: TraceSet, vmlinux: Path | None = None, done: Callable[[float], None] = lambda _: None
) -> SourcePlaces:
    """Where the code addresses of a trace set lie in the kernel's sources.

    Args:
        trace: the trace set.
        vmlinux: its kernel's image, with DWARF; None: by names alone. What it does not know, as of
            modules, is looked up by name too.
        done: told the part that is done, 0 to 1.

    Raises:
        InputError, UsageError: as pipeline.source_places.vmlinux.find_positions.
    """
    symbols = trace.symbols
    version = by_name.nearest(trace.meta["kernel_release"] or "")
    named = by_name.places(version)
    places = [_by_name(named, symbol) for symbol in symbols.symbol]
    source = f"names of functions in the sources of Linux {version}"
    if vmlinux is not None:
        found = find_positions(vmlinux, symbols, done)
        for at, address in enumerate(symbols.address.tolist()):
            if position := found.positions.get(address):
                places[at] = _place(*position, How.OBSERVED)
        image = f"build id {found.build_id}" if found.build_id else vmlinux.name
        source = f"DWARF of the kernel ({image}); else {source}"
    return SourcePlaces(places, source)


def _by_name(named: dict[str, str], symbol: str | None) -> SourcePlace:
    path = named.get(by_name.function_of(symbol)) if symbol else None
    if path is None:
        return NOWHERE
    if path.endswith("/"):
        return SourcePlace(None, None, path.rstrip("/"), How.INFERRED)
    return _place(path, None, How.INFERRED)


def _place(file: str, line: int | None, how: How) -> SourcePlace:
    return SourcePlace(file, line, file.rpartition("/")[0], how)
