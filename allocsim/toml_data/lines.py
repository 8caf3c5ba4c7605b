"""On which line of a TOML text each key stands: tomllib does not say.

The text has been parsed already, so only what is valid needs to be read here.
"""

from __future__ import annotations

import re
from bisect import bisect_left

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[Path, int]:
    """Line, from 1, of every key and array element, by its path: ``("work", 0, "arrival")``."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._found: dict[Path, int] = {(): 1}
        self._counts: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip():
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _skip(self) -> bool:
        """Pass over blanks and comments; False at the end."""
        text = self._text
        while self._at < len(text):
            if text[self._at] == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif text[self._at].isspace():
                self._at += 1
            else:
                return True
        return False

    def _header(self) -> Path:
        many = self._text.startswith("[[", self._at)
        begin = self._at
        self._at += 1 + many
        path: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys):
            path += (key,)
            if path in self._counts and (number < len(keys) - 1 or not many):
                path += (self._counts[path] - 1,)
        if many:
            self._counts[path] = self._counts.get(path, 0) + 1
            path += (self._counts[path] - 1,)
        self._at += 1 + many
        self._note(path, begin)
        return path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip()
            if self._text[self._at] in "\"'":
                keys.append(self._string())
            else:
                match = _BARE.match(self._text, self._at)
                assert match is not None  # noqa: S101 - the text is valid TOML
                keys.append(match[0])
                self._at = match.end()
            self._skip()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _pair(self, table: Path) -> None:
        begin = self._at
        path = table + tuple(self._keys())
        self._note(path, begin)
        self._at += 1  # =
        self._skip()
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening in "\"'":
            self._string()
        elif opening in "[{":
            self._at += 1
            number = 0
            while self._skip() and self._text[self._at] not in "]}":
                if opening == "[":
                    self._note((*path, number), self._at)
                    self._value((*path, number))
                    number += 1
                else:
                    self._pair(path)
                self._skip()
                self._at += self._text[self._at] == ","
            self._at += 1
        else:
            match = _SCALAR.match(self._text, self._at)
            self._at = match.end() if match else self._at + 1

    def _string(self) -> str:
        text, quote = self._text, self._text[self._at]
        if text.startswith(quote * 3, self._at):
            end = text.index(quote * 3, self._at + 3)
            found = text[self._at + 3 : end]
            self._at = end + 3
            while text.startswith(quote, self._at):  # quotes right before the end
                self._at += 1
            return found
        end = self._at + 1
        while text[end] != quote:
            end += 1 + (text[end] == "\\" and quote == '"')
        found = text[self._at + 1 : end]
        self._at = end + 1
        return found

    def _note(self, path: Path, at: int) -> None:
        line = bisect_left(self._breaks, at) + 1
        while path not in self._found:  # a header or a key with points is of tables above, too
            self._found[path] = line
            path = path[:-1]
