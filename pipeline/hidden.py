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

from allocsim.events import Ev
from allocsim.kernel import kernel_of
from allocsim.lifetimes import ZERO_SIZE_PTR, Lifetimes
from allocsim.prefilled import CACHE, FLAGS, SINCE, PrefilledRuns, runs_of
from allocsim.recorded_requests import Hidden, HiddenFrees, SheafRuns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    import numpy.typing as npt

    from pipeline.trace_set import TraceSet, Window

#: Event columns that are read.
COLUMNS = ("event", "ptr", "metadata", "pid", "cpu", "cache", "gfp_flags", "irq_flags")

#: Moments of a hidden free in its interval, from the earliest (0) to the latest (1).
EARLIEST, MIDDLE, LATEST = 0.0, 0.5, 1.0

# A site is silent if less than a tenth of the deaths seen of its objects were traced frees, and a
# tenth of its objects was seen to die without one: most of the maple tree's nodes and of kernfs's
# and epoll's items, of which bulk or ordinary frees trace a few (spec 11: "nearly never").
_TRACED_SHARE = 0.1
_REVEALED_SHARE = 0.1

_HARD_OR_SOFT_IRQ = 0x18  # TRACE_FLAG_HARDIRQ | TRACE_FLAG_SOFTIRQ

_INTERVALS = """
CREATE OR REPLACE TEMP TABLE hidden_frees AS
WITH ends AS (
    SELECT
        unfreed.object, unfreed.cache, events.cpu, events.call_site, events.ts AS early,
        least(unfreed.late, pages.free_ts) AS late
    FROM unfreed
    INNER JOIN object_events AS events ON events.run = $run AND events.seq = unfreed.object
    LEFT JOIN pages ON pages.run = $run AND pages.page = events.page
        AND pages.free_seq IS NOT NULL AND pages.free_ts >= events.ts
), sites AS (
    SELECT call_site, count(*) AS objects, count(lifetime) AS traced FROM object_events
    WHERE run = $run AND event IN (0, 2) GROUP BY call_site
), revealed AS (
    SELECT call_site, count(late) AS dead, median(late - early) AS within
    FROM ends GROUP BY call_site
), silent AS (
    SELECT call_site, within FROM revealed JOIN sites USING (call_site)
    WHERE traced < $traced * (traced + dead) AND dead > $revealed * objects
)
SELECT
    early,
    greatest(early, coalesce(late, least($last, early + within::BIGINT)) - $grace) AS late,
    object,
    cache,
    cpu,
    late IS NULL AS assumed
FROM ends LEFT JOIN silent USING (call_site)
WHERE late IS NOT NULL OR within IS NOT NULL
"""
_DUE = """
CREATE OR REPLACE TEMP TABLE hidden_due AS
SELECT early + ((late - early) * $moment)::BIGINT AS due, object, cache, cpu
FROM hidden_frees ORDER BY due, object
"""
_IN_WINDOW = """
SELECT due, object, cache, cpu FROM hidden_due WHERE due > $since AND due <= $until
ORDER BY due, object
"""


