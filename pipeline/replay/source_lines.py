"""File and line of a run's call sites, from its kernel's image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.source_places.places import source_places
from pipeline.store.dimensions import call_site_rows
from pipeline.store.load import RunWriter
from pipeline.store.schema.recorded import CALL_SITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.store.adding import Adding
    from pipeline.trace_set.reader import TraceSet


def add_source_lines(
    results: Adding,
    run: int,
    trace: TraceSet,
    vmlinux: Path,
    advance: Callable[[float], None],
) -> None:
    """Put what a kernel image says of call sites in place of what their names say.

    Args:
        results: the results database.
        run: a recorded run.
        trace: what it is of.
        vmlinux: its kernel's image, with DWARF.
        advance: told the part that is done, 0 to 1.

    Raises:
        InputError: the image is not the recorded kernel's, or cannot be read.
    """
    places = source_places(trace, vmlinux, advance)
    with results.transaction() as connection:
        connection.execute("DELETE FROM call_sites WHERE run = ?", [run])
        RunWriter(connection, run).rows(CALL_SITES, call_site_rows(trace, places.places))
        connection.execute("UPDATE runs SET places = ? WHERE run = ?", [places.source, run])
