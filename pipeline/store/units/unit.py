"""What a unit is: one run of one trace, by what identifies it, and the folder it is kept in.

A unit is the rows of one run, a Parquet file a table, in a folder ``trace=NAME/settings=NAME``,
with unit.json beside them. Both names end in a digest of what they stand for: traces may share a
name, and the same settings may be simulated by another version, or be priced with other policies.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from allocsim import __version__
from pipeline.store.schema import SCHEMA_VERSION, TABLES
from pipeline.store.schema.runs import TRACES
from pipeline.store.schema.table import RUN

if TYPE_CHECKING:
    from collections.abc import Mapping

UNIT_FILE = "unit.json"
TRACE, SETTINGS = "trace=", "settings="  #: what the names of the two folders begin with
#: Tables whose rows belong to a run: those that a unit can have.
RUN_TABLES = {table.name: table for table in TABLES if RUN in table.columns}
#: Columns of ``traces`` that identify one.
TRACE_COLUMNS = tuple(column for column in TRACES.columns if column.name != "trace_id")

_SHOWN = 100  # letters of a name before its digest: a file system takes 255 bytes
_DIGITS = 16


@dataclass(frozen=True)
class RunUnit:
    """What identifies a run.

    Args:
        trace: the row of ``traces`` of what was replayed, without its number.
        settings: pipeline.replay.simulated.settings_key; None: the recorded run.
        made_with: pipeline.replay.pricing.digest; None: of a sweep.
        of_made_with: that of the recorded run that it simulates; None: it is one.
        version: of allocsim, which made it.
    """

    trace: Mapping[str, Any]
    settings: str | None
    made_with: str | None
    of_made_with: str | None = None
    version: str = __version__

    @property
    def name(self) -> str:
        """The folder it is kept in, below that of all units."""
        what = [SCHEMA_VERSION, self.version, self.settings, self.made_with, self.of_made_with]
        chosen = "recorded" if self.settings is None else _said(self.settings)
        return f"{trace_folder(self.trace)}/{SETTINGS}{_named(chosen, what)}"


def trace_folder(trace: Mapping[str, Any]) -> str:
    """The folder that has the units of a trace, by its row of ``traces``."""
    row = [trace[column.name] for column in TRACE_COLUMNS]
    row = [float(value) if isinstance(value, int | float) else value for value in row]
    return f"{TRACE}{_named(str(trace['trace']), row)}"


def _said(settings: str) -> str:
    """Settings as they are given, one after the other."""
    given = json.loads(settings)
    return ",".join(f"{key}={value}" for key, value in given.items()) or "default"


def _named(text: str, what: list[Any]) -> str:
    """A text as names in paths like Hive's have it, cut, with a digest of what it stands for."""
    escaped = quote(text, safe=",+@", errors="backslashreplace")[:_SHOWN]
    whole = re.sub(r"%.?\Z", "", escaped)
    return f"{whole}-{sha256(json.dumps(what).encode()).hexdigest()[:_DIGITS]}"
