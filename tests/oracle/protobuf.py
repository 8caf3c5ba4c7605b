"""Protocol Buffers' wire format read back, a byte at a time; and what a trace for Perfetto holds.

Field numbers are those of protos/perfetto/trace/perfetto_trace.proto.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Fields = dict[int, list[Any]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Fields:
    """The values of each field of a message: numbers, and bytes of what has a length."""
    found: Fields = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
            assert len(value) == length
        else:
            raise ValueError(f"wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


@dataclass
class Track:
    """A track: its names from the outermost on, and what happens on it."""

    names: tuple[str, ...]
    doc: str
    unit: int | None
    values: list[tuple[int, int]] = field(default_factory=list)  # (ts, value)
    slices: list[list[Any]] = field(default_factory=list)  # [begin, end or None, name, bytes]


def perfetto(data: bytes) -> list[Track]:
    """The tracks of a trace, in the order in which they are described."""
    tracks: dict[int, Track] = {}
    interned: dict[int, str] = {}
    cleared = False
    for packet in map(fields, fields(data)[1]):
        assert packet[10] == [1]  # trusted_packet_sequence_id
        flags = packet.get(13, [0])[0]
        cleared = cleared or flags == 1
        assert cleared or flags != 2, "names are needed that are not there yet"
        for names in map(fields, packet.get(12, [])):
            for each in map(fields, names[2]):
                interned[each[1][0]] = each[2][0].decode()
        for each in map(fields, packet.get(60, [])):
            [uuid], [name] = each[1], each[2]
            assert uuid not in tracks
            outer = tracks[each[5][0]].names if 5 in each else ()
            unit = fields(each[8][0])[3][0] if 8 in each else None
            doc = each.get(14, [b""])[0].decode()
            tracks[uuid] = Track((*outer, name.decode()), doc, unit)
        for each in map(fields, packet.get(11, [])):
            _happen(tracks[each[11][0]], packet[8][0], each, interned)
    return list(tracks.values())


def _happen(track: Track, ts: int, event: Fields, interned: dict[int, str]) -> None:
    match event[9]:
        case [1]:
            size = fields(event[4][0])
            assert size[10] == [b"bytes"]
            track.slices.append([ts, None, interned[event[10][0]], size[3][0]])
        case [2]:
            assert track.slices[-1][1] is None
            track.slices[-1][1] = ts
        case [4]:
            track.values.append((ts, event[30][0]))
        case other:
            raise ValueError(f"event of type {other}")
