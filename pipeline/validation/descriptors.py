"""What descriptors would take at the end of a recording, against the snapshot taken behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.columns import find
from allocsim.descriptors import descriptor_bytes, shipped_schemes
from allocsim.page_flags import blocks_of_flags
from allocsim.page_kinds import Kind
from pipeline.validation.bounds import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import numpy.typing as npt

    from allocsim.descriptors import Scheme

SCHEME = "memdesc-8"
_OPEN = """
SELECT pfn, page_kind AS kind FROM pages
WHERE run = ? AND free_ts IS NULL AND page_kind <> ? ORDER BY pfn
"""
_PARTS = """
SELECT part, bytes FROM descriptor_overhead
WHERE run = ? AND scheme = ? AND moment = (SELECT max(moment) FROM live_blocks WHERE run = ?)
"""


def descriptors(
    connection: duckdb.DuckDBPyConnection, run: int, flags: npt.NDArray[np.uint64]
) -> Iterator[Comparison]:
    """Bytes of descriptors under memdesc-8, in all and of the blocks that both sides have.

    The recording ends before the snapshot is taken, and does not see what is older than itself:
    the difference in all is what it could not know, as the note says.

    Args:
        connection: the database.
        run: the run, priced with that scheme.
        flags: words of the snapshot behind the recording, by page frame.
    """
    scheme = shipped_schemes()[SCHEME]
    kernel = blocks_of_flags(flags)
    total = _sum(scheme, kernel["kind"])
    parts = dict(connection.execute(_PARTS, [run, SCHEME, run]).fetchall())
    lives = connection.execute(_OPEN, [run, int(Kind.UNKNOWN)]).fetchnumpy()
    pfn, kind = np.asarray(lives["pfn"], np.int64), np.asarray(lives["kind"], np.int64)
    at = find(kernel["pfn"], pfn)
    both = at >= 0
    gone = _sum(scheme, kind[~both])
    note = (
        f"{parts['unknown']} bytes more of blocks that one snapshot has and the recording does not"
        f" show; {gone} bytes are of blocks that were gone when the snapshot was taken."
    )
    yield Comparison("descriptor_bytes", "total", total, parts["descriptors"], note)
    yield Comparison(
        "descriptor_bytes",
        "blocks of both",
        _sum(scheme, kernel["kind"][at[both]]),
        _sum(scheme, kind[both]),
        f"{int(np.count_nonzero(both))} blocks are live in the recording and in the snapshot.",
    )


def _sum(scheme: Scheme, kind: npt.NDArray[np.integer]) -> int:
    return int(descriptor_bytes(scheme, kind).sum())
