"""A run as a trace for Perfetto: counters over time, and the lives that took long, as slices.

The format is that of protos/perfetto/trace/perfetto_trace.proto: packets of track descriptors,
then one packet a sample, or two a life. Times are the recording's own, in ns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.export.counters import GROUPS, CounterSamples
from pipeline.export.long_lives import LIVES, LongLives
from pipeline.export.protobuf import message, messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    import duckdb

    from allocsim.tables import Columns, Int64, UInt64
    from pipeline.export.counters import CounterGroup
    from pipeline.export.long_lives import LifeGroup
    from pipeline.export.protobuf import Value
    from pipeline.export.run_pair import RunPair

_SEQUENCE = 1  #: trusted_packet_sequence_id: all packets are of one writer
_FIRST, _LATER = 1, 2  #: sequence_flags: interned names begin here; are needed here
_BEGIN, _END, _COUNTER = 1, 2, 4  #: TrackEvent.Type
_EXPLICIT = 3  #: TrackDescriptor.ChildTracksOrdering
_UNIT_COUNT, _UNIT_BYTES = 2, 3  #: CounterDescriptor.Unit


@dataclass
class Written:
    """What a trace has got.

    Args:
        counters: how many.
        samples: values of them.
        lives: slices.
    """

    counters: int = 0
    samples: int = 0
    lives: int = 0


def write_perfetto(  # noqa: PLR0913 - a run, and how much of it
    connection: duckdb.DuckDBPyConnection,
    pair: RunPair,
    file: BinaryIO,
    *,
    step: int,
    long: int | None,
    done: Callable[[float], None],
) -> Written:
    """Write a run as a trace.

    Args:
        connection: a results database, for reading.
        pair: the recorded run, and whose model is shown with it.
        file: where to.
        step: ns; of a counter's values within one step only the last is written.
        long: ns that a life lasts at least whose slice is written; None: none is.
        done: told the part that is done, 0 to 1.
    """
    trace = _Trace(file)
    lives = LIVES if long is not None else ()
    for place, group in enumerate(GROUPS):
        trace.counters(CounterSamples(connection, group, pair, step), group, pair)
        done((place + 1) / (len(GROUPS) + len(lives)))
    for place, kind in enumerate(lives):
        trace.lives(LongLives(connection, kind, pair, long or 0), kind)
        done((len(GROUPS) + place + 1) / (len(GROUPS) + len(lives)))
    return trace.written


class _Trace:
    """A file of packets, to which tracks are added."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._track = 0
        self._names = 0
        self.written = Written()
        self._packets(1, {13: _FIRST})

    def counters(self, samples: CounterSamples, group: CounterGroup, pair: RunPair) -> None:
        """Add counters of one group; each begins with 0."""
        counters = samples.counters()
        if not counters:
            return
        top = self._descriptor(group.name, group.doc)
        parts = {
            part: top if part is None else self._descriptor(part, parent=top)
            for part in dict.fromkeys(part for part, _ in counters)
        }
        counter = message({3: _UNIT_BYTES if group.bytes else _UNIT_COUNT})
        first = self._track + 1
        for part, name in counters:
            self._descriptor(name, parent=parts[part], more={8: counter})
        tracks = np.arange(first, first + len(counters))
        self._values(tracks, np.full(len(tracks), pair.first_ts), np.zeros(len(tracks), np.int64))
        for batch in samples.batches():
            self._values(first + batch["counter"], batch["ts"], batch["value"])
        self.written.counters += len(counters)

    def _values(self, track: Int64, ts: Int64, value: Int64) -> None:
        self._events(ts, {9: _COUNTER, 11: _unsigned(track), 30: _unsigned(value)})
        self.written.samples += len(ts)

    def lives(self, lives: LongLives, group: LifeGroup) -> None:
        """Add lives of one group, each as a track; those of one name are shown as one."""
        tracks, names = lives.tracks(), lives.names()
        if not tracks:
            return
        top = self._descriptor(group.name, group.doc)
        first_name = self._interned(names)
        for batch in lives.batches():
            self._slices(batch, tracks, top, first_name)

    def _slices(self, batch: Columns, tracks: list[str], top: int, first_name: int) -> None:
        count = len(batch["begin"])
        track = self._track + 1 + np.arange(count)
        self._track += count
        for number in np.unique(batch["track"]):  # names differ in length, and so do messages
            own = _unsigned(track[batch["track"] == number])
            described = messages(len(own), {1: own, 5: top, 2: tracks[number].encode()})
            self._packets(len(own), {60: described})
        begun: dict[int, Value] = {
            9: _BEGIN,
            11: _unsigned(track),
            10: _unsigned(first_name + batch["name"]),
            4: messages(count, {10: b"bytes", 3: _unsigned(batch["bytes"])}),
        }
        self._events(batch["begin"], begun)
        over = batch["end"] >= 0
        self._events(batch["end"][over], {9: _END, 11: _unsigned(track[over])})
        self.written.lives += count

    def _interned(self, names: list[str]) -> int:
        """Write names that events refer to by number; returns the first one's."""
        first = self._names + 1
        self._names += len(names)
        for number, name in enumerate(names, first):
            self._packets(1, {12: message({2: message({1: number, 2: name.encode()})}), 13: _LATER})
        return first

    def _descriptor(
        self, name: str, doc: str = "", parent: int = 0, more: Mapping[int, Value] | None = None
    ) -> int:
        """Write a track of a name; returns its number."""
        self._track += 1
        fields: dict[int, Value] = {1: self._track, 2: name.encode(), 11: _EXPLICIT}
        if parent:
            fields[5] = parent
        if doc:
            fields[14] = doc.encode()
        # Among its siblings it stands where it was written.
        described = message(fields | {12: self._track} | dict(more or {}))
        self._packets(1, {60: described})
        return self._track

    def _events(self, ts: Int64, event: Mapping[int, Value]) -> None:
        if len(ts):
            self._packets(len(ts), {8: _unsigned(ts), 11: messages(len(ts), event), 13: _LATER})

    def _packets(self, rows: int, fields: Mapping[int, Value]) -> None:
        """Write a packet a row: each is field 1 of the trace."""
        packets = messages(rows, {**fields, 10: _SEQUENCE})
        self._file.write(messages(rows, {1: packets}).tobytes())


def _unsigned(values: Int64) -> UInt64:
    """As a varint has them: two's complement."""
    return values.astype(np.int64).view(np.uint64)
