"""How far a synthetic trace is from the one it was fitted to, measure by measure.

Slab pages are compared as the model of SLUB 7.2 makes and frees them for either trace. The recorded
kernel's own may be another allocator's, which no synthetic trace can follow: what both did as
recorded is shown, without a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.ingest.metadata_marks import METADATA_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

LEAST_LIVES = 200  #: ended lives of a cache whose quartiles are looked at
STOOD_STILL = 1000  #: ns that a lifetime of 0 may have been: a clock that stands still tells none

# The allocator's own metadata (T7) is no part of a spec: a synthetic trace has the model's.
_SHARES = """
WITH own AS (
    SELECT seq FROM object_events JOIN call_sites USING (run, call_site)
    WHERE run = $run AND list_contains($metadata, regexp_replace(symbol, '[.].*', ''))
)
SELECT caches.name, count(*) / sum(count(*)) OVER () AS share
FROM object_events AS events JOIN caches USING (run, cache)
WHERE run = $run AND seq NOT IN (FROM own) AND object NOT IN (FROM own) GROUP BY caches.name
"""
_LIVES = """
WITH own AS (
    SELECT seq FROM object_events JOIN call_sites USING (run, call_site)
    WHERE run = $run AND list_contains($metadata, regexp_replace(symbol, '[.].*', ''))
)
SELECT caches.name,
    quantile_cont(gone.lifetime, [0.24, 0.25, 0.26, 0.49, 0.5, 0.51, 0.74, 0.75, 0.76])
FROM object_events AS born
JOIN object_events AS gone ON gone.run = born.run AND gone.object = born.seq
    AND gone.event IN ('kfree', 'kmem_cache_free')
JOIN caches ON caches.run = born.run AND caches.cache = born.cache
WHERE born.run = $run AND born.event IN ('kmalloc', 'kmem_cache_alloc')
    AND born.seq NOT IN (FROM own)
