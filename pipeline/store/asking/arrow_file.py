"""An answer as a file of Arrow's or as Parquet.

Loaded for these formats only, and before the right to read files is given up: pyarrow takes longer
to load than most statements to be answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

_MADE = {"parquet": parquet.ParquetWriter, "arrow": pa.ipc.new_file}


def write(
    name: str,
    batches: pa.RecordBatchReader,
    timed: Callable[[Iterator[Any]], Iterable[Any]],
    out: BinaryIO,
) -> None:
    """Write an answer.

    Args:
        name: a key of _MADE.
        batches: what a statement gives.
        timed: iterates over what is still to be made of it.
        out: where it goes; it stays open.
    """
    with _MADE[name](out, batches.schema) as writer:
        for batch in timed(batches):
            writer.write_batch(batch)
