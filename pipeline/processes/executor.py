"""Where calls are made that need not be made here: processes beside this one, or a cluster."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.processes import signals
from pipeline.processes.cluster import Cluster
from pipeline.processes.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.processes.calls import Executor


@contextmanager
def executor(jobs: int, cluster: str | None = None) -> Iterator[Executor]:
    """What makes calls elsewhere, for as long as the block runs.

    Args:
        jobs: processes at a time, on this machine.
        cluster: address of a scheduler of dask.distributed, whose workers make them instead.

    Raises:
        UsageError: dask.distributed is not installed.
        InputError: there is no such scheduler, or it has no workers.
    """
    with signals.undoing():
        found: Executor = Workers(jobs) if cluster is None else Cluster(cluster)
        try:
            yield found
        finally:
            found.close()
