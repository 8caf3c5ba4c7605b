"""Bytes changed at random, for any format: flips, numbers, words, pieces cut, doubled, moved."""

from __future__ import annotations

import random

_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
_NUMBERS += [1 << 36, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
_WORDS = [str(number).encode() for number in _NUMBERS]
_WORDS += [
    b"-1",
    b"9" * 20,
    b"9" * 5000,
    b"0x" + b"f" * 17,
    b"1e999",
    b"nan",
    b"inf",
    b"-0",
    b"1.5",
]
_WORDS += [b"", b"\n", b" ", b"\0", b"\xff\xfe", b"\x1b[2J", b"a" * 5000, b"[" * 3000, b"{}", b"[]"]
_WORDS += [
    b"null",
    b"true",
    b'""',
    b"(null)",
    b"=",
    b":",
    b";",
    b",",
    b"/",
    b"..",
    b"%s",
    "é".encode(),
]
_DIGITS = b"0123456789"
_MOST = 1 << 20  # bytes that an input may grow to


def mutated(data: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """The data after one to four changes.

    Args:
        data: what is changed.
        dice: what decides.
        others: inputs that pieces may be taken of.
    """
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        at = _place(out, dice)
        _CHANGES[dice.randrange(len(_CHANGES))](out, at, dice, others)
        del out[_MOST:]
    return bytes(out)


def _place(out: bytearray, dice: random.Random) -> int:
    """Anywhere, half of the time where headers are."""
    return dice.randrange(min(len(out), dice.choice((64, 2048, 1 << 30))) + 1)


def _flip(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    if at < len(out):
        out[at] ^= 1 << dice.randrange(8)


def _number(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    size = dice.choice((1, 2, 4, 8))
    value = dice.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    out[at : at + size] = value.to_bytes(size, dice.choice(("little", "big")))


def _noise(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    size = dice.choice((1, 4, 64))
    out[at : at + size] = dice.randbytes(size)


def _cut(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    del out[at : at + dice.choice((1, 8, 100, 1 << 30))]


def _doubled(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    piece = out[at : at + dice.choice((1, 16, 200))]
    out[at:at] = piece * dice.choice((1, 1, 1000))


def _word(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    out[at : at + dice.choice((0, 0, 1, 8))] = dice.choice(_WORDS)


def _digits(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    """Another number in the place of one in a text."""
    while at < len(out) and out[at] not in _DIGITS:
        at += 1
    end = at
    while end < len(out) and out[end] in _DIGITS:
        end += 1
    out[at:end] = dice.choice(_WORDS)


def _line(out: bytearray, at: int, dice: random.Random, _: list[bytes]) -> None:
    """A line taken out, or put in elsewhere."""
    begin, end = out.rfind(b"\n", 0, at) + 1, out.find(b"\n", at) + 1 or len(out)
    line = out[begin:end]
    if dice.random() < 0.5:
        del out[begin:end]
    to = out.rfind(b"\n", 0, dice.randrange(len(out) + 1)) + 1
    out[to:to] = line


def _spliced(out: bytearray, at: int, dice: random.Random, others: list[bytes]) -> None:
    other = dice.choice(others)
    begin = dice.randrange(len(other) + 1)
    size = dice.choice((8, 64, 1000))
    out[at : at + size] = other[begin : begin + size]


_CHANGES = (_flip, _flip, _number, _number, _noise, _cut, _doubled, _word, _digits, _line, _spliced)
