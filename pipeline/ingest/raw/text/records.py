"""From the text of events to records as the kernel's ring buffer would have them.

All values of a field are found at the same time: the equals signs of a line part its text, for
every event of one type has the same names in the same order; a line that has not is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import distinct
from allocsim.trace.events import EVENTS, Ev
from pipeline import untrusted
from pipeline.ingest.events import STACK, USER_STACK, EventTypes, Kept
from pipeline.ingest.formats import EventFormat, Field
from pipeline.ingest.raw import laid_out
from pipeline.ingest.raw.laid_out import COMMON, STACK_HEAD
from pipeline.ingest.raw.strings import StringInterner
from pipeline.ingest.raw.text import forms
from pipeline.ingest.raw.text.fields import FieldPlaces
from pipeline.ingest.raw.text.numbers import bracketed, plain, pointers
from pipeline.ingest.stream import SLACK, Chains
from pipeline.trace_set.parts import event_limits

if TYPE_CHECKING:
    from allocsim.tables import Bools, Int32, Int64, UInt8, UInt64
    from pipeline.ingest.raw.text.forms import Form
    from pipeline.ingest.raw.text.gfp import GfpWords
    from pipeline.ingest.raw.text.lines import TextLines
    from pipeline.ingest.raw.text.symbols import TextSymbols

# Types of records of ours: kept events have small numbers, the rest follow.
_STACK, _USER_STACK, _OTHERS = 100, 101, 200
_LONGEST_NAME = 64
_LONGEST_VALUE = 1 << 10  # bytes: names of functions in C++ and Rust are less
_PAGE_SIZE = 4096  # the text does not say
_KERNEL_HALF = np.uint64(1 << 63)  # addresses of 64-bit kernels are from here on
_LOOK_AT = 33  # lines that tell what an event's text is like: one may be damaged
# A hashed address has as many digits as one of 64 bits, and half of them are 0 (lib/vsprintf.c:
# ptr_to_hashval).
_HASHED, _HASHED_DIGITS = np.uint64(1 << 32), 16


@dataclass(slots=True)
class TextTypes(EventTypes):
    """The event types of a text: those kept are known beforehand, their fields when first seen.

    Attributes:
        forms: of each kept event that was seen, by slot.
        others: the names of all other events seen.
    """

    forms: dict[int, Form] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @classmethod
    def known(cls) -> TextTypes:
        """The types of all events that are kept."""
        types = cls(common=COMMON)
        for event in EVENTS:
            for name in (event.name, *event.aliases):
                number = len(types.kept)
                types.slot[number] = number
                layout = EventFormat(number, event.system, name, dict(COMMON))
                types.kept.append(Kept(event, layout, {}))
        caller = Field("caller", STACK_HEAD, 0, signed=False)
        types.stack = EventFormat(_STACK, "ftrace", "kernel_stack", {**COMMON, "caller": caller})
        types.slot[_STACK] = STACK
        types.user_stack = _USER_STACK
        return types

    def name_of(self, number: int) -> str:
        """The name of the event type with this common_type, for counts of what was dropped."""
        return USER_STACK if number == _USER_STACK else self.others[number - _OTHERS]


@dataclass(frozen=True, slots=True)
class TextRecords:
    """Records of the events of some lines.

    Attributes:
        data: what they lie in, and SLACK bytes.
        row: i8, the line (of Lines) of each record, ascending.
        offset: i8, where each begins.
        size: i4, its bytes.
        unread: i8, lines (of Lines) whose text is not as their type's.
        loose: i8, frames (of Lines) of no stack, and the lines before them, as pairs.
        chains: the stacks of records that have them in their text; None: stacks are records.
    """

    data: UInt8
    row: Int64
    offset: Int64
    size: Int32
    unread: Int64
    loose: Int64
    chains: Chains | None = None


class RecordMaker:
    """Makes records of text, and learns from it what events there are.

    Args:
        types: the event types.
        symbols: gives addresses to places in code.
        gfp: what the names of gfp flags mean.
        chained: frames are of the event before them, whatever it is; only those of the kernel, by
            their addresses, are taken.

    Attributes:
        pointers: addresses of objects seen, but 0.
        hashed: those of them that are as short as hashed ones.
        frames_without_offset: whether stacks name functions alone.
    """

    def __init__(
        self, types: TextTypes, symbols: TextSymbols, gfp: GfpWords, *, chained: bool = False
    ) -> None:
        self._types = types
        self._chained = chained
        self._symbols = symbols
        self._gfp = gfp
        self._names = StringInterner()
        self._words: dict[int, StringInterner] = {}
        self._frames = StringInterner()
        self._addresses = np.zeros(0, np.uint64)  # of the frames, by code
        self._values: dict[int, Int64] = {}
        self._slot_of_name: list[int] = []
        self._limits = event_limits(_PAGE_SIZE)
        self.pointers = 0
        self.hashed = 0
        self.frames_without_offset = False

    def make(self, data: UInt8, size: int, lines: TextLines) -> TextRecords:
        """The records of ``lines`` of ``data[:size]``.

        Raises:
            InputError: an event's text is not as in any kernel.
        """
        text = FieldPlaces(data, size, lines)
        number = self._numbers(text)
        parts: list[tuple[Int64, UInt8, Int64]] = []
        # Frames belong to the line before them, which must be a stack; those of tasks are not read.
        before = np.maximum(np.searchsorted(lines.line, lines.frame) - 1, 0)
        if not len(lines.line):
            before = before[:0]
        stacks = np.full(len(lines.line), self._chained) | lines.stack
        of_none = np.flatnonzero(~(stacks | lines.user)[before])
        loose = np.stack([of_none, before[of_none]], axis=1)
        frames = np.flatnonzero(stacks[before])
        unread = [np.zeros(0, np.int64)]
        for kind in distinct(number).tolist():
            row = np.flatnonzero(number == kind)
            if kind == _STACK:
                parts.append((row, *self._stacks(text, row, frames)))
            elif kind >= _USER_STACK:
                parts.append((row, *_equal(self._heads(text, row, kind, 8))))
            else:
                good, body = self._events(text, row, kind)
                parts.append((row[good], *_equal(body)))
                bad, other = self._of_none(text, row[~good], kind)
                unread.append(bad)
                parts.append((other, *_equal(self._heads(text, other, self._namesake(kind), 8))))
        made = _laid_out(parts, np.concatenate(unread), loose)
        if self._chained and len(frames):
            return replace(made, chains=self._chains(text, made.row, before, frames))
        return made

    def _numbers(self, text: FieldPlaces) -> Int64:
        """The type of each line's record."""
        lines = text.lines
        end = np.minimum(lines.colon, lines.text + _LONGEST_NAME)
        no_event = lines.stack | lines.user
        codes = self._names.codes(text.data, lines.text, np.where(no_event, 0, end - lines.text))
        for name in self._names.texts[len(self._slot_of_name) :]:
            self._slot_of_name.append(self._slot(name))
        number = np.array(self._slot_of_name, np.int64).take(codes)
        number[lines.stack] = _STACK
        number[lines.user] = _USER_STACK
        return number

    def _slot(self, name: str) -> int:
        for slot, kept in enumerate(self._types.kept):
            # perf says the event's system.
            if name in (kept.format.name, f"{kept.event.system}:{kept.format.name}"):
                return slot
        # What functions, markers or bprintk print is no event's name.
        identifier = name.replace(":", "_").replace("-", "_").isidentifier()
        return self._other(name if identifier else "lines_of_no_event")

    def _other(self, name: str) -> int:
        if name not in self._types.others:
            self._types.others.append(name)
        return _OTHERS + self._types.others.index(name)

    def _namesake(self, slot: int) -> int:
        """The type of what has an event's name alone: probes, synthetic events, messages."""
        return self._other(f"lines_named_{self._types.kept[slot].format.name}")

    def _of_none(self, text: FieldPlaces, row: Int64, slot: int) -> tuple[Int64, Int64]:
        """Of lines with an event's name that cannot be read: its own, and those of none."""
        own = text.having(row, forms.own_names(self._types.kept[slot].event))
        return row[own], row[~own]

    def _heads(self, text: FieldPlaces, row: Int64, kind: int, size: int) -> UInt8:
        """Records of ``size`` bytes with their common fields: one row a record."""
        lines = text.lines
        return laid_out.heads(kind, lines.flags[row], lines.pid[row], size)

    # --- events

    def _events(self, text: FieldPlaces, row: Int64, slot: int) -> tuple[Bools, UInt8]:
        """Which lines are as their type's, and the records of these."""
        kept = self._types.kept[slot]
        if slot not in self._types.forms:
            own = row[text.having(row, forms.own_names(kept.event))]
            form = forms.form_of(kept.event, [text.fields(one) for one in own[:_LOOK_AT].tolist()])
            if not form.names:
                return np.zeros(len(row), np.bool_), np.zeros((0, form.size), np.uint8)
            self._types.forms[slot] = form
            kept.columns.update(form.columns)
        form = self._types.forms[slot]
        good, equals = text.equals(row, form.names)
        row, equals = row[good], equals[good]
        ends = text.ends(row, form.names, equals)
        short = (ends - equals <= _LONGEST_VALUE).all(axis=1)
        good[np.flatnonzero(good)[~short]] = False
        row, equals, ends = row[short], equals[short], ends[short]
        texts = {
            column: ends[:, number] - equals[:, number] - 1
            for column, (number, how) in form.places.items()
            if how == forms.TEXT
        }
        room = int(sum(length.max(initial=0) for length in texts.values()))
        body = self._heads(text, row, slot, -(-(form.size + room) // 8) * 8)
        fine = np.ones(len(row), np.bool_)
        at = form.size
        for column, (number, how) in form.places.items():
            field_ = form.columns[column]
            start, end = equals[:, number] + 1, ends[:, number]
            if how == forms.TEXT:
                width = int(texts[column].max(initial=0))
                _put_text(text.data, body, (start, end), (field_.offset, at), width)
                at += width
                continue
            if how == forms.POINTER:
                value, readable, digits = pointers(text.data, start, end)
                if column == "ptr":
                    self.pointers += int((value != 0).sum())
                    short = (value != 0) & (value < _HASHED) & (digits == _HASHED_DIGITS)
                    self.hashed += int(short.sum())
            else:
                value, readable = self._value(text.data, start, end, how)
            fine &= readable
            if column in self._limits:
                least, most = self._limits[column]
                fine &= (value.view(np.int64) >= least) & (value.view(np.int64) <= most)
            if column == "pfn" and kept.event.code == Ev.MM_PAGE_ALLOC:
                # A failed allocation's pfn of -1 is printed as 0 (T8); frame 0 is never given out.
                value = np.where(value == 0, np.uint64((1 << 64) - 1), value)
            body[:, field_.offset : field_.end] = value[:, np.newaxis].view(np.uint8)
        good[np.flatnonzero(good)[~fine]] = False
        return good, body[fine]

    def _value(self, data: UInt8, start: Int64, end: Int64, how: int) -> tuple[UInt64, Bools]:
        """Values as 64 bits, and which can be read."""
        if how == forms.NUMBER:
            return plain(data, start, end)
        if how == forms.BYTES:
            return plain(data, start, end - 1)
        if how == forms.BRACKETS:
            return bracketed(data, start, end)
        return self._word(data, start, end, how)

    def _word(self, data: UInt8, start: Int64, end: Int64, how: int) -> tuple[UInt64, Bools]:
        """The values of words, of which there are few."""
        interner = self._words.setdefault(how, StringInterner())
        codes = interner.codes(data, start, end - start)
        known = self._values.get(how, np.zeros(0, np.int64))
        fresh = [self._meaning(word, how) for word in interner.texts[len(known) :]]
        known = self._values[how] = np.concatenate([known, np.array(fresh, np.int64)])
        values = known.take(codes)
        return values.view(np.uint64), values != _UNKNOWN

    def _meaning(self, word: str, how: int) -> int:
        if how == forms.SITE:
            return _as_signed(self._symbols.address(word))
        if how == forms.BRACKETS_SITE:
            place, _, signed = word.removesuffix(")").rpartition(" (")
            value = untrusted.number(signed.removeprefix("-"), most=1 << 63)
            if value is None:
                return _UNKNOWN
            return _as_signed(self._symbols.learn(-value if signed[:1] == "-" else value, place))
        if how == forms.GFP:
            bits = self._gfp.bits(word)
            return _UNKNOWN if bits is None else _as_signed(bits)
        names = forms.COUNTERS if how == forms.COUNTER else forms.FLAGS
        plain_number = untrusted.number(word, most=len(names) - 1)  # trace-cmd report -R
        return names.get(word, _UNKNOWN if plain_number is None else plain_number)

    # --- stacks

    def _stacks(self, text: FieldPlaces, row: Int64, frames: Int64) -> tuple[UInt8, Int64]:
        """The records of stacks, one after the other, and the bytes of each.

        Args:
            text: the text.
            row: the lines that say that a stack follows.
            frames: which frames are of these.
        """
        lines = text.lines
        frame, places = lines.frame[frames], self._places(text, frames)
        first = np.searchsorted(frame, lines.line[row])
        last = np.searchsorted(frame, np.append(lines.line, len(text.data))[row + 1])
        count = last - first
        which = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        return laid_out.stacks(self._heads(text, row, _STACK, 8), count, places[which])

    def _chains(self, text: FieldPlaces, row: Int64, before: Int64, frames: Int64) -> Chains:
        """The stacks of events that have them behind their lines.

        Args:
            text: the text.
            row: the line of each record, ascending.
            before: the line before each frame.
            frames: the frames.
        """
        places = self._places(text, frames)
        record = np.searchsorted(row, before[frames])
        having = record < len(row)
        having[having] = row[record[having]] == before[frames][having]
        having &= places >= _KERNEL_HALF
        record, count = np.unique(record[having], return_counts=True)
        return Chains(record, count.astype(np.int64), places[having])

    def _places(self, text: FieldPlaces, frames: Int64) -> UInt64:
        """The addresses of frames: u8."""
        frame, frame_end = text.lines.frame[frames], text.lines.frame_end[frames]
        length = np.minimum(frame_end - frame, _LONGEST_VALUE)
        codes = self._frames.codes(text.data, frame, length)
        known = len(self._addresses)
        fresh = [self._symbols.address(each.strip()) for each in self._frames.texts[known:]]
        self.frames_without_offset |= any(
            "+0x" not in each and "(" not in each for each in self._frames.texts[known:]
        )
        self._addresses = np.concatenate([self._addresses, np.array(fresh, np.uint64)])
        return self._addresses.take(codes) if len(codes) else np.zeros(0, np.uint64)


#: What no word means, and no address can be.
_UNKNOWN = -(1 << 63) + 12345


def _as_signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _put_text(
    data: UInt8, body: UInt8, text: tuple[Int64, Int64], at: tuple[int, int], width: int
) -> None:
    """Put texts into records: their place and length at ``at[0]``, themselves at ``at[1]``."""
    start, end = text
    length = (end - start).astype(np.uint32)
    body[:, at[0] : at[0] + 4] = (
        (length << np.uint32(16) | np.uint32(at[1])).astype("<u4")[:, np.newaxis].view(np.uint8)
    )
    for byte in range(width):
        having = length > byte
        body[:, at[1] + byte] = np.where(having, data.take(np.where(having, start + byte, 0)), 0)


def _equal(body: UInt8) -> tuple[UInt8, Int64]:
    """Records of one size, one after the other, and the bytes of each."""
    return body.ravel(), np.full(len(body), body.shape[1], np.int64)


def _laid_out(parts: list[tuple[Int64, UInt8, Int64]], unread: Int64, loose: Int64) -> TextRecords:
    """All parts' records one part after the other, listed in the order of their lines."""
    none = np.zeros(0, np.int64)
    row = np.concatenate([none, *(rows for rows, _, _ in parts)])
    size = np.concatenate([none, *(sizes for _, _, sizes in parts)])
    data = np.concatenate([*(body for _, body, _ in parts), np.zeros(SLACK, np.uint8)])
    order = np.argsort(row, kind="stable")
    offset = np.cumsum(size) - size
    return TextRecords(
        data, row[order], offset[order], size[order].astype(np.int32), np.sort(unread), loose
    )
