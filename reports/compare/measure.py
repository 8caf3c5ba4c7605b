"""What a comparison asks of a results database: the questions of measures/*.sql, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

#: Bins of lifetimes by their logarithm, from 1 ns to 1000 s (measures/tables.sql:life_bin), to know
#: how their quantiles vary from one stretch of a run to another; the quantiles are exact.
BINS_PER_DECADE = 20
BINS = 12 * BINS_PER_DECADE

_FOLDER = files("reports.compare") / "measures"
_HEAD = re.compile(r"^-- measure (?P<name>\w+)(?P<marks>(?:, \w+)*)(?::.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Measure:
    """One question to a results database; its answer is what was counted, of what, and when.

    Args:
        name: what quantities call it.
        sql: its rows (item, slice, value): what was counted of an item in a time slice of the run;
            slice is NULL where the database has only a total. $run is the run, $recorded the
            recorded run that a simulated one was made from (the run itself if it is recorded),
            $own the policy of the recorded kernel.
        sliced: the rows say in which slice; False (marked total): slice is NULL.
        binned: rows have a column bin besides: BINS_PER_DECADE to a decade of nanoseconds.
        ranged: rows have columns low and high besides, between which value is assumed: equal to it
            where nothing is. measured() gives them as measures of their own.
        optional: a run that has no rows does not have the measure (it was not simulated, not priced
            with that policy, or what it takes was not stored); False: no rows mean none.
    """

    name: str
    sql: str
    sliced: bool = True
    binned: bool = False
    ranged: bool = False
    optional: bool = False


def _read(name: str) -> list[Measure]:
    _, *parts = _HEAD.split((_FOLDER / f"{name}.sql").read_text("utf-8"))
    found = []
    for called, marks, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        marked = set(marks.replace(",", " ").split())
        flags = {flag: flag in marked for flag in ("binned", "ranged", "optional")}
        found.append(Measure(called, sql.strip(), "total" not in marked, **flags))
    return found


def _statements(name: str) -> tuple[str, ...]:
    text = re.sub(r"^--.*\n", "", (_FOLDER / f"{name}.sql").read_text("utf-8"), flags=re.MULTILINE)
    return tuple(text.split(";\n"))


MEASURES = {each.name: each for file in ("recorded", "priced", "model") for each in _read(file)}
#: Statements that make the tables that measures are taken from, for one run.
TABLES = _statements("tables")
#: Statements that fill those of requests, for one stretch of the recording after the other.
WINDOWS = _statements("windows")
