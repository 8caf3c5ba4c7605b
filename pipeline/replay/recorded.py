"""Replaying traces into a results database: a run for each, in one transaction each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from allocsim import __version__
from allocsim.kernels.release import allocated_without_event, kernel_of
from allocsim.kernels.slub_rules import PAGE_SIZE
from allocsim.recording import interpret as replay
from allocsim.recording.interpret import RecordingFacts, Replay
from allocsim.refcount.costs import costs_for
from allocsim.trace.events import EVENT_NAMES, NEEDED
from allocsim.trace.results import How
from pipeline.errors import InputError
from pipeline.processes.malloc_tuning import keep_freed_memory
from pipeline.processes.prefetch import prefetch
from pipeline.replay.cache_line_places import add_cache_line_places
from pipeline.replay.done import Done
from pipeline.replay.kernel_steps import add_kernel_steps
from pipeline.replay.memdesc import Descriptors
from pipeline.replay.pricing import digest, with_own
from pipeline.replay.settings import check_for_trace
from pipeline.replay.simulated import add_simulated, settings_key
from pipeline.replay.source_lines import add_source_lines
from pipeline.replay.trace_source import must_exist, opened
from pipeline.source_places.places import source_places
from pipeline.store import load, snapshot_rows
from pipeline.store.adding import Adding, writing
from pipeline.store.dimensions import (
    cache_rows,
    call_site_rows,
    count_rows,
    find_trace,
    functions,
    gfp_rows,
    next_number,
    policy_op_rows,
    policy_rows,
    policy_step_rows,
    stack_names,
    stack_rows,
    task_rows,
    trace_id,
    trace_row,
    where_it_was,
)
from pipeline.store.load import RunWriter
from pipeline.store.reader_rows import kind_reader_rows, source_verdict_rows
from pipeline.store.schema.dimensions import POLICIES, POLICY_OPS, POLICY_STEPS
from pipeline.store.schema.freezing import KIND_READERS, SOURCE_VERDICTS
from pipeline.store.schema.recorded import (
    ALLOCINFO,
    CACHES,
    CALL_SITES,
    GFP_NAMES,
    KERNEL_CACHES,
    KERNEL_SLABS,
    OPENING_STOCK,
    STACKS,
    TASKS,
    UNTRACED_ALLOCS,
)
from pipeline.store.schema.runs import QUALITY_COUNTS, RUNS
from pipeline.trace_set.machine import charges_cgroups, cpu_topology, kernel_caches, pressure
from pipeline.trace_set.page_owner import page_owners

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import duckdb

    from allocsim.refcount.policies import Policy
    from pipeline.processes.progress import Progress
    from pipeline.replay.pricing import Pricing
    from pipeline.replay.settings import Settings
    from pipeline.trace_set.reader import TraceSet

WINDOW_ROWS = 1 << 18
#: Of a simulation: each window costs it a copy of its state, so there are fewer.
SIMULATION_ROWS = 1 << 19
_COLUMNS = {*replay.COLUMNS, *load.COLUMNS}
_SLICES = 120  # time slices a run is cut into for the timeline


def replay_traces(  # noqa: PLR0913 - what, into what, priced with what
    paths: Sequence[Path],
    db: Path,
    policies: Sequence[Policy],
    progress: Progress,
    settings: Settings | None = None,
    pricing: Pricing | None = None,
    instance: str | None = None,
    *,
    vmlinux: Path | None = None,
    again: bool = False,
) -> Done:
    """Replay traces, one after the other.

    Each run is in the database, for good, as soon as it is done; an error says which are. What the
    database has already is not replayed again: the same command ends what an earlier one began.

    Args:
        paths: trace sets, or recordings.
        db: the results database; made if it is not there.
        policies: what to price each recorded run with.
        progress: told how far it is.
        settings: the simulated placement's; None: the recorded one only.
        pricing: what else to price each recorded run with; None: nothing.
        instance: the trace instance of recordings to read; None: the only one with kmem events.
        vmlinux: image of the recorded kernel, whose DWARF says where call sites lie in the sources;
            of a run that is there already, too.
        again: replay what the database has already all the same.

    Raises:
        AllocsimError: a trace that cannot be read, a setting that is wrong, or a database that
            cannot take the run; of one trace of several the first two are noted in ``failed``.
    """
    keep_freed_memory()
    for path in paths:
        must_exist(path)
    several = [] if settings is None else [settings]
    done = Done()

    def replayed(path: Path, results: Adding) -> None:
        with opened(path, progress, instance) as trace:
            replay_and_simulate(
                trace, results, policies, progress, several, pricing, done, again=again
            )
            if vmlinux is not None:
                advance = progress.step(f"source lines of {trace.meta['name']}")
                recorded = done.runs[-1 - len(several)]
                add_source_lines(results, recorded, trace, vmlinux, advance)

    coming = list(paths)
    while coming:
        with done.reported(db), Adding(db) as results, done.without_the_failed(paths):
            while coming:
                replayed(coming.pop(0), results)
    return done


def replay_path(  # noqa: PLR0913 - what, into what, priced with what
    path: Path,
    db: Path,
    policies: Sequence[Policy],
    progress: Progress,
    several: Sequence[Settings],
    pricing: Pricing | None = None,
) -> list[int]:
    """Replay one trace, and simulate it with each of several settings.

    Args:
        path: a trace set, or a recording.
        db: the results database; made if it is not there.
        policies: what to price the recorded run with.
        progress: told how far it is.
        several: settings of a simulated run each.
        pricing: what else to price the recorded run with; None: nothing.

    Returns:
        Number of the recorded run, and those of the simulated ones in order.

    Raises:
        AllocsimError: as replay_traces.
    """
    done = Done()
    with Adding(db) as results, opened(path, progress) as trace:
        replay_and_simulate(trace, results, policies, progress, several, pricing, done, again=True)
    return done.runs


def replay_and_simulate(  # noqa: PLR0913 - what, into what, priced with what
    trace: TraceSet,
    results: Adding,
    policies: Sequence[Policy],
    progress: Progress,
    several: Sequence[Settings],
    pricing: Pricing | None,
    done: Done,
    *,
    again: bool,
) -> None:
    """A recorded run and its simulated ones, a transaction each, as replay_traces has them.

    Args:
        trace: the trace set.
        results: the results database.
        policies: what to price the recorded run with.
        progress: told how far it is.
        several: settings of a simulated run each.
        pricing: what else to price the recorded run with; None: nothing.
        done: told each run as soon as the database has it.
        again: do not look what the database has already.
    """
    name = trace.meta["name"]
    for settings in several:
        check_for_trace(settings, trace)
    made_with = digest(policies, pricing)
    descriptors = Descriptors(trace, pricing.schemes) if pricing else None
    recorded = None if again else _there(results, trace, made_with)
    if recorded is None:
        advance = progress.step(f"replay {name}")
        with results.transaction() as connection:
            recorded = add_recorded(
                connection, trace, policies, pricing, WINDOW_ROWS, advance, descriptors
            )
        done.added.append(recorded)
    done.runs.append(recorded)
    for settings in several:
        run = None if again else _there(results, trace, made_with, settings_key(settings))
        if run is None:
            with results.transaction() as connection:
                run = add_simulated(
                    connection,
                    trace,
                    recorded,
                    settings,
                    window_rows=SIMULATION_ROWS,
                    descriptors=descriptors if pricing and pricing.schemes else None,
                    made_with=made_with,
                    advance=progress.step(f"simulate {name}"),
                )
            done.added.append(run)
        done.runs.append(run)


def find_run(
    connection: duckdb.DuckDBPyConnection,
    trace: TraceSet,
    made_with: str,
    settings: str | None = None,
) -> int | None:
    """The latest run of a trace that a database has already; None: it has none.

    Args:
        connection: the results database.
        trace: the trace set.
        made_with: pipeline.replay.pricing.digest of what it was made with.
        settings: settings_key of a simulated run; None: a recorded one.
    """
    found: list[tuple[int | None]] = connection.execute(
        "SELECT max(run) FROM runs WHERE trace_id = ? AND made_with = ?"
        " AND settings IS NOT DISTINCT FROM ?",
        [find_trace(connection, trace_row(trace)), made_with, settings],
    ).fetchall()
    return found[0][0]


def _there(
    results: Adding, trace: TraceSet, made_with: str, settings: str | None = None
) -> int | None:
    """As find_run, of a database that need not be there."""
    with results.asked() as connection:
        return find_run(connection, trace, made_with, settings) if connection else None


def replay_trace(  # noqa: PLR0913 - what, into what, priced with what
    trace: TraceSet,
    db: Path,
    policies: Sequence[Policy],
    pricing: Pricing | None = None,
    *,
    window_rows: int = WINDOW_ROWS,
    advance: Callable[[float], None] = lambda _: None,
) -> int:
    """Replay a trace set and add the run to a results database; returns the run's number.

    Args:
        trace: the trace set.
        db: the results database; made if it is not there.
        policies: what to price the run with, besides the recorded kernel's own policy.
        pricing: what else to price it with; None: nothing.
        window_rows: events held at once; the results do not depend on it.
        advance: told the part that is done, 0 to 1.

    Raises:
        AllocsimError: the trace set is damaged, or the database cannot take the run; nothing has
            been added then.
    """
    with writing(db) as connection:
        return add_recorded(connection, trace, policies, pricing, window_rows, advance)


def add_recorded(  # noqa: PLR0913 - as replay_trace
    connection: duckdb.DuckDBPyConnection,
    trace: TraceSet,
    policies: Sequence[Policy],
    pricing: Pricing | None,
    window_rows: int,
    advance: Callable[[float], None],
    descriptors: Descriptors | None = None,
) -> int:
    """What :func:`replay_trace` adds, in a transaction that is somebody else's.

    ``descriptors`` are those of the trace that simulated runs of it are to use too.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    recording = recording_of(trace)
    kernel = kernel_of(recording.release)
    made_with = digest(policies, pricing)
    policies = with_own(policies, kernel)
    places = source_places(trace)
    model = Replay(recording)
    run = next_number(connection, "runs", "run")
    writer = RunWriter(connection, run)
    events = 0
    # Three threads: one decodes, this one replays and makes rows, one inserts them.
    with writer.ahead():
        for window in prefetch(trace.windows(window_rows, _COLUMNS)):
            writer.window(events, window, model.window(window))
            events += len(window["ts"])
            advance(events / trace.rows)
    final = model.finish()
    writer.pages(final.pages)
    writer.untraced(final.untraced)
    writer.amend(final.late_results)
    about = {
        "trace_id": trace_id(connection, trace_row(trace), cpu_topology(trace)),
        **where_it_was(trace),
        "started": started,
        "allocsim_version": __version__,
        "window_rows": window_rows,
        "events": events,
        **_times(trace),
        "own_policy": kernel.policy,
        "own_note": kernel.policy_note or None,
        "placement": "recorded",
        "made_with": made_with,
        "places": places.source,
        "use_how": int(How.OBSERVED if recording.page_ref else How.ASSUMED),
    }
    writer.rows(RUNS, [about])
    writer.rows(CACHES, cache_rows(final))
    slabs = snapshot_rows.slab_snapshots(trace)
    writer.rows(KERNEL_CACHES, snapshot_rows.kernel_cache_rows(slabs))
    writer.rows(KERNEL_SLABS, snapshot_rows.kernel_slab_rows(slabs))
    older = set() if recording.opening is None else set(recording.opening.gfp_flags.tolist())
    writer.rows(GFP_NAMES, gfp_rows(writer.gfp_flags | older, kernel))
    without = allocated_without_event(kernel.version)
    writer.rows(ALLOCINFO, snapshot_rows.allocinfo_rows(trace))
    writer.rows(OPENING_STOCK, snapshot_rows.opening_stock_rows(recording, kernel))
    writer.rows(UNTRACED_ALLOCS, [{"cache": cache, "doc": how} for cache, how in without.items()])
    writer.rows(QUALITY_COUNTS, count_rows(final, recording.opening, pressure(trace)))
    writer.rows(CALL_SITES, call_site_rows(trace, places.places))
    writer.rows(STACKS, stack_rows(recording.stacks))
    writer.rows(TASKS, task_rows(trace))
    writer.rows(POLICIES, policy_rows(policies))
    writer.rows(POLICY_OPS, policy_op_rows(policies, kernel.policy))
    writer.rows(POLICY_STEPS, policy_step_rows(policies, kernel.policy))
    writer.rows(SOURCE_VERDICTS, source_verdict_rows(kernel.version))
    writer.rows(KIND_READERS, kind_reader_rows(kernel.version))
    writer.finish()
    if recording.page_ref:
        add_kernel_steps(connection, run, kernel)
    if pricing is not None:
        costs = pricing.costs or costs_for(trace.meta["arch"])
        add_cache_line_places(connection, writer, run, trace, costs)
        if trace.meta["page_size"] == PAGE_SIZE:  # of the slabs that descriptors take
            (descriptors or Descriptors(trace, pricing.schemes)).add(connection, writer, run)
    return run


