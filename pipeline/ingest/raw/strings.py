"""Small codes for the texts inside records, exact, without looking at them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.raw.unaligned import unaligned
from pipeline.trace_set.interning import Interner

if TYPE_CHECKING:
    from allocsim.tables import Array, Int32, Int64, UInt8, UInt64

_WORD = 8
# Longest text that is looked at whole, whatever its length; there are as many bytes behind it.
_SHORT = 32
# By word and length of the text: which bits of the word are the text's.
_KEEP = np.array(
    [
        [(1 << (8 * min(max(length - at, 0), _WORD))) - 1 for length in range(_SHORT + 1)]
        for at in range(0, _SHORT, _WORD)
    ],
    np.uint64,
)
# Odd multipliers, one a word of a text (Knuth's LCG, so that they have nothing in common).
_MULTIPLIERS = np.arange(1, (1 << 13) + 1, dtype=np.uint64) * np.uint64(6364136223846793005)
_MULTIPLIERS = _MULTIPLIERS + np.uint64(1442695040888963407) | np.uint64(1)


class StringInterner:
    """Numbers texts 0, 1, 2, ...

    Attributes:
        texts: the text of each code.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._code: dict[bytes, int] = {}
        self._hashes = Interner()
        self._words = np.zeros((0, 0), np.uint64)
        self._code_of_hash = np.zeros(0, np.int32)

    def codes(self, data: UInt8, start: Int64, length: Int64) -> Int32:
        """The codes of the texts at ``data[start : start + length]``, up to their first NUL.

        Args:
            data: the bytes, with 32 or more behind the last text.
            start: i8, where each text begins.
            length: i8, its bytes, 0 to 65535.

        Returns:
            i4, one a text.
        """
        codes = np.zeros(len(start), np.int32)
        # Long texts apart, so that no short one is looked at as far as the longest goes.
        width = _SHORT
        rows = np.flatnonzero(length > width)
        while rows.size:
            width *= 2
            some = rows[length[rows] <= width]
            codes[some] = self._codes(data, start[some], length[some])
            rows = rows[length[rows] > width]
        if width == _SHORT:
            return self._codes(data, start, length)
        short = np.flatnonzero(length <= _SHORT)
        codes[short] = self._codes(data, start[short], length[short])
        return codes

    def _codes(self, data: UInt8, start: Int64, length: Int64) -> Int32:
        if not len(start):
            return np.zeros(0, np.int32)
        words = _words(data, start, length)
        digest = words[0] * _MULTIPLIERS[0]
        for number, word in enumerate(words[1:], 1):
            digest = (digest ^ (digest >> np.uint64(29))) + word * _MULTIPLIERS[number]
        hashed = self._hashes.codes(digest)
        self._learn(words, hashed)
        nothing = np.zeros(1, np.uint64)
        for number, known in enumerate(self._words):
            word = words[number] if number < len(words) else nothing
            if (known.take(hashed) != word).any():
                return self._sort(words)
        return self._code_of_hash.take(hashed)

    def _learn(self, words: list[UInt64], hashed: Array) -> None:
        """Take in the texts of hashes that were not known before, with their words."""
        before = len(self._code_of_hash)
        if len(self._hashes) == before:
            return
        number, row = np.unique(hashed, return_index=True)
        row = row[number >= before]
        fresh = np.stack([word[row] for word in words])
        height = max(len(fresh), len(self._words))
        grown = np.zeros((height, before + len(row)), np.uint64)
        grown[: len(self._words), :before] = self._words
        grown[: len(fresh), before:] = fresh
        self._words = grown
        codes = [self._take(text) for text in _texts(fresh)]
        self._code_of_hash = np.concatenate([self._code_of_hash, np.array(codes, np.int32)])

    def _sort(self, words: list[UInt64]) -> Int32:
        """The codes by sorting: two texts have the same hash."""
        rows = np.stack(words, axis=1)
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        codes = np.array([self._take(text) for text in _texts(unique.T)], np.int32)
        return codes[inverse.ravel()]

    def _take(self, text: bytes) -> int:
        code = self._code.setdefault(text, len(self.texts))
        if code == len(self.texts):
            self.texts.append(text.decode("utf-8", "replace"))
        return code


def _words(data: UInt8, start: Int64, length: Int64) -> list[UInt64]:
    """The texts in words of 8 bytes, the bytes behind each text zero."""
    count = max((int(length.max()) + _WORD - 1) // _WORD, 1)
    if count * _WORD <= _SHORT:
        return [
            unaligned(data, "<u8", number * _WORD)[start] & _KEEP[number].take(length)
            for number in range(count)
        ]
    words = []
    for number in range(count):
        left = np.clip(length - number * _WORD, 0, _WORD)
        # Texts that have ended are not looked at: their next word may be behind the data.
        at = np.where(left > 0, start + number * _WORD, 0)
        words.append(unaligned(data, "<u8")[at] & _KEEP[0].take(left))
    return words


def _texts(words: UInt64) -> list[bytes]:
    """The texts of some words: one column a text."""
    rows = np.ascontiguousarray(words.T).astype("<u8")
    return [row.tobytes().split(b"\0")[0] for row in rows]
