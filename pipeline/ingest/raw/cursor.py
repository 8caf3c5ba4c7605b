"""Reading numbers and strings out of a file image, every length checked before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InputError

if TYPE_CHECKING:
    from typing import NoReturn


def text_of(data: bytes | memoryview) -> str:
    """The text up to the first NUL."""
    return bytes(data).split(b"\0")[0].decode("utf-8", "replace")


@dataclass(slots=True)
class Cursor:
    """A place in some bytes, moved on by every read.

    Args:
        data: the bytes.
        order: ``<`` or ``>``: the byte order of the file's numbers.
        what: file and section, for errors.
        at: where to read next, counted from the start of ``data``.
    """

    data: memoryview
    order: str
    what: str
    at: int = 0

    @property
    def left(self) -> int:
        """Bytes behind the place."""
        return len(self.data) - self.at

    def fail(self, why: str) -> NoReturn:
        """Raise the InputError that says where this is and ``why`` it cannot be read."""
        raise InputError(f"{self.what}: {why} (at byte {self.at})")

    def take(self, size: int, name: str) -> memoryview:
        """The next ``size`` bytes, called ``name`` if they are not all there."""
        at, end = self.at, self.at + size
        if not at <= end <= len(self.data):
            self.fail(f"{name} needs {size} bytes, {max(self.left, 0)} are left")
        self.at = end
        return self.data[at:end]

    def number(self, size: int, name: str) -> int:
        """The next ``size`` bytes as an unsigned number."""
        return int.from_bytes(self.take(size, name), "little" if self.order == "<" else "big")

    def string(self, name: str, longest: int = 4096) -> str:
        """The printable text up to the next NUL, which is passed over; ``longest`` at most."""
        head = bytes(self.data[self.at : self.at + longest + 1])
        length = head.find(b"\0")
        if length < 0:
            self.fail(f"{name} has no end")
        text = head[:length].decode("utf-8", "replace")
        if not text.isprintable():
            self.fail(f"{name} is no text")
        self.at += length + 1
        return text

    def expect(self, magic: bytes) -> None:
        """Pass over ``magic``, which must come next."""
        found = bytes(self.data[self.at : self.at + len(magic)])
        if found != magic:
            self.fail(f"expected {magic!r}, found {found!r}")
        self.at += len(magic)

    def block(self, size_bytes: int, name: str) -> memoryview:
        """A length of ``size_bytes`` bytes, and then that many bytes."""
        return self.take(self.number(size_bytes, name), name)
