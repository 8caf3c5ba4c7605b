"""From births to requests in order of time, a window at a time, in bounded memory.

What is alive and when it will die is kept in two tables: what dies soon, which every window looks
through, and the rest, which is looked through when all that is soon has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.tables import concat, empty, rows_of, take
from pipeline.synth.births import NEVER, Births

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I1, I2, I4, I8, Bools, Columns
    from pipeline.synth.lines import PrefilledLines


_SOON = 16  # windows
_UNBORN = {"birth": "i8", "death": "i8", "entry": "i4", "cpu": "i2", "free_cpu": "i2"}
_ALIVE = {"death": "i8", "handle": "i8", "entry": "i4", "free_cpu": "i2"}
_ROW_BITS = 22  # rows of a window, in one sort key with the time


class Moments(NamedTuple):
    """Allocations and frees of a window, in order of time; arrays of one length.

    Args:
        seq: number of the request, rising (i8).
        ts: when, ns (i8).
        op: +1 allocation, -1 free (i1).
        entry: number of the spec's line (i4).
        cpu: who does it (i2).
        handle: number of the request that allocated it (i8).
        piece: of what is freed in pieces, the number of the piece (i8).
        run: of what comes out of a prefilled sheaf, a number for that sheaf (i8); else 0.
        left: how many are still to come out of it, this one among them (i4); else 0.
    """

    seq: I8
    ts: I8
    op: I1
    entry: I4
    cpu: I2
    handle: I8
    piece: I8
    run: I8
    left: I4

    def of(self, rows: I8 | slice) -> Moments:
        """Some of them."""
        return rows_of(self, rows)


class Calendar:
    """All that is still to come of what has been made.

    Args:
        pieces: in how many pieces each of the spec's lines is freed.
        prefilled: which lines come out of prefilled sheaves.
    """

    def __init__(self, pieces: I8, prefilled: PrefilledLines) -> None:
        self._prefilled = prefilled
        self._pieces = pieces
        # Each piece has a number of its own, behind that of the first.
        self._shift = int(pieces.max(initial=1) - 1).bit_length()
        self._unborn = empty(_UNBORN)
        self._soon = empty(_ALIVE)
        self._later: list[Columns] = []
        self._horizon = -NEVER  # the time up to which deaths are in _soon
        self._seq = 0

    def window(self, made: Sequence[Births], begin: int, end: int) -> Moments:
        """The requests from ``begin`` up to ``end``.

        Args:
            made: what was made since the last window; no birth is before ``begin``.
            begin: end of the last window.
            end: end of this one.
        """
        born = self._born([births._asdict() for births in made], end)
        self._look_ahead(begin, end)
        count = len(born["birth"])
        here = born["death"] < end
        dying = self._soon["death"] < end
        deaths = np.concatenate((born["death"][here], self._soon["death"][dying]))
        total = count + len(deaths)
        time = np.concatenate((born["birth"], deaths))
        order = _order(time, begin)
        seq = np.arange(self._seq, self._seq + total) << self._shift
        place = np.empty(total, np.int64)
        place[order] = seq
        handle = place.copy()
        handle[count:] = np.concatenate((place[:count][here], self._soon["handle"][dying]))
        op = np.ones(total, np.int8)
        op[count:] = -1
        entry = np.concatenate((born["entry"], born["entry"][here], self._soon["entry"][dying]))
        cpu = np.concatenate((born["cpu"], born["free_cpu"][here], self._soon["free_cpu"][dying]))
        stays = ~here & (born["death"] < NEVER)
        self._keep(born, place[:count], stays, dying)
        self._seq += total
        columns = (time[order], op[order], entry[order], cpu[order], handle[order])
        none = np.zeros(total, np.int64)
        whole = Moments(seq, *columns, none, *self._out_of_sheaves(seq, op[order], entry[order]))
        return self._in_pieces(whole) if self._shift else whole

    def _out_of_sheaves(self, seq: I8, op: I1, entry: I4) -> tuple[I8, I4]:
        """Moments.run and Moments.left: what one sheaf gives comes in a row, at one time."""
        run, left = np.zeros(len(seq), np.int64), np.zeros(len(seq), np.int32)
        count = self._prefilled.objects[entry]
        rows = np.flatnonzero((count > 0) & (op > 0))
        if len(rows):
            rows = rows[np.argsort(self._prefilled.sheaf[entry[rows]], kind="stable")]
            of, count = self._prefilled.sheaf[entry[rows]], count[rows]
            place = (np.arange(len(rows)) - np.searchsorted(of, of)) % count
            left[rows] = count - place
            run[rows] = seq[rows - place]
        return run, left

    def _in_pieces(self, whole: Moments) -> Moments:
        """The same with a free for each piece of what is freed in pieces."""
        times = np.where(whole.op < 0, self._pieces[whole.entry], 1)
        row = np.repeat(np.arange(len(times)), times)
        piece = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
        found = whole.of(row)
        return found._replace(seq=found.seq + piece, piece=piece)

    def _born(self, made: list[Columns], end: int) -> Columns:
        """What is born before ``end``; the rest waits."""
        unborn = concat([self._unborn, *made])
        if not len(unborn["birth"]) or int(unborn["birth"].max()) < end:
            self._unborn = empty(_UNBORN)
            return unborn
        now = unborn["birth"] < end
        self._unborn = take(unborn, ~now)
        return take(unborn, now)

    def _look_ahead(self, begin: int, end: int) -> None:
        """Bring what dies in the next windows near, when the last of those has come."""
        if end <= self._horizon:
            return
        self._horizon = begin + _SOON * (end - begin)
        both = concat([self._soon, *self._later])
        soon = both["death"] < self._horizon
        self._soon, self._later = take(both, soon), [take(both, ~soon)]

    def _keep(self, born: Columns, handle: I8, stays: Bools, dying: Bools) -> None:
        new = take({**born, "handle": handle}, stays)
        new = {name: new[name] for name in _ALIVE}
        soon = new["death"] < self._horizon
        self._soon = concat([take(self._soon, ~dying), take(new, soon)])
        self._later.append(take(new, ~soon))


def _order(time: I8, begin: int) -> I8:
    """Row numbers in order of time; at one time in order of rows, so births before deaths."""
    since = time - begin
    if len(time) >= 1 << _ROW_BITS or int(since.max(initial=0)) >= 1 << (63 - _ROW_BITS):
        return np.argsort(time, kind="stable")
    key = (since << _ROW_BITS) + np.arange(len(time))
    key.sort()
    key &= (1 << _ROW_BITS) - 1
    return key
