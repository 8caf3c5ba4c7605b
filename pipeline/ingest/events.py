"""Which of a recording's event types are kept, and where their fields lie, by its format texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.events import EVENT_COLUMN, EVENTS, PROBES, Ev, Event
from pipeline.errors import InputError
from pipeline.ingest.formats import EventFormat, Field, format_names, parse_format
from pipeline.ingest.raw.probes import ProbeFormat, Probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.tables import UInt8
    from pipeline.ingest.raw.struct_page import StructPages

#: Slots are small numbers for event types: those kept have 0, 1, ...; these two are for the rest.
STACK, OTHER = 254, 255

_BY_NAME = {
    (event.system, name): event for event in EVENTS for name in (event.name, *event.aliases)
}
_OF_CODE = {event.code: event for event in EVENTS}
_SYSTEMS = {event.system for event in EVENTS}
_KERNEL_STACK = ("ftrace", "kernel_stack")
#: What ftrace calls the stack of a task, which may stand between an event and the kernel's stack.
USER_STACK = "user_stack"
OF_NO_FORMAT = "events of no format"  #: what those of a type are called that no format is of
_MOST_OF_FTRACE = 255
_OWN_OF_FTRACE = 15  # numbers below it are of ftrace itself in all kernels, and have formats
# In kallsyms: what stands in front of an event's name, in its line and in all, and the name.
_EVENT_SYMBOL = b" __event_"
_IN_FRONT = re.compile(rb"(?:^|\n)([0-9a-f]{8,16}) \S$")
_LONGEST_IN_FRONT = 20
_EVENT_NAME = re.compile(rb"(\w{1,80})(?:\n|$)")
_FEWEST_KNOWN = 2  # of which one alone would agree with itself
_BESIDE = 32  # numbers beside those that are kept
# Of newer kernels, or of kernels built with what they are of.
_NOT_EVERYWHERE = {code for code in Ev if code >= Ev.MM_SETUP_PER_ZONE_WMARKS} | {Ev.RSS_STAT}
_COMMON = ("common_type", "common_flags", "common_pid")


@dataclass(frozen=True, slots=True)
class Kept:
    """An event type that is kept, with the columns its fields land in."""

    event: Event
    format: EventFormat
    columns: dict[str, Field]

    @classmethod
    def of(cls, event: Event, layout: EventFormat) -> Kept:
        """The columns a recording's format of ``event`` has fields for."""
        columns = {}
        for name, where in layout.fields.items():
            column = event.renamed.get(name, name)
            if column in event.columns and _is_readable(where, EVENT_COLUMN[column].dtype):
                columns[column] = where
        return cls(event, layout, columns)

    @property
    def ignored(self) -> list[str]:
        """The format's own fields that the schema has no column for."""
        known = {where.name for where in self.columns.values()}
        names = (name for name in self.format.fields if not name.startswith("common_"))
        return [name for name in names if name not in known]


def _is_readable(where: Field, dtype: str) -> bool:
    if dtype == "str":
        return where.kind in ("data_loc", "rel_loc") and where.size == 4
    return where.kind == "number" and where.size in (1, 2, 4, 8)


