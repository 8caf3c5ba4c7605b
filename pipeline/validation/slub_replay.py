"""SLUB alone through a recording, with its counters read where the kernel's were.

Every read of a counter of SLUB_STATS allocates in show_stat, so a recording that holds the first
snapshot says at which moment each counter was read, and so of the second, where that too lies in
the recording. Where it is behind the end, what it read, and the reading itself, no event shows. It
was made as the first was; so the requests of the first one's reader, and of the processes of one
name that ran one after the other right before it, are played once more behind the end, as far as
what they allocated they also freed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.initial_state.slabs import pre_trace_in
from allocsim.kernels.kmalloc_partitions import without_copy
from allocsim.recording.rcu_sheaves import UNKNOWN
from allocsim.slub.cache_model import NO_KMALLOC_CACHE
from allocsim.slub.requests import ObjectRequests, Op
from allocsim.tables import stable_order
from pipeline.replay.fidelity import kernel_settings
from pipeline.replay.world import make_world

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from allocsim.kernels.profile import Profile
    from allocsim.tables import Int64
    from pipeline.replay.read_back import RecordedRun
    from pipeline.replay.world import World
    from pipeline.trace_set.snapshots import SlabCaches

Counts = dict[tuple[str, str], int]  #: (cache, counter) -> its figure

_READS = """
SELECT seq, pid FROM object_events JOIN call_sites USING (run, call_site)
WHERE run = ? AND symbol = 'show_stat' AND event = 'kmalloc' ORDER BY seq
"""
_TASKS = """
SELECT pid, comm, min(seq) AS first, max(seq) AS last
FROM object_events JOIN tasks USING (run, pid) WHERE run = ? AND pid <= ? GROUP BY pid, comm
"""


class Reads(NamedTuple):
    """The reads of the snapshots.

    Args:
        seqs: events of the first one's reads, rising, one for each counter of the snapshot.
        begin: first event of the processes that made it.
        after: events of the second one's reads; none where it is behind the end.
    """

    seqs: list[int]
    begin: int
    after: list[int]


def snapshot_reads(
    connection: duckdb.DuckDBPyConnection, run: int, before: SlabCaches, after: SlabCaches
) -> Reads | None:
    """When each counter of the snapshots was read; None if the recording does not say."""
    rows = connection.execute(_READS, [run]).fetchall()
    first = len(before.stats)
    if not rows or len(rows) not in (first, first + len(after.stats)):
        return None
    rows, later = rows[:first], rows[first:]
    reader = rows[0][1]
    tasks = {
        pid: (comm, first, last)
        for pid, comm, first, last in connection.execute(_TASKS, [run, reader]).fetchall()
    }
    begin = tasks[reader][1] if reader in tasks else rows[0][0]
    pid = reader - 1
    comm = tasks[pid][0] if pid in tasks else None
    while pid in tasks and tasks[pid][0] == comm and tasks[pid][1] < begin:
        begin = tasks[pid][1]
        pid -= 1
    # A task is forked, and its memory copied, before its own first event.
    if pid in tasks and tasks[pid][2] < begin:
        begin = tasks[pid][2] + 1
    return Reads([seq for seq, _ in rows], begin, [seq for seq, _ in later])


class Echo(NamedTuple):
    """Requests of the first snapshot that are played again behind the end, for the second.

    Args:
        requests: how many.
        frees: of them, frees.
        recorded: requests of the whole recording, each played once.
    """

    requests: int
    frees: int
    recorded: int

    def __str__(self) -> str:
        if not self.requests:
            return "Both snapshots were read within the recording."
        share = 100 * self.requests / max(self.recorded + self.requests, 1)
        return (
            f"{self.requests:,} of the model's {self.recorded + self.requests:,} requests"
            f" ({share:.2f} %; {self.frees:,} are frees) are those of the first snapshot, played"
            " again behind the end of the recording in place of the second's."
        )


class _Player:
    """SLUB of a world, fed with requests.

    Attributes:
        numbers: the caches that are counted under each name in sysfs.
    """

    def __init__(self, world: World, folder_of: Mapping[str, str]) -> None:
        self.slub = world.simulation.slub
        self.asked = world.asked
        self._pre_trace = world.pre_trace
        self.numbers: dict[str, list[int]] = defaultdict(list)
        for number, (name, _) in enumerate(world.recorded.caches):
            self.numbers[folder_of.get(name, name)].append(number)

    def play(self, requests: ObjectRequests) -> None:
        """Replay some requests."""
        if len(requests.seq):
            first, end = int(requests.seq[0]), int(requests.seq[-1]) + 1
            cpu = requests.cpu % self.slub.cpus
            self.slub.window(requests._replace(cpu=cpu), pre_trace_in(self._pre_trace, first, end))


class SlubReplay:
    """Replays a recorded run through SLUB alone.

    Args:
        source: the run.
        profile: the kernel it is replayed on, its own.
        folder_of: name of a cache -> the cache it is counted under in sysfs.
        names: counters that are wanted.
    """

    def __init__(
        self,
        source: RecordedRun,
        profile: Profile,
        folder_of: Mapping[str, str],
        names: Sequence[str],
    ) -> None:
        self._source = source
        self._names = names
        self._settings = kernel_settings(profile)
        self._folder_of = folder_of

    def whole(self, moment: float) -> Counts:
        """Counters behind the trace's end, untraced frees at a moment of their intervals."""
        player = self._player()
        for window in self._source.requests(moment)[1]:
            player.play(player.asked(window).objects)
        return without_copies(
            {
                (cache, name): self._value(player, cache, name)
                for cache in player.numbers
                for name in self._names
            }
        )

    def _player(self) -> _Player:
        return _Player(make_world(self._source.recorded, self._settings), self._folder_of)

    def between_reads(
        self, moment: float, before: SlabCaches, after: SlabCaches, reads: Reads, rows: int
    ) -> tuple[Counts, Echo]:
        """Counters between the two snapshots; and what was played again behind the end.

        Args:
            moment: of untraced frees in their intervals.
            before: the snapshot whose reads the recording holds.
            after: the other one.
            reads: the reads.
            rows: events of the trace.
        """
        player = self._player()
        marks = list(zip(reads.seqs, before.stats, strict=True))
        if reads.after:
            ends = list(zip(reads.after, after.stats, strict=True))
            return self._both_read(player, moment, marks, ends)
        first: Counts = {}
        again: list[ObjectRequests] = []
        recorded = 0
        for window in map(player.asked, self._source.requests(moment)[1]):
            objects = window.objects
            recorded += len(objects.seq)
            due = [mark for mark in marks[len(first) :] if mark[0] < window.end]
            self._play_marked(player, objects, due, first)
            inside = np.searchsorted(objects.seq, [reads.begin, reads.seqs[-1] + 1])
            again.append(objects.part(slice(*inside.tolist())))
        echo = _again(again, rows - reads.begin)
        later = [(seq + rows - reads.begin, key) for seq, key in marks]
        last: Counts = {}
        self._play_marked(player, echo, later, last)
        frees = int(np.count_nonzero(echo.op < 0))
        counts = without_copies({key: last[key] - first[key] for key in last})
        return counts, Echo(len(echo.seq), frees, recorded)

    def _both_read(
        self,
        player: _Player,
        moment: float,
        marks: list[tuple[int, tuple[str, str]]],
        later: list[tuple[int, tuple[str, str]]],
    ) -> tuple[Counts, Echo]:
        """Counters between two snapshots that both were read within the recording."""
        first: Counts = {}
        last: Counts = {}
        waiting = [(marks, first), (later, last)]
        recorded = 0
        for window in map(player.asked, self._source.requests(moment)[1]):
            objects, done = window.objects, 0
            recorded += len(objects.seq)
            for reads, into in waiting:
                due = [mark for mark in reads[len(into) :] if mark[0] < window.end]
                stop = int(np.searchsorted(objects.seq, due[-1][0])) if due else done
                self._play_marked(player, objects.part(slice(done, stop)), due, into)
                done = stop
            player.play(objects.part(slice(done, None)))
        counts = without_copies({key: last[key] - first.get(key, 0) for key in last})
        return counts, Echo(0, 0, recorded)

    def _play_marked(
        self,
        player: _Player,
        requests: ObjectRequests,
        marks: Sequence[tuple[int, tuple[str, str]]],
        into: Counts,
    ) -> None:
        done = 0
        places = np.searchsorted(requests.seq, [seq for seq, _ in marks]).tolist()
        rows = _rows_by_cache(requests, len(player.slub.caches))
        kmalloc_caches = set(player.slub.kmalloc_caches) - {NO_KMALLOC_CACHE}
        for place, (_, key) in zip(places, marks, strict=True):
            # A cache of which nothing was asked since has the figures that it had. What is asked of
            # those that sheaves come from does not stand in the requests.
            for number in player.numbers.get(key[0], ()):
                first, end = np.searchsorted(rows[number], [done, place])
                if place > done and (first < end or number in kmalloc_caches):
                    player.play(requests.part(slice(done, place)))
                    done = place
            into[key] = self._value(player, *key)
        player.play(requests.part(slice(done, None)))

    def _value(self, player: _Player, cache: str, name: str) -> int:
        caches = player.slub.caches
        return sum(caches[number].stat[name] for number in player.numbers.get(cache, ()))


