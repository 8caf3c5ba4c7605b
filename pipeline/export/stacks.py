"""Where memory and work come from: weights of call stacks, for flame graphs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

_BATCH = 1 << 14  #: stacks at a time

# What stands for the functions further out where a recording has no stacks.
_ALONE = "(call site alone)"
_NO_STACK = "(no stack recorded)"

_OBJECTS = f"""
    WITH lives AS (
        SELECT cache, cache_how, call_site, stacks.stack, sum({{weight}})::BIGINT AS weight
        FROM object_lives AS lives
        LEFT JOIN internal.object_stacks AS stacks
            ON lives.run = stacks.run AND lives.object = stacks.seq
        WHERE lives.run = $run AND {{which}}
        GROUP BY ALL
    )
    SELECT
        coalesce(
            stacks.frames,
            '{_ALONE};' || coalesce(
                sites.symbol, format('0x{{{{:x}}}}', lives.call_site), 'not known'
            )
        ) || ';' || coalesce(
            caches.name, if(lives.cache_how IS NULL, 'large kmalloc', 'cache not known')
        ) AS frames,
        sum(lives.weight)::BIGINT AS weight
    FROM lives
    LEFT JOIN stacks ON stacks.run = $run AND lives.stack = stacks.stack
    LEFT JOIN call_sites AS sites ON sites.run = $run AND lives.call_site = sites.call_site
    LEFT JOIN caches ON caches.run = $run AND lives.cache = caches.cache
    GROUP BY ALL
"""
_PAGES = f"""
    SELECT coalesce(stacks.frames, '{_NO_STACK}') || ';' || pages.page_kind AS frames,
        sum({{weight}})::BIGINT AS weight
    FROM pages INNER JOIN runs USING (run) INNER JOIN traces USING (trace_id)
    LEFT JOIN stacks USING (run, stack)
    WHERE run = $run AND alloc_ts IS NOT NULL AND {{which}}
    GROUP BY ALL
"""
_OPERATIONS = f"""
    SELECT coalesce(stacks.frames, '{_NO_STACK}') || ';' || costs.page_kind AS frames,
        sum(costs.locked_ops)::BIGINT AS weight
    FROM life_costs AS costs
    INNER JOIN policies USING (run, policy)
    INNER JOIN runs ON costs.run = runs.run AND policies.name = runs.own_policy
    LEFT JOIN stacks ON costs.run = stacks.run AND costs.stack = stacks.stack
    WHERE costs.run = $run
    GROUP BY ALL
"""
_LIVE_PAGES = 'page_size * ((1 << "order") - pages_freed)'


class StackWeight(StrEnum):
    """What a stack is weighed by."""

    OBJECTS_LIVE = "objects-live"
    OBJECTS_ALLOCATED = "objects-allocated"
    OBJECTS_WASTE = "objects-waste"
    OBJECTS_WASTE_LIVE = "objects-waste-live"
    PAGES_LIVE = "pages-live"
    PAGES_ALLOCATED = "pages-allocated"
    PAGES_OPERATIONS = "pages-operations"


@dataclass(frozen=True, slots=True)
class StackProfile:
    """Stacks with a weight.

    Args:
        title: what the weight is, and of what.
        unit: 'bytes', or 'none': it is a count.
        query: a SELECT of (frames, weight): functions from outermost to innermost joined by ';',
            the cache or the kind of page last. ``$run`` is the run.
    """

    title: str
    unit: str
    query: str


PROFILES = {
    StackWeight.OBJECTS_LIVE: StackProfile(
        "objects: bytes live at the end, of those allocated in the recording (no free was seen)",
        "bytes",
        _OBJECTS.format(weight="bytes_alloc", which="end_ts IS NULL"),
    ),
    StackWeight.OBJECTS_ALLOCATED: StackProfile(
        "objects: bytes allocated",
        "bytes",
        _OBJECTS.format(weight="bytes_alloc", which="true"),
    ),
    StackWeight.OBJECTS_WASTE: StackProfile(
        "objects: bytes allocated and not asked for",
        "bytes",
        _OBJECTS.format(weight="bytes_alloc - bytes_req", which="true"),
    ),
    StackWeight.OBJECTS_WASTE_LIVE: StackProfile(
        "objects: bytes not asked for, of those live at the end",
        "bytes",
        _OBJECTS.format(weight="bytes_alloc - bytes_req", which="end_ts IS NULL"),
    ),
    StackWeight.PAGES_LIVE: StackProfile(
        "pages: bytes live at the end, of those allocated in the recording (no free was seen)",
        "bytes",
        _PAGES.format(weight=_LIVE_PAGES, which="free_ts IS NULL"),
    ),
    StackWeight.PAGES_ALLOCATED: StackProfile(
        "pages: bytes allocated",
        "bytes",
        _PAGES.format(weight='page_size << "order"', which="true"),
    ),
    StackWeight.PAGES_OPERATIONS: StackProfile(
        "pages: locked instructions on reference counts, by the recorded kernel's policy;"
        " assumed ones at the middle of their range",
        "none",
        _OPERATIONS,
    ),
}


def stacks(
    connection: duckdb.DuckDBPyConnection, weight: StackWeight, run: int
) -> Iterator[tuple[str, int]]:
    """Distinct stacks with what they weigh, the heaviest first; those without weight are left out.

    Args:
        connection: a results database, for reading.
        weight: by what.
        run: a recorded run.
    """
    query = f"FROM ({PROFILES[weight].query}) WHERE weight > 0 ORDER BY weight DESC, frames"
    answer = connection.execute(query, {"run": run})
    while some := answer.fetchmany(_BATCH):
        yield from some
