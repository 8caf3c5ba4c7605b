"""The tables of a results database, as data: the star of runs, their facts and their dimensions.

Everything that speaks of tables is made from this package: the DDL, the Arrow schema of what is
loaded, the check of a database that is opened, and the reference page.

Conventions: time is ``ts`` in ns; sizes and counts are BIGINT (DuckDB raises when unsigned
values are subtracted below zero); codes are small and signed; only addresses are UBIGINT. What
is not known is NULL, where the model's arrays hold the sentinel -1.

A module a layer; a new table stands in the module of its layer, from which TABLES has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.trace.events import Column
from pipeline.store.schema import costs, descriptors, dimensions, freezing, placed, recorded, runs
from pipeline.store.schema.enums import ENUMS
from pipeline.store.schema.table import INTERNAL, StoreTable, ddl

if TYPE_CHECKING:
    import duckdb

SCHEMA_VERSION = 19

SCHEMA = StoreTable(
    "store_schema",
    "the version of this schema; one row",
    (
        Column("version", "i4", "", "Version of the schema the database was made with."),
        Column("allocsim_version", "str", "", "Version of allocsim that made it; NULL: not done."),
        Column("views", "str", "", "Digest of the texts that its views were made of."),
    ),
    (),
)

_LAYERS = (runs, recorded, dimensions, freezing, placed, descriptors, costs)
TABLES: tuple[StoreTable, ...] = (
    SCHEMA,
    *(each for layer in _LAYERS for each in vars(layer).values() if isinstance(each, StoreTable)),
)
TABLE_OF = {table.name: table for table in TABLES}


def table_statements() -> list[str]:
    """The statements that make the types and the tables, empty."""
    return [f"CREATE SCHEMA {INTERNAL}", *(enum.ddl for enum in ENUMS), *map(ddl, TABLES)]


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the types and the tables, empty."""
    for statement in table_statements():
        connection.execute(statement)
