"""The lines of what tracefs prints: which is an event, on which CPU, by which task, when.

    TASK-PID [(TGID)] [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: FIELDS

The task's name has 16 columns (it has 15 bytes at most, of any kind) and is followed by a dash, so
what is in it cannot be taken for anything else. Source: kernel/trace/trace_output.c:
trace_print_context, :trace_print_lat_fmt, :trace_stack_print, :trace_user_stack_print;
kernel/trace/trace.c:print_trace_line (7.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.ftrace_text.numbers import unsigned
from pipeline.ingest.raw.unaligned import unaligned

if TYPE_CHECKING:
    from allocsim.tables import I2, I4, I8, U1, Array, Bools

_NEWLINE, _SPACE, _DOT = b"\n ."
COMM = 16  #: columns of a task's name
_PID = COMM + 1
_PID_DIGITS = 7
_SECONDS_DIGITS = 12
_MICROSECONDS = 6
_FRAME = int.from_bytes(b" => ", "little")
# By the first eight bytes of what says that a stack follows, and by eight of its last.
_STACK, _USER_STACK = (
    [(int.from_bytes(text[at : at + 8], "little"), at) for at in (0, len(text) - 8)]
    for text in (b"<stack trace>", b"<user stack trace>")
)
_LOST = int.from_bytes(b"CPU:", "little")
#: By a line's first flags: bits of common_flags (include/linux/trace_events.h:enum
#: trace_flag_type, 7.2). What the third says of preemption and laziness differs by version.
_IRQS = {"d": 0x01, "D": 0x81, "b": 0x80}
_RESCHED = {"n": 0x04, "N": 0x24, "p": 0x20}
_CONTEXT = {"Z": 0x48, "z": 0x40, "H": 0x18, "h": 0x08, "s": 0x10}


def _bits(marks: dict[str, int]) -> U1:
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
        text: i8, where its text behind the time begins.
        ts: i8, its time in ns.
        cpu: i2, its CPU.
        pid: i4, its task.
        flags: u1, its common_flags as far as they are printed.
        stack: bool, whether it is not an event but the kernel's stack of the one before it.
        user: bool, whether it is not an event but a task's own stack (option userstacktrace).
        frame: i8, where each frame of a stack begins, behind the arrow.
        frame_end: i8, where it ends.
        lost: i8, where each line that tells of lost events begins.
        other: i8, where each line begins that is none of these and no comment.
    """

    line: I8
    end: I8
    text: I8
    ts: I8
    cpu: I2
    pid: I4
    flags: U1
    stack: Bools
    user: Bools
    frame: I8
    frame_end: I8
    lost: I8
    other: I8


def read_lines(data: U1, size: int) -> TextLines:
    """The lines of ``data[:size]``, which ends with a newline and has SLACK bytes behind it."""
    end = np.flatnonzero(data[:size] == _NEWLINE)
    start = np.concatenate([np.zeros(min(len(end), 1), np.int64), end[:-1] + 1])
    first = unaligned(data, "<u4")[start]
    frame = first == _FRAME
    lost = first == _LOST
    comment = (data.take(start) == ord("#")) | (end == start)
    rest = ~(frame | lost | comment)
    heads, good = _heads(data, start[rest], end[rest])
    none = start[rest][~good]
    return TextLines(
        **heads,
        frame=start[frame] + 4,
        frame_end=end[frame],
        lost=start[lost],
        other=none,
    )


def _heads(data: U1, start: I8, end: I8) -> tuple[dict[str, Array], Bools]:
    """The fields of Lines that are of events, and which lines are events."""
    size = int(end.max(initial=0))
    good = end - start > _PID + 1
    # Nothing of a line that is too short is looked at.
    start = np.where(good, start, 0)
    good &= data.take(start + COMM) == ord("-")
    pid, pid_good = unsigned(data, start + _PID, _digits_end(data, start + _PID))
    opened = _next(data, "[", start + _PID + 1, size)
    closed = _next(data, "]", opened, size)
    cpu, cpu_good = unsigned(data, opened + 1, closed)
    flags, behind = _flags(data, closed + 2)
    colon = _next(data, ":", behind, size)
    good &= pid_good & cpu_good & (colon < end)
    dot = colon - _MICROSECONDS - 1
    good &= (dot > behind) & (data.take(np.maximum(dot, 0)) == _DOT)
    us, us_good = unsigned(data, np.maximum(dot + 1, 0), colon)
    seconds_at = np.maximum(behind, dot - _SECONDS_DIGITS)
    for _ in range(_SECONDS_DIGITS):
        seconds_at += (data.take(seconds_at) == _SPACE) & (seconds_at < dot)
    seconds, s_good = unsigned(data, seconds_at, np.maximum(dot, 0))
    good &= us_good & s_good & (seconds < 1 << 32) & (cpu < 1 << 15) & (pid < 1 << 31)
    text = colon + 2
    words = unaligned(data, "<u8")
    at = np.where(good, text, 0)
    stack, user = (
        np.logical_and.reduce([words[at + place] == letters for letters, place in kind])
        for kind in (_STACK, _USER_STACK)
    )
    ts = (seconds * np.uint64(1_000_000_000) + us * np.uint64(1000)).astype(np.int64)
    heads: dict[str, Array] = {
        "line": start,
        "end": end,
        "text": text,
        "ts": ts,
        "cpu": cpu.astype(np.int16),
        "pid": pid.astype(np.int32),
        "flags": flags,
        "stack": stack,
        "user": user,
    }
    return {name: values[good] for name, values in heads.items()}, good


def _next(data: U1, mark: str, start: I8, size: int) -> I8:
    """Where ``mark`` is next from each of ``start`` on; ``size`` where it is nowhere."""
    places = np.append(np.flatnonzero(data[:size] == ord(mark)), size)
    return places[np.searchsorted(places[:-1], start)]


def _digits_end(data: U1, start: I8) -> I8:
    """Where the digits from ``start`` on end."""
    end, more = start.copy(), np.ones(len(start), np.bool_)
    for _ in range(_PID_DIGITS):
        digit = data.take(end)
        more &= (digit >= ord("0")) & (digit <= ord("9"))
        end += more
    return end


def _flags(data: U1, start: I8) -> tuple[U1, I8]:
    """common_flags as the marks at ``start`` say, and where these end.

    Four marks before 5.16, five since; none with the option irq-info off.
    """
    start = np.minimum(start, len(data) - 8)
    first = data.take(start)
    having = (first != _SPACE) & ((first < ord("0")) | (first > ord("9")))
    four = data.take(start + 4) == _SPACE
    flags = np.zeros(len(start), np.uint8)
    for number, table in enumerate(_FLAGS):
        flags |= table.take(data.take(start + number))
    return np.where(having, flags, np.uint8(0)), start + np.where(having, np.where(four, 4, 5), 0)
