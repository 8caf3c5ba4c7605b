"""Records that are laid out one after the other, as a ring buffer of the kernel would have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.formats import Field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Array, Int16, Int32, Int64, UInt8, UInt64

#: What every record begins with.
HEAD = np.dtype([("type", "<u2"), ("flags", "u1"), ("preempt", "u1"), ("pid", "<i4")])
COMMON = {
    "common_type": Field("common_type", 0, 2, signed=False),
    "common_flags": Field("common_flags", 2, 1, signed=False),
    "common_pid": Field("common_pid", 4, 4, signed=True),
}
STACK_HEAD = 16  #: bytes of a record of a stack in front of its frames
_WORD = 8  # bytes of a frame's address


def heads(kind: int, flags: Array, pid: Array, size: int) -> UInt8:
    """Records of ``size`` bytes with their common fields: one row a record."""
    body = np.zeros((len(pid), size), np.uint8)
    head = body[:, :8].view(HEAD)[:, 0] if len(pid) else np.zeros(0, HEAD)
    head["type"], head["flags"], head["pid"] = kind, flags, pid
    return body


def stacks(head: UInt8, count: Int64, frames: UInt64) -> tuple[UInt8, Int64]:
    """Records of stacks, one after the other, and the bytes of each.

    Args:
        head: their common fields, a row of 8 bytes each.
        count: i8, frames of each.
        frames: u8, the frames, one stack after the other.
    """
    size = STACK_HEAD + _WORD * count
    begin = np.cumsum(size) - size
    body = np.zeros(int(size.sum()), np.uint8)
    body[(begin[:, np.newaxis] + np.arange(8)).ravel()] = head.ravel()
    place = np.repeat(begin + STACK_HEAD - _WORD * (np.cumsum(count) - count), count)
    place += _WORD * np.arange(len(frames))
    words = frames.astype("<u8").view(np.uint8).reshape(-1, 8)
    body[(place[:, np.newaxis] + np.arange(8)).ravel()] = words.ravel()
    return body, size


@dataclass(frozen=True, slots=True)
class Laid:
    """Records with their times and CPUs.

    Attributes:
        ts: i8, ns.
        cpu: i2.
        offset: i8, where each begins in ``data``.
        size: i4, its bytes.
        data: u1.
    """

    ts: Int64
    cpu: Int16
    offset: Int64
    size: Int32
    data: UInt8

    def between(self, since: int, until: int) -> Laid:
        """Those with a time from ``since`` to before ``until``; their bytes stay where they are."""
        some = (self.ts >= since) & (self.ts < until)
        return Laid(self.ts[some], self.cpu[some], self.offset[some], self.size[some], self.data)


def joined(parts: Sequence[Laid], slack: int) -> Laid:
    """Records of several parts, one part after the other, and ``slack`` bytes behind them."""
    begin = np.cumsum([0, *(len(part.data) for part in parts)])
    offset = [part.offset + at for part, at in zip(parts, begin.tolist(), strict=False)]
    none = np.zeros(0, np.int64)
    return Laid(
        np.concatenate([none, *(part.ts for part in parts)]),
        np.concatenate([none.astype(np.int16), *(part.cpu for part in parts)]),
        np.concatenate([none, *offset]),
        np.concatenate([none.astype(np.int32), *(part.size for part in parts)]),
        np.concatenate([*(part.data for part in parts), np.zeros(slack, np.uint8)]),
    )
