"""What a recording's events do not say: frees without an event (T6), and prefilled sheaves (R3.16).

A free without an event shows itself later: its address is allocated again, or its slab's page is
freed. It happened between the allocation and that, a grace period before it at the latest, since
it is taken for a kfree_rcu (R3.20); where in between is not known. Call sites whose objects, as far
as they are seen to die, die so, are taken to have no others: their objects that nothing revealed
are freed too, after as long as the others take at most, in the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from allocsim.recording.untraced import SheafRuns, Untraced, UntracedFrees

if TYPE_CHECKING:
    import duckdb

    from allocsim.tables import Ints

#: Moments of an untraced free in its interval, from the earliest (0) to the latest (1).
EARLIEST, MIDDLE, LATEST = 0.0, 0.5, 1.0

# A site is silent if less than a tenth of the deaths seen of its objects were traced frees, and a
# tenth of its objects was seen to die without one: most of the maple tree's nodes and of kernfs's
# and epoll's items, of which bulk or ordinary frees trace a few (R8.2: "nearly never").
TRACED_SHARE = 0.1
_REVEALED_SHARE = 0.1

_CHUNK = 1 << 22  # events looked at together: DuckDB's memory holds what ends of their objects

# Objects that no traced free ends, and what shows that they are gone.
_NO_ENDS = """
CREATE OR REPLACE TEMP TABLE untraced_ends (
    object BIGINT, cache INTEGER, cpu SMALLINT, call_site UBIGINT, early BIGINT, late BIGINT
)
"""
_ENDS = """
INSERT INTO untraced_ends
SELECT
    unfreed.object, modelled.cache, facts.cpu, origins.call_site, facts.ts AS early,
    least(unfreed.again_ts, pages.free_ts) AS late
FROM internal.unfreed_objects AS unfreed
INNER JOIN internal.object_facts AS facts ON facts.seq = unfreed.object
INNER JOIN internal.object_origins AS origins USING (origin)
INNER JOIN modelled_origins AS modelled USING (origin)
LEFT JOIN pages ON pages.run = $run AND pages.page = facts.page
    AND pages.free_seq IS NOT NULL AND pages.free_ts >= facts.ts
WHERE unfreed.run = $run AND unfreed.object >= $first AND unfreed.object < $end
    AND facts.run = $run AND facts.seq >= $first AND facts.seq < $end
"""
_INTERVALS = """
CREATE OR REPLACE TEMP TABLE untraced_frees AS
WITH by_origin AS (
    SELECT origin, count(*) AS objects, count(lifetime) AS traced
    FROM internal.object_facts WHERE run = $run GROUP BY origin
), sites AS (
    SELECT call_site, sum(objects) AS objects, sum(traced) AS traced
    FROM by_origin INNER JOIN internal.object_origins USING (origin)
    WHERE event IN ('kmalloc', 'kmem_cache_alloc') GROUP BY call_site
), revealed AS (
    SELECT call_site, count(late) AS dead, median(late - early) AS within
    FROM untraced_ends GROUP BY call_site
), silent AS (
    SELECT call_site, within FROM revealed JOIN sites USING (call_site)
    WHERE traced < $traced * (traced + dead) AND dead > $revealed * objects
)
SELECT
    early,
    -- I2: where kfree_rcu was probed, what no probe showed was before the probes.
    least(
        greatest(early, coalesce(late, least($last, early + within::BIGINT)) - $grace),
        CASE WHEN early < $probed THEN $probed END
    ) AS late,
    object,
    cache,
    cpu,
    late IS NULL AS assumed
