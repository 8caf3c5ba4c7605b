"""INSERTs of Arrow batches, each planned once a connection.

A small trace is some forty of them, and to plan one takes four times as long as to run it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import pyarrow as pa


class _BatchSource:
    """What DuckDB reads batches of one schema from, one after the other.

    It is registered once. A batch that is registered itself would stay in memory up to the end of
    the transaction, which remembers the view that DuckDB makes of it.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._batch = self._nothing = schema.empty_table()

    @contextmanager
    def giving(self, batch: pa.Table) -> Iterator[None]:
        """What queries in the block read."""
        self._batch = batch
        try:
            yield
        finally:
            self._batch = self._nothing

    def __arrow_c_schema__(self) -> object:
        return self._batch.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._batch.__arrow_c_stream__(requested_schema)


#: The sources of each connection, and by that the statements that are prepared on it.
_SOURCES: WeakKeyDictionary[duckdb.DuckDBPyConnection, dict[str, _BatchSource]]
_SOURCES = WeakKeyDictionary()


def put(connection: duckdb.DuckDBPyConnection, source: str, insert: str, batch: pa.Table) -> None:
    """Run the INSERT of a batch.

    Args:
        connection: the database.
        source: the name under which the statement reads the batch.
        insert: the statement, the same for all batches of that name.
        batch: the rows, of one schema likewise.
    """
    sources = _SOURCES.setdefault(connection, {})
    if source not in sources:
        sources[source] = _BatchSource(batch.schema)
        connection.register(source, sources[source])
        connection.execute(f"PREPARE put_{source} AS {insert}")
    with sources[source].giving(batch):
        connection.execute(f"EXECUTE put_{source}")
