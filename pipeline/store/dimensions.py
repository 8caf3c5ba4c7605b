"""The small tables of a run: what was replayed, and the names of what its events refer to."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernels.gfp import gfp_names
from allocsim.page_alloc.gfp import migratetypes
from allocsim.refcount.alloc_levels import caller, entry_level, recorded_frames
from allocsim.refcount.policies import policy_ops, policy_steps
from pipeline.store.schema.runs import CPU_TOPOLOGY, TRACE_CPUS, TRACES
from pipeline.trace_set.remote import uri
from reports.rules import titled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from allocsim.kernels.release import Kernel
    from allocsim.recording.interpret import FinalResult
    from allocsim.recording.opening_stock import OpeningStock
    from allocsim.refcount.policies import Policy, PolicyOp
    from pipeline.source_places.places import SourcePlace
    from pipeline.trace_set.machine import CpuPlace
    from pipeline.trace_set.reader import TraceSet


def trace_row(trace: TraceSet) -> dict[str, Any]:
    """The row of ``traces`` for a trace set, without its number."""
    meta = trace.meta
    lost = meta["lost"]
    direct_map = meta["direct_map"]
    return {
        "trace": meta["name"],
        "kernel_release": meta["kernel_release"],
        "arch": meta["arch"],
        "cpus": meta["cpus"],
        "page_size": meta["page_size"],
        "clock": meta["clock"],
        "source_format": meta["source"]["format"],
        "source_sha256": meta["source"]["sha256"],
        "lost_events": sum(lost["per_cpu"].values()),
        "lost_gaps": sum(lost["sources"].get("marks_without_a_number", {}).values()),
        "duplicates_dropped": meta["dropped"].get("large_kmalloc_repeats", 0),
        "direct_map_base": direct_map["base"],
        "direct_map_votes": direct_map["votes"],
        "direct_map_candidates": direct_map["candidates"],
        "direct_map_share": direct_map["share"],
        "direct_map_how": direct_map["how"],
        "meta": json.dumps(meta, sort_keys=True),
    }


def where_it_was(trace: TraceSet) -> dict[str, str | None]:
    """Columns of ``runs`` that say where what is replayed was; letters no text has, escaped."""
    kept = trace.recording is None
    found = trace.recording or trace.path
    path = uri(found) or str(found.resolve())
    text = path.encode("utf-8", "backslashreplace").decode()
    return {"trace_path": text if kept else None, "recording": None if kept else text}


def trace_id(
    connection: duckdb.DuckDBPyConnection, row: dict[str, Any], topology: Sequence[CpuPlace]
) -> int:
    """The number of a trace in the database; a new one where no row is equal to this one.

    Trace sets may share a name (``trace`` is what trace-cmd calls every recording), so it is the
    whole row that tells them apart.

    Args:
        connection: the database.
        row: of trace_row.
        topology: where its CPUs are.
    """
    found = find_trace(connection, row)
    if found is not None:
        return found
    values = [row[column.name] for column in TRACES.columns if column.name != "trace_id"]
    number = next_number(connection, "traces", "trace_id")
    marks = ", ".join("?" for _ in TRACES.columns)
    connection.execute(f"INSERT INTO traces VALUES ({marks})", [number, *values])
    for table, rows in (
        (TRACE_CPUS, _trace_cpus(number, json.loads(row["meta"]))),
        (CPU_TOPOLOGY, [[number, *place] for place in topology]),
    ):
        if rows:
            marks = ", ".join("?" for _ in table.columns)
            connection.executemany(f"INSERT INTO {table.sql_name} VALUES ({marks})", rows)
    return number


def _trace_cpus(trace: int, meta: dict[str, Any]) -> list[list[Any]]:
    """Rows of ``trace_cpus`` for a trace set; none where it does not say what it covers."""
    covered = meta.get("coverage", {}).get("cpus", {})
    if not covered:
        return []
    cpus = sorted({*range(meta["cpus"]), *map(int, covered)})
    nothing = {"events": 0, "overwritten": 0}
    names = ("events", "first_ts", "last_ts", "longest_gap", "overwritten", "late", "early")
    found = ((cpu, covered.get(str(cpu), nothing)) for cpu in cpus)
    return [[trace, cpu, *(each.get(name) for name in names)] for cpu, each in found]


def find_trace(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> int | None:
    """The number of a trace in the database; None if no row is equal to this one."""
    names = [column.name for column in TRACES.columns if column.name != "trace_id"]
    values = [row[name] for name in names]
    same = " AND ".join(f'"{name}" IS NOT DISTINCT FROM ?' for name in names)
    found = connection.execute(f"SELECT trace_id FROM traces WHERE {same}", values).fetchall()
    return int(found[0][0]) if found else None


def next_number(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> int:
    """The number after the highest in a column, from 1."""
    rows = connection.execute(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}").fetchall()
    return int(rows[0][0])


def call_site_rows(trace: TraceSet, places: Sequence[SourcePlace]) -> list[dict[str, Any]]:
    """Rows of ``call_sites``: every code address of the trace set, with its place."""
    symbols = trace.symbols
    return [
        {
            "call_site": address,
            "symbol": symbol,
            "offset": offset,
            "module": module,
            "file": place.file,
            "line": place.line,
            "directory": place.directory,
            "place_how": int(place.how),
        }
        for address, symbol, offset, module, place in zip(
            symbols.address.tolist(),
            symbols.symbol,
            symbols.offset.tolist(),
            symbols.module,
            places,
            strict=True,
        )
    ]


def functions(trace: TraceSet) -> dict[int, str]:
    """Function of each code address of a trace set, as far as it is resolved."""
    pairs = zip(trace.symbols.address.tolist(), trace.symbols.symbol, strict=True)
    return {address: symbol for address, symbol in pairs if symbol}


def stack_names(trace: TraceSet) -> list[list[str]]:
    """Function names of each distinct stack, innermost first; an address where not resolved."""
    symbols = trace.symbols
    names = dict(zip(symbols.address.tolist(), symbols.symbol, strict=True))
    frames = [names.get(address) or hex(address) for address in trace.stacks.address.tolist()]
    start = trace.stacks.start.tolist()
    return [frames[a:b] for a, b in pairwise(start)]


def gfp_rows(flags: Iterable[int], kernel: Kernel) -> list[dict[str, Any]]:
    """Rows of ``gfp_names``.

    Args:
        flags: values of gfp flags, each once.
        kernel: the recorded kernel.
    """
    values = sorted(flags)
    asked = migratetypes(np.array(values, np.uint64)).tolist()
    return [
        {"gfp_flags": value, "names": gfp_names(value, kernel), "migratetype": migratetype}
        for value, migratetype in zip(values, asked, strict=True)
    ]


def stack_rows(stacks: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Rows of ``stacks``, from the names of their functions."""
    return [
        {
            "stack": number,
            "caller": caller(names),
            "entry_level": entry_level(names),
            "frames": ";".join(reversed(recorded_frames(names))),
        }
        for number, names in enumerate(stacks)
    ]


