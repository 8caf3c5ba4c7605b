"""docs/rules.md as data: each rule with what must stand beside it.

The form is told at the head of that page. Reports print titles (reports.rules), tests hold
citations, kernel functions and the pointers into the plain model to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from allocsim.refcount.count_readers import SourceFunction

RULES = Path(__file__).resolve().parents[2] / "docs" / "rules.md"

_HEADING = re.compile(r"^### (\S+) (.+)$", re.MULTILINE)
_KEYS = ("Kernels", "Source", "Known", "Oracle")
_FIELD = re.compile(rf"^- ({'|'.join(_KEYS)}):(.*(?:\n  .*)*)", re.MULTILINE)
_CITATION = re.compile(r"([\w./-]+\.[chS]):(\w+(?:,\s+\w+)*)\s+\(([\d.,\s]+)\)")
_POINTER = re.compile(r"(tests/oracle/\w+\.py):([\w.]+)")


class RulebookError(ValueError):
    """docs/rules.md has not the form it tells of: which rule, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Args:
        number: such as R3.16.
        title: its heading.
        text: what it says, Markdown.
        kernels: the versions it holds for, in words.
        source: the text of its source, as it stands.
        citations: the kernel functions in it; none where the source is a publication.
        known: how it is known, in words.
        oracle: (file, function or Class.method) of the plain model that states it.
    """

    number: str
    title: str
    text: str
    kernels: str
    source: str
    citations: tuple[SourceFunction, ...]
    known: str
    oracle: tuple[tuple[str, str], ...]


def parse_rules(text: str) -> dict[str, Rule]:
    """The rules of a page by number, in its order.

    Args:
        text: Markdown of the form of docs/rules.md.

    Raises:
        RulebookError: a number twice, or a rule without kernels, source or how it is known.
    """
    rules: dict[str, Rule] = {}
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        body = text[heading.end() : following.start() if following else len(text)]
        rule = _rule(heading[1], heading[2].strip(), re.split(r"^## ", body, flags=re.MULTILINE)[0])
        if rule.number in rules:
            raise RulebookError(f"{rule.number} is there twice")
        rules[rule.number] = rule
    return rules


def rules() -> dict[str, Rule]:
    """The rules of docs/rules.md."""
    return parse_rules(RULES.read_text("utf-8"))


def titles_file() -> str:
    """The text of reports/rules.toml."""
    lines = [f'"{rule.number}" = "{rule.title}"' for rule in rules().values()]
    return "\n".join(["# Made from docs/rules.md by: make docs", "[titles]", *lines, ""])


def _rule(number: str, title: str, body: str) -> Rule:
    fields = {key: " ".join(value.split()) for key, value in _FIELD.findall(body)}
    for key in _KEYS[:3]:
        if not fields.get(key):
            raise RulebookError(f"{number} says nothing of its {key}")
    return Rule(
        number=number,
        title=title,
        text=_FIELD.sub("", body).strip(),
        kernels=fields["Kernels"],
        source=fields["Source"],
        citations=tuple(
            SourceFunction(file, function, tuple(re.findall(r"\d+\.\d+", kernels)))
            for file, functions, kernels in _CITATION.findall(fields["Source"])
            for function in re.split(r",\s+", functions)
        ),
        known=fields["Known"],
        oracle=tuple(_POINTER.findall(fields.get("Oracle", ""))),
    )
