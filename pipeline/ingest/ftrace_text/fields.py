"""Where the values in the text of events lie: between their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from allocsim.tables import I8, U1, Bools
    from pipeline.ingest.ftrace_text.lines import TextLines


@dataclass(slots=True)
class FieldPlaces:
    """Where the fields of some lines lie.

    Args:
        data: the text, with SLACK bytes behind it.
        size: its bytes.
        lines: its lines.
    """

    data: U1
    size: int
    lines: TextLines
    _equals: I8 = field(init=False)
    _colons: I8 = field(init=False)

    def __post_init__(self) -> None:
        used = self.data[: self.size]
        self._equals = np.flatnonzero(used == ord("="))
        self._colons = np.append(np.flatnonzero(used == ord(":")), self.size)

    def next_colon(self, start: I8) -> I8:
        """Where the next colon is from each of ``start`` on."""
        return self._colons[np.searchsorted(self._colons[:-1], start)]

    def fields(self, row: int, name: int) -> str:
        """The text of a line's fields; its event's name has ``name`` bytes."""
        begin = int(self.lines.text[row]) + name + 2
        return (
            bytes(self.data[begin : int(self.lines.end[row])]).decode("utf-8", "replace").rstrip()
        )

    def equals(self, row: I8, names: tuple[str, ...], name: int) -> tuple[Bools, I8]:
        """Which lines have just these names, and where each name's equals sign is.

        The first stands behind the event's name of ``name`` bytes and one blank.
        """
        lines = self.lines
        first = np.searchsorted(self._equals, lines.text[row] + name)
        last = np.searchsorted(self._equals, lines.end[row])
        good = last - first == len(names)
        first = np.where(good, first, 0)
        if len(self._equals) < len(names):
            return np.zeros(len(row), np.bool_), np.zeros((len(row), len(names)), np.int64)
        places = self._equals[first[:, np.newaxis] + np.arange(len(names))]
        for number, word in enumerate(names):
            for back, letter in enumerate(reversed(f" {word}".encode())):
                good &= self.data.take(places[:, number] - 1 - back) == letter
        good &= places[:, 0] == lines.text[row] + name + 2 + len(names[0])
        return good, places

    def having(self, row: I8, names: Collection[str], name: int) -> Bools:
        """Which lines have any of these names, or are cut within the first of them.

        The lines of probes have none, though their arguments may: their text is in brackets first.
        """
        lines = self.lines
        start = lines.text[row] + name
        first = np.searchsorted(self._equals, start)
        count = np.searchsorted(self._equals, lines.end[row]) - first
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
        length = lines.end[row] - (start + 2)
        for word in names:
            cut = length <= len(word)
            for at, letter in enumerate(word.encode()):
                cut &= (at >= length) | (self.data.take(start + 2 + at) == letter)
            having |= cut
        having &= self.data.take(start + 2) != ord("(")
        return having

    def padded(self, row: I8, name: int) -> Bools:
        """Which lines have more than one blank behind their event's name."""
        blank: Bools = self.data.take(self.lines.text[row] + name + 2) == ord(" ")
        return blank

    def ends(self, row: I8, names: tuple[str, ...], equals: I8) -> I8:
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
