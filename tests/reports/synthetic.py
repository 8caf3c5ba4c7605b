"""Seeds of one made-up workload, straight into a results database.

Objects are born at random times on random CPUs and live for a random time; caches are chosen by
Zipf's law, and a fifth of the frees come from another CPU. Each birth may need a slab. Two seeds
differ by chance alone, unless a difference is planted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tests.reports.conftest import KINDS, POLICIES, insert, insert_object_events

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CACHES = ("kmalloc-64", "dentry", "kmalloc-256", "filp", "kmalloc-1k", "vm_area_struct")
SIZES = (64, 192, 256, 232, 1024, 184)
LENGTH = 1_200_000_000  #: ns
CPUS = 4
SITES = 8


@dataclass(frozen=True)
class Workload:
    """What a seed is made of, and what is planted in it.

    Args:
        births: objects, on average over seeds.
        remote: share of frees from another CPU.
        tenth_remote: every tenth kmalloc-256 is freed by another CPU besides.
        order: order of the slabs of filp.
    """

    births: int = 4000
    remote: float = 0.2
    tenth_remote: bool = False
    order: int = 0


def add_seed(
    connection: DuckDBPyConnection,
    run: int,
    seed: int,
    workload: Workload = Workload(),
    **about: object,
) -> None:
    """One run of the workload; ``about`` overrides columns of traces."""
    rng = np.random.default_rng(seed)
    _describe(connection, run, seed, about)
    _objects(connection, run, rng, workload)
    _pages(connection, run, rng, workload)


def _describe(
    connection: DuckDBPyConnection, run: int, seed: int, about: dict[str, object]
) -> None:
    names = ["kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free"]
    meta = {"recorded_events": [*names, "mm_page_alloc", "mm_page_free"], "ts_unit": "ns"}
    columns: dict[str, object] = {
        "trace_id": run,
        "trace": f"seed-{seed}",
        "kernel_release": "7.2.0",
        "arch": "x86_64",
        "cpus": CPUS,
        "page_size": 4096,
        "clock": "global",
        "source_sha256": f"{seed:064x}",
        "lost_events": 0,
        "lost_gaps": 0,
        "meta": json.dumps(meta),
    }
    insert(connection, "traces", **(columns | about))
    insert(
        connection,
        "runs",
        run=run,
        trace_id=run,
        allocsim_version="0.1.0",
        events=0,
        first_ts=0,
        last_ts=LENGTH,
        slice_ns=LENGTH // 120 + 1,
        placement="recorded",
    )
    for cache, (name, size) in enumerate(zip(CACHES, SIZES, strict=True)):
        insert(connection, "caches", run=run, cache=cache, name=name, object_size=size)
    for site in range(SITES):
        insert(connection, "call_sites", run=run, call_site=site, symbol=f"caller_{site}", offset=8)
    for number, (policy, kinds) in enumerate(POLICIES.items()):
        insert(
            connection, "policies", run=run, policy=number, name=policy, doc="", source="shipped"
        )
        for kind in KINDS:
            frozen = kinds.get(kind, {}).get("alloc") == (0, 0)
            for stage, locked in (("alloc", 0), ("free", 0 if frozen else 1)):
                insert(
                    connection,
                    "policy_ops",
                    run=run,
                    policy=number,
                    page_kind=kind,
                    stage=stage,
                    frozen=frozen,
                    plain_ops=int(stage == "alloc" and not frozen),
                    locked_ops=locked,
                    plain_ops_per_page=0,
                    locked_ops_per_page=0,
                )


def _objects(
    connection: DuckDBPyConnection, run: int, rng: np.random.Generator, workload: Workload
) -> None:
    count = rng.poisson(workload.births)
    born = np.sort(rng.integers(0, LENGTH, count))
    weights = 1 / np.arange(1, len(CACHES) + 1)
    cache = rng.choice(len(CACHES), count, p=weights / weights.sum())
    cpu = rng.integers(0, CPUS, count)
    away = rng.random(count) < workload.remote
    if workload.tenth_remote:
        away[np.flatnonzero(cache == CACHES.index("kmalloc-256"))[::10]] = True
    reaper = np.where(away, (cpu + rng.integers(1, CPUS, count)) % CPUS, cpu)
    lived = rng.exponential(20_000_000, count).astype(np.int64)
    freed = born + lived <= LENGTH
    ts = np.concatenate((born, (born + lived)[freed]))
    order = np.argsort(ts, kind="stable")
    handle = np.empty(count, np.int64)
    rank = np.empty(len(ts), np.int64)
    rank[order] = np.arange(len(ts))
    handle[:] = rank[:count]
    size = np.array(SIZES)[cache]
    rest = freed.sum()
    events = pa.table(
        {
            "run": np.full(len(ts), run, np.int32),
            "seq": rank,
            "ts": ts,
            "cpu": np.concatenate((cpu, reaper[freed])),
            "event": np.repeat([0, 1], [count, rest]),
            "call_site": np.concatenate((rng.integers(0, SITES, count), np.zeros(rest, np.int64))),
            "bytes_req": np.concatenate((size - rng.integers(0, 16, count), np.zeros(rest, int))),
            "bytes_alloc": np.concatenate((size, np.zeros(rest, int))),
            "object": np.concatenate((handle, handle[freed])),
            "cache": np.concatenate((cache, cache[freed])),
            "cache_how": np.zeros(len(ts), np.int64),
            "lifetime": np.concatenate((lived, lived[freed])),
        }
    )
    insert_object_events(connection, events)


def _pages(
    connection: DuckDBPyConnection, run: int, rng: np.random.Generator, workload: Workload
) -> None:
    count = rng.poisson(workload.births / 4)
    born = rng.integers(0, LENGTH, count)
    gone = born + rng.exponential(30_000_000, count).astype(np.int64)
    kind = np.array(KINDS)[rng.integers(0, len(KINDS), count)]
    slab = kind == "slab"
    cache = rng.integers(0, len(CACHES), count)
    raised = slab & (cache == CACHES.index("filp"))
    pages = pa.table(
        {
            "run": np.full(count, run, np.int32),
            "page": np.arange(count) + 1_000_000,
            "order": np.where(raised, workload.order, 0),
            "page_kind": kind,
            "kind_how": np.full(count, "observed"),
            "cache": pa.array(cache, mask=~slab),
            "alloc_seq": np.arange(count) + 1_000_000,
            "alloc_ts": born,
            "free_seq": pa.array(np.arange(count) + 2_000_000, mask=gone > LENGTH),
            "free_ts": pa.array(gone, mask=gone > LENGTH),
            "frees": (gone <= LENGTH).astype(np.int64),
            "pages_freed": (gone <= LENGTH).astype(np.int64),
        }
    )
    connection.register("made", pages)
    connection.execute("INSERT INTO pages BY NAME SELECT * FROM made")
    connection.unregister("made")
    for event, ts in (("mm_page_alloc", "alloc_ts"), ("mm_page_free", "free_ts")):
        connection.execute(
            f"""
            INSERT INTO page_events BY NAME
            SELECT run, {ts[:-3]}_seq AS seq, {ts} AS ts, '{event}' AS event, page_kind
            FROM pages WHERE run = {run} AND {ts} IS NOT NULL
            """
        )
    connection.execute(
        f"""
        INSERT INTO internal.samples
        SELECT run, slice, page_kind, sum(born), sum(gone), sum(born), sum(gone), 0, 0, 0, 0
        FROM (
            SELECT run, alloc_ts // slice_ns AS slice, page_kind, 1 AS born, 0 AS gone
            FROM pages JOIN runs USING (run) WHERE run = {run}
            UNION ALL
            SELECT run, free_ts // slice_ns, page_kind, 0, 1
            FROM pages JOIN runs USING (run) WHERE run = {run} AND free_ts IS NOT NULL
        ) GROUP BY ALL
        """
    )
