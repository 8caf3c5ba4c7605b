"""Requests on disk, for the processes of a sweep: made once, read by all.

Two Arrow files in a folder, of object and of page requests; a record batch each is a window.
Processes share what the page cache has of them, and hold a window each: mapped, they would seem to
hold all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import ipc

from allocsim.recording.requests import PageEvents, RequestWindow
from allocsim.slub.requests import ObjectRequests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from allocsim.tables import Array

_DTYPES = {
    "objects": dict(
        zip(
            ObjectRequests._fields,
            ("i8", "i2", "i4", "i1", "i8", "i8", "i8", "i4", "i8", "i2"),
            strict=True,
        )
    ),
    "pages": dict(
        zip(
            PageEvents._fields,
            ("i8", "i2", "i1", "i8", "i1", "i1", "i1", "u1", "i8"),
            strict=True,
        )
    ),
}
_ARROW = {"i8": pa.int64(), "i4": pa.int32(), "i2": pa.int16(), "i1": pa.int8(), "u1": pa.uint8()}


def write_requests(folder: Path, windows: Iterable[RequestWindow]) -> None:
    """Write requests into a folder. Which of them are events is not kept."""
    schemas = {
        name: pa.schema([(field, _ARROW[dtype]) for field, dtype in fields.items()])
        for name, fields in _DTYPES.items()
    }
    with (
        ipc.new_file(folder / "objects.arrow", schemas["objects"]) as objects,
        ipc.new_file(folder / "pages.arrow", schemas["pages"]) as pages,
        (folder / "ends").open("w") as ends,
    ):
        for window in windows:
            objects.write_batch(_batch(window.objects, "objects", schemas["objects"]))
            pages.write_batch(_batch(window.pages, "pages", schemas["pages"]))
            ends.write(f"{window.end}\n")


def _batch(columns: Iterable[Array | None], name: str, schema: pa.Schema) -> pa.RecordBatch:
    given = list(columns)
    rows = max(len(column) for column in given if column is not None)
    arrays = [
        pa.nulls(rows, _ARROW[dtype])
        if column is None
        else pa.array(column.astype(dtype, copy=False))
        for column, dtype in zip(given, _DTYPES[name].values(), strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def read_requests(folder: Path) -> Iterator[RequestWindow]:
    """The requests of a folder, window by window; ``shown`` is empty."""
    ends = [int(line) for line in (folder / "ends").read_text().splitlines()]
    with (
        pa.OSFile(str(folder / "objects.arrow")) as object_bytes,
        pa.OSFile(str(folder / "pages.arrow")) as page_bytes,
    ):
        objects, pages = ipc.open_file(object_bytes), ipc.open_file(page_bytes)
        for number, end in enumerate(ends):
            of_objects: list[Any] = [
                None if column.null_count else column.to_numpy()
                for column in objects.get_batch(number).columns
            ]
            of_pages = [column.to_numpy() for column in pages.get_batch(number).columns]
            requests = ObjectRequests(*of_objects)
            nothing = requests.seq[:0].astype(bool)
            yield RequestWindow(requests, nothing, PageEvents(*of_pages), end)