GROUP BY caches.name HAVING count(*) >= $least
"""
_REMOTE = """
SELECT coalesce(sum(objects) FILTER (alloc_cpu <> free_cpu) / sum(objects), 0)
FROM remote_frees WHERE run = $run
"""
_PAGES = """
SELECT coalesce(sum(pages_allocated), 0) FROM placed_caches WHERE run = $run
"""
_EVENTS = "SELECT count(*) FROM object_events WHERE run = $run AND cache IS NOT NULL"
_LOCKED = "SELECT policy, locked_ops FROM policy_summary WHERE run = $run ORDER BY policy"
# Of all pages but slab's as recorded; those of slab pages by the simulated run.
_LOCKED_SIMULATED = """
WITH others AS (
    SELECT policy, sum(locked_ops) AS locked_ops
    FROM page_kind_summary WHERE run = $recorded AND page_kind <> 'slab' GROUP BY policy
), slab AS (
    SELECT policies.name AS policy, costs.alloc_locked, costs.free_locked
    FROM policy_costs AS costs
    JOIN policies ON policies.run = costs.run AND policies.policy = costs.policy
    WHERE costs.run = $recorded AND costs.page_kind = 'slab'
), slabs AS (
    SELECT sum(slab_allocs) AS allocs, sum(slab_frees) AS frees
    FROM placed_caches WHERE run = $simulated
)
SELECT others.policy, locked_ops + coalesce(allocs * alloc_locked + frees * free_locked, 0)
FROM others LEFT JOIN slab USING (policy) CROSS JOIN slabs
ORDER BY others.policy
"""


@dataclass(frozen=True, slots=True)
class DistanceMeasure:
    """One comparison.

    Args:
        name: what is compared.
        original: of the original.
        synthetic: of the synthetic trace.
        difference: how far they are apart, in ``unit``.
        unit: "points" (of 100), or "%" of the original.
        limit: how far they may be; 0: it is only shown.
        where: the cache that is farthest, where there are several.
    """

    name: str
    original: float
    synthetic: float
    difference: float
    unit: str
    limit: float
    where: str = ""

    @property
    def met(self) -> bool:
        """Whether the difference is within its limit."""
        return not self.limit or abs(self.difference) <= self.limit


def distance(
    connection: duckdb.DuckDBPyConnection, original: tuple[int, int], synthetic: tuple[int, int]
) -> list[DistanceMeasure]:
    """All measures.

    Args:
        connection: a results database that has the runs.
        original: numbers of the original's recorded and simulated run.
        synthetic: likewise of the synthetic trace.
    """

    def both(sql: str, at: int, **more: object) -> list[list[tuple[Any, ...]]]:
        return [
            connection.execute(sql, {"run": runs[at], **more}).fetchall()
            for runs in (original, synthetic)
        ]

    metadata = sorted(METADATA_FUNCTIONS)
    remote = [100 * float(rows[0][0]) for rows in both(_REMOTE, 0)]
    pages = [float(rows[0][0]) for rows in both(_PAGES, 1)]
    events = [float(rows[0][0]) for rows in both(_EVENTS, 0)]
    per_1000 = [1000 * p / max(e, 1) for p, e in zip(pages, events, strict=True)]
    recorded = [dict(rows) for rows in both(_LOCKED, 0)]
    locked = [_locked(connection, *runs) for runs in (original, synthetic)]
    # Of the synthetic trace all caches: one that has too few lives now is off, not left out.
    lives = [
        connection.execute(_LIVES, {"run": run, "least": least, "metadata": metadata}).fetchall()
        for (run, _), least in ((original, LEAST_LIVES), (synthetic, 1))
    ]
    return [
        _shares(*(dict(rows) for rows in both(_SHARES, 0, metadata=metadata))),
        *_quartiles(*(dict(rows) for rows in lives)),
        DistanceMeasure(
            "remote frees, % of all", remote[0], remote[1], remote[1] - remote[0], "points", 2
        ),
        _relative("slab pages per 1,000 object events, simulated", per_1000[0], per_1000[1], 15),
        *(
            _relative(f"locked operations, {policy}", float(ops), float(locked[1][policy]), 5)
            for policy, ops in locked[0].items()
        ),
        *(
            _relative(f"as recorded, {policy}", float(ops), float(recorded[1][policy]), 0)
            for policy, ops in recorded[0].items()
        ),
    ]


def _locked(
    connection: duckdb.DuckDBPyConnection, recorded: int, simulated: int
) -> dict[str, float]:
    """Locked operations by policy, those of slab pages under the simulated placement."""
    values = {"recorded": recorded, "simulated": simulated}
    return dict(connection.execute(_LOCKED_SIMULATED, values).fetchall())


def _shares(original: dict[str, float], synthetic: dict[str, float]) -> DistanceMeasure:
    """The cache whose share of all object events differs most."""
    name = max(
        original | synthetic,
        key=lambda name: abs(original.get(name, 0) - synthetic.get(name, 0)),
        default="",
    )
    found = [100 * float(shares.get(name, 0)) for shares in (original, synthetic)]
    return DistanceMeasure(
        "share of object events, % of all",
        found[0],
        found[1],
        found[1] - found[0],
        "points",
        2,
        name,
    )


def _quartiles(
    original: dict[str, list[float]], synthetic: dict[str, list[float]]
) -> Iterator[DistanceMeasure]:
    """Of each quartile the cache whose lifetimes differ most, twice.

    By a limit: how far it lies outside of the percentiles next to the original's. A quartile of
    200 lives is known to three percentiles only, and between two modes of a distribution one life
    more or less moves it from one to the other. And the plain difference, without a limit.
    """
    plain = []
    for at, quartile in enumerate(("first quartile", "median", "third quartile")):
        found, plainly = [], []
        for name, values in original.items():
            low, middle, high = values[3 * at : 3 * at + 3]
            value = synthetic[name][3 * at + 1] if name in synthetic else 0.0
            change = _apart(min(max(value, low), high), value)
            found.append((abs(change), name, middle, value, change))
            change = _apart(middle, value)
            plainly.append((abs(change), name, middle, value, change))
        if found:
            _, name, middle, value, change = max(found)
            yield DistanceMeasure(f"lifetime, {quartile}, ns", middle, value, change, "%", 20, name)
            _, name, middle, value, change = max(plainly)
            shown = f"plain {quartile}, ns"
            plain.append(DistanceMeasure(shown, middle, value, change, "%", 0, name))
    yield from plain


def _apart(original: float, synthetic: float) -> float:
    """How far two lifetimes are apart, % of the original's; 1 ns is the least a spec's are.

    One of 0 is not known: the clock stood still (observed.in_order), and 1 us is as near as any.
    """
    alike = 1 if original else STOOD_STILL
    return _change(original, synthetic) if abs(synthetic - original) > alike else 0.0


def _relative(
    name: str, original: float, synthetic: float, limit: float, where: str = ""
) -> DistanceMeasure:
    return DistanceMeasure(
        name, original, synthetic, _change(original, synthetic), "%", limit, where
    )


def _change(original: float, synthetic: float) -> float:
    if original == synthetic:
        return 0.0
    return 100 * (synthetic / original - 1) if original else float("inf")


COLUMNS = ("measure", "original", "synthetic", "difference", "limit", "met", "cache")


def rows(measures: Sequence[DistanceMeasure]) -> list[tuple[str, ...]]:
    """Rows of a table to be read, its columns being COLUMNS."""
    return [
        (
            measure.name,
            _number(measure.original),
            _number(measure.synthetic),
            f"{measure.difference:+.2f} {measure.unit}",
            f"{measure.limit:g} {measure.unit}" if measure.limit else "",
            ("yes" if measure.met else "no") if measure.limit else "",
            measure.where,
        )
        for measure in measures
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or value >= 1000 else f"{value:.2f}"