def _times(trace: TraceSet) -> dict[str, int]:
    first, last = trace.meta["first_ts"], trace.meta["last_ts"]
    return {"first_ts": first, "last_ts": last, "slice_ns": (last - first) // _SLICES + 1}


def recording_of(trace: TraceSet) -> RecordingFacts:
    """What a replay must know of a trace set besides its events.

    Raises:
        InputError: it does not say which kernel was recorded, or its events lack what is needed.
    """
    meta = trace.meta
    release = meta["kernel_release"] or ""
    if not release:
        raise InputError(
            f"{trace.path}: it is not known which kernel was recorded; put the output of uname -a "
            "beside the recording, in a file called uname, and import it again"
        )
    try:
        kernel_of(release)
    except ValueError as error:
        raise InputError(f"{trace.path}: {error}") from error
    missing = _missing(trace)
    if missing:
        from pipeline.ingest.left_out.lacking import named  # noqa: PLC0415 - an import's words

        raise InputError(
            f"{trace.path}: {named(missing)} in this recording, which a replay needs; "
            "record with trace-cmd or perf"
        )
    stacks = stack_names(trace)
    owners = page_owners(trace.snapshot("page_owner"))
    return RecordingFacts(
        release=release,
        cache_names=trace.text("cache"),
        stacks=stacks + (owners.stacks if owners else []),
        functions=functions(trace),
        direct_map_base=meta["direct_map"]["base"],
        page_ref=any(name.startswith("page_ref_") for name in meta["recorded_events"]),
        kernel_caches=kernel_caches(trace),
        charges_cgroups=charges_cgroups(trace),
        page_size=meta["page_size"],
        opening=None if owners is None else snapshot_rows.opening_stock(owners, len(stacks)),
    )


def _missing(trace: TraceSet) -> dict[str, list[str]]:
    """What the recorded events lack of what a replay needs.

    An import leaves such events out where the recording describes its events; the text of tracefs
    does not, nor does a trace set that somebody else made.
    """
    there = {column.name for column in trace.columns}
    fields: dict[str, list[str]] = trace.meta.get("fields", {})
    missing = {}
    for code, needed in NEEDED.items():
        name = EVENT_NAMES[code]
        if name in trace.meta["recorded_events"]:
            has = there & set(fields.get(name) or there)
            missing[name] = [column for column in needed if column not in has]
    return {name: columns for name, columns in missing.items() if columns}
