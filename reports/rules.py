"""The rules of docs/rules.md by number: their titles, for whoever reads what we print.

Code and data cite rules by number. A reader of a report or of a terminal has no rulebook beside
him, so there each number stands with its title: by `titled` where the number stands alone, by
`with_titles` in running text. rules.toml is made from docs/rules.md by ``make docs``.
"""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A rule's number, as headings and citations have it: R1.23a, T6, I2, P1, H3, V5.
NUMBER = re.compile(r"(?<![\w.])(?:R\d\.\d+[a-e]?|[TIPHV]\d{1,2})(?!\w|\.\d)")


@functools.cache
def titles() -> Mapping[str, str]:
    """The title of each rule by its number, in the order of docs/rules.md."""
    text = resources.files(__package__).joinpath("rules.toml").read_text("utf-8")
    found: dict[str, str] = tomllib.loads(text)["titles"]
    return found


def titled(rule: str) -> str:
    """``R3.16 Prefilled sheaves``; what is no rule's number stays as it is, as in users' files."""
    return f"{rule} {titles()[rule]}" if rule in titles() else rule


def with_titles(text: str) -> str:
    """The text with the title behind each rule's number: ``(T6)`` becomes ``(T6 “Calls ...”)``."""
    return NUMBER.sub(
        lambda found: f"{found[0]} “{titles()[found[0]]}”" if found[0] in titles() else found[0],
        text,
    )
