"""The lines of what perf script prints: which is an event, on which CPU, by which task, when.

    COMM PID[/TID] [CPU] SECONDS.MICROSECONDS: [PERIOD] SYSTEM:EVENT: FIELDS

The task's name is filled up to 16 columns, but not where events have callchains: then each event's
line is followed by one of each frame, with a tab before it, and an empty one. Source:
tools/perf/builtin-script.c:perf_sample__fprintf_start, :process_event,
tools/perf/util/evsel_fprintf.c:sample__fprintf_callchain (7.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.raw.text.lines import (
    TextLines,
    begin_of_fields,
    line_ends,
    moments,
    next_of,
)
from pipeline.ingest.raw.text.numbers import unsigned

if TYPE_CHECKING:
    from allocsim.tables import Array, Bools, Int32, Int64, UInt8

_SPACE, _TAB, _MINUS = b" \t-"
_LOST = b"PERF_RECORD_LOST"
#: Names of tasks may have brackets: so many are looked at in a line.
_BRACKETS = 6
_DIGITS = 7  # of a pid
_LONGEST_GAP = 20  # blanks between two columns; perf fills a period to 10
_PAD = 100  # an event's name is filled up to that of the longest


def read_lines(data: UInt8, size: int) -> TextLines:
    """The lines of ``data[:size]``, which ends with a newline and has SLACK bytes behind it."""
    start, end = line_ends(data, size)
    frame = data.take(start) == _TAB
    comment = (data.take(start) == ord("#")) | (end == start)
    rest = ~(frame | comment)
    heads, good = _heads(data, start[rest], end[rest], size)
    lost = np.ones(len(heads["line"]), np.bool_)
    for at, letter in enumerate(_LOST):
        lost &= data.take(heads["text"] + at) == letter
    return TextLines(
        **{name: values[~lost] for name, values in heads.items()},
        frame=start[frame] + 1,
        frame_end=end[frame],
        lost=heads["line"][lost],
        other=start[rest][~good],
    )


def _heads(data: UInt8, start: Int64, end: Int64, size: int) -> tuple[dict[str, Array], Bools]:
    """The fields of TextLines that are of events, and which lines are events."""
    opened = next_of(data, "[", start, size)
    pid, comm, cpu, moment, good = _task_and_moment(data, start, opened, end, size)
    for _ in range(_BRACKETS):
        again = np.flatnonzero(~good & (opened < end))
        if not again.size:
            break
        opened[again] = next_of(data, "[", opened[again] + 1, size)
        found = _task_and_moment(data, start[again], opened[again], end[again], size)
        pid[again], comm[again], cpu[again], good[again] = found[0], found[1], found[2], found[4]
        for whole, part in zip(moment, found[3], strict=True):
            whole[again] = part
    marked, flags, ts, colon = moment
    text = np.where(good, _over_blanks(data, colon + 1, end, _PAD), 0)
    # A period, or a weight, may stand before the event's name.
    digits = text.copy()
    for _ in range(_LONGEST_GAP):
        byte = data.take(digits)
        digits += (byte >= ord("0")) & (byte <= ord("9"))
    has_period = (digits > text) & (data.take(digits) == _SPACE)
    text = np.where(has_period, _over_blanks(data, digits, end, _PAD), text)
    name_end = np.minimum(next_of(data, ":", text, size), end)
    inner = (name_end + 1 < end) & (data.take(np.minimum(name_end + 1, size)) != _SPACE)
    name_end = np.where(inner, np.minimum(next_of(data, ":", name_end + 1, size), end), name_end)
    none = np.zeros(len(start), np.bool_)
    heads: dict[str, Array] = {
        "line": start,
        "end": _without_ip(data, text, end, size),
        "comm": comm,
        "text": text,
        "colon": name_end,
        "fields": begin_of_fields(data, name_end, end, size, padded=True),
        "ts": ts,
        "cpu": cpu.astype(np.int16),
        "pid": pid,
        "flags": flags,
        "marked": marked,
        "stack": none,
        "user": none,
    }
    return {name: values[good] for name, values in heads.items()}, good


def _task_and_moment(
    data: UInt8, start: Int64, opened: Int64, end: Int64, size: int
) -> tuple[Int32, Int64, Array, list[Array], Bools]:
    """What is around the bracket at ``opened``: pid, end of the task's name, CPU, and moments().

    A task that is ending has the pid -1, and gets 0 here.
    """
    inside = opened < end
    opened = np.where(inside, opened, start)
    closed = next_of(data, "]", opened, size)
    cpu, good = unsigned(data, opened + 1, closed)
    *moment, fine = moments(data, np.minimum(closed + 2, size), end)
    good &= inside & (closed < end) & fine & (cpu < 1 << 15)
    last = opened
    for _ in range(_LONGEST_GAP):
        last = last - ((last > start) & (data.take(np.maximum(last - 1, 0)) == _SPACE))
    first = _digits_before(data, start, last)
    pid, pid_good = unsigned(data, first, last)
    ending = (first > start) & (data.take(np.maximum(first - 1, 0)) == _MINUS) & (pid == 1)
    pid = np.where(ending, np.uint64(0), pid)
    comm = np.where(ending, start, first)  # it has no name either
    # PID/TID: the task is the second.
    both = (comm > start) & (data.take(np.maximum(comm - 1, 0)) == ord("/"))
    comm = np.where(both, _digits_before(data, start, np.maximum(comm - 1, start)), comm)
    # -F without comm and tid: nothing before the CPU.
    nothing = last == start
    good &= (pid_good | nothing) & (pid < 1 << 31)
    return np.where(nothing, 0, pid).astype(np.int32), comm, cpu, list(moment), good


def _without_ip(data: UInt8, text: Int64, end: Int64, size: int) -> Int64:
    """Where each line ends without the place in code, with its file in brackets, that may follow.

    An event without a callchain has it on its own line, where others of the file have one.
    """
    equals = np.append(np.flatnonzero(data[:size] == ord("=")), size)
    last = equals[np.maximum(np.searchsorted(equals, end) - 1, 0)]
    has = (data.take(np.maximum(end - 1, 0)) == ord(")")) & (last > text) & (last < end)
    blank = next_of(data, " ", last, size)
    return np.where(has & (blank < end), blank, end)


def _over_blanks(data: UInt8, at: Int64, end: Int64, most: int) -> Int64:
    """Where the blanks from ``at`` on end."""
    at = np.minimum(at, end)
    for _ in range(most):
        blank = (data.take(at) == _SPACE) & (at < end)
        if not blank.any():
            break
        at = at + blank
    return at


def _digits_before(data: UInt8, start: Int64, end: Int64) -> Int64:
    """Where the digits that end at ``end`` begin."""
    first = end
    more = np.ones(len(end), np.bool_)
    for _ in range(_DIGITS):
        byte = data.take(np.maximum(first - 1, 0))
        more &= (first > start) & (byte >= ord("0")) & (byte <= ord("9"))
        first = first - more
    return first
