"""Fitting a trace: the spec, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from allocsim.kernels.release import kernel_of
from allocsim.toml_data import LONGEST
from pipeline.errors import InputError
from pipeline.fitting.distance import distance
from pipeline.fitting.kmem_only import without_page_refs
from pipeline.fitting.observed import observe
from pipeline.fitting.spec_text import fitted_text, left_out_text
from pipeline.processes.scratch import scratch
from pipeline.replay.pricing import find_policies, with_own
from pipeline.replay.recorded import WINDOW_ROWS, replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.store.database import reading
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.write import write_trace_set
from pipeline.trace_set.reader import TraceSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from allocsim.refcount.policies import Policy
    from pipeline.fitting.distance import DistanceMeasure
    from pipeline.processes.progress import Progress


class Fit(NamedTuple):
    """A fitted spec.

    Args:
        text: the spec, TOML.
        measures: how far its trace is from the original.
        page_refs_left_out: the original has page_ref events, which were not looked at.
        left_out: what else of it is not in the spec, for the end of a sentence.
    """

    text: str
    measures: list[DistanceMeasure]
    page_refs_left_out: bool
    left_out: str


def fit_trace(trace: TraceSet, progress: Progress) -> Fit:
    """Fit a spec to a trace, make its trace, and measure the distance.

    Args:
        trace: the trace set.
        progress: told how far it is.

    Raises:
        InputError: the trace has nothing that a spec could describe, or too much, or is damaged.
        OutputError: there is no room for what is made on the way, in TMPDIR.
    """
    name = trace.meta["name"]
    with scratch() as folder:
        original = without_page_refs(trace, folder / "kmem")
        db = folder / "results.duckdb"
        policies = find_policies([])
        runs = _runs(original, db, policies, progress, name)
        with reading(db) as connection:
            observed = observe(connection, *runs, original, WINDOW_ROWS)
        if not len(observed.objects.birth) + len(observed.pages.birth):
            raise InputError(f"{trace.path}: no allocation of an object or page to fit a spec to")
        text = fitted_text(observed)
        if len(text) > LONGEST:
            raise InputError(
                f"{trace.path}: what is alive turns too often for a spec: it would have"
                f" {text.count('[[work]]'):,} works and {len(text):,} letters, of {LONGEST:,} at"
                " most; fit a shorter recording"
            )
        spec = parse_spec(text, f"{name}.toml")
        made = write_trace_set(
            spec, text, folder / "synth", advance=progress.step(f"synth {spec.name}")
        )
        # The synthetic trace is of a kernel that specs know: the recorded one's own policy, with
        # which its replay came, is asked for.
        policies = with_own(policies, kernel_of(trace.meta["kernel_release"]))
        others = _runs(TraceSet.open(made), db, policies, progress, spec.name)
        with reading(db) as connection:
            measures = distance(connection, runs, others)
    return Fit(text, measures, original is not trace, left_out_text(observed))


def _runs(
    trace: TraceSet, db: Path, policies: Sequence[Policy], progress: Progress, name: str
) -> tuple[int, int]:
    """Numbers of a recorded and a simulated run of a trace, made in a database."""
    run = replay_trace(trace, db, policies, advance=progress.step(f"replay {name}"))
    simulated = simulate_run(
        trace,
        db,
        run,
        {},
        window_rows=WINDOW_ROWS,
        advance=progress.step(f"simulate {name}"),
    )
    return run, simulated
