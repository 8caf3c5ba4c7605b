"""Sheaves of a small run, made and freed by call site, counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from reports.render.document import Text
from reports.sections.allocators.callers import caches
from tests.reports.conftest import OBJECT_EVENTS, insert, insert_object_events

if TYPE_CHECKING:
    import duckdb

# Event, object, call site: kmalloc is 0, kfree 1.
EVENTS = (
    (0, 0, "__pcs_replace_full_main"),
    (0, 1, "__kfree_rcu_sheaf.part.0"),
    (0, 2, "__kfree_rcu_sheaf"),
    (0, 3, "alloc_skb"),
    (1, 1, "rcu_free_sheaf"),
    (1, 2, "rcu_core"),  # the sheaf's free was a jump out of rcu_free_sheaf
    (1, 9, "rcu_free_sheaf"),  # a sheaf older than the trace
    (1, 3, "kfree_skb"),
)


def add_events(connection: duckdb.DuckDBPyConnection) -> None:
    sites = {name: number for number, name in enumerate(sorted({site for *_, site in EVENTS}))}
    for symbol, site in sites.items():
        insert(connection, "call_sites", run=1, call_site=site, symbol=symbol, offset=4)
    rows: list[dict[str, Any]] = [
        {"run": 1, "seq": 100 + seq, "event": event, "object": 100 + made, "call_site": sites[site]}
        for seq, (event, made, site) in enumerate(EVENTS)
    ]
    for row in rows:
        row |= {"ts": 0, "cpu": 0, "pid": 1, "cache_how": 6}
    insert_object_events(connection, pa.Table.from_pylist(rows, schema=OBJECT_EVENTS))


def summary(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT * EXCLUDE trace FROM sheaf_summary").fetchall()


def said(connection: duckdb.DuckDBPyConnection) -> str:
    blocks = caches(connection, 1, 10)
    return " ".join(str(block.text) for block in blocks if isinstance(block, Text))


@pytest.mark.slow
def test_a_run_without_sheaves_has_no_row(small: duckdb.DuckDBPyConnection) -> None:
    assert summary(small) == []
    assert "sheaf" not in said(small)


@pytest.mark.slow
def test_sheaves_are_counted_by_their_call_sites_and_their_own_frees(
    small: duckdb.DuckDBPyConnection,
) -> None:
    add_events(small)
    assert summary(small) == [(1, 3, 2, 3, None, None)]
    assert "3 sheaves (2 for kfree_rcu) made and 3 freed by the recorded events" in said(small)


@pytest.mark.slow
def test_the_models_sheaves_stand_beside_them(small: duckdb.DuckDBPyConnection) -> None:
    add_events(small)
    insert(small, "runs", run=2, trace_id=1, of_run=1, placement="simulated", slub="sheaves")
    for cache, (made, freed) in enumerate(((4, 1), (1, 0))):
        insert(small, "cache_counters", run=2, cache=cache, name="sheaf_alloc", value=made)
        if freed:
            insert(small, "cache_counters", run=2, cache=cache, name="sheaf_free", value=freed)
    assert summary(small) == [(1, 3, 2, 3, 5, 1)]
    assert "; 5 and 1 by the model." in said(small)


@pytest.mark.slow
def test_a_model_without_sheaves_has_no_row(small: duckdb.DuckDBPyConnection) -> None:
    insert(small, "runs", run=2, trace_id=1, of_run=1, placement="simulated", slub="cpu slabs")
    insert(small, "placed_caches", run=2, cache=0, cpu_partial_slabs=4)
    insert(small, "cache_counters", run=2, cache=0, name="alloc_slab", value=3)
    assert summary(small) == []
