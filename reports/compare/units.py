"""What a recording allocates: by function, way and cache, with every name of a cache."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

LARGE = "(large kmalloc)"
UNKNOWN = "(not known)"
KMALLOC = "kmalloc"

_ORIGINS = """
    SELECT origin, event::text AS event, bytes_req, bytes_alloc, objects,
        coalesce(caches.name, if(cache_how IS NULL, $large, NULL)) AS cache,
        coalesce(regexp_replace(symbol, '(_noprof)?([.].*)?$', ''), '(not resolved)') AS function
    FROM (
        SELECT origin, count(*) AS objects FROM internal.object_facts WHERE run = $run GROUP BY ALL
    )
    JOIN internal.object_origins AS origins USING (origin)
    LEFT JOIN caches ON caches.run = $run AND caches.cache = origins.cache
    LEFT JOIN call_sites ON call_sites.run = $run AND call_sites.call_site = origins.call_site
    WHERE event IN ('kmalloc', 'kmem_cache_alloc')
"""


@dataclass(frozen=True, order=True, slots=True)
class Unit:
    """What a function allocates from a cache in one way.

    Args:
        function: its name, without _noprof and compiler suffixes.
        event: the tracepoint.
        cache: the cache's name in the trace; '' where it is not known.
    """

    function: str
    event: str
    cache: str


@dataclass(slots=True)
class AllocatedUnits:
    """The units of one recording, or of the repeats of one side.

    Attributes:
        origins: number of each object origin -> its unit; none of repeats.
        objects: objects allocated of each unit.
        sizes: object sizes of each unit: bytes asked for.
        merged: what each name of a cache in /sys/kernel/slab stands for, with all its names; empty
            without a snapshot.
        untraced: caches of which this kernel allocates objects without an event (T6), and how.
    """

    origins: dict[int, Unit] = field(default_factory=dict)
    objects: dict[Unit, int] = field(default_factory=lambda: defaultdict(int))
    sizes: dict[Unit, set[int]] = field(default_factory=lambda: defaultdict(set))
    merged: dict[str, frozenset[str]] = field(default_factory=dict)
    untraced: dict[str, str] = field(default_factory=dict)

    def names(self, cache: str) -> frozenset[str]:
        """Every name that users know a cache by; its own alone without a snapshot."""
        return self.merged.get(cache, frozenset({cache}))


def recorded(connection: DuckDBPyConnection, run: int) -> AllocatedUnits:
    """The units of a recorded run.

    An allocation whose cache is not known is of the one that the function takes objects of that
    size from elsewhere in the recording, if that is one.
    """
    found = AllocatedUnits()
    several: dict[str, set[str]] = defaultdict(set)
    for row in queries.rows(connection, "FROM kernel_caches WHERE run = $run", run=run):
        several[row["merged"]].add(row["name"])
    for folder, names in several.items():
        # A folder of merged caches is a name of none of them.
        found.merged |= dict.fromkeys(
            names, frozenset(names - ({folder} if len(names) > 1 else set()))
        )
    rows = queries.rows(connection, "FROM untraced_allocs WHERE run = $run", run=run)
    found.untraced = {row["cache"]: row["doc"] for row in rows}
    rows = queries.rows(connection, _ORIGINS, run=run, large=LARGE)
    caches: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for row in rows:
        if row["cache"] is not None:
            caches[row["function"], row["event"], row["bytes_alloc"]].add(row["cache"])
    for row in rows:
        elsewhere = caches[row["function"], row["event"], row["bytes_alloc"]]
        only = next(iter(elsewhere)) if len(elsewhere) == 1 else ""
        unit = Unit(row["function"], row["event"], row["cache"] or only)
        found.origins[row["origin"]] = unit
        found.objects[unit] += row["objects"]
        found.sizes[unit].add(row["bytes_req"])
    return found


def together(repeats: Sequence[AllocatedUnits]) -> AllocatedUnits:
    """Repeats of one side, which are recordings of one kernel, as one recording."""
    whole = AllocatedUnits(merged=repeats[0].merged, untraced=repeats[0].untraced)
    for each in repeats:
        for unit, objects in each.objects.items():
            whole.objects[unit] += objects
            whole.sizes[unit] |= each.sizes[unit]
    return whole
