"""The simulated page allocator against the recording's own events of it, and buddyinfo."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.replay.simulated import simulate
from pipeline.trace_set.snapshots import is_count
from pipeline.validation.bounds import CountCheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb

    from pipeline.replay.read_back import RecordedRun

#: What an event counts, and the model's counters of the same (allocsim.page_alloc.paths).
_COUNTED = {
    "mm_page_alloc_zone_locked": ("zone_locked",),
    "mm_page_pcpu_drain": ("pcp_drain_blocks",),
    "mm_page_alloc_extfrag": ("claim", "steal"),
}
_EVENTS = """
SELECT event, count(*) FROM page_events WHERE run = ? GROUP BY ALL
"""


def page_layer(
    connection: duckdb.DuckDBPyConnection,
    run: int,
    source: RecordedRun,
    settings: Mapping[str, int],
    buddyinfo: Path,
) -> Iterator[CountCheck]:
    """Refills, drains and fallbacks, by their events (T12); free blocks of each order at the end.

    Args:
        connection: the database.
        run: the run.
        source: the run, to be read back.
        settings: those that model its own kernel.
        buddyinfo: where the snapshot behind the recording has it.
    """
    outcome = simulate(source.recorded, settings, source.requests()[1])
    model: Counter[str] = Counter()
    for row in outcome.rows["zone_counters"]:
        model[row["name"]] += row["value"]
    kernel = dict(connection.execute(_EVENTS, [run]).fetchall())
    for event, counters in _COUNTED.items():
        count = sum(model[name] for name in counters)
        yield CountCheck(f"simulated_{event}", "total", kernel.get(event, 0), count)
    blocks: Counter[int] = Counter()
    for row in outcome.rows["free_blocks"]:
        if row["slice"] is None:
            blocks[row["order"]] += row["blocks"]
    for order, free in enumerate(free_blocks(buddyinfo)):
        yield CountCheck("simulated_free_blocks", f"order {order}", free, blocks[order])


def free_blocks(path: Path) -> list[int]:
    """Free blocks of each order, all zones together; empty without the file."""
    if not path.is_file():
        return []
    zones = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        words = line.replace(",", " ").split()
        if len(words) < 5 or words[2] != "zone" or not all(map(is_count, words[4:])):
            raise InputError(f"{path}: line {number} is not of a zone: {line!r}")
        zones.append([int(word) for word in words[4:]])
    return [sum(column) for column in zip(*zones, strict=True)]
