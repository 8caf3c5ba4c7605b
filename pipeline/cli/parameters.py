"""The parameters of a command, read from its annotations."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from pipeline.commands.options.declared import Argument, Option

if TYPE_CHECKING:
    from collections.abc import Callable

#: The default of a parameter that must be given.
REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a command.

    Attributes:
        name: the function's.
        annotation: its type, as the function has it.
        kind: str, int, float, bool, Path or a StrEnum: of one value.
        several: it is a list of values.
        default: what it is if it is not given; REQUIRED: it must be.
        declared: the argument or option.
    """

    name: str
    annotation: object
    kind: type
    several: bool
    default: object
    declared: Argument

    @property
    def names(self) -> tuple[str, ...]:
        """Names of an option, with their dashes; an argument has none."""
        if not isinstance(self.declared, Option):
            return ()
        return self.declared.names or (f"--{self.name.strip('_').replace('_', '-')}",)


def parameters(command: Callable[..., None]) -> list[Parameter]:
    """The parameters of a command, in their order."""
    hints = get_type_hints(command, include_extras=True)
    code = command.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = command.__defaults__ or ()
    given = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    return [_parameter(name, hints[name], given.get(name, REQUIRED)) for name in names]


def _parameter(name: str, hint: object, default: object) -> Parameter:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"{name}: neither an Argument nor an Option")
    annotation, declared = get_args(hint)
    kind: Any = annotation
    if get_origin(kind) in (Union, UnionType):
        [kind] = (each for each in get_args(kind) if each is not type(None))
    several = get_origin(kind) is list
    if several:
        [kind] = get_args(kind)
    return Parameter(name, annotation, kind, several, default, declared)
