"""Validating traces: a replay of each, compared with all its recording holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocsim.kernels.slub_rules import PAGE_SIZE
from pipeline.replay.done import Done
from pipeline.replay.pricing import digest, find_policies, shipped_pricing
from pipeline.replay.recorded import WINDOW_ROWS, add_recorded, find_run
from pipeline.replay.trace_source import must_exist, opened
from pipeline.store.adding import writing
from pipeline.store.load import RunWriter
from pipeline.store.schema.runs import VALIDATION
from pipeline.trace_set.snapshots import page_flags, slab_caches
from pipeline.validation.bounds import CountCheck, judged
from pipeline.validation.descriptors import descriptors
from pipeline.validation.kinds import page_kinds
from pipeline.validation.page_refs import page_refs
from pipeline.validation.placement import placement
from pipeline.validation.slabs import slab_counts, slab_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from pipeline.processes.progress import Progress
    from pipeline.trace_set.reader import TraceSet


def validate_traces(paths: Sequence[Path], db: Path, progress: Progress) -> Done:
    """Replay traces and compare each with its recording; returns their runs.

    Runs and comparisons (table ``validation``) are added to the database, a transaction a trace; a
    run that replay has put there is compared as it is, once. An error says which have been added.

    Args:
        paths: trace sets, or recordings.
        db: the results database; made if it is not there.
        progress: told how far it is.

    Raises:
        AllocsimError: a trace that cannot be read, or a database that cannot take the run.
    """
    for path in paths:
        must_exist(path)
    done = Done()
    policies, pricing = find_policies([]), shipped_pricing()
    for path in paths:
        with done.reported(db), opened(path, progress) as trace:
            advance = progress.step(f"validate {trace.meta['name']}")
            with writing(db) as connection:
                run = there = find_run(connection, trace, digest(policies, pricing))
                if run is None:
                    run = add_recorded(connection, trace, policies, pricing, WINDOW_ROWS, advance)
                if not connection.execute(_COMPARED, [run]).fetchall():
                    rows = _rows(connection, run, trace)
                    RunWriter(connection, run).rows(VALIDATION, rows)
            done.runs.append(run)
            done.added += [run] * (there is None)
    return done


_COMPARED = "SELECT run FROM validation WHERE run = ? LIMIT 1"


def _rows(connection: duckdb.DuckDBPyConnection, run: int, trace: TraceSet) -> list[dict[str, Any]]:
    name = trace.meta["name"]
    return [{"trace": name, **judged(each)} for each in _comparisons(connection, run, trace)]


def _comparisons(
    connection: duckdb.DuckDBPyConnection, run: int, trace: TraceSet
) -> Iterator[CountCheck]:
    yield from page_refs(connection, run)
    modelled = trace.meta["page_size"] == PAGE_SIZE
    flags = page_flags(trace.snapshot("kpageflags.zst", "after"))
    if flags is not None:
        yield from page_kinds(connection, run, flags)
        if modelled:
            yield from descriptors(connection, run, trace)
    before, after = (
        slab_caches(trace.snapshot("sysfs_slab.txt", when)) for when in ("before", "after")
    )
    if after is not None:
        yield from slab_shapes(connection, run, after)
    if before is not None and after is not None and flags is not None:
        yield from slab_counts(connection, run, before, after, flags)
    if modelled:
        yield from placement(connection, run, trace, before, after)
