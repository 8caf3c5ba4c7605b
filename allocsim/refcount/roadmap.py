"""The steps on the way to memory descriptors, as data (TOML): which kinds of page in which."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.toml_data.table import TomlTable
from allocsim.toml_data.text import shipped_texts

#: What speaks for a step: released kernels, a text, or nobody but this project.
KNOWN = ("read", "published", "assumed")


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of the plan.

    Args:
        name: what results call it.
        title: the same for readers.
        kinds: kinds of page that it is about.
        known: one of KNOWN.
        source: who says so.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    known: str
    source: str


def parse_roadmap(text: str, source: str) -> tuple[PlanStep, ...]:
    """Read the steps of a plan, in order, from the text of its file.

    Raises:
        DataFileError: no TOML, a key that is missing or unknown, or a kind in two steps or in none.
    """
    top = TomlTable.parse(text, source, "doc", "steps")
    steps = tuple(
        PlanStep(
            name,
            row.text("title"),
            row.texts("kinds", KIND_NAMES),
            row.choice("known", KNOWN),
            row.text("source"),
        )
        for name, row in top.named_tables("steps").items()
    )
    placed = [kind for step in steps for kind in step.kinds]
    for kind in KIND_NAMES:
        if placed.count(kind) != 1:
            top.refuse("steps", f"{kind} pages stand in {placed.count(kind)} steps: name it in one")
    return steps


@functools.cache
def shipped_roadmap() -> tuple[PlanStep, ...]:
    """The steps that come with allocsim, the first first."""
    [text] = shipped_texts("allocsim.refcount", "roadmap", ["memdescs"]).values()
    return parse_roadmap(text, "shipped")
