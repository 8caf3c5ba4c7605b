"""The ENUM types of a results database: names where the model's arrays hold codes.

A column of such a type is asked for by name and sorts in the order of the names here, which is
that of the codes. DuckDB keeps a byte a row, as it would of the code. The names are part of the
schema: whoever adds one, or changes their order, raises SCHEMA_VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.zones import Mt
from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.freezability import VERDICTS
from allocsim.refcount.policies import STAGES
from allocsim.slub.paths import AllocPath
from allocsim.trace.events import EVENTS
from allocsim.trace.results import CacheHow, How

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import IntEnum

    from allocsim.trace.events import Column


@dataclass(frozen=True, slots=True)
class Enum:
    """One ENUM type.

    Args:
        name: the type's name.
        doc: what a value says.
        columns: names of the columns that are of it, in whatever table.
        codes: the name of each value by its code, in order of the codes.
    """

    name: str
    doc: str
    columns: tuple[str, ...]
    codes: dict[int, str]

    @property
    def ddl(self) -> str:
        """The CREATE TYPE statement."""
        return f"CREATE TYPE {self.name} AS ENUM ({_quoted(self.codes.values())})"

    def of_code(self, code: str) -> str:
        """The SQL of a value whose code an SQL expression gives; NULL for NULL and for -1.

        An element of a list of the type itself: a cast would look each row's name up, which takes
        three times as long.
        """
        places = range(max(self.codes) + 1)
        values = ", ".join(_literal(self.codes.get(place)) for place in places)
        return f"([{values}]::{self.name}[])[{code} + 1]"


def _literal(name: str | None) -> str:
    return "NULL" if name is None else "'" + name.replace("'", "''") + "'"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(_literal, names))


def _lower(*kinds: type[IntEnum]) -> dict[int, str]:
    return {int(member): member.name.lower() for kind in kinds for member in kind}


def _numbered(names: Iterable[str]) -> dict[int, str]:
    return dict(enumerate(names))


ENUMS: tuple[Enum, ...] = (
    Enum(
        "event",
        "Which tracepoint.",
        ("event",),
        {int(event.code): event.name for event in EVENTS},
    ),
    Enum(
        "page_kind",
        "Whose page it is; the table page_kinds says what belongs to each.",
        ("page_kind",),
        _numbered(KIND_NAMES),
    ),
    Enum(
        "how",
        "How a statement is known, the best way first.",
        ("kind_how", "use_how", "machine_how", "pages_how", "place_how", "shape_how"),
        _lower(How),
    ),
    Enum(
        "cache_how",
        "Which rule gave an object event its cache.",
        ("cache_how",),
        _lower(CacheHow),
    ),
    Enum(
        "path",
        "How the model served a request; the table paths says of which layer each is.",
        ("path",),
        _lower(AllocPath, PagePath),
    ),
    Enum(
        "verdict",
        "Whether pages could do without a count; the table verdicts says what each is given for.",
        ("verdict",),
        {int(rule.code): rule.name for rule in VERDICTS},
    ),
    Enum("stage", "Stage in the life of a page.", ("stage",), _numbered(STAGES)),
    Enum(
        "placement",
        "Where things lie in a run: as the kernel had put them, or the model.",
        ("placement",),
        _numbered(("recorded", "simulated")),
    ),
    Enum(
        "migratetype",
        "Free list of the buddy allocator that a block lies on.",
        ("migratetype", "fallback_migratetype", "block_type"),
        _lower(Mt),
    ),
)

ENUM_OF = {column: enum for enum in ENUMS for column in enum.columns}


def enum_of(column: Column) -> Enum | None:
    """The type of a column of names; None: it is of another type."""
    return ENUM_OF.get(column.name)
