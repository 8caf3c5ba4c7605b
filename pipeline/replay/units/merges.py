"""Merging what other commands have kept as units into a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.processes.scratch import scratch
from pipeline.replay.done import Done
from pipeline.replay.units.driver import Taking
from pipeline.store.units.folder import UnitsFolder
from pipeline.store.units.reading import kept_unit

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.processes.progress import Progress


def merge_all(units: str, db: Path, progress: Progress) -> Done:
    """Add the runs of all units of a folder that a database does not have, a transaction each.

    They are added in the order in which their commands would have: trace by trace, the recorded run
    before those that simulate it.

    Args:
        units: the folder, or a URI.
        db: the results database; made if it is not there.
        progress: told how far it is.

    Returns:
        The runs; ``failed`` says which units are none.

    Raises:
        InputError: there is no unit in it.
        OutputError: it cannot be read, or the database cannot be written.
        StoreError: the database cannot take them.
    """
    folder, done = UnitsFolder(units), Done()
    names = folder.names()
    if not names:
        raise InputError(f"{units}: no units there; allocsim replay --units DIR makes some")
    places: dict[str, int] = {}
    first: dict[str, int] = {}
    with scratch() as place:
        for name in names:
            try:
                turn, places[name] = kept_unit(folder.fetched(name, place)).turn
            except InputError as error:
                done.failed.append(error)
                continue
            trace = _trace(name)
            first[trace] = min(first.get(trace, turn), turn)
        found = sorted(
            places, key=lambda name: (first[_trace(name)], _trace(name), places[name], name)
        )
        step = progress.step(f"merge {units}")
        with Taking(db, folder, place, done, again=False, keep=True) as taking:
            for count, name in enumerate(found, 1):
                try:
                    taking.take(name, asked=True)
                except InputError as error:
                    done.failed.append(error)
                step(count / len(found))
    return done


def _trace(name: str) -> str:
    """The folder of the trace that a unit is of."""
    return name.partition("/")[0]