def task_rows(trace: TraceSet) -> list[dict[str, Any]]:
    """Rows of ``tasks``."""
    return [{"pid": int(pid), "comm": comm} for pid, comm in trace.meta["comms"].items()]


def cache_rows(final: FinalResult) -> list[dict[str, Any]]:
    """Rows of ``caches``."""
    return [
        {"cache": number, "name": name, "object_size": size if size >= 0 else None}
        for number, (name, size) in enumerate(final.caches)
    ]


def count_rows(
    final: FinalResult, opening: OpeningStock | None, pressure: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Rows of ``quality_counts``; ``pressure``: what vmstat says (pipeline.trace_set.machine)."""
    counts = {**final.counts, **pressure}
    if opening is not None:
        counts |= {"page_owner_blocks": len(opening.pfn), "page_owner_unread": opening.unread}
    return [{"name": name, "value": value} for name, value in counts.items()]


def policy_rows(policies: Sequence[Policy]) -> list[dict[str, Any]]:
    """Rows of ``policies``, numbered in the order given."""
    return [
        {"policy": number, "name": policy.name, "doc": policy.doc, "source": policy.source}
        for number, policy in enumerate(policies)
    ]


def _range_columns(op: PolicyOp) -> dict[str, int | None]:
    """Columns of ``policy_ops`` that say how far an assumed figure reaches."""
    low, high = op.locked_range or (None, None)
    table_low, table_high = op.locked_per_table or (None, None)
    return {
        "locked_ops_low": low,
        "locked_ops_high": high,
        "locked_ops_per_table_low": table_low,
        "locked_ops_per_table_high": table_high,
    }


def policy_op_rows(policies: Sequence[Policy], own: str) -> list[dict[str, Any]]:
    """Rows of ``policy_ops``, for a kernel whose own policy has this name (Kernel.policy)."""
    return [
        {
            "policy": number,
            "page_kind": op.page_kind,
            "stage": op.stage,
            "frozen": op.frozen,
            "plain_ops": op.plain,
            "locked_ops": op.locked,
            "plain_ops_per_page": op.plain_per_page,
            "locked_ops_per_page": op.locked_per_page,
            **_range_columns(op),
            "entry": op.entry or None,
            "depth": op.depth or None,
            "rule": titled(op.rule) or None,
            "kernel_function": op.source or None,
        }
        for number, policy in enumerate(policies)
        for op in policy_ops(policy, own)
    ]


def policy_step_rows(policies: Sequence[Policy], own: str) -> list[dict[str, Any]]:
    """Rows of ``policy_steps``, likewise."""
    return [
        {
            "policy": number,
            "step": step.step,
            "plain_ops": step.plain,
            "locked_ops": step.locked,
            "plain_more": step.plain_more,
            "locked_more": step.locked_more,
            "rule": titled(step.rule) or None,
            "kernel_function": step.source or None,
        }
        for number, policy in enumerate(policies)
        for step in policy_steps(policy, own)
    ]