@dataclass(slots=True)
class EventTypes:
    """The event types of a recording.

    Attributes:
        kept: by slot.
        slot: u1, the slot of each common_type.
        common: the fields every event begins with, by name.
        stack: the format of kernel_stack; None if the recording has none.
        user_stack: the common_type of a task's own stack; None if the recording has none.
        probes: those of functions without a tracepoint, which are kept as events they stand for.
        struct_pages: how pointers to struct page become frame numbers; None: events have these.
        names: of all event types that have a format, by common_type, to name what is dropped.
        spans: the lowest and the highest common_type of each system whose events are kept.
    """

    kept: list[Kept] = field(default_factory=list)
    slot: UInt8 = field(default_factory=lambda: np.full(1 << 16, OTHER, np.uint8))
    common: dict[str, Field] = field(default_factory=dict)
    stack: EventFormat | None = None
    user_stack: int | None = None
    names: dict[int, str] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    struct_pages: StructPages | None = None
    probes: Probes = field(default_factory=Probes)
    _symbols: tuple[memoryview, int] | None = None
    _unlisted: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, formats: list[tuple[str, memoryview]], where: str) -> EventTypes:
        """The event types the format texts describe; where they describe none that is kept, none.

        Raises:
            InputError: they describe fields that cannot be; says ``where``.
        """
        types = cls()
        for system, text in formats:
            if system not in _SYSTEMS and system != "ftrace":
                continue
            layout = _layout(system, text, where)
            if layout is not None:
                types._take(layout, where)
        types._take_numbers(formats, where)
        if not types.common:
            # Events of other kinds are counted, to say what the recording holds instead.
            every = (_layout(system, text, where) for system, text in formats)
            types.common = next((_common(one) for one in every if one and _is_whole(one)), {})
        return types

    def _take(self, layout: EventFormat, where: str) -> None:
        key = (layout.system, layout.name)
        if key == ("ftrace", USER_STACK):
            self.user_stack = layout.number
        probe = ProbeFormat.of(layout) if layout.system == PROBES else None
        if key not in _BY_NAME and key != _KERNEL_STACK and probe is None:
            return
        _check(layout, where)
        common = _common(layout)
        if self.common and common != self.common:
            raise InputError(f"{where}: {layout.name} begins with other fields than the others")
        self.common = common
        if key == _KERNEL_STACK:
            self.stack = layout
            self.slot[layout.number] = STACK
        elif len(self.kept) < STACK:
            self.slot[layout.number] = len(self.kept)
            if probe is not None:
                self.probes.slots[len(self.kept)] = probe
                self.kept.append(Kept(_OF_CODE[probe.event], layout, probe.columns))
            else:
                self.kept.append(Kept.of(_BY_NAME[key], layout))

    def _take_numbers(self, formats: list[tuple[str, memoryview]], where: str) -> None:
        """Names and spans of the formats; those that are not where a kernel has them are refused.

        The types of ftrace itself have the lowest numbers, all others follow (kernel/trace/trace.h:
        enum trace_type, 7.2), each its own.
        """
        names = self.names
        for system, text in formats:
            for number, name in format_names([(system, text)]).items():
                if system == "ftrace" and number > _MOST_OF_FTRACE:
                    raise InputError(
                        f"{where}: {name}, number {number}, is among the formats of ftrace itself: "
                        "the formats are damaged"
                    )
                if names.setdefault(number, name) != name:
                    raise InputError(
                        f"{where}: {names[number]} and {name} both have number {number}: the "
                        "formats are damaged"
                    )
                if system in _SYSTEMS and system != PROBES:
                    low, high = self.spans.get(system, (number, number))
                    self.spans[system] = min(low, number), max(high, number)

    def name_of(self, number: int) -> str:
        """The name of the event type with this common_type, for counts of what was dropped."""
        if number in self.names:
            return self.names[number]
        return self.unlisted.get(number, OF_NO_FORMAT)

    @property
    def unlisted(self) -> dict[int, str]:
        """Names of event types that have no format, as far as the kernel's symbols tell."""
        if self._symbols is not None:
            self._name_unlisted(*self._symbols)
            self._symbols = None
        return self._unlisted

    def name_unlisted(self, symbols: memoryview, word: int) -> None:
        """Name event types that have no format by the kernel's symbols, if there are such events.

        Args:
            symbols: the text of kallsyms.
            word: bytes of a pointer.
        """
        self._symbols = symbols, word

    def _name_unlisted(self, symbols: memoryview, word: int) -> None:
        """Name them.

        A kernel numbers its own event types in the order of an array of pointers to them, each of
        which has a symbol (include/linux/trace_events.h, include/trace/trace_events.h:
        __event_##call; kernel/trace/trace_events.c:event_trace_enable, 7.2): where the pointers of
        all that are kept lie as far apart as their numbers are, those between and beside them have
        the numbers between and beside.
        """
        found = dict(_event_symbols(bytes(symbols)))
        known = {
            layout.number: found[layout.name]
            for layout in (kept.format for kept in self.kept)
            if layout.name in found
        }
        begins = {address - word * number for number, address in known.items()}
        if len(known) < _FEWEST_KNOWN or len(begins) > 1:
            return
        for name, address in found.items():
            number, rest = divmod(address - min(begins), word)
            near = min(known) - _BESIDE <= number <= max(known) + _BESIDE
            if not rest and near and number not in self.names:
                self._unlisted[number] = name

    def among(self, number: int) -> str | None:
        """The system between whose event types this common_type lies; None: of none that is known.

        Event types get their numbers in the order in which they are registered, those that are
        built in together at boot (kernel/trace/trace_events.c:event_trace_enable,
        kernel/trace/trace_output.c:alloc_trace_event_type, 7.2). A system of mm/ is never a module,
        so that no other event type can be there.
        """
        if number < _OWN_OF_FTRACE:
            return "ftrace"
        spans = self.spans.items()
        return next((system for system, (low, high) in spans if low < number < high), None)

    def missing(self, system: str) -> list[str]:
        """Names of a system's events that every kernel has and the recording has no format of."""
        there = {kept.event.code for kept in self.kept}
        return [
            event.name
            for event in EVENTS
            if event.system == system and event.code not in there | _NOT_EVERYWHERE
        ]


def _event_symbols(text: bytes) -> Iterator[tuple[str, int]]:
    """Name and address of each pointer to an event type in the text of kallsyms."""
    pieces = text.split(_EVENT_SYMBOL)
    for before, behind in pairwise(pieces):
        address = _IN_FRONT.search(before[-_LONGEST_IN_FRONT:])
        name = _EVENT_NAME.match(behind)
        if address and name:
            yield name[1].decode("ascii"), int(address[1], 16)


def _layout(system: str, text: memoryview, where: str) -> EventFormat | None:
    """The event of a format text; None if it has no name, or a number that cannot be."""
    head = bytes(text).partition(b"\nprint fmt:")[0]
    layout = parse_format(system, head.decode("utf-8", "replace"), where)
    return layout if layout is not None and layout.number < 1 << 16 else None


def _common(layout: EventFormat) -> dict[str, Field]:
    return {name: layout.fields[name] for name in _COMMON}


def _is_whole(layout: EventFormat) -> bool:
    """Whether a format has the common fields, in 8 bytes."""
    return all(name in layout.fields and layout.fields[name].end <= 8 for name in _COMMON)


def _check(layout: EventFormat, where: str) -> None:
    missing = [name for name in _COMMON if name not in layout.fields]
    if layout.name == "kernel_stack" and "caller" not in layout.fields:
        missing.append("caller")
    if missing:
        raise InputError(f"{where}: the format of {layout.name} has no {', '.join(missing)}")
    if any(layout.fields[name].end > 8 for name in _COMMON):
        raise InputError(f"{where}: the common fields of {layout.name} are not in 8 bytes")
    far = [name for name, where_ in layout.fields.items() if where_.end > 1 << 16]
    if far:
        raise InputError(f"{where}: the format of {layout.name} puts {far[0]} too far away")
