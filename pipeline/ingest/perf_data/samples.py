"""What perf's samples hold: time, CPU, the tracepoint's record, and the chain of callers.

Source: include/uapi/linux/perf_event.h:PERF_RECORD_SAMPLE and enum perf_callchain_context (7.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.perf_data import attrs as bits
from pipeline.ingest.raw.unaligned import unaligned
from pipeline.ingest.stream import Chains

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from allocsim.tables import Array, Int16, Int32, Int64, UInt8, UInt64
    from pipeline.ingest.perf_data.attrs import Attr

# Frames from here on are no addresses but say of which context those behind them are.
_CONTEXTS = np.uint64((1 << 64) - 4095)  # PERF_CONTEXT_MAX
_KERNEL = np.uint64((1 << 64) - 128)  # PERF_CONTEXT_KERNEL
# A record of 64 KiB has no room for more frames, nor for more counters of a group.
_MOST_FRAMES = _MOST_READ = 1 << 13


@dataclass(frozen=True, slots=True)
class Samples:
    """Some samples of tracepoints.

    Attributes:
        sample: i8, which of the records that were given each is.
        ts: i8, their times.
        cpu: i2, their CPUs.
        offset: i8, where the tracepoint's record begins in the data.
        size: i4, its bytes.
    """

    sample: Int64
    ts: Int64
    cpu: Int16
    offset: Int64
    size: Int32
    chains: Chains | None


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Where samples begin and how many bytes each has; ``place`` names a byte in an error."""

    offset: Int64
    size: Int64
    place: Callable[[int], str]

    def need(self, size: Int64 | int, what: str) -> None:
        """Raise an InputError if a sample has fewer bytes than it needs for ``what``."""
        short = np.flatnonzero(self.size < size)
        if short.size:
            at = self.place(int(self.offset[short[0]]))
            raise InputError(f"{at}: a sample has no room for {what}, the data is damaged")


@dataclass(frozen=True, slots=True)
class _Layout:
    """A kind of sample: an attribute that stands for all with the same fields, and their ids."""

    attr: Attr
    ids: UInt64