FROM untraced_ends LEFT JOIN silent USING (call_site)
WHERE late IS NOT NULL OR within IS NOT NULL
"""
_DUE = """
CREATE OR REPLACE TEMP TABLE untraced_due AS
SELECT early + ((late - early) * $moment)::BIGINT AS due, object, cache, cpu
FROM untraced_frees ORDER BY due, object
"""
_IN_WINDOW = """
SELECT due, object, cache, cpu FROM untraced_due WHERE due > $since AND due <= $until
ORDER BY due, object
"""
_RUNS_IN_WINDOW = """
SELECT seq, "first" AS run, "left" FROM internal.prefilled_objects
WHERE run = $run AND seq >= $first AND seq < $end ORDER BY seq
"""


def find_untraced(  # noqa: PLR0913 - what of, and the machine's figures
    connection: duckdb.DuckDBPyConnection,
    run: int,
    origins: Ints,
    caches: Ints,
    last_ts: int,
    grace_ns: int,
    probed: int | None = None,
) -> UntracedReader:
    """Find what a recorded run hides; to be read window by window.

    Args:
        connection: the database; temporary tables are made in it.
        run: number of the run.
        origins: origins of its object events.
        caches: cache of each that is modelled; -1: none.
        last_ts: time of the run's last event.
        grace_ns: a grace period of RCU.
        probed: time of the first kfree_rcu that a probe showed (T19); None: none did.
    """
    known = caches >= 0
    modelled = pa.table({"origin": origins[known], "cache": caches[known]})
    connection.register("modelled_origins", modelled)
    connection.execute(_NO_ENDS)
    [(events,)] = connection.execute("SELECT events FROM runs WHERE run = ?", [run]).fetchall()
    for first in range(0, events, _CHUNK):
        connection.execute(_ENDS, {"run": run, "first": first, "end": first + _CHUNK})
    connection.execute(
        _INTERVALS,
        {
            "run": run,
            "traced": TRACED_SHARE,
            "revealed": _REVEALED_SHARE,
            "last": last_ts,
            "grace": grace_ns,
            "probed": probed,
        },
    )
    connection.execute("DROP TABLE untraced_ends")
    connection.unregister("modelled_origins")
    return UntracedReader(connection, run)


class UntracedReader:
    """Reads what was untraced, window by window.

    Args:
        connection: the database, with what find_hidden put there.
        run: number of the run.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, run: int) -> None:
        self._connection = connection
        self._run = run
        self._since = -1

    def begin(self, moment: float) -> None:
        """Begin at the trace's first window, with untraced frees at a moment of their interval."""
        self._since = -1
        self._connection.execute(_DUE, {"moment": moment})

    def window(self, first: int, end: int, last_ts: int) -> Untraced:
        """What is untraced in the next window: events from ``first`` up to ``end``."""
        frees = self._connection.execute(
            _IN_WINDOW, {"since": self._since, "until": last_ts}
        ).fetchnumpy()
        self._since = last_ts
        runs = self._connection.execute(
            _RUNS_IN_WINDOW, {"run": self._run, "first": first, "end": end}
        ).fetchnumpy()
        return Untraced(
            UntracedFrees(
                *(np.ma.getdata(frees[name]) for name in ("due", "object", "cache", "cpu"))
            ),
            SheafRuns(*(np.ma.getdata(runs[name]) for name in SheafRuns._fields)),
        )

    def older_than(self, ts: int) -> dict[tuple[int, int], int]:
        """By CPU and cache: frees of objects that were allocated before a moment [ns]."""
        found = self._connection.execute(
            "SELECT cpu, cache, count(*) FROM untraced_frees WHERE early < ? GROUP BY ALL", [ts]
        ).fetchall()
        return {(cpu, cache): count for cpu, cache, count in found}

    def counts(self) -> dict[str, int]:
        """How much is untraced, by name."""
        [(frees, assumed)] = self._connection.execute(
            "SELECT count(*), count(*) FILTER (assumed) FROM untraced_frees"
        ).fetchall()
        [(runs,)] = self._connection.execute(
            "SELECT count(*) FROM internal.prefilled_objects WHERE run = ? AND seq = first",
            [self._run],
        ).fetchall()
        return {
            "hidden_frees": frees,
            "hidden_frees_never_revealed": assumed,
            "prefilled_sheaves": runs,
        }
