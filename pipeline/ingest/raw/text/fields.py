"""Where the values in the text of events lie: between their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from allocsim.tables import Bools, Int64, UInt8
    from pipeline.ingest.raw.text.lines import TextLines


@dataclass(slots=True)
class FieldPlaces:
    """Where the fields of some lines lie.

    Args:
        data: the text, with SLACK bytes behind it.
        size: its bytes.
        lines: its lines.
    """

    data: UInt8
    size: int
    lines: TextLines
    _equals: Int64 = field(init=False)

    def __post_init__(self) -> None:
        self._equals = np.flatnonzero(self.data[: self.size] == ord("="))

    def fields(self, row: int) -> str:
        """The text of a line's fields."""
        begin, end = int(self.lines.fields[row]), int(self.lines.end[row])
        return bytes(self.data[begin:end]).decode("utf-8", "replace").rstrip()

    def equals(self, row: Int64, names: tuple[str, ...]) -> tuple[Bools, Int64]:
        """Which lines have just these names, and where each name's equals sign is."""
        lines = self.lines
        first = np.searchsorted(self._equals, lines.fields[row])
        last = np.searchsorted(self._equals, lines.end[row])
        good = last - first == len(names)
        first = np.where(good, first, 0)
        if len(self._equals) < len(names):
            return np.zeros(len(row), np.bool_), np.zeros((len(row), len(names)), np.int64)
        places = self._equals[first[:, np.newaxis] + np.arange(len(names))]
        for number, word in enumerate(names):
            for back, letter in enumerate(reversed(f" {word}".encode())):
                good &= self.data.take(places[:, number] - 1 - back) == letter
        good &= places[:, 0] == lines.fields[row] + len(names[0])
        return good, places

    def having(self, row: Int64, names: Collection[str]) -> Bools:
        """Which lines have any of these names, or are cut within the first of them.

        The lines of probes have none, though their arguments may: their text is in brackets first.
        """
        lines = self.lines
        start = lines.fields[row]
        first = np.searchsorted(self._equals, start)
        count = np.maximum(np.searchsorted(self._equals, lines.end[row]) - first, 0)
        line = np.repeat(np.arange(len(row)), count)
        before = np.cumsum(count) - count
        place = self._equals[np.repeat(first - before, count) + np.arange(len(line))]
        any_of = np.zeros(len(place), np.bool_)
        for word in names:
            found = np.ones(len(place), np.bool_)
            for back, letter in enumerate(reversed(f" {word}".encode())):
                found &= self.data.take(place - 1 - back) == letter
            any_of |= found
        having: Bools = np.bincount(line[any_of], minlength=len(row)) > 0
        length = lines.end[row] - start
        for word in names:
            cut = length <= len(word)
            for at, letter in enumerate(word.encode()):
                cut &= (at >= length) | (self.data.take(start + at) == letter)
            having |= cut
        having &= self.data.take(start) != ord("(")
        return having

    def ends(self, row: Int64, names: tuple[str, ...], equals: Int64) -> Int64:
        """Where each value ends: in front of the next name, or of blanks at the line's end."""
        ends = np.empty_like(equals)
        for number, word in enumerate(names[1:]):
            ends[:, number] = equals[:, number + 1] - len(word) - 1
        last = self.lines.end[row]
        for _ in range(2):
            blank = np.isin(self.data.take(last - 1), (ord(" "), ord("\r")))
            last = last - (blank & (last - 1 > equals[:, -1]))
        ends[:, -1] = last
        return ends
