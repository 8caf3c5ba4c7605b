"""The command line as typer has it: help texts, errors, and what shells ask at the TAB key."""

from __future__ import annotations

import functools
import re
from inspect import Parameter as Signed
from inspect import Signature
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from allocsim import __version__
from pipeline.cli.named import COMMANDS, ENDS_OPTIONS, GROUPS, command
from pipeline.cli.parameters import REQUIRED, Parameter, parameters
from pipeline.commands.options.declared import Option
from pipeline.terminal import printing

if TYPE_CHECKING:
    from collections.abc import Callable

# A comment, which SQL may begin with: no name of an option is what follows its dashes.
_COMMENT = re.compile(r"--(?!$|[\w-]+(=|$))", re.DOTALL)


class _SqlCommand(TyperCommand):
    """The command, which takes a statement that begins with a comment for no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - of typer's own
        """Have such statements behind all options."""
        comments = [arg for arg in args if _COMMENT.match(arg)]
        options = [arg for arg in args if not _COMMENT.match(arg)]
        dashes = ["--"] if comments and "--" not in options else []
        return super().parse_args(ctx, [*options, *dashes, *comments])


def for_typer(function: Callable[..., None]) -> Callable[..., None]:
    """A command with the annotations that typer reads; it prints nothing a terminal would act on.

    Its parameters are those of ``function``.
    """

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> None:  # noqa: ANN401 - as the command has them
        with printing():
            function(*args, **options)

    wanted = parameters(function)
    run.__annotations__ = {each.name: _annotation(each) for each in wanted}
    run.__signature__ = Signature(  # type: ignore[attr-defined] # functions may have one
        [
            Signed(
                each.name,
                Signed.POSITIONAL_OR_KEYWORD,
                default=Signed.empty if each.default is REQUIRED else each.default,
                annotation=run.__annotations__[each.name],
            )
            for each in wanted
        ]
    )
    return run


def _annotation(each: Parameter) -> object:
    about = each.declared.about
    if isinstance(each.declared, Option):
        return Annotated[each.annotation, typer.Option(*each.declared.names, **about)]
    return Annotated[each.annotation, typer.Argument(**about)]


def _add(to: typer.Typer, name: str, whole: str) -> None:
    function = command(whole)
    to.command(
        name,
        cls=_SqlCommand if whole == "sql" else None,
        short_help=(function.__doc__ or "").partition("\n")[0],  # whole, where typer cuts it
        context_settings={"allow_interspersed_args": False} if whole in ENDS_OPTIONS else None,
    )(for_typer(function))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"allocsim {__version__}")
        raise typer.Exit


def _allocsim(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Replay recordings of the Linux kernel's allocators: reference counts, frozen pages, slabs."""


def typer_app(only: str = "") -> typer.Typer:
    """The command line.

    Args:
        only: have this command or group alone, if there is such a one; others are not loaded then.
    """
    app = typer.Typer(
        name="allocsim",
        rich_markup_mode=None,  # plain text, as wide as a mail
        pretty_exceptions_enable=False,  # what is not caught is a bug: show it plainly
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_allocsim)
    some = [only] if only in COMMANDS or only in GROUPS else [*COMMANDS, *GROUPS]
    for name in some:
        if name in GROUPS:
            about, members = GROUPS[name]
            group = typer.Typer(help=about)
            group.callback()(lambda: None)  # a group, of one command too
            for member in members:
                _add(group, member, f"{name} {member}")
            app.add_typer(group, name=name)
        else:
            _add(app, name, name)
    return app
