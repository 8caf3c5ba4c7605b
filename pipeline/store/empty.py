"""A results database with nothing in it yet: types, tables, views, and what each of them is.

DuckDB takes longer to make the views and their comments than a small trace to be replayed. So it is
done once a user: the file is kept (XDG_CACHE_HOME), and every new database begins as its copy.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

import duckdb

from pipeline.processes.scratch import part_in, scratch
from pipeline.processes.user_folders import user_folder
from pipeline.store.recorded import RECORDED
from pipeline.store.schema import SCHEMA_VERSION, TABLES, create_tables, table_statements
from pipeline.store.schema.enums import ENUMS
from pipeline.store.schema.table import stored_doc
from reports.views import VIEWS, create_views, view

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from reports.views import View

#: What a database is made with: DuckDB 1.2 and later read it. The next older version takes twice
#: as much for what is empty, and in what else could read it, 1.0 and 1.1, views do not work.
STORAGE = {"storage_compatibility_version": "v1.2.0"}

_OPENED = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_MAY_WRITE = 0o022


def make(connection: duckdb.DuckDBPyConnection) -> None:
    """Make everything; who has added to the database is not known yet."""
    create_tables(connection)
    for comment in _table_comments():
        connection.execute(comment)
    connection.execute("INSERT INTO store_schema (version) VALUES (?)", [SCHEMA_VERSION])
    renew_views(connection)


def renew_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views, unless they are there and were made of the texts of this version."""
    made_of = _digest([*_queries(), *_view_comments()])
    if connection.execute("SELECT views FROM store_schema").fetchall() == [(made_of,)]:
        return
    create_views(connection, [RECORDED])
    for comment in _view_comments():
        connection.execute(comment)
    connection.execute("UPDATE store_schema SET views = ?", [made_of])


def place(path: Path) -> None:
    """Put an empty database at a path where nothing is, if one is kept or can be.

    It is whole as soon as it is there, for others may wait to open it.
    """
    folder = user_folder("XDG_CACHE_HOME")
    if folder is None:
        return
    with suppress(OSError, duckdb.Error), part_in(path.parent) as (part, opened):
        with open(opened, "wb", closefd=False) as out:
            out.write(_kept(folder))
        os.link(part, path)


def _kept(folder: Path) -> bytes:
    """The empty database that is kept in a folder, made where it is not there."""
    path = folder / f"empty-{_digest(_everything())}.duckdb"
    with suppress(FileNotFoundError):
        return _trusted(path)
    with scratch(folder) as place:
        made = place / path.name
        with duckdb.connect(made, config=dict(STORAGE)) as connection:
            connection.execute("BEGIN")
            make(connection)
            connection.execute("COMMIT")
        for old in folder.glob("empty-*.duckdb"):
            old.unlink(missing_ok=True)
        made.replace(path)
    return _trusted(path)


def _trusted(path: Path) -> bytes:
    """What a file holds that nobody but this user can have written.

    Raises:
        OSError: it is not there, or somebody else can.
    """
    with open(os.open(path, _OPENED), "rb") as file:  # noqa: PTH123 - a link is not followed
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_MAY_WRITE:
            raise PermissionError(f"{path} may be another user's")
        return file.read()


@cache
def _everything() -> tuple[str, ...]:
    """All that an empty database is made of."""
    statements = (*table_statements(), *_table_comments(), *_queries(), *_view_comments())
    return (duckdb.__version__, *STORAGE.values(), str(SCHEMA_VERSION), *statements)


def _digest(texts: Iterable[str]) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()


def _table_comments() -> list[str]:
    comments = [_comment("TYPE", enum.name, enum.doc) for enum in ENUMS]
    for table in TABLES:
        columns = [(each.name, each.unit, stored_doc(each)) for each in table.columns]
        comments += _described("TABLE", table.sql_name, f"one row is {table.row}.", columns)
    return comments


def all_views() -> list[View]:
    """Every view of a database, in order of creation."""
    return [*map(view, VIEWS), RECORDED]


def _queries() -> list[str]:
    return [each.query for each in all_views()]


def _view_comments() -> list[str]:
    return [
        comment
        for each in all_views()
        for comment in _described("VIEW", each.name, each.row, each.columns)
    ]


def _described(
    kind: str, name: str, row: str, columns: Sequence[tuple[str, str, str]]
) -> list[str]:
    """What a table or view is, and each of its columns: name, unit and sentence."""
    return [
        _comment(kind, name, row[0].upper() + row[1:]),
        *(
            _comment("COLUMN", f'{name}."{column}"', f"[{unit}] {doc}" if unit else doc)
            for column, unit, doc in columns
        ),
    ]


def _comment(kind: str, name: str, text: str) -> str:
    quoted = text.replace("'", "''")
    return f"COMMENT ON {kind} {name} IS '{quoted}'"
