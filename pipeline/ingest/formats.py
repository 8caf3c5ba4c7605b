"""Event formats: the text a kernel gives of each tracepoint's layout, and of the sub-buffer's.

Source: kernel/trace/trace_events.c:f_show, kernel/trace/ring_buffer.c:ring_buffer_print_page_header
(7.2) write these texts; a recorder copies them into the recording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FIELD = re.compile(
    r"field:\s*(?P<declaration>[^;]+);\s*offset:\s*(?P<offset>\d+);\s*size:\s*(?P<size>\d+);"
    r"(?:\s*signed:\s*(?P<signed>\d+);)?"
)
_NAME = re.compile(r"^name:\s*(\S+)\s*$", re.MULTILINE)
_ID = re.compile(r"^ID:\s*(\d+)\s*$", re.MULTILINE)
_LAST_WORD = re.compile(r"(\w+)\s*(\[[^\]]*\])?\s*$")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event's record: where it lies and what kind of number it is.

    ``text`` is ``data_loc`` or ``rel_loc`` for a string elsewhere in the record (the field then
    holds offset and length), ``array`` for an array, ``number`` otherwise.
    """

    name: str
    offset: int
    size: int
    signed: bool
    kind: str = "number"

    @property
    def end(self) -> int:
        """Bytes a record must have for the field to be in it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One event: the number its records begin with, its names, its fields by name."""

    number: int
    system: str
    name: str
    fields: dict[str, Field]


def _field(match: re.Match[str]) -> Field | None:
    declaration = match["declaration"].strip()
    word = _LAST_WORD.search(declaration)
    if word is None:
        return None
    kind = "number"
    if declaration.startswith("__data_loc"):
        kind = "data_loc"
    elif declaration.startswith("__rel_loc"):
        kind = "rel_loc"
    elif word[2] is not None:
        kind = "array"
    return Field(word[1], int(match["offset"]), int(match["size"]), match["signed"] == "1", kind)


def parse_fields(text: str) -> dict[str, Field]:
    """The fields a format text (or the header_page text) describes, by name."""
    fields = (_field(match) for match in _FIELD.finditer(text.partition("\nprint fmt:")[0]))
    return {field.name: field for field in fields if field is not None}


def parse_format(system: str, text: str) -> EventFormat | None:
    """The event a format text describes; None if the text has no name or no ID."""
    head = text.partition("\nprint fmt:")[0]
    name, number = _NAME.search(head), _ID.search(head)
    if name is None or number is None:
        return None
    return EventFormat(int(number[1]), system, name[1], parse_fields(head))


def format_names(formats: list[tuple[str, memoryview]]) -> dict[int, str]:
    """The names of events by number, from the texts of their formats."""
    heads = (bytes(text[:256]).decode("utf-8", "replace") for _, text in formats)
    found = ((_ID.search(head), _NAME.search(head)) for head in heads)
    return {int(number[1]): name[1] for number, name in found if number and name}