class SampleReader:
    """Reads the samples of a recording.

    Args:
        attrs: its events.
        order: byte order of its numbers.
        where: the file's name, for errors.

    Attributes:
        counts: of events that a group's leader only counts (``:S``), the last count by id.

    Raises:
        InputError: samples lack what is needed.
    """

    def __init__(self, attrs: list[Attr], order: str, where: str) -> None:
        self._order = order
        self._where = where
        points = _tracepoints(attrs)
        self.counts = {id_: 0 for attr in attrs if attr.counted for id_ in attr.ids}
        for attr in points:
            _check(attr, where)
        sampled = [attr for attr in attrs if not attr.counted]
        kinds = {(attr.sample_type, attr.read_format) for attr in sampled if attr.sample_type}
        others = len(kinds) > 1 or len(points) < sum(attr.tracepoint for attr in attrs)
        self._id_at = _id_place(sampled, where) if others else None
        self._layouts = [
            _Layout(
                next(attr for attr in points if (attr.sample_type, attr.read_format) == kind),
                np.array(
                    [
                        id_
                        for attr in points
                        if (attr.sample_type, attr.read_format) == kind
                        for id_ in attr.ids
                    ],
                    np.uint64,
                ),
            )
            for kind in sorted({(attr.sample_type, attr.read_format) for attr in points})
        ]

    def times(self, data: UInt8, offset: Int64) -> tuple[Int64, Int64]:
        """Of the samples at ``offset``, which are tracepoints', and the times of these: both i8."""
        parts = [
            (rows, self._word(data, _some(offset, rows), layout.attr.at(bits.TIME), "i8"))
            for rows, layout in self._split(data, offset)
        ]
        if len(parts) == 1:
            return parts[0]
        return _merged(parts)

    def read(self, data: UInt8, offset: Int64, size: Int64, place: Callable[[int], str]) -> Samples:
        """The tracepoints' samples among those at ``offset``, in this order.

        Args:
            data: what they lie in, with SLACK bytes behind the last.
            offset: i8, where their records begin.
            size: i8, bytes of each record.
            place: what to call a byte of ``data`` in an error.

        Raises:
            InputError: a length points out of its record.
        """
        parts = [
            self._read(
                data, rows, _Bounds(_some(offset, rows), _some(size, rows), place), layout.attr
            )
            for rows, layout in self._split(data, offset)
        ]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _split(self, data: UInt8, offset: Int64) -> Iterable[tuple[Int64, _Layout]]:
        """The samples of each layout."""
        if self._id_at is None:
            return [(np.arange(len(offset)), self._layouts[0])]
        ids = self._word(data, offset, self._id_at, "u8")
        return [
            (np.flatnonzero(np.isin(ids, layout.ids, kind="sort")), layout)
            for layout in self._layouts
        ]

    def _word(self, data: UInt8, offset: Int64, at: int, dtype: str) -> Array:
        words = unaligned(data, self._order + dtype, at)
        if int(offset.max(initial=0)) >= len(words):
            # A record that is too short is refused when it is read whole.
            offset = np.minimum(offset, len(words) - 1)
        return words[offset].astype(dtype, copy=False)

    def _read(self, data: UInt8, rows: Int64, bounds: _Bounds, attr: Attr) -> Samples:
        offset = bounds.offset
        bounds.need(attr.front, "its fields")
        at: Int64 | int = attr.front  # of all samples, as long as they are alike
        if attr.sample_type & bits.READ:
            at = at + self._read_size(data, bounds, attr)
        chains = None
        if attr.sample_type & bits.CALLCHAIN:
            bounds.need(at + 8, "its callers")
            count = self._count(data, offset + at, _MOST_FRAMES)
            at = at + 8
            bounds.need(at + 8 * count, "its callers")
            chains = self._chains(data, offset + at, count)
            at = at + 8 * count
        bounds.need(at + 4, "its record")
        place = offset + at
        length = unaligned(data, self._order + "u4")[place].astype(np.int64)
        bounds.need(at + 4 + length, "the tracepoint's record")
        return Samples(
            sample=rows,
            ts=self._word(data, offset, attr.at(bits.TIME), "i8"),
            cpu=self._word(data, offset, attr.at(bits.CPU), "u4").astype(np.int16),
            offset=place + 4,
            size=length.astype(np.int32),
            chains=chains,
        )

    def _count(self, data: UInt8, place: Int64, most: int) -> Int64:
        """The numbers at ``place``; one more than ``most``, if they are larger."""
        count = unaligned(data, self._order + "u8")[place].astype(np.uint64)
        return np.minimum(count, np.uint64(most + 1)).astype(np.int64)

    def _read_size(self, data: UInt8, bounds: _Bounds, attr: Attr) -> Int64:
        """Bytes of READ in each sample (kernel/events/core.c:perf_output_read, 7.2)."""
        kind = attr.read_format
        times = sum(bool(kind & bit) for bit in (bits.ENABLED, bits.RUNNING))
        each = 1 + sum(bool(kind & bit) for bit in (bits.READ_ID, bits.READ_LOST))
        if not kind & bits.GROUP:
            return np.full(len(bounds.offset), 8 * (times + each), np.int64)
        bounds.need(attr.front + 8, "what was read")
        members = self._count(data, bounds.offset + attr.front, _MOST_READ)
        size: Int64 = 8 * (1 + times + each * members)
        if self.counts and kind & bits.READ_ID:
            bounds.need(attr.front + size, "what was read")
            self._note_counts(data, bounds.offset + attr.front + 8 * (1 + times), members, each)
        return size

    def _note_counts(self, data: UInt8, begin: Int64, members: Int64, each: int) -> None:
        """Take in the counts of groups, of which samples have ``each`` words a member."""
        before = np.cumsum(members) - members
        place = np.repeat(begin - 8 * each * before, members)
        place += 8 * each * np.arange(len(place))
        words = unaligned(data, self._order + "u8")
        value, of = words[place].astype(np.uint64), words[place + 8].astype(np.uint64)
        for id_ in self.counts:
            found = int(value[of == np.uint64(id_)].max(initial=0))
            self.counts[id_] = max(self.counts[id_], found)

    def _chains(self, data: UInt8, offset: Int64, count: Int64) -> Chains:
        """The kernel's part of the chains at ``offset``; of samples without one there is none."""
        before = np.cumsum(count) - count
        place = np.repeat(offset - 8 * before, count) + 8 * np.arange(int(count.sum()))
        frames = unaligned(data, self._order + "u8")[place].astype(np.uint64, copy=False)
        row = np.repeat(np.arange(len(count)), count)
        # A frame is of the context that the last mark before it in its chain names.
        mark = frames >= _CONTEXTS
        last = np.maximum.accumulate(np.where(mark, np.arange(len(frames)), -1))
        known = (last >= before[row]) & ~mark
        kernel = np.zeros(len(frames), np.bool_)
        kernel[known] = frames[last[known]] == _KERNEL
        kept = np.bincount(row[kernel], minlength=len(count))
        having = np.flatnonzero(kept)
        return Chains(having, kept[having], frames[kernel])


