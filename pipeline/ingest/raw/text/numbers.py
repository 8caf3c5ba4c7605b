"""Numbers out of text, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import Bools, Int64, UInt8, UInt64

_NONE = 255  # what is no digit
_DIGITS = np.full(256, _NONE, np.uint8)
_DIGITS[ord("0") : ord("9") + 1] = np.arange(10)
_DIGITS[ord("a") : ord("f") + 1] = np.arange(10, 16)
_DIGITS[ord("A") : ord("F") + 1] = np.arange(10, 16)
# Of so many digits a number fits 64 bits.
_MOST = {10: 19, 16: 16}
_MINUS, _SPACE, _OPEN, _CLOSE = b"- ()"
_NULLS = (b"(null)", b"(nil)")  # of the kernel and of libtraceevent

Numbers = tuple["UInt64", "Bools"]


def unsigned(data: UInt8, start: Int64, end: Int64, base: int = 10) -> Numbers:
    """The numbers at ``data[start:end]``: u8, and whether each is one and fits.

    Args:
        data: the text.
        start: i8, where each begins.
        end: i8, where it ends.
        base: 10, or 16 (without 0x).
    """
    length = end - start
    good = (length > 0) & (length <= _MOST[base])
    value = np.zeros(len(start), np.uint64)
    for left in range(int(length[good].max(initial=0)), 0, -1):
        # The digit that has ``left - 1`` behind it.
        having = length >= left
        digit = _DIGITS.take(data.take(np.where(having & good, end - left, 0)))
        good &= ~having | (digit < base)
        value = np.where(having, value * np.uint64(base) + digit, value)
    return value, good


def signed(data: UInt8, start: Int64, end: Int64) -> Numbers:
    """As ``unsigned``, where a minus may be in front: two's complement in 64 bits."""
    minus = (end > start) & (data.take(start) == _MINUS)
    value, good = unsigned(data, start + minus, end)
    return np.where(minus, np.uint64(0) - value, value), good


def prefixed(data: UInt8, start: Int64, end: Int64) -> Numbers:
    """As ``unsigned``, of numbers with 0x in front."""
    value, good = unsigned(data, start + 2, end, 16)
    return value, good & (data.take(start) == ord("0")) & (data.take(start + 1) == ord("x"))


def plain(data: UInt8, start: Int64, end: Int64) -> Numbers:
    """Numbers as ``signed`` or as ``prefixed``, each as it is written."""
    value, good = signed(data, start, end)
    if good.all():
        return value, good
    hexadecimal, fine = prefixed(data, start, end)
    return np.where(good, value, hexadecimal), good | fine


def bracketed(data: UInt8, start: Int64, end: Int64) -> Numbers:
    """As ``signed``, of numbers in brackets at the end of ``data[start:end]``."""
    opened = np.append(np.flatnonzero(data == _OPEN), len(data))
    at = opened[np.maximum(np.searchsorted(opened, end) - 1, 0)]
    inside = (at >= start) & (at < end) & (data.take(np.maximum(end - 1, 0)) == _CLOSE)
    value, good = signed(data, np.where(inside, at + 1, start), np.where(inside, end - 1, start))
    return value, good & inside


def pointers(data: UInt8, start: Int64, end: Int64) -> tuple[UInt64, Bools, Int64]:
    """Addresses as %p prints them, with 0x or without, and the digits of each: ``(null)`` is 0.

    Up to 4.14 NULL is a word, with blanks in front to the width of an address (lib/vsprintf.c:
    pointer).
    """
    blank = data.take(start) == _SPACE
    while blank.any():
        start = start + blank
        blank &= (data.take(start) == _SPACE) & (start < end)
    null = np.zeros(len(start), np.bool_)
    for word in _NULLS:
        this = end - start == len(word)
        for place, letter in enumerate(word):
            this &= data.take(start + place) == letter
        null |= this
    hexadecimal = (data.take(start) == ord("0")) & (data.take(start + 1) == ord("x"))
    start = start + np.where(hexadecimal, 2, 0)
    value, good = unsigned(data, start, end, 16)
    return np.where(null, np.uint64(0), value), good | null, end - start
