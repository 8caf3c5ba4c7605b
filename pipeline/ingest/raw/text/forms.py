"""What the text of an event says: its fields' names in the text, and the columns these land in.

The text of an event is its format's print fmt: ``name=value`` with a space between, a name in one
case of two words (include/trace/events/kmem.h, page_ref.h of 6.1 to 7.3); or, with the option
fields, all fields of its record by their own names, numbers in hex and behind it in brackets as
signed decimals (kernel/trace/trace_output.c:print_fields, 6.4 to 7.3).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.events import EVENT_COLUMN, Event
from pipeline.ingest.formats import Field

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How values are written.
SITE, POINTER, NUMBER, BYTES, GFP, COUNTER, BOOLEAN, TEXT, BRACKETS, BRACKETS_SITE = range(10)

# Names in the text that are not the field's.
_FIELD_OF = {
    "type": "member",
    "zone name": "name",
    "upper_zone name": "upper_name",
    "watermark min": "watermark_min",
    "low": "watermark_low",
    "high": "watermark_high",
    "promo": "watermark_promo",
    "lowmem_reserve_pages": "lowmem_reserve",
}
_HOW = {
    "call_site": SITE,
    "ptr": POINTER,
    "mapping": POINTER,
    "gfp_flags": GFP,
    "member": COUNTER,
    "size": BYTES,
    "accounted": BOOLEAN,
}
# page_ref prints flags by name, and their bits depend on how the kernel was built.
_NOT_BY_NAME = {"page_flags"}
_NAME = re.compile(r"(?:^| )((?:zone |upper_zone |watermark )?\w+)=")
_IN_BRACKETS = re.compile(r".*\(-?\d+\)")
#: mm/internal.h and include/linux/mm_types_task.h (7.2): MM_FILEPAGES, ...
COUNTERS = {"MM_FILEPAGES": 0, "MM_ANONPAGES": 1, "MM_SWAPENTS": 2, "MM_SHMEMPAGES": 3}
FLAGS = {"true": 1, "false": 0}


@dataclass(frozen=True, slots=True)
class Form:
    """The text of an event.

    Attributes:
        names: the names in it, in order.
        columns: the field each column is read from, laid out in a record of ours.
        places: which of ``names`` each column is, and how its value is written.
        size: bytes of a record of ours without its texts.
    """

    names: tuple[str, ...]
    columns: dict[str, Field]
    places: dict[str, tuple[int, int]]
    size: int


def form_of(event: Event, texts: list[str]) -> Form:
    """The form of an event, by the texts of some: the one that most of them have.

    A value that is empty is one that this kernel does not print (6.1 prints no flags and no names).
    """
    seen = Counter(tuple(_values(text)) for text in texts)
    found = max(seen, key=lambda form: seen[form], default=())
    columns: dict[str, Field] = {}
    places: dict[str, tuple[int, int]] = {}
    at = 8
    for number, (name, kind) in enumerate(found):
        field = _FIELD_OF.get(name, name)
        column = event.renamed.get(field, field)
        known = column in event.columns and column not in columns
        if not known or kind == _EMPTY or (kind == _PLAIN and column in _NOT_BY_NAME):
            continue
        is_text = EVENT_COLUMN[column].dtype == "str"
        where, size = ("data_loc", 4) if is_text else ("number", 8)
        signed = np.dtype(EVENT_COLUMN[column].dtype).kind == "i" if not is_text else False
        columns[column] = Field(field, at, size, signed, where)
        places[column] = (number, _how(column, kind, is_text=is_text))
        at += 8
    return Form(tuple(name for name, _ in found), columns, places, at)


_EMPTY, _PLAIN, _BRACKETED = range(3)


def _how(column: str, kind: int, *, is_text: bool) -> int:
    if is_text:
        return TEXT
    how = _HOW.get(column, NUMBER)
    if kind == _BRACKETED:
        return BRACKETS_SITE if how == SITE else BRACKETS
    return how


def _values(text: str) -> Iterator[tuple[str, int]]:
    """Each name in the text of an event, and what its value looks like."""
    found = list(_NAME.finditer(text))
    for match, following in zip_longest(found, found[1:]):
        value = text[match.end() : following.start() if following else len(text)]
        bracketed = _BRACKETED if _IN_BRACKETS.fullmatch(value) else _PLAIN
        yield match[1], bracketed if value else _EMPTY


def own_names(event: Event) -> frozenset[str]:
    """The names that the text of an event may have: a line with none of them is not of it."""
    field_of = {column: field for field, column in event.renamed.items()}
    fields = {field_of.get(column, column) for column in event.columns}
    return frozenset(fields | {text for text, field in _FIELD_OF.items() if field in fields})