class HiddenFinder:
    """Collects what is hidden, in a first pass over the events of a recorded run.

    Args:
        connection: the database; temporary tables are made in it.
        run: number of the run.
        trace: the trace set.
        grace_ns: a grace period of RCU.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, run: int, trace: TraceSet, grace_ns: int
    ) -> None:
        self._connection = connection
        self._run = run
        self._grace = grace_ns
        self._last_ts = trace.meta["last_ts"]
        self._lifetimes = Lifetimes({"seq": "i8", "cache": "i4"})
        kernel = kernel_of(trace.meta["kernel_release"])
        names = trace.text("cache")
        found = CACHE in names and kernel.version >= SINCE
        self._cache = names.index(CACHE) if found else None
        self._flags = sum(kernel.gfp[name] for name in FLAGS)
        self._runs = PrefilledRuns()
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE unfreed (object BIGINT, cache INTEGER, late BIGINT)"
        )
        connection.execute(
            'CREATE OR REPLACE TEMP TABLE sheaf_runs (seq BIGINT, run BIGINT, "left" INTEGER)'
        )

    def add(self, first: int, window: Window, cache: npt.NDArray[np.int32]) -> None:
        """Look at the next events.

        Args:
            first: row of the first in the trace.
            window: their columns, of COLUMNS and ``ts`` those the trace has.
            cache: number of the cache of each, -1 where it has none.
        """
        rows = np.flatnonzero(window["event"] <= Ev.KMEM_CACHE_FREE)
        if "ptr" not in window:
            return
        rows = rows[window["ptr"][rows] > ZERO_SIZE_PTR]
        code = window["event"][rows]
        allocates = (code == Ev.KMALLOC) | (code == Ev.KMEM_CACHE_ALLOC)
        self._add_lives(first, window, rows, allocates, cache)
        if self._cache is not None:
            inside = window["irq_flags"][rows] & _HARD_OR_SOFT_IRQ == 0
            own = rows[inside]
            out_of_sheaf = (window["event"][own] == Ev.KMEM_CACHE_ALLOC) & (
                window["cache"][own] == self._cache
            )
            out_of_sheaf &= window["gfp_flags"][own] == self._flags
            self._put_runs(self._runs.add(first + own, window["pid"][own], out_of_sheaf))

    def _add_lives(
        self,
        first: int,
        window: Window,
        rows: npt.NDArray[np.int64],
        allocates: npt.NDArray[np.bool_],
        cache: npt.NDArray[np.int32],
    ) -> None:
        own = np.where(window["metadata"][rows], -1, cache[rows]).astype(np.int32)
        pairing = self._lifetimes.pair(window["ptr"][rows], allocates)
        handle, of = (first + rows)[pairing.order], own[pairing.order]
        ts = window["ts"][rows][pairing.order]
        again = np.flatnonzero(pairing.allocates & (pairing.carried >= 0))
        at_once = np.flatnonzero(pairing.reallocates & (pairing.carried < 0))
        live = self._lifetimes.live
        carried = pairing.carried[again]
        self._put_lives(
            np.concatenate((live["seq"][carried], handle[at_once - 1])),
            np.concatenate((live["cache"][carried], of[at_once - 1])),
            ts[np.concatenate((again, at_once))],
        )
        kept = self._lifetimes.survivors(pairing)
        survivors = {
            "ptr": window["ptr"][rows][pairing.order][kept],
            "seq": handle[kept],
            "cache": of[kept],
        }
        self._lifetimes.keep(pairing, survivors)

    def _put_lives(
        self,
        object_: npt.NDArray[np.int64],
        cache: npt.NDArray[np.int32],
        late: npt.NDArray[np.int64] | None,
    ) -> None:
        known = cache >= 0
        rows = {
            "object": object_[known],
            "cache": cache[known],
            "late": pa.nulls(int(known.sum()), pa.int64()) if late is None else late[known],
        }
        self._insert("unfreed", rows)

    def _put_runs(self, found: list[npt.NDArray[np.int64]]) -> None:
        self._insert("sheaf_runs", runs_of(found)._asdict())

    def _insert(self, table: str, columns: Mapping[str, object]) -> None:
        self._connection.register("hidden_rows", pa.table(dict(columns)))
        self._connection.execute(f"INSERT INTO {table} FROM hidden_rows")
        self._connection.unregister("hidden_rows")

    def finish(self) -> HiddenReader:
        """What was hidden, to be read window by window."""
        live = self._lifetimes.live
        self._put_lives(live["seq"], live["cache"], None)
        self._put_runs(self._runs.finish())
        self._connection.execute(
            _INTERVALS,
            {
                "run": self._run,
                "traced": _TRACED_SHARE,
                "revealed": _REVEALED_SHARE,
                "last": self._last_ts,
                "grace": self._grace,
            },
        )
        return HiddenReader(self._connection)


class HiddenReader:
    """Reads what was hidden, window by window.

    Args:
        connection: the database, with what HiddenFinder put there.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._since = -1

    def begin(self, moment: float) -> None:
        """Begin at the trace's first window, with hidden frees at a moment of their interval."""
        self._since = -1
        self._connection.execute(_DUE, {"moment": moment})

    def window(self, first: int, end: int, last_ts: int) -> Hidden:
        """What is hidden in the next window: events from ``first`` up to ``end``."""
        frees = self._connection.execute(
            _IN_WINDOW, {"since": self._since, "until": last_ts}
        ).fetchnumpy()
        self._since = last_ts
        runs = self._connection.execute(
            "FROM sheaf_runs WHERE seq >= $first AND seq < $end ORDER BY seq",
            {"first": first, "end": end},
        ).fetchnumpy()
        return Hidden(
            HiddenFrees(
                *(np.ma.getdata(frees[name]) for name in ("due", "object", "cache", "cpu"))
            ),
            SheafRuns(*(np.ma.getdata(runs[name]) for name in SheafRuns._fields)),
        )

    def counts(self) -> dict[str, int]:
        """How much is hidden, by name."""
        [(frees, assumed)] = self._connection.execute(
            "SELECT count(*), count(*) FILTER (assumed) FROM hidden_frees"
        ).fetchall()
        [(runs,)] = self._connection.execute(
            "SELECT count(DISTINCT run) FROM sheaf_runs"
        ).fetchall()
        return {
            "hidden_frees": frees,
            "hidden_frees_never_revealed": assumed,
            "prefilled_sheaves": runs,
        }
