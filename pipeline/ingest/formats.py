"""Event formats: the text a kernel gives of each tracepoint's layout, and of the sub-buffer's.

Source: kernel/trace/trace_events.c:f_show, kernel/trace/ring_buffer.c:ring_buffer_print_page_header
(7.2) write these texts; a recorder copies them into the recording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.untrusted import must_be_number, shown
from pipeline.untrusted import number as number_of

# A line each, and a declaration of no more than this: what has none is looked at once.
_FIELD = re.compile(
    r"^[ \t]*field:[ \t]*(?P<declaration>[^;\n]{1,400});[ \t]*offset:[ \t]*(?P<offset>\d+);"
    r"[ \t]*size:[ \t]*(?P<size>\d+);(?:[ \t]*signed:[ \t]*(?P<signed>\d+);)?",
    re.MULTILINE,
)
_NAME = re.compile(r"^name:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_ID = re.compile(r"^ID:[ \t]*(\d+)[ \t]*$", re.MULTILINE)
# Both as kernels write them; there are thousands.
_NAME_AND_ID = re.compile(rb"name: ([!-~]{1,128})\nID: ([0-9]{1,9})\n")
_ANY_FIELD = re.compile(r"^[ \t]*field:.*$", re.MULTILINE)
_FARTHEST = (1 << 31) - 1  # an offset, a size and a number are ints of the kernel
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


def _field(match: re.Match[str], where: str) -> Field | None:
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
    offset, size = (
        must_be_number(match[what], f"{where}: the {what} of {word[1]}", most=_FARTHEST)
        for what in ("offset", "size")
    )
    return Field(word[1], offset, size, match["signed"] == "1", kind)


def parse_fields(text: str, where: str) -> dict[str, Field]:
    """The fields a format text (or the header_page text) describes, by name.

    Raises:
        InputError: a field is none that a kernel writes, or its numbers cannot be; says ``where``.
    """
    body = text.partition("\nprint fmt:")[0]
    found = list(_FIELD.finditer(body))
    if len(found) < len(_ANY_FIELD.findall(body)):
        unread = next(line for line in _ANY_FIELD.findall(body) if not _FIELD.match(line))
        raise InputError(f"{where}: a field cannot be read: {shown(unread.strip())}")
    fields = (_field(match, where) for match in found)
    return {field.name: field for field in fields if field is not None}


def parse_format(system: str, text: str, where: str) -> EventFormat | None:
    """The event a format text describes; None if the text has no name or no ID.

    Raises:
        InputError: a number in it is none that can be; says ``where``.
    """
    head = text.partition("\nprint fmt:")[0]
    name, number = _NAME.search(head), _ID.search(head)
    if name is None or number is None:
        return None
    what = f"{where}: the format of {shown(name[1])}"
    found = must_be_number(number[1], f"{what}: its ID", most=_FARTHEST)
    return EventFormat(found, system, name[1], parse_fields(head, what))


def format_names(formats: list[tuple[str, memoryview]]) -> dict[int, str]:
    """The names of events by number, from the texts of their formats."""
    named = {}
    for _, text in formats:
        if plain := _NAME_AND_ID.match(text):
            named[int(plain[2])] = plain[1].decode("ascii")
            continue
        head = bytes(text[:256]).decode("utf-8", "replace")
        number, name = _ID.search(head), _NAME.search(head)
        if number and name and (found := number_of(number[1])) is not None:
            named[found] = name[1]
    return named
