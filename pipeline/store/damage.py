"""Results databases whose file is damaged: what of them can still be read.

DuckDB checks a sum of each block (256 KiB) of the file when it reads one, and of the two headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb

from pipeline.store.schema import TABLES

if TYPE_CHECKING:
    from pathlib import Path

_WRONG = re.compile(r"Corrupt database file|[Cc]hecksum|deserializ|not a valid DuckDB")
# What follows from a file that is none that a version of allocsim has written.
NOT_OURS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InternalException,
    duckdb.SerializationException,
)


def is_damage(error: Exception) -> bool:
    """Whether DuckDB says that a file is not as it was written."""
    return "not a valid DuckDB" not in str(error) and _WRONG.search(str(error)) is not None


def said_of_damage(path: Path) -> str:
    """What to say of a database that is damaged; nobody may have it open in this process."""
    try:
        with duckdb.connect(path, read_only=True) as connection:
            found = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    except duckdb.Error:
        return f"{path}: damaged: nothing of it can be read; replay its traces into a new file"
    names = [table.sql_name for table in TABLES if (table.name,) in found]
    whole = [name for name in names if _reads(path, name)]
    lost = [name for name in names if name not in whole]
    if not lost:
        what = "its indexes or views cannot be read, all its tables can"
    elif len(lost) <= len(whole):
        what = f"cannot read all of {', '.join(lost)}; the other {len(whole)} tables can be read"
    else:
        what = f"of {len(names)} tables can be read: {', '.join(whole) or 'none'}"
    return f"{path}: damaged: {what}, with allocsim sql; replay its traces into a new file"


def _reads(path: Path, table: str) -> bool:
    """Whether all of a table can be read; anew, for DuckDB gives up a file that it finds wrong."""
    try:
        with duckdb.connect(path, read_only=True) as connection:
            connection.execute(f"SELECT bit_xor(hash(each)) FROM {table} AS each").fetchall()
    except duckdb.Error:
        return False
    return True
