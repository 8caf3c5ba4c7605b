"""What a command's arguments and options are, as data in the annotations of its parameters.

A command is a function whose parameters are annotated ``Annotated[type, Argument(...)]`` or
``Annotated[type, Option(...)]``. Types are str, int, float, bool, Path, a StrEnum, a list of one of
them, and each of these ``| None``. pipeline/cli reads the words of a command line by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Argument:
    """A word that stands by itself, or several.

    Args:
        about: what is said of it and asked of it, by the names that typer.Argument has for that:
            metavar, help, show_default, min, max, and autocompletion, which gives a shell the
            words that begin so, each with what it is.

    Attributes:
        about: the same.
    """

    def __init__(self, **about: Any) -> None:  # noqa: ANN401 - each of its own type
        self.about: dict[str, Any] = about

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The smallest number and the largest; None: any."""
        return self.about.get("min"), self.about.get("max")


class Option(Argument):
    """A name, with a word behind it unless it is a bool.

    Args:
        names: with their dashes; none: that of the parameter.
        about: as of an Argument.

    Attributes:
        names: the same.
    """

    def __init__(self, *names: str, **about: Any) -> None:  # noqa: ANN401 - each of its own type
        super().__init__(**about)
        self.names = names

    @property
    def callback(self) -> Callable[[Any], object] | None:
        """What is called with the value, or the default, before the command is."""
        found: Callable[[Any], object] | None = self.about.get("callback")
        return found
