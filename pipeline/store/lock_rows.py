"""Rows of ``lock_waits``: the visits of a simulation to locks, in time, through a queue."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from allocsim.slub.locks.holds import LINES, Lock, hold
from allocsim.slub.locks.queue import waits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from allocsim.slub.locks.holds import Costs
    from allocsim.slub.locks.visits import Visits
    from allocsim.tables import Float64, Int64, Ints

_TIMES = """
SELECT visits.at, events.ts FROM visits INNER JOIN (
    SELECT seq, ts FROM internal.object_facts WHERE run = $run
    UNION ALL SELECT seq, ts FROM page_events WHERE run = $run
) AS events USING (seq)
"""
_COSTS = "SELECT operation, place, ns_low, ns_high FROM cost_ops WHERE run = $run"
_ENDS = ("low", "high")
#: Counters of a zone that say how many blocks one take moves.
_MOVED = ("pcp_refill_blocks", "pcp_drain_blocks", "split", "merge")


class _Taken(NamedTuple):
    """The model's counters of one lock: times taken, and lines written for one take."""

    takes: int
    lines: float


def lock_rows(
    connection: duckdb.DuckDBPyConnection,
    of_run: int,
    slices: tuple[int, int],
    visits: Visits,
    counted: Mapping[str, Sequence[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """One row a lock, and one a lock and slice in which somebody went to it.

    None where the recorded run has no table of costs.

    Args:
        connection: the results database that has the recorded run.
        of_run: that run.
        slices: the ts of its first event, and the length of a slice, ns.
        visits: of the simulation, by lock and owner, in order of time.
        counted: rows of cache_counters and zone_counters of the simulation.
    """
    found = connection.execute(_COSTS, {"run": of_run}).fetchall()
    costs = {(operation, place): (low, high) for operation, place, low, high in found}
    if not costs:
        return []
    ts = _times(connection, of_run, visits)
    known = ts >= 0
    taken = _taken(counted, visits)
    rows = []
    for (lock, owner), part in _groups(visits):
        there = np.arange(part.start, part.stop)[known[part]]
        rows += _rows(
            lock, owner, ts[there], visits.cpu[there], taken.get((lock, owner)), costs, slices
        )
    met = {(lock, owner) for (lock, owner), _ in _groups(visits)}
    for (lock, owner), each in taken.items():
        if (lock, owner) not in met and each.takes:
            rows.append(_row(lock, owner) | {"visits": 0, "takes": float(each.takes)})
    return rows


def _times(connection: duckdb.DuckDBPyConnection, of_run: int, visits: Visits) -> Int64:
    """The ts of each visit; -1: its event is not stored."""
    ts = np.full(len(visits.seq), -1, np.int64)
    table = pa.table({"at": np.arange(len(ts)), "seq": visits.seq})
    connection.register("visits", table)
    try:
        found = connection.execute(_TIMES, {"run": of_run}).fetchnumpy()
    finally:
        connection.unregister("visits")
    ts[found["at"]] = found["ts"]
    return ts


def _groups(visits: Visits) -> Iterator[tuple[tuple[Lock, int], slice]]:
    edges = np.flatnonzero((np.diff(visits.lock) != 0) | (np.diff(visits.owner) != 0)) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(visits.lock)]):
        if stop > start:
            yield (Lock(int(visits.lock[start])), int(visits.owner[start])), slice(start, stop)


def _taken(
    counted: Mapping[str, Sequence[dict[str, Any]]], visits: Visits
) -> dict[tuple[Lock, int], _Taken]:
    """What the model counted of each lock; of barns, of which it counts no takes, the visits."""
    taken = {
        (Lock.LIST_LOCK, row["cache"]): _Taken(row["value"], LINES[Lock.LIST_LOCK])
        for row in counted["cache_counters"]
        if row["name"] == "list_lock"
    }
    zones: dict[int, dict[str, int]] = {}
    for row in counted["zone_counters"]:
        zones.setdefault(row["zone"], {})[row["name"]] = row["value"]
    for zone, values in zones.items():
        takes = values["zone_lock"]
        moved = sum(values[name] for name in _MOVED)
        lines = LINES[Lock.ZONE] * max(moved / takes, 1) if takes else 0.0
        taken[Lock.ZONE, zone] = _Taken(takes, lines)
    for (lock, owner), part in _groups(visits):
        if lock is Lock.BARN:
            taken[lock, owner] = _Taken(part.stop - part.start, LINES[lock])
    return taken


def _row(lock: Lock, owner: int) -> dict[str, Any]:
    of_zone = lock is Lock.ZONE
    return {
        "lock": lock.name.lower(),
        "cache": None if of_zone else owner,
        "zone": owner if of_zone else None,
        "slice": None,
    }


def _rows(  # noqa: PLR0913 - one lock, all that is known of it
    lock: Lock,
    owner: int,
    ts: Int64,
    cpu: Ints,
    taken: _Taken | None,
    costs: Costs,
    slices: tuple[int, int],
) -> list[dict[str, Any]]:
    """The row of a lock, and those of its slices; none where nobody took it."""
    if taken is None or not taken.takes or not len(ts):
        return []
    each = taken.takes / len(ts)
    first, length = slices
    which = (ts - first) // length
    edges = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(ts)]
    parts = [slice(0, len(ts)), *(slice(a, b) for a, b in pairwise(edges))]
    rows = [
        _row(lock, owner)
        | {"visits": part.stop - part.start, "takes": (part.stop - part.start) * each}
        for part in parts
    ]
    for row, part in zip(rows[1:], parts[1:], strict=True):
        row["slice"] = int(which[part.start])
    arrival = (ts - ts[0]).astype(np.float64)
    for end, ns in zip(_ENDS, hold(costs, taken.lines), strict=True):
        held = np.full(len(ts), ns * each)
        found = waits(arrival, cpu, held)
        for row, part in zip(rows, parts, strict=True):
            row[f"hold_ns_{end}"] = ns
            row[f"busy_ns_{end}"] = _sum(held[part])
            row[f"met_{end}"] = int(np.count_nonzero(found.met[part]))
            row[f"waited_ns_{end}"] = _sum(found.waited[part])
            row[f"queue_{end}"] = int(found.queue[part].max())
    return rows


def _sum(values: Float64) -> float:
    return round(float(values.sum()), 3)
