"""Replays of many traces: one after the other here, or beside one another in other processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.processes.executor import executor
from pipeline.replay.done import Done
from pipeline.replay.recorded import replay_traces
from pipeline.replay.trace_source import must_exist
from pipeline.replay.units.driver import (
    Taking,
    absolute,
    default_jobs,
    make_units,
    pays,
    units_folder,
)
from pipeline.replay.units.work import ReplayWork, replay_units

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from allocsim.refcount.policies import Policy
    from pipeline.processes.progress import Progress
    from pipeline.replay.pricing import Pricing
    from pipeline.replay.settings import Settings


@dataclass(frozen=True, slots=True)
class Where:
    """Where units are made and kept.

    Args:
        jobs: processes at a time; None: one a CPU, where that pays.
        units: where units are kept; None: until they are merged.
        cluster: address of a scheduler of dask.distributed; None: processes of this machine.
    """

    jobs: int | None = None
    units: str | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.cluster is not None and self.units is None:
            raise UsageError("--cluster needs --units DIR, which all its machines see")

    def elsewhere(self, paths: Sequence[Path], simulations: int, *, apart: bool = False) -> bool:
        """Whether units are to be made; the arguments are those of pays."""
        if self.units is not None:
            return True
        return pays(paths, simulations, self.jobs or default_jobs(), apart=apart)


def replay_all(  # noqa: PLR0913 - what, into what, priced with what, and where
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
    where: Where | None = None,
) -> Done:
    """As pipeline.replay.recorded.replay_traces, with as many processes as pay.

    Args:
        paths: as there, like all that is not named here.
        db: the database.
        policies: what to price each recorded run with.
        progress: told how far it is.
        settings: the simulated placement's; None: the recorded one only.
        pricing: what else to price each recorded run with.
        instance: the trace instance of recordings.
        vmlinux: image of the recorded kernel: it is read in this process.
        again: replay what the database has already.
        where: where units are made and kept.

    Raises:
        AllocsimError: as there; of one trace of several it is noted in ``failed``.
    """
    where = where or Where()
    if vmlinux is not None and where.units is not None:
        raise UsageError(
            "--vmlinux does not go with --units: replay into the database first, then once more"
            " with --vmlinux and without --units, which adds the lines alone"
        )
    for path in paths:
        must_exist(path)
    several = [] if settings is None else [settings]
    if vmlinux is not None or not where.elsewhere(paths, len(several)):
        return replay_traces(
            paths,
            db,
            policies,
            progress,
            settings,
            pricing,
            instance,
            vmlinux=vmlinux,
            again=again,
        )
    done = Done()
    with (
        units_folder(where.units, db) as (folder, place),
        Taking(db, folder, place, done, again=again, keep=where.units is not None) as taking,
        executor(min(where.jobs or default_jobs(), len(paths)), where.cluster) as run,
    ):
        works = [
            ReplayWork(
                absolute(path), turn, several, policies, pricing, instance, folder.where, known
            )
            for turn, (path, known) in enumerate(zip(paths, taking.known(paths), strict=True))
        ]
        step = progress.step(f"replay {len(paths)} traces")
        make_units(run, replay_units, works, paths, taking, step)
    return done
