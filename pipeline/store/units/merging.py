"""Merging a unit into a database, as if the run had been made there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.store.dimensions import find_trace, next_number, trace_id
from pipeline.store.schema.enums import enum_of
from pipeline.store.schema.recorded import OBJECT_ORIGINS
from pipeline.store.schema.runs import RUNS
from pipeline.store.units.unit import RUN_TABLES
from pipeline.store.units.writing import OF_DATABASE, ORIGIN, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.store.schema.table import StoreTable
    from pipeline.store.units.reading import KeptUnit
    from pipeline.store.units.unit import RunUnit

_SOURCE = "rows_of_unit"
_SAME = """
SELECT max(run) FROM runs
WHERE trace_id = ? AND settings IS NOT DISTINCT FROM ? AND made_with IS NOT DISTINCT FROM ?
"""
# Origins are counted from the first one of the run: each once, and no fact names another run's.
_ORIGINS = "SELECT count(DISTINCT origin), min(origin), max(origin) FROM {} WHERE run = $run"
_FACTS = """
SELECT count(*) FROM internal.object_facts
WHERE run = $run AND (origin IS NULL OR origin < $first OR origin >= $first + $count)
"""


def run_there(connection: duckdb.DuckDBPyConnection, unit: RunUnit) -> int | None:
    """The number of the run that a unit is of, if the database has it."""
    return _find(connection, unit, unit.settings, unit.made_with)


def merge_unit(connection: duckdb.DuckDBPyConnection, kept_unit: KeptUnit) -> int:
    """Add the run of a unit, as if it had been made in this database; the number it gets.

    Args:
        connection: the database, in a transaction.
        kept_unit: the unit.

    Raises:
        InputError: it is damaged, or the database lacks the recorded run that it simulates.
    """
    unit = kept_unit.unit
    number: dict[str, int | None] = {"of_run": None}
    if unit.settings is not None:
        number["of_run"] = _find(connection, unit, None, unit.of_made_with)
        if number["of_run"] is None:
            raise InputError(
                f"{kept_unit.path}: the recorded run that it simulates is not in the database;"
                " merge its unit too"
            )
    number["run"] = run = next_number(connection, "runs", "run")
    first = next_number(connection, OBJECT_ORIGINS.sql_name, ORIGIN)
    number["trace_id"] = trace_id(connection, dict(unit.trace), kept_unit.topology)  # type: ignore[arg-type]
    for name, table in RUN_TABLES.items():
        if name in kept_unit.rows:
            _insert(connection, table, kept_unit, number, first - 1)
    _check(connection, kept_unit, run, first)
    return run


def _find(
    connection: duckdb.DuckDBPyConnection,
    unit: RunUnit,
    settings: str | None,
    made_with: str | None,
) -> int | None:
    number = find_trace(connection, dict(unit.trace))
    found: list[tuple[int | None]] = connection.execute(
        _SAME, [number, settings, made_with]
    ).fetchall()
    return found[0][0]


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: StoreTable,
    kept_unit: KeptUnit,
    number: dict[str, int | None],
    origins: int,
) -> None:
    values = []
    for column in table.columns:
        value = f'"{column.name}"'
        if column.name in OF_DATABASE:
            one = number[column.name]
            value = "NULL" if one is None else str(one)
        elif column.name == ORIGIN:
            value = f"{value} + {origins}"
        elif enum := enum_of(column):
            value = f"{value}::{enum.name}"
        values.append(value)
    schema, batches = kept_unit.batches(table)
    wrong: list[InputError] = []

    def told() -> Iterator[pa.RecordBatch]:
        """The batches; DuckDB would say of an error only that there was one."""
        try:
            yield from batches
        except InputError as error:
            wrong.append(error)

    into = f"INSERT INTO {table.sql_name} SELECT {', '.join(values)} FROM {_SOURCE}"
    connection.register(_SOURCE, pa.RecordBatchReader.from_batches(schema, told()))
    try:
        connection.execute(into)
    except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
        first = str(error).splitlines()[0][:120]
        wrong.append(InputError(f"{kept_unit.path / table.name}.parquet: {first}"))
    if wrong:
        raise wrong[0]
    connection.unregister(_SOURCE)


def _check(
    connection: duckdb.DuckDBPyConnection, kept_unit: KeptUnit, run: int, first: int
) -> None:
    """What rows must say of the run that they are of.

    Raises:
        InputError: they do not.
    """
    count = kept_unit.rows.get(OBJECT_ORIGINS.name, 0)
    about: dict[str, Any] = {"run": run}
    sql = _ORIGINS.format(OBJECT_ORIGINS.sql_name)
    [origins] = connection.execute(sql, about).fetchall()
    [(strange,)] = connection.execute(_FACTS, {**about, "first": first, "count": count}).fetchall()
    if strange or (count and origins != (count, first, first + count - 1)):
        raise InputError(f"{kept_unit.path}: origins of its object events are not its own")
    names = ", ".join(column.name for column in kept(RUNS))
    [row] = connection.execute(f"SELECT {names} FROM runs WHERE run = ?", [run]).fetchall()
    said = dict(zip(names.split(", "), row, strict=True))
    unit = kept_unit.unit
    if (said["settings"], said["made_with"]) != (unit.settings, unit.made_with):
        raise InputError(f"{kept_unit.path}: its run is another one than it says")