def _tracepoints(attrs: list[Attr]) -> list[Attr]:
    """The tracepoints; of one that was asked for twice, the one with more in its samples."""
    found: dict[int, Attr] = {}
    for attr in attrs:
        if attr.tracepoint:
            known = found.setdefault(attr.config, attr)
            if attr.sample_type & bits.CALLCHAIN and not known.sample_type & bits.CALLCHAIN:
                found[attr.config] = attr
    return list(found.values())


def _check(attr: Attr, where: str) -> None:
    """Refuse a tracepoint whose samples cannot be replayed."""
    name = attr.name or "a tracepoint"
    if attr.frequency or attr.period != 1:
        how = "at a frequency" if attr.frequency else f"one of {attr.period}"
        raise InputError(
            f"{where}: {name} was sampled ({how}); record every event: without -c and -F"
        )
    if not attr.sample_type & bits.TIME or not attr.sample_type & bits.CPU:
        lacks = "CPU" if attr.sample_type & bits.TIME else "time"
        raise InputError(f"{where}: samples of {name} have no {lacks}; record all CPUs, with -a")


def _id_place(attrs: list[Attr], where: str) -> int:
    """Where samples of all kinds have their event's id."""
    recorded = [attr for attr in attrs if attr.sample_type]
    for bit in (bits.IDENTIFIER, bits.ID):
        places = {attr.at(bit) for attr in recorded}
        if all(attr.sample_type & bit for attr in recorded) and len(places) == 1:
            return places.pop()
    raise InputError(f"{where}: its samples do not say of which event they are; record kmem alone")


def _some(values: Int64, rows: Int64) -> Int64:
    """The values of some rows, ascending; without a copy if it is all."""
    return values if len(rows) == len(values) else values[rows]


def _merged(parts: list[tuple[Int64, Int64]]) -> tuple[Int64, Int64]:
    rows, values = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    order = np.argsort(rows, kind="stable")
    return rows[order], values[order]


def _joined(parts: list[Samples]) -> Samples:
    """Samples of several layouts as one, in the order of their records."""
    rows = np.concatenate([part.sample for part in parts])
    order = np.argsort(rows, kind="stable")
    ts, cpu, offset, size = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("ts", "cpu", "offset", "size")
    )
    return Samples(rows[order], ts, cpu, offset, size, _joined_chains(parts, order))


def _joined_chains(parts: list[Samples], order: Int64) -> Chains | None:
    """The chains of all parts; record ``order[i]`` of the parts together is now record ``i``."""
    begin = np.cumsum([0, *(len(part.sample) for part in parts)])
    having = [
        (first + part.chains.record, part.chains)
        for first, part in zip(begin[:-1].tolist(), parts, strict=True)
        if part.chains is not None
    ]
    if not having:
        return None
    whole = Chains(
        np.concatenate([record for record, _ in having]),
        np.concatenate([chains.count for _, chains in having]),
        np.concatenate([chains.frames for _, chains in having]),
    )
    return whole.moved(order)
