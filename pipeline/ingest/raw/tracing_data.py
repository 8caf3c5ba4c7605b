"""Formats of events as trace.dat's version 6 and perf.data carry them: "tracing data"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.ingest.raw.cursor import Cursor


def read_header_page(cursor: Cursor) -> str:
    """The text on the layout of sub-buffers; the one on events is passed over."""
    cursor.expect(b"header_page\0")
    text = bytes(cursor.block(8, "header_page")).decode("utf-8", "replace")
    cursor.expect(b"header_event\0")
    cursor.block(8, "header_event")
    return text


def read_formats(cursor: Cursor, system: str, count_bytes: int) -> list[tuple[str, memoryview]]:
    """System and format text of each event of one system."""
    name = f"a format of {system}"
    count = cursor.number(count_bytes, f"number of {system} events")
    return [(system, cursor.block(8, name)) for _ in range(count)]


def read_systems(cursor: Cursor) -> list[tuple[str, memoryview]]:
    """System and format text of each event of several systems."""
    formats = []
    for _ in range(cursor.number(4, "number of event systems")):
        formats += read_formats(cursor, cursor.string("an event system's name"), 4)
    return formats


# --- version 6: one part after the other
