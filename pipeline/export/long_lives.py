"""Lives of objects and of page blocks that took long, as slices of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.queries import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from allocsim.tables import Columns
    from pipeline.export.run_pair import RunPair

_BATCH = 1 << 16  #: lives at a time


@dataclass(frozen=True, slots=True)
class LifeGroup:
    """Lives of one kind.

    Args:
        name: what they are.
        doc: which ones are there, and what a slice's name is.
        lives: a SELECT of (track, name, bytes, begin_ts, end_ts): whose it is, where it was
            allocated, and when; an end is NULL where the life goes on. ``$run`` is the run.
    """

    name: str
    doc: str
    lives: str


LIVES = (
    LifeGroup(
        "Long lives of objects, by cache",
        "Objects allocated in the recording; a slice is named for the function that allocated it,"
        " and has no end where no free was seen.",
        """
        SELECT
            coalesce(caches.name, if(lives.cache_how IS NULL, 'large kmalloc', 'cache not known'))
                AS track,
            coalesce(sites.symbol, format('0x{:x}', lives.call_site), 'not known') AS name,
            bytes_alloc AS bytes, alloc_ts AS begin_ts, end_ts
        FROM object_lives AS lives
        LEFT JOIN caches USING (run, cache)
        LEFT JOIN call_sites AS sites USING (run, call_site)
        WHERE run = $run
        """,
    ),
    LifeGroup(
        "Long lives of page blocks, by kind",
        "Blocks allocated in the recording; a slice is named for the function that allocated it,"
        " where its stack was recorded, and has no end where no free was seen.",
        """
        SELECT page_kind::VARCHAR AS track,
            coalesce(stacks.caller, 'no stack recorded') || ', order ' || "order" AS name,
            page_size << "order" AS bytes, alloc_ts AS begin_ts, free_ts AS end_ts
        FROM pages INNER JOIN runs USING (run) INNER JOIN traces USING (trace_id)
        LEFT JOIN stacks USING (run, stack)
        WHERE run = $run AND alloc_ts IS NOT NULL
        """,
    ),
)

_LONG = """
    CREATE OR REPLACE TEMP TABLE long_lives AS
    SELECT dense_rank() OVER (ORDER BY track) - 1 AS track_number, track,
        dense_rank() OVER (ORDER BY name) - 1 AS name_number, name, bytes, begin_ts, end_ts
    FROM ({lives}) WHERE coalesce(end_ts, $last) - begin_ts >= $long
"""
_ROWS = """
    SELECT track_number AS track, name_number AS name, bytes, begin_ts AS begin,
        coalesce(end_ts, -1) AS end
    FROM long_lives
"""


class LongLives:
    """Lives of one group that lasted long enough.

    Args:
        connection: a results database, for reading.
        group: which lives.
        pair: of which run.
        long: ns that they last at least; one that goes on, up to the last event.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, group: LifeGroup, pair: RunPair, long: int
    ) -> None:
        self._connection = connection
        connection.execute(
            _LONG.format(lives=group.lives),
            {"run": pair.recorded, "last": pair.last_ts, "long": long},
        )

    def tracks(self) -> list[str]:
        """Whose lives they are, by number from 0."""
        return self._distinct("track")

    def names(self) -> list[str]:
        """Where they were allocated, by number from 0."""
        return self._distinct("name")

    def _distinct(self, column: str) -> list[str]:
        query = f"SELECT DISTINCT {column} AS text FROM long_lives ORDER BY {column}"
        return [row["text"] for row in rows(self._connection, query)]

    def batches(self) -> Iterator[Columns]:
        """Some lives at a time: track and name (numbers), bytes, begin, end (ns; -1: none)."""
        for batch in self._connection.sql(_ROWS).to_arrow_reader(_BATCH):
            yield {
                name: batch[name].to_numpy().astype(np.int64)
                for name in ("track", "name", "bytes", "begin", "end")
            }
