"""Each view against the same question answered in plain Python over random rows."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.trace.events import Ev
from allocsim.trace.results import CacheHow
from pipeline.store.arrow import arrow_schema, insert_statement
from pipeline.store.schema import TABLES, create_tables
from pipeline.store.schema.enums import ENUM_OF
from reports.views import VIEWS, create_views, view
from tests.reports.conftest import OBJECT_EVENTS, insert_object_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = list[dict[str, Any]]
Tables = dict[str, Rows]

KINDS = KIND_NAMES[:4]
HOWS = ("observed", "inferred", "assumed", "unknown")
CACHES = ("kmalloc-64", "dentry", "filp")
POLICIES = ("refcounted", "frozen")
STAGES = ("alloc", "use", "free")
SLICE = 1_000
RUNS = (1, 2)
# No run's trace_id equals its number, so that a join on the wrong one shows.
TRACE_IDS = {1: 7, 2: 5}


def some_pages(dice: random.Random, run: int) -> Rows:
    """Lives of run 1 were recorded without page_ref events, of run 2 some with, some without."""
    rows = []
    for page in range(150):
        known = dice.random() < 0.8
        order = dice.choice((0, 0, 3))
        frees, pages_freed = dice.choice(((0, 0), (1, 1 << order), (1, 1 << order), (4, 5)))
        kind = dice.randrange(len(KINDS))
        observed = run == 2 and (kind == 2 or dice.random() < 0.5)
        rows.append(
            {
                "run": run,
                "page": page,
                "pfn": page * 8,
                "order": order,
                "page_kind": kind,
                "kind_how": dice.randrange(len(HOWS)),
                "cache": dice.choice((None, 0, 1)) if kind == 1 else None,
                "alloc_seq": page if known else None,
                # Some known only by their first page_ref_set: bulk allocations.
                "alloc_ts": dice.randrange(10 * SLICE) if known or page % 7 == 0 else None,
                "stack": dice.choice((None, 0, 1)) if known else None,
                "frees": frees,
                "pages_freed": pages_freed,
                "free_seq": 1000 + page if frees else None,
                "ref_use_plain": dice.randrange(5) if observed else None,
                "ref_use_locked": dice.randrange(9) if observed else None,
            }
        )
    return rows


def some_objects(dice: random.Random, run: int) -> Rows:
    rows = []
    for seq in range(400):
        event = dice.randrange(4)
        asked = dice.randrange(1, 64)
        of_cache = dice.random() < 0.9
        rows.append(
            {
                "run": run,
                "seq": seq,
                "ts": seq,
                "cpu": 0,
                "pid": dice.choice((1, 2)),
                "event": event,
                "call_site": dice.choice((0xFFFFFFFF81000010, 0xFFFFFFFF81000020, 0xC0FFEE)),
                "bytes_req": asked if event in (0, 2) else None,
                "bytes_alloc": 64 if event in (0, 2) else None,
                "object": seq // 2 if dice.random() < 0.95 else None,
                "cache": dice.randrange(2) if of_cache else None,
                "cache_how": dice.choice((0, 1, 3)) if of_cache else 6,
                "page": dice.choice((None, *range(150))),
                "lifetime": dice.randrange(1000) if dice.random() < 0.7 else None,
            }
        )
    return rows


def some_page_events(dice: random.Random, run: int) -> Rows:
    return [
        {
            "run": run,
            "seq": 400 + i,
            "ts": 400 + i,
            "cpu": 1,
            "pid": 3,
            "event": dice.choice((4, 5, 6, 11)),
            "pfn": 8 * i,
            "order": 0,
            "stack": dice.choice((None, 0)),
            "page": i,
            "page_kind": dice.randrange(len(KINDS)),
            "kind_how": 1,
            "plain_ops": 0,
            "locked_ops": 1,
        }
        for i in range(50)
    ]


def some_samples(dice: random.Random, run: int) -> Rows:
    return [
        {
            "run": run,
            "slice": number,
            "page_kind": kind,
            "page_allocs": dice.randrange(20),
            "page_frees": dice.randrange(20),
            "pages_allocated": dice.randrange(20, 40),
            "pages_freed": dice.randrange(20, 40),
            "assumed_uses": dice.randrange(20),
            "assumed_use_pages": dice.randrange(20, 40),
            "use_plain": dice.randrange(20),
            "use_locked": dice.randrange(20),
        }
        for number in (0, 1, 4)
        for kind in range(len(KINDS))
        if dice.random() < 0.8
    ]


def some_run(dice: random.Random, run: int) -> Tables:
    events = some_objects(dice, run)
    page_events = some_page_events(dice, run)
    return {
        "runs": [
            {
                "run": run,
                "trace_id": TRACE_IDS[run],
                "events": len(events) + len(page_events),
                "first_ts": 100,
                "slice_ns": SLICE,
                "use_how": 2 if run == 1 else 0,
                "placement": "recorded",
            }
        ],
        "traces": [
            {
                "trace_id": TRACE_IDS[run],
                "trace": f"trace-{run}",
                "page_size": 4096,
                "cpus": 12,
                "lost_events": 3 * run,
                "lost_gaps": run,
                "duplicates_dropped": run,
                "direct_map_base": 0xFFFF888000000000,
                "direct_map_votes": 99,
                "direct_map_share": 0.99,
                "direct_map_how": "vote",
            }
        ],
        "trace_cpus": [
            {"trace_id": TRACE_IDS[run], "cpu": cpu, "events": events, **times}
            for cpu, events, times in (
                (0, 9, {"first_ts": 100, "last_ts": 800, "early": "full"}),
                (1, 9, {"first_ts": 100 + run, "last_ts": 870, "late": "overwritten"}),
                (2, 0, {}),
                (10, 9, {"first_ts": 101, "last_ts": 900, "late": "unexplained"}),
                (11, 0, {}),
            )
        ],
        "object_events": events,
        "object_stacks": [{"run": run, "seq": seq, "stack": 1} for seq in range(0, 400, 7)],
        "page_events": page_events,
        "pages": some_pages(dice, run),
        "samples": some_samples(dice, run),
        "caches": [{"run": run, "cache": i, "name": name} for i, name in enumerate(CACHES)],
        "call_sites": [
            {"run": run, "call_site": 0xFFFFFFFF81000010, "symbol": "dup_fd", "offset": 0x1C},
            {
                "run": run,
                "call_site": 0xFFFFFFFF81000020,
                "symbol": "f",
                "offset": 0,
                "module": "nvme",
            },
        ],
        "stacks": [
            {"run": run, "stack": 0, "caller": "pipe_write", "frames": "vfs_write;pipe_write"},
            {"run": run, "stack": 1, "caller": None, "frames": ""},
        ],
        "tasks": [{"run": run, "pid": 1, "comm": "bash"}],
        # The numbers of policies differ between the runs.
        "policies": [
            {"run": run, "policy": (number + run) % 2, "name": name}
            for number, name in enumerate(POLICIES)
        ],
        "policy_ops": [
            {
                "run": run,
                "policy": policy,
                "page_kind": kind,
                "stage": stage,
                "frozen": (policy, kind) == (1, 3),
                "plain_ops": dice.randrange(3),
                "locked_ops": dice.randrange(1, 5),
                "plain_ops_per_page": dice.randrange(3),
                "locked_ops_per_page": dice.randrange(3),
            }
            for policy in range(2)
            for kind in range(len(KINDS))
            for stage in STAGES
            if (policy, kind, stage) != (1, 2, "use")
        ],
        "quality_counts": [
            {"run": run, "name": "unknown_frees", "value": 11 * run},
            {"run": run, "name": "reallocations", "value": 5},
            {"run": run, "name": "something else", "value": 999},
        ],
    }


@pytest.fixture(scope="module")
def tables() -> Tables:
    dice = random.Random(20261123)  # noqa: S311 - not a secret
    merged: Tables = defaultdict(list)
    for run in RUNS:
        for name, rows in some_run(dice, run).items():
            merged[name] += rows
    return merged


@pytest.fixture(scope="module")
def ask(tables: Tables) -> Iterator[Callable[[str], Rows]]:
    """Rows of a query as dictionaries."""
    with duckdb.connect() as connection:
        create_tables(connection)
        for table in TABLES:
            if rows := tables.get(table.name):
                connection.register("batch", pa.Table.from_pylist(rows, arrow_schema(table)))
                connection.execute(insert_statement(table, "batch"))
        insert_object_events(
            connection, pa.Table.from_pylist(tables["object_events"], OBJECT_EVENTS)
        )
        create_views(connection)

        def run(query: str) -> Rows:
            result = connection.execute(query)
            names = [name for name, *_ in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        yield run


def named(row: dict[str, Any]) -> dict[str, Any]:
    """A row of codes as the database has it."""
    return {
        name: ENUM_OF[name].codes[value] if name in ENUM_OF and value is not None else value
        for name, value in row.items()
    }


def policy_ops(tables: Tables) -> dict[tuple[int, str, int, str], tuple[int, int, int, int]]:
    """Costs by run, policy name, kind and stage.

    Plain stores and locked instructions an event, then plain stores and locked instructions a
    base page.
    """
    names = {(row["run"], row["policy"]): row["name"] for row in tables["policies"]}
    counts = ("plain_ops", "locked_ops", "plain_ops_per_page", "locked_ops_per_page")
    return {
        (row["run"], names[row["run"], row["policy"]], row["page_kind"], row["stage"]): tuple(
            row[count] for count in counts
        )
        for row in tables["policy_ops"]
    }


def cost_of_life(tables: Tables, life: dict[str, Any], policy: str, op: int) -> int:
    """Plain stores (op 0) or locked instructions (op 1) of one page life, stage by stage."""
    ops = policy_ops(tables)
    alloc, use, free = (
        ops.get((life["run"], policy, life["page_kind"], stage), (0, 0, 0, 0)) for stage in STAGES
    )
    pages = 1 << life["order"]
    total: int = free[op] * life["frees"] + free[2 + op] * life["pages_freed"]
    if life["alloc_ts"] is not None:
        total += alloc[op] + alloc[2 + op] * pages
    recorded = life[("ref_use_plain", "ref_use_locked")[op]]
    if recorded is not None:
        total += 0 if frozen(tables, life["run"], policy, life["page_kind"]) else recorded
    elif life["alloc_seq"] is not None:
        total += use[op] + use[2 + op] * pages
    return total


def frozen(tables: Tables, run: int, policy: str, kind: int) -> bool:
    """Whether the policy freezes the kind, so that operations recorded in use do not count.

    They do where the policy itself has such operations: hugetlb, frozen in its pool only.
    """
    names = {(row["run"], row["policy"]): row["name"] for row in tables["policies"]}
    rows = [
        row
        for row in tables["policy_ops"]
        if (row["run"], names[row["run"], row["policy"]], row["page_kind"]) == (run, policy, kind)
    ]
    figures = ("plain_ops", "locked_ops", "plain_ops_per_page", "locked_ops_per_page")
    in_use = any(row[name] for row in rows if row["stage"] == "use" for name in figures)
    return any(row["frozen"] for row in rows) and not in_use


def costs_of_lives(tables: Tables, lives: Rows, policy: str) -> tuple[int, int]:
    """Plain stores and locked instructions of some lives."""
    plain, locked = (sum(cost_of_life(tables, life, policy, op) for life in lives) for op in (0, 1))
    return plain, locked


def test_every_view_has_the_columns_its_header_documents(ask: Callable[[str], Rows]) -> None:
    for name in VIEWS:
        documented = [column for column, _, _ in view(name).columns]
        described = [row["column_name"] for row in ask(f"DESCRIBE {name}")]
        assert described == documented, name
        assert all(doc.endswith(".") for _, _, doc in view(name).columns), name
        assert view(name).row, name


def test_every_size_and_count_of_every_view_is_bigint(ask: Callable[[str], Rows]) -> None:
    codes = {"run", "policy", "slice", "cpu", "pid", "order", "cache", "stack", "call_site"}
    codes |= {"level", "entry_level", "step"}
    codes |= {"of_run", "idx", "alloc_cpu", "free_cpu", "moment", "key", "trace_id"}
    types = {"BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN"}
    for name in VIEWS:
        for row in ask(f"DESCRIBE {name}"):
            named = row["column_type"].startswith("ENUM(")
            if row["column_name"] not in codes and not named:
                assert row["column_type"] in types, (name, row)


def test_page_kind_summary_adds_up_the_lives(ask: Callable[[str], Rows], tables: Tables) -> None:
    rows = {
        (row["run"], row["policy"], row["page_kind"]): row for row in ask("from page_kind_summary")
    }
    assert len(rows) == len(RUNS) * len(POLICIES) * len(KINDS)
    for (run, policy, kind), row in rows.items():
        lives = [
            life
            for life in tables["pages"]
            if life["run"] == run and KINDS[life["page_kind"]] == kind
        ]
        begun = [life for life in lives if life["alloc_seq"] is not None]
        observed = {life["ref_use_locked"] is not None for life in begun}
        assert row["trace"] == f"trace-{run}"
        assert row["page_allocs"] == len(begun)
        assert row["page_frees"] == sum(life["frees"] for life in lives)
        assert (row["plain_ops"], row["locked_ops"]) == costs_of_lives(tables, lives, policy)
        assert row["use_how"] == (
            "mixed" if len(observed) == 2 else "observed" if observed == {True} else "assumed"
        )
        for code, how in enumerate(HOWS[:3]):
            share = 100 * sum(life["kind_how"] == code for life in begun) / len(begun)
            assert row[f"{how}_pct"] == pytest.approx(share)
    assert {row["use_how"] for row in rows.values()} == {"observed", "assumed", "mixed"}


def test_policy_summary_adds_up_all_kinds(ask: Callable[[str], Rows], tables: Tables) -> None:
    rows = {(row["run"], row["policy"]): row for row in ask("from policy_summary")}
    assert set(rows) == {(run, policy) for run in RUNS for policy in POLICIES}
    for (run, policy), row in rows.items():
        lives = [life for life in tables["pages"] if life["run"] == run]
        locked = {name: costs_of_lives(tables, lives, name)[1] for name in POLICIES}
        assert row["trace"] == f"trace-{run}"
        assert row["page_allocs"] == sum(life["alloc_seq"] is not None for life in lives)
        assert row["page_frees"] == sum(life["frees"] for life in lives)
        assert (row["plain_ops"], row["locked_ops"]) == costs_of_lives(tables, lives, policy)
        saved = locked["refcounted"] - locked[policy]
        assert row["locked_ops_saved"] == saved
        assert row["saved_pct"] == pytest.approx(100 * saved / locked["refcounted"])
        # In run 1 it is 'refcounted' that freezes kind 3, so nothing is newly frozen there.
        newly = (run, policy) == (2, "frozen")
        pipes = [life for life in lives if newly and life["page_kind"] == 3]
        by_freezing = (
            costs_of_lives(tables, pipes, "refcounted")[1]
            - costs_of_lives(tables, pipes, policy)[1]
        )
        assert row["frozen_ops_saved"] == by_freezing
        assert row["frozen_saved_pct"] == pytest.approx(100 * by_freezing / locked["refcounted"])
        assert row["use_how"] == ("assumed" if run == 1 else "mixed")


def test_cache_summary_counts_objects_and_slab_pages(
    ask: Callable[[str], Rows], tables: Tables
) -> None:
    rows = {(row["run"], row["cache"]): row for row in ask("from cache_summary")}
    seen = CACHES[:2]  # nothing happened to the third
    assert set(rows) == {(run, name) for run in RUNS for name in seen}
    for (run, name), row in rows.items():
        code = CACHES.index(name)
        mine = [e for e in tables["object_events"] if e["run"] == run and e["cache"] == code]
        allocs = [event for event in mine if event["event"] in (0, 2)]
        slabs = [p for p in tables["pages"] if p["run"] == run and p["cache"] == code]
        begun = [slab for slab in slabs if slab["alloc_seq"] is not None]
        ended = [event["lifetime"] for event in allocs if event["lifetime"] is not None]
        assert row["allocs"] == len(allocs)
        assert row["frees"] == len(mine) - len(allocs)
        assert row["bytes_req"] == sum(event["bytes_req"] for event in allocs)
        assert row["bytes_alloc"] == 64 * len(allocs)
        assert row["waste_bytes"] == row["bytes_alloc"] - row["bytes_req"]
        assert row["slab_allocs"] == len(begun)
        assert row["slab_frees"] == sum(slab["frees"] for slab in slabs)
        assert row["slab_bytes"] == sum(4096 << slab["order"] for slab in begun)
        assert row["waste_pct"] == pytest.approx(100 * row["waste_bytes"] / row["bytes_alloc"])
        assert row["lifetime_median"] == pytest.approx(median(ended), abs=0.5)
        named = sum(event["cache_how"] == 0 for event in mine)
        assert row["named_pct"] == pytest.approx(100 * named / len(mine))
        assert row["simulated_allocs"] is row["simulated_frees"] is None


def test_cache_policy_summary_splits_the_slab_row_of_page_kind_summary(
    ask: Callable[[str], Rows], tables: Tables
) -> None:
    rows = ask("from cache_policy_summary")
    assert {row["cache"] for row in rows} == {"kmalloc-64", "dentry", "(not known)"}
    for row in rows:
        code = CACHES.index(row["cache"]) if row["cache"] in CACHES else None
        lives = [
            life
            for life in tables["pages"]
            if life["run"] == row["run"] and life["page_kind"] == 1 and life["cache"] == code
        ]
        policy = row["policy"]
        assert row["slab_allocs"] == sum(life["alloc_seq"] is not None for life in lives)
        assert row["slab_frees"] == sum(life["frees"] for life in lives)
        assert (row["plain_ops"], row["locked_ops"]) == costs_of_lives(tables, lives, policy)
    whole = ask("select run, policy, locked_ops from page_kind_summary where page_kind = 'slab'")
    parts: Counter[tuple[int, str]] = Counter()
    for row in rows:
        parts[row["run"], row["policy"]] += row["locked_ops"]
    assert parts == {(row["run"], row["policy"]): row["locked_ops"] for row in whole}


def test_call_site_summary_counts_what_each_site_did(
    ask: Callable[[str], Rows], tables: Tables
) -> None:
    rows = {(row["run"], row["call_site"]): row for row in ask("from call_site_summary")}
    names = {
        0xFFFFFFFF81000010: ("dup_fd+0x1c", None),
        0xFFFFFFFF81000020: ("f+0x0", "nvme"),
        0xC0FFEE: ("0xc0ffee", None),
    }
    assert set(rows) == {(run, site) for run in RUNS for site in names}
    for (run, site), row in rows.items():
        mine = [
            event
            for event in tables["object_events"]
            if event["run"] == run and event["call_site"] == site
        ]
        allocs = [event for event in mine if event["event"] in (0, 2)]
        ended = [event["lifetime"] for event in allocs if event["lifetime"] is not None]
        of_objects = [event for event in allocs if event["object"] is not None]
        assert (row["symbol"], row["module"]) == names[site]
        assert row["allocs"] == len(of_objects)
        assert row["frees"] == sum(
            event["object"] is not None for event in mine if event["event"] in (1, 3)
        )
        assert row["bytes_req"] == sum(event["bytes_req"] for event in allocs)
        assert row["bytes_alloc"] == 64 * len(allocs)
        assert row["waste_bytes"] == row["bytes_alloc"] - row["bytes_req"]
        assert row["live_objects"] == sum(event["lifetime"] is None for event in of_objects)
        assert row["lifetime_median"] == pytest.approx(median(ended), abs=0.5)


def test_page_caller_summary_counts_lives_with_a_stack(
    ask: Callable[[str], Rows], tables: Tables
) -> None:
    callers = {0: "pipe_write", 1: None}
    rows = ask("from page_caller_summary")
    assert len(rows) == len(RUNS) * len(POLICIES) * len(KINDS) * len(callers)
    for row in rows:
        lives = [
            life
            for life in tables["pages"]
            if life["run"] == row["run"]
            and KINDS[life["page_kind"]] == row["page_kind"]
            and life["stack"] is not None
            and callers[life["stack"]] == row["caller"]
        ]
        policy = row["policy"]
        assert row["page_allocs"] == len(lives)
        assert row["page_frees"] == sum(life["frees"] for life in lives)
        assert (row["plain_ops"], row["locked_ops"]) == costs_of_lives(tables, lives, policy)


def test_timeline_prices_each_sample_and_runs_up_the_pages(
    ask: Callable[[str], Rows], tables: Tables
) -> None:
    rows = {
        (row["run"], row["policy"], row["slice"], row["page_kind"]): row
        for row in ask("from timeline")
    }
    assert len(rows) == len(tables["samples"]) * len(POLICIES)
    ops = policy_ops(tables)
    for sample in tables["samples"]:
        run, number, kind = sample["run"], sample["slice"], sample["page_kind"]
        held = sum(
            other["pages_allocated"] - other["pages_freed"]
            for other in tables["samples"]
            if other["run"] == run and other["page_kind"] == kind and other["slice"] <= number
        )
        for policy in POLICIES:
            row = rows[run, policy, number, KINDS[kind]]
            cost = [ops.get((run, policy, kind, stage), (0, 0, 0, 0)) for stage in STAGES]
            times = (sample["page_allocs"], sample["assumed_uses"], sample["page_frees"])
            pages = tuple(
                sample[name] for name in ("pages_allocated", "assumed_use_pages", "pages_freed")
            )
            priced = [
                sum(t * c[op] + p * c[2 + op] for t, p, c in zip(times, pages, cost, strict=True))
                for op in (0, 1)
            ]
            assert row["trace"] == f"trace-{run}"
            assert row["ts"] == 100 + number * SLICE
            assert row["seconds"] == pytest.approx(number * SLICE / 1e9)
            assert row["page_allocs"] == sample["page_allocs"]
            assert row["page_frees"] == sample["page_frees"]
            counted = not frozen(tables, run, policy, kind)
            assert row["plain_ops"] == priced[0] + counted * sample["use_plain"]
            assert row["locked_ops"] == priced[1] + counted * sample["use_locked"]
            assert row["live_pages"] == held


def test_quality_says_what_is_known_and_how(ask: Callable[[str], Rows], tables: Tables) -> None:
    rows = {row["run"]: row for row in ask("from quality")}
    assert set(rows) == set(RUNS)
    for run, row in rows.items():
        lives = [life for life in tables["pages"] if life["run"] == run]
        objects = [event for event in tables["object_events"] if event["run"] == run]
        handled = [event for event in objects if event["object"] is not None]
        allocs = sum(event["event"] in (0, 2) for event in handled)
        pages = [event for event in tables["page_events"] if event["run"] == run]
        assert row["trace"] == f"trace-{run}"
        assert row["events"] == 450
        assert row["object_events"] == 400
        assert row["page_events"] == sum(event["event"] in (4, 5) for event in pages)
        assert (row["lost_events"], row["lost_gaps"]) == (3 * run, run)
        assert (row["cpus"], row["covered_cpus"], row["uncovered_cpus"]) == (12, 3, "2, 11")
        assert (row["begin_spread"], row["end_spread"]) == (run, 100)
        assert (row["late_cpus"], row["early_cpus"]) == ("1, 10", "0")
        assert row["unknown_frees"] == 11 * run
        assert row["unknown_free_pct"] == pytest.approx(1100 * run / (len(handled) - allocs))
        assert row["reallocations"] == 5
        assert row["reallocation_pct"] == pytest.approx(500 / allocs)
        assert row["unknown_page_frees"] == sum(
            life["frees"] for life in lives if life["alloc_seq"] is None
        )
        assert row["duplicates_dropped"] == run
        for code, how in enumerate(HOWS):
            share = 100 * sum(life["kind_how"] == code for life in lives) / len(lives)
            assert row[f"kind_{how}_pct"] == pytest.approx(share)
        by = Counter(event["cache_how"] for event in objects)
        assert row["cache_named_pct"] == pytest.approx(by[0] / 4)
        assert row["cache_by_rule_pct"] == pytest.approx((by[1] + by[3]) / 4)
        assert row["cache_unresolved_pct"] == pytest.approx(by[6] / 4)
        assert row["use_how"] == ("assumed" if run == 1 else "observed")
        assert row["direct_map_base"] == "0xffff888000000000"
        assert (row["direct_map_votes"], row["direct_map_share"]) == (99, 0.99)
        assert row["direct_map_how"] == "vote"


def test_events_is_every_event(ask: Callable[[str], Rows], tables: Tables) -> None:
    rows = {(row["run"], row["seq"]): row for row in ask("from events")}
    stored = tables["object_events"] + tables["page_events"]
    assert len(rows) == len(stored)
    lives = {(life["run"], life["page"]): life for life in tables["pages"]}
    stacks = {(row["run"], row["seq"]): row["stack"] for row in tables["object_stacks"]}
    assert stacks
    for event in stored:
        key = event["run"], event["seq"]
        expected = dict.fromkeys(rows[key]) | named(event)
        if event["event"] < 4:
            life = lives.get((event["run"], event["page"]))
            on_slab = life is not None and KINDS[life["page_kind"]] == "slab"
            expected["slab"] = life["pfn"] if life is not None and on_slab else None
            expected["stack"] = stacks.get(key)
            expected |= {"plain_ops": 0, "locked_ops": 0}
        assert rows[key] == expected


def test_event_log_names_the_codes(ask: Callable[[str], Rows], tables: Tables) -> None:
    rows = {(row["run"], row["seq"]): row for row in ask("from event_log")}
    assert len(rows) == len(tables["object_events"]) + len(tables["page_events"])
    sites = {
        0xFFFFFFFF81000010: "dup_fd+0x1c",
        0xFFFFFFFF81000020: "f+0x0",
        0xC0FFEE: "0xc0ffee",
    }
    for event in tables["object_events"]:
        row = rows[event["run"], event["seq"]]
        assert row["trace"] == f"trace-{event['run']}"
        assert row["event"] == Ev(event["event"]).name.lower()
        assert row["comm"] == ("bash" if event["pid"] == 1 else None)
        assert row["symbol"] == sites[event["call_site"]]
        assert row["cache"] == (None if event["cache"] is None else CACHES[event["cache"]])
        assert row["cache_how"] == CacheHow(event["cache_how"]).name.lower()
        assert row["page_kind"] is None
    for event in tables["page_events"]:
        row = rows[event["run"], event["seq"]]
        assert row["page_kind"] == KINDS[event["page_kind"]]
        assert row["kind_how"] == "inferred"
        assert row["stack"] == (None if event["stack"] is None else "vfs_write;pipe_write")
        assert row["symbol"] is None
        assert row["locked_ops"] == 1


def test_policy_costs_puts_the_stages_side_by_side(
    ask: Callable[[str], Rows], tables: Tables
) -> None:
    numbers = {(row["run"], row["policy"]): row["name"] for row in tables["policies"]}
    ops = policy_ops(tables)
    rows = ask("from policy_costs")
    assert len(rows) == len(RUNS) * len(POLICIES) * len(KINDS)
    for row in rows:
        name = numbers[row["run"], row["policy"]]
        kind = KINDS.index(row["page_kind"])
        for stage in STAGES:
            costs = ops.get((row["run"], name, kind, stage), (0, 0, 0, 0))
            columns = ("plain", "locked", "page_plain", "page_locked")
            assert tuple(row[f"{stage}_{column}"] for column in columns) == costs
        assert row["use_counted"] == (not frozen(tables, row["run"], name, kind))


def test_lives_alike_add_up_to_all_lives(ask: Callable[[str], Rows], tables: Tables) -> None:
    keys = ("run", "page_kind", "kind_how", "cache", "stack")
    alike = defaultdict(list)
    for life in tables["pages"]:
        alike[tuple(named(life)[key] for key in keys)].append(life)
    counts = {tuple(row[key] for key in keys): row for row in ask("from life_counts")}
    assert set(counts) == set(alike)
    for key, row in counts.items():
        begun = [life for life in alike[key] if life["alloc_seq"] is not None]
        assumed = [life for life in begun if life["ref_use_locked"] is None]
        assert row["page_allocs"] == len(begun)
        assert row["page_frees"] == sum(life["frees"] for life in alike[key])
        counted = [life for life in alike[key] if life["alloc_ts"] is not None]
        assert row["counted_allocs"] == len(counted)
        assert row["pages_allocated"] == sum(1 << life["order"] for life in counted)
        assert row["pages_freed"] == sum(life["pages_freed"] for life in alike[key])
        assert row["assumed_uses"] == len(assumed)
        assert row["assumed_use_pages"] == sum(1 << life["order"] for life in assumed)
        recorded = [life for life in alike[key] if life["ref_use_locked"] is not None]
        assert row["recorded_uses"] == len(recorded)
        assert row["use_plain_ops"] == sum(life["ref_use_plain"] for life in recorded)
        assert row["use_locked_ops"] == sum(life["ref_use_locked"] for life in recorded)
    names = {(row["run"], row["policy"]): row["name"] for row in tables["policies"]}
    rows = ask("from life_costs")
    assert len(rows) == len(POLICIES) * len(counts)
    for row in rows:
        lives = alike[tuple(row[key] for key in keys)]
        policy = names[row["run"], row["policy"]]
        assert (row["plain_ops"], row["locked_ops"]) == costs_of_lives(tables, lives, policy)
        for op in ("plain_ops", "locked_ops"):
            parts = ("alloc", "recorded_use", "assumed_use", "free")
            assert row[op] == sum(row[f"{part}_{op}"] for part in parts)


def test_policy_how_summary_splits_policy_summary(ask: Callable[[str], Rows]) -> None:
    whole = {(row["run"], row["policy"]): row for row in ask("from policy_summary")}
    parts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for row in ask("from policy_how_summary"):
        for name in ("plain_ops", "locked_ops", "locked_ops_saved"):
            parts[row["run"], row["policy"]][name] += row[name]
    assert set(parts) == set(whole)
    for key, sums in parts.items():
        for name, value in sums.items():
            assert value == whole[key][name], (key, name)
