"""What a table is, and the DuckDB type of its columns."""

from __future__ import annotations

from dataclasses import dataclass

from allocsim.trace.events import EVENT_COLUMN, Column
from pipeline.store.schema.enums import enum_of

#: The DuckDB schema of tables that nobody is to ask directly, so that SHOW TABLES has the others.
INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class StoreTable:
    """One table.

    Args:
        name: the table's name.
        row: what one row is.
        columns: its columns, in order.
        key: the columns that name a row; empty where only the order of loading does.
        internal: only views and the program itself read it; it stands in the schema INTERNAL.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    internal: bool = False

    @property
    def sql_name(self) -> str:
        """What SQL calls it."""
        return f"{INTERNAL}.{self.name}" if self.internal else self.name


#: The run a row belongs to.
RUN = Column("run", "i4", "", "Replay of one trace (runs.run).")
#: The event a row is of.
SEQ = Column("seq", "i8", "", "Row of the event in the trace set's events.parquet, from 0.")

# DuckDB type of a column by its numpy dtype: see the conventions above.
_DUCKDB = {
    "?": "BOOLEAN",
    "i1": "SMALLINT",
    "u1": "SMALLINT",
    "i2": "SMALLINT",
    "i4": "INTEGER",
    "i8": "BIGINT",
    "u4": "BIGINT",
    "u8": "UBIGINT",
    "f8": "DOUBLE",
    "str": "VARCHAR",
}
# Counts whose arrays are narrow, and flags whose arrays are unsigned.
_WIDENED = {
    "plain_ops": "BIGINT",
    "locked_ops": "BIGINT",
    "frees": "BIGINT",
    "val": "BIGINT",
    "ret": "BIGINT",
    "count": "BIGINT",
    "peak_count": "BIGINT",
    "gfp_flags": "BIGINT",
}


def duckdb_type(column: Column) -> str:
    """The DuckDB type a column is stored in, by name."""
    enum = enum_of(column)
    return enum.name if enum else _WIDENED.get(column.name, _DUCKDB[column.dtype])


def loaded_type(column: Column) -> str:
    """The DuckDB type a column is loaded from: codes of an ENUM are whole numbers yet."""
    coded = enum_of(column) is not None
    return _DUCKDB[column.dtype] if coded else duckdb_type(column)


def from_loaded(column: Column, value: str) -> str:
    """The SQL of a stored value, from that of the value it is loaded from."""
    enum = enum_of(column)
    return enum.of_code(value) if enum and column.dtype != "str" else value


def stored_doc(column: Column) -> str:
    """The sentence of a column as it reads in the store, where the sentinel -1 is NULL."""
    return column.doc.replace("-1:", "NULL:")


def event(*names: str) -> tuple[Column, ...]:
    """Columns of the events as recorded."""
    return tuple(EVENT_COLUMN[name] for name in names)


def ddl(table: StoreTable) -> str:
    """The CREATE TABLE statement of a table.

    No primary keys: DuckDB would build an index for each, which costs more than the load. The
    keys are tested instead.
    """
    columns = ", ".join(f'"{column.name}" {duckdb_type(column)}' for column in table.columns)
    return f"CREATE TABLE {table.sql_name} ({columns})"
