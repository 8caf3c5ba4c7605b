"""Calls made by the machines of a cluster: workers of dask.distributed, which is an extra.

Its scheduler gives a call whose worker is gone to another one, three times (allowed-failures); then
it has failed. Workers are processes of one thread: a call takes the memory of a whole replay.
"""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, UsageError
from pipeline.processes.calls import Finished, WorkerEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

_PATIENCE = 10  # seconds until a scheduler must have answered, and must have a worker


class Cluster:
    """A cluster as pipeline.processes.calls.Executor.

    Args:
        address: of its scheduler, ``tcp://HOST:PORT``.

    Raises:
        UsageError: dask.distributed is not installed.
        InputError: there is no such scheduler, or it has no workers.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed  # noqa: PLC0415 - an extra

            dask: Any = distributed  # of no types
        except ImportError:
            raise UsageError(
                "--cluster needs dask.distributed, which is not installed:"
                " pip install 'allocsim[cluster]'"
            ) from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its errors are told here
        self._address = address
        try:
            self._client = dask.Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"--cluster {address}: no scheduler answers ({reason})") from None
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            self._client.close()
            raise InputError(
                f"--cluster {address}: has no workers; begin some with: dask worker {address}"
                " --nthreads 1"
            ) from None
        self.size = sum(self._client.nthreads().values())
        self._ended = (dask.scheduler.KilledWorker, CancelledError)
        self._done = dask.as_completed(loop=self._client.loop)
        self._keys: dict[object, Hashable] = {}

    def submit(self, key: Hashable, function: Callable[..., object], *given: object) -> None:
        """Have a call made."""
        future = self._client.submit(function, *given, pure=False)
        self._keys[future.key] = key
        self._done.add(future)

    def completed(self) -> Iterator[Finished]:
        """The calls as they are done, until none is left."""
        while self._keys:
            future = next(self._done)
            key = self._keys.pop(future.key)
            try:
                finished = Finished(key, future.result())
            except self._ended:
                finished = Finished(key, error=WorkerEndedError())
            except Exception as error:  # noqa: BLE001 - what the call raised
                finished = Finished(key, error=error)
            yield finished

    def close(self) -> None:
        """Give up what is not done; the cluster goes on."""
        self._client.close()
