"""The lines of a text of events: which is an event, on which CPU, by which task, when.

What tracefs and trace-cmd report print has the task's name in 16 columns (it has 15 bytes at most,
of any kind) and a dash behind it, so what is in it cannot be taken for anything else:

    TASK-PID [(TGID)] [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: FIELDS
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.raw.text.numbers import unsigned
from pipeline.ingest.raw.unaligned import unaligned

if TYPE_CHECKING:
    from allocsim.tables import Array, Bools, Int16, Int32, Int64, UInt8

_NEWLINE, _SPACE = b"\n "
COMM = 16  #: columns of a task's name
_PID = COMM + 1
_PID_DIGITS = 7
_SECONDS_DIGITS = 12
_MICROSECONDS, _NANOSECONDS = 6, 9
_LOST = int.from_bytes(b"CPU:", "little")
_LONGEST_PAD = 40  # blanks between an event's name and its fields
#: By a line's first flags: bits of common_flags (include/linux/trace_events.h:enum
#: trace_flag_type, 7.2). What the third says of preemption and laziness differs by version.
_IRQS = {"d": 0x01, "D": 0x81, "b": 0x80}
_RESCHED = {"n": 0x04, "N": 0x24, "p": 0x20}
_CONTEXT = {"Z": 0x48, "z": 0x40, "H": 0x18, "h": 0x08, "s": 0x10}
_MARKS = (4, 5, 6)  # before 5.16, since, and as libtraceevent has them


def _bits(marks: dict[str, int]) -> UInt8:
    table = np.zeros(256, np.uint8)
    for mark, bits in marks.items():
        table[ord(mark)] = bits
    return table


_FLAGS = [_bits(marks) for marks in (_IRQS, _RESCHED, _CONTEXT)]


@dataclass(frozen=True, slots=True)
class TextLines:
    """The lines of some text.

    Attributes:
        line: i8, where the line of each event begins.
        end: i8, where it ends.
        comm: i8, where the name of its task ends.
        text: i8, where the name of its event begins.
        colon: i8, where that ends: at a colon, or at the line's end.
        fields: i8, where its fields begin.
        ts: i8, its time in ns.
        cpu: i2, its CPU.
        pid: i4, its task.
        flags: u1, its common_flags as far as they are printed.
        marked: bool, whether they are.
        stack: bool, whether it is not an event but the kernel's stack of the one before it.
        user: bool, whether it is not an event but a task's own stack (option userstacktrace).
        frame: i8, where each frame of a stack begins, behind what marks it.
        frame_end: i8, where it ends.
        lost: i8, where each line that tells of lost events begins.
        other: i8, where each line begins that is none of these and no comment.
    """

    line: Int64
    end: Int64
    comm: Int64
    text: Int64
    colon: Int64
    fields: Int64
    ts: Int64
    cpu: Int16
    pid: Int32
    flags: UInt8
    marked: Bools
    stack: Bools
    user: Bools
    frame: Int64
    frame_end: Int64
    lost: Int64
    other: Int64


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """How a tool lays out lines that begin with 16 columns of a task's name.

    Attributes:
        frame: what marks a frame of a stack: four bytes or less.
        stack: what stands in the place of an event where the kernel's stack follows.
        user: the same of a task's own stack.
        padded: the fields may have blanks before them, and a function in brackets.
        comments: what lines begin with that say nothing of events, four bytes each.
    """

    frame: bytes
    stack: bytes
    user: bytes
    padded: bool = False
    comments: tuple[bytes, ...] = ()

    def read(self, data: UInt8, size: int) -> TextLines:
        """The lines of ``data[:size]``, which ends with a newline and has SLACK bytes behind it."""
        start, end = line_ends(data, size)
        first = unaligned(data, "<u4")[start]
        mask = np.uint32((1 << 8 * len(self.frame)) - 1)
        frame = (first & mask) == int.from_bytes(self.frame, "little")
        comment = (data.take(start) == ord("#")) | (end == start)
        for word in self.comments:
            comment |= first == int.from_bytes(word, "little")
        lost = (first == _LOST) & ~comment
        rest = ~(frame | lost | comment)
        heads, good = self._heads(data, start[rest], end[rest])
        return TextLines(
            **heads,
            frame=start[frame] + len(self.frame),
            frame_end=end[frame],
            lost=start[lost],
            other=start[rest][~good],
        )

    def _heads(self, data: UInt8, start: Int64, end: Int64) -> tuple[dict[str, Array], Bools]:
        """The fields of TextLines that are of events, and which lines are events."""
        size = int(end.max(initial=0))
        good = end - start > _PID + 1
        # Nothing of a line that is too short is looked at.
        start = np.where(good, start, 0)
        good &= data.take(start + COMM) == ord("-")
        pid, pid_good = unsigned(data, start + _PID, _digits_end(data, start + _PID))
        opened = next_of(data, "[", start + _PID + 1, size)
        closed = next_of(data, "]", opened, size)
        cpu, cpu_good = unsigned(data, opened + 1, closed)
        # trace-cmd report -R (3.3 and later) has common_flags in hex, as ``[000]-0x1``.
        raw = data.take(np.minimum(closed + 1, size)) == ord("-")
        behind = np.where(raw, next_of(data, " ", closed, size), closed + 2)
        hexadecimal, hex_good = unsigned(
            data, np.where(raw, closed + 4, 0), np.where(raw, behind, 0), 16
        )
        marked, flags, ts, colon, moment_good = moments(data, behind, end)
        raw &= hex_good & (hexadecimal < 1 << 8)
        flags = np.where(raw, hexadecimal.astype(np.uint8), flags)
        marked |= raw
        good &= pid_good & cpu_good & moment_good & (cpu < 1 << 15) & (pid < 1 << 31)
        text = np.where(good, colon + 2, 0)
        name_end = np.minimum(next_of(data, ":", text, size), end)
        words = unaligned(data, "<u8")
        stack, user = (
            np.logical_and.reduce([words[text + place] == letters for letters, place in kind])
            for kind in (_ends(self.stack), _ends(self.user))
        )
        heads: dict[str, Array] = {
            "line": start,
            "end": end,
            "comm": start + COMM,
            "text": text,
            "colon": name_end,
            "fields": begin_of_fields(data, name_end, end, size, padded=self.padded),
            "ts": ts,
            "cpu": cpu.astype(np.int16),
            "pid": pid.astype(np.int32),
            "flags": flags,
            "marked": marked,
            "stack": stack,
            "user": user,
        }
        return {name: values[good] for name, values in heads.items()}, good


def _ends(text: bytes) -> list[tuple[int, int]]:
    """The first eight bytes of a text and its last eight, each with its place."""
    return [(int.from_bytes(text[at : at + 8], "little"), at) for at in (0, len(text) - 8)]


def line_ends(data: UInt8, size: int) -> tuple[Int64, Int64]:
    """Where the lines of ``data[:size]`` begin and end."""
    end = np.flatnonzero(data[:size] == _NEWLINE)
    return np.concatenate([np.zeros(min(len(end), 1), np.int64), end[:-1] + 1]), end


def moments(data: UInt8, behind: Int64, end: Int64) -> tuple[Bools, UInt8, Int64, Int64, Bools]:
    """What stands between a CPU and an event: common_flags, the time in ns, and its colon.

    Args:
        data: the text.
        behind: i8, where this begins.
        end: i8, where each line ends.

    Returns:
        whether flags are there, u1, i8 and i8, and which lines have a time there.
    """
    size = int(end.max(initial=0))
    marked, flags, behind = _flags(data, behind)
    colon = next_of(data, ":", behind, size)
    dot = next_of(data, ".", behind, size)
    digits = colon - dot - 1
    good = (colon < end) & (dot > behind) & np.isin(digits, (_MICROSECONDS, _NANOSECONDS))
    dot = np.where(good, dot, 0)
    part, part_good = unsigned(data, np.where(good, dot + 1, 0), np.where(good, colon, 0))
    seconds_at = np.maximum(behind, dot - _SECONDS_DIGITS)
    for _ in range(_SECONDS_DIGITS):
        seconds_at += (data.take(np.where(good, seconds_at, 0)) == _SPACE) & (seconds_at < dot)
    seconds, s_good = unsigned(data, np.where(good, seconds_at, 0), dot)
    good &= part_good & s_good & (seconds < 1 << 32)
    part *= np.where(digits == _MICROSECONDS, np.uint64(1000), np.uint64(1))
    ts = (seconds * np.uint64(1_000_000_000) + part).astype(np.int64)
    return marked, flags, ts, colon, good


def begin_of_fields(data: UInt8, colon: Int64, end: Int64, size: int, *, padded: bool) -> Int64:
    """Where an event's fields begin, whose name ends with ``colon``.

    libtraceevent fills names up with blanks, and its plugin for kmem prints a function in brackets
    first.
    """
    start = colon + 2
    if not padded:
        return start
    start = np.minimum(start, end)
    for _ in range(_LONGEST_PAD):
        start = start + ((data.take(start) == _SPACE) & (start < end))
    bracket = data.take(start) == ord("(")
    closed = next_of(data, ")", start, size) + 2
    return np.where(bracket & (closed < end), closed, start)


def next_of(data: UInt8, mark: str, start: Int64, size: int) -> Int64:
    """Where ``mark`` is next from each of ``start`` on; ``size`` where it is nowhere."""
    places = np.append(np.flatnonzero(data[:size] == ord(mark)), size)
    return places[np.searchsorted(places[:-1], start)]


def _digits_end(data: UInt8, start: Int64) -> Int64:
    """Where the digits from ``start`` on end."""
    end, more = start.copy(), np.ones(len(start), np.bool_)
    for _ in range(_PID_DIGITS):
        digit = data.take(end)
        more &= (digit >= ord("0")) & (digit <= ord("9"))
        end += more
    return end


def _flags(data: UInt8, start: Int64) -> tuple[Bools, UInt8, Int64]:
    """Whether there are marks at ``start``, common_flags as they say, and where they end.

    None with the option irq-info off, and where a tool prints none.
    """
    start = np.minimum(start, len(data) - 8)
    first = data.take(start)
    having = (first != _SPACE) & ((first < ord("0")) | (first > ord("9")))
    width = np.full(len(start), _MARKS[1])
    for marks in _MARKS[::-1]:
        width[data.take(start + marks) == _SPACE] = marks
    flags = np.zeros(len(start), np.uint8)
    for number, table in enumerate(_FLAGS):
        flags |= table.take(data.take(start + number))
    return having, np.where(having, flags, np.uint8(0)), start + np.where(having, width, 0)
