"""Writing a unit: the rows of a run of a database, as they are stored, table by table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.store.database import file_errors
from pipeline.store.schema import SCHEMA_VERSION
from pipeline.store.schema.enums import enum_of
from pipeline.store.schema.runs import CPU_TOPOLOGY
from pipeline.store.schema.table import RUN
from pipeline.store.units.unit import RUN_TABLES, TRACE_COLUMNS, UNIT_FILE, RunUnit

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from allocsim.trace.events import Column
    from pipeline.store.schema.table import StoreTable

#: Numbers that are a database's own, which a run gets when it is merged.
OF_DATABASE = {RUN.name, "trace_id", "of_run"}
#: One of each run's object origins is counted on from those of other runs: in a unit from 1.
ORIGIN = "origin"

_COPY = "COPY (SELECT {columns} FROM {table} WHERE run = {run}) TO '{file}' ({options})"
_OPTIONS = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
_ABOUT = "SELECT trace_id, of_run, settings, made_with FROM runs WHERE run = ?"


def kept(table: StoreTable) -> tuple[Column, ...]:
    """The columns of a table that a unit has: all but those that are a database's own."""
    return tuple(column for column in table.columns if column.name not in OF_DATABASE)


def unit_of(connection: duckdb.DuckDBPyConnection, run: int) -> RunUnit:
    """What identifies a run of a database."""
    [(trace_id, of_run, settings, made_with)] = connection.execute(_ABOUT, [run]).fetchall()
    of_made_with = None
    if of_run is not None:
        [(_, _, _, of_made_with)] = connection.execute(_ABOUT, [of_run]).fetchall()
    names = ", ".join(f'"{column.name}"' for column in TRACE_COLUMNS)
    [values] = connection.execute(
        f"SELECT {names} FROM traces WHERE trace_id = ?", [trace_id]
    ).fetchall()
    trace = dict(zip([column.name for column in TRACE_COLUMNS], values, strict=True))
    return RunUnit(trace, settings, made_with, of_made_with)


def write_unit(
    connection: duckdb.DuckDBPyConnection, run: int, turn: tuple[int, int], folder: Path
) -> RunUnit:
    """Write a run of a database into a folder that is made.

    Args:
        connection: the database; one that may write files.
        run: number of the run.
        turn: which trace of its command it is of, and which run of that trace: their order in a
            database that units are merged into.
        folder: where; its parent is there.

    Raises:
        OutputError: it cannot be written there.
    """
    unit = unit_of(connection, run)
    folder.mkdir()
    rows: dict[str, int] = {}
    with file_errors(folder):
        for table in RUN_TABLES.values():
            [(count,)] = connection.execute(
                f"SELECT count(*) FROM {table.sql_name} WHERE run = ?", [run]
            ).fetchall()
            if count:
                rows[table.name] = count
                _copy(connection, table, run, folder / f"{table.name}.parquet")
    [(trace_id,)] = connection.execute("SELECT trace_id FROM runs WHERE run = ?", [run]).fetchall()
    names = ", ".join(column.name for column in CPU_TOPOLOGY.columns[1:])
    topology = connection.execute(
        f"SELECT {names} FROM cpu_topology WHERE trace_id = ? ORDER BY ALL", [trace_id]
    ).fetchall()
    about: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "allocsim_version": unit.version,
        "trace": unit.trace,
        "topology": topology,
        "settings": unit.settings,
        "made_with": unit.made_with,
        "of_made_with": unit.of_made_with,
        "turn": turn,
        "rows": rows,
    }
    (folder / UNIT_FILE).write_text(json.dumps(about, indent=1), "utf-8")
    return unit


def _copy(connection: duckdb.DuckDBPyConnection, table: StoreTable, run: int, file: Path) -> None:
    columns = []
    for column in kept(table):
        value = f'"{column.name}"'
        if column.name == ORIGIN:
            first = "SELECT min(origin) FROM internal.object_origins"
            value = f"({value} - ({first} WHERE run = {run}) + 1)::INTEGER"
        elif enum_of(column):
            value += "::VARCHAR"
        columns.append(f'{value} AS "{column.name}"')
    connection.execute(
        _COPY.format(
            columns=", ".join(columns),
            table=table.sql_name,
            run=run,
            file=str(file).replace("'", "''"),
            options=_OPTIONS,
        )
    )