def _rows_by_cache(requests: ObjectRequests, caches: int) -> list[Int64]:
    """The rows of each cache's requests, rising."""
    order = stable_order(requests.cache)
    ends = np.searchsorted(requests.cache.take(order), np.arange(caches - 1), side="right")
    return np.split(order, ends)


def _again(parts: Sequence[ObjectRequests], later: int) -> ObjectRequests:
    """Requests once more, ``later`` events later: those of objects that live and die in them."""
    given = {
        name: np.concatenate(column)
        for name, column in zip(ObjectRequests._fields, zip(*parts, strict=True), strict=True)
        if all(part is not None for part in column)
    }
    requests = ObjectRequests(**given)
    op, handle = requests.op, requests.object
    whole = np.intersect1d(handle[op > 0], handle[op < 0])
    kept = np.flatnonzero(np.isin(handle, whole) | (op == Op.ASK_SHEAF))
    requests = ObjectRequests(**{name: column[kept] for name, column in given.items()})
    ts, run = requests.ts, requests.run
    if ts is None or run is None or not len(kept):
        return requests
    return requests._replace(
        seq=requests.seq + later,
        object=requests.object + later,
        # No pause between the trace's end and the first of them: the least that there was.
        ts=ts + (int(given["ts"][-1]) - int(ts[0])),
        # When their sheaves came back is not to be shifted: they take a grace period.
        due=None if requests.due is None else np.full(len(kept), UNKNOWN),
        run=np.where(run > 0, run + later, 0),
    )


def without_copies(counts: Mapping[tuple[str, str], int]) -> Counts:
    """Figures of a kmalloc cache and its copies together: which is which is the seed's (R3.52)."""
    found: Counter[tuple[str, str]] = Counter()
    for (cache, name), value in counts.items():
        found[without_copy(cache), name] += value
    return dict(found)


def totals(counts: Counts) -> Counter[str]:
    """Each counter, all caches together."""
    found: Counter[str] = Counter()
    for (_, name), value in counts.items():
        found[name] += value
    return found
