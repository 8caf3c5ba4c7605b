"""Which commands there are. The module of a command is imported when the command is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

#: In the order of the help text. A command is the function of its name in the module of its name,
#: with a _ behind what Python keeps for itself.
COMMANDS = (
    *("record", "import", "info", "stat", "replay", "report", "compare", "roadmap", "hazards"),
    *("validate", "sql", "sweep", "merge", "synth", "fit"),
)
#: Behind them; of each what it is, and its commands, which are functions in its module.
GROUPS = {
    "cost": ("What operations on reference counts take.", ("calibrate",)),
    "export": (
        "Write results for other people's tools.",
        ("perfetto", "speedscope", "folded", "parquet", "csv"),
    ),
}
#: Behind the first argument of these all words are arguments: another command's.
ENDS_OPTIONS = frozenset({"record"})
_KEPT = {"import": "import_"}


def command(name: str) -> Callable[..., None]:
    """The function that is a command; of a group its name and the command's, ``export csv``."""
    room, _, member = name.partition(" ")
    room = _KEPT.get(room, room)
    module = import_module(f"pipeline.commands.{room}")
    return cast("Callable[..., None]", getattr(module, member or room))
