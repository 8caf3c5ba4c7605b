"""The command ``allocsim``: its subcommands, and what becomes of their errors."""

from __future__ import annotations

import functools
import sys
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from allocsim import __version__
from pipeline.commands.compare import compare
from pipeline.commands.cost import cost
from pipeline.commands.export import export
from pipeline.commands.fit import fit
from pipeline.commands.hazards import hazards
from pipeline.commands.import_ import import_
from pipeline.commands.info import info
from pipeline.commands.merge import merge
from pipeline.commands.options import completion
from pipeline.commands.record import record
from pipeline.commands.replay import replay
from pipeline.commands.report import report
from pipeline.commands.roadmap import roadmap
from pipeline.commands.sql import SqlCommand, sql
from pipeline.commands.stat import stat
from pipeline.commands.sweep import sweep
from pipeline.commands.synth import synth
from pipeline.commands.validate import validate
from pipeline.errors import AllocsimError
from pipeline.processes import signals
from pipeline.terminal import complain, open_streams, printing

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="allocsim",
    rich_markup_mode=None,  # plain text, as wide as a mail
    pretty_exceptions_enable=False,  # what is not caught is a bug: show it plainly
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"allocsim {__version__}")
        raise typer.Exit


@app.callback()
def allocsim(
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


def _printing(command: Callable[..., None]) -> Callable[..., None]:
    """A command that prints nothing a terminal would act on."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:  # noqa: ANN401 - as the command has them
        with printing():
            command(*args, **options)

    return run


for _command in (
    record, import_, info, stat, replay, report, compare, roadmap, hazards, validate, sql, sweep,
    merge, synth, fit,
):  # fmt: skip
    app.command(
        _command.__name__.rstrip("_"),
        cls=SqlCommand if _command is sql else None,
        short_help=(_command.__doc__ or "").partition("\n")[0],  # whole, where typer cuts it
        # What stands behind the command to be recorded is the command's.
        context_settings={"allow_interspersed_args": False} if _command is record else None,
    )(_printing(_command))
app.add_typer(cost, name="cost")
app.add_typer(export, name="export")


def main() -> NoReturn:
    """Run the command line: 0 if all went well, 1 for bad input or a failed check, 2 for bad usage.

    An error the user can cause is one line on stderr. So is a signal that ended the command, and
    whatever it has come out as.
    """
    open_streams()
    completion.one_line_each()
    try:
        code, message = _run()
    except BaseException:
        if signals.received() is None:
            raise
    if (number := signals.received()) is not None:
        code, message = signals.code(number), signals.said(number)
    if message is not None:
        complain(message)
    sys.exit(code)


def _run() -> tuple[int, str | None]:  # noqa: PLR0911 - one for each kind of error
    """The exit code, and what is to be said."""
    try:
        # Not standalone: typer raises its usage errors instead of drawing a box around them. What
        # it returns is the code of an early exit: after --help, or on an interrupt.
        code = app(prog_name="allocsim", standalone_mode=False) or 0
    except AllocsimError as error:
        return error.exit_code, str(error)
    except MemoryError:
        return 1, "not enough memory for this; a damaged number in the input may ask for it"
    except BrokenPipeError:  # whoever read the output has enough
        return 1, None
    except UnicodeEncodeError as error:  # Parquet, DuckDB and typst take names in UTF-8 alone
        return 1, f"{error.object}: a name that is not UTF-8; rename it, or set a UTF-8 locale"
    except OSError as error:  # of a file that no command had to expect trouble with
        return 1, f"{error.filename or 'a file'}: {error.strerror or error}"
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "allocsim")
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        return error.exit_code, f"{message} (see {command} --help)"
    interrupted = code == signals.code(SIGINT)
    return code, signals.said(SIGINT) if interrupted else None
