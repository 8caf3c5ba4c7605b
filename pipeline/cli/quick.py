"""Command lines that say plainly what is wanted, read without typer, which takes a while to load.

What is not plain - a help text, a word that is missing, too many or none that can be, what a shell
asks - is typer's (pipeline/cli/typer_app.py), which reads the same parameters. So no error is
worded here.
"""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from allocsim import __version__
from pipeline.cli.named import COMMANDS, ENDS_OPTIONS, GROUPS, command
from pipeline.cli.parameters import REQUIRED, Parameter, parameters
from pipeline.commands.options.declared import Option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NUMBERS = {int: re.compile(r"-?[0-9]{1,18}"), float: re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")}


class _UnplainError(Exception):
    """What typer has to look at."""


def plain_call(words: Sequence[str]) -> Callable[[], None] | None:
    """The call of a command that the words of a command line ask for; None: they are not plain."""
    if words == ["--version"]:
        return _show_version
    try:
        name, rest = _named(list(words))
        function = command(name)
        values = read_words(parameters(function), rest, all_at_once=name not in ENDS_OPTIONS)
    except _UnplainError:
        return None
    return partial(function, **values)


def _show_version() -> None:
    sys.stdout.write(f"allocsim {__version__}\n")


def _named(words: list[str]) -> tuple[str, list[str]]:
    """A command's name and the words behind it."""
    if words and words[0] in COMMANDS:
        return words[0], words[1:]
    if len(words) > 1 and words[0] in GROUPS and words[1] in GROUPS[words[0]][1]:
        return " ".join(words[:2]), words[2:]
    raise _UnplainError


def read_words(
    wanted: Sequence[Parameter], words: list[str], *, all_at_once: bool
) -> dict[str, Any]:
    """The values of all parameters, by name.

    Args:
        wanted: the parameters.
        words: what stands behind the command's name.
        all_at_once: options may stand behind arguments.
    """
    options = {name: each for each in wanted for name in each.names}
    found: dict[str, list[str]] = {}
    loose: list[str] = []
    left = list(reversed(words))
    while left:
        word = left.pop()
        if loose and not all_at_once:
            loose += [word, *left[::-1]]  # a -- among them is another command's
            break
        if word == "--":
            loose += left[::-1]
            break
        if not word.startswith("-") or word == "-":
            loose.append(word)
            continue
        name, value = _split(word, options)
        each = options[name]
        if each.kind is bool:
            if value is not None:
                raise _UnplainError
            value = ""
        elif value is None:
            if not left:
                raise _UnplainError
            value = left.pop()
        found.setdefault(each.name, []).append(value)
    arguments = [each for each in wanted if not each.names]
    found |= _arguments(arguments, loose)
    return {each.name: _value(each, found.get(each.name)) for each in wanted}


def _split(word: str, options: dict[str, Parameter]) -> tuple[str, str | None]:
    """An option's name, and its value if that is in the same word."""
    name, equals, value = word.partition("=")
    if word.startswith("--"):
        if name not in options:
            raise _UnplainError
        return name, value if equals else None
    if word in options:
        return word, None
    if word[:2] not in options or options[word[:2]].kind is bool:
        raise _UnplainError
    return word[:2], word[2:]


def _arguments(arguments: list[Parameter], words: list[str]) -> dict[str, list[str]]:
    """The words of each argument; one that takes several takes all."""
    if len(arguments) == 1 and arguments[0].several:
        return {arguments[0].name: words} if words else {}
    if len(words) > len(arguments) or any(each.several for each in arguments):
        raise _UnplainError
    return {each.name: [word] for each, word in zip(arguments, words, strict=False)}


def _value(wanted: Parameter, words: list[str] | None) -> Any:  # noqa: ANN401 - of its own type
    if words is None:
        if wanted.default is REQUIRED:
            raise _UnplainError
        value: object = wanted.default
    elif wanted.several:
        value = [_converted(wanted, word) for word in words]
    else:
        value = _converted(wanted, words[-1])
    declared = wanted.declared
    if isinstance(declared, Option) and declared.callback is not None:
        return declared.callback(value)
    return value


def _converted(wanted: Parameter, word: str) -> object:
    kind: Any = wanted.kind
    if kind is bool:
        return True
    if issubclass(kind, StrEnum) and word not in list(kind):
        raise _UnplainError
    if kind in _NUMBERS:
        if not _NUMBERS[kind].fullmatch(word):
            raise _UnplainError
        low, high = wanted.declared.limits
        number = kind(word)
        if (low is not None and number < low) or (high is not None and number > high):
            raise _UnplainError
    return kind(word)
