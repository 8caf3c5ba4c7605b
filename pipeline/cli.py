"""The command ``allocsim``: its subcommands, and what becomes of their errors."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from allocsim import __version__
from pipeline.commands.compare import compare
from pipeline.commands.cost import cost
from pipeline.commands.fit import fit
from pipeline.commands.hazards import hazards
from pipeline.commands.import_ import import_
from pipeline.commands.info import info
from pipeline.commands.replay import replay
from pipeline.commands.report import report
from pipeline.commands.sql import sql
from pipeline.commands.sweep import sweep
from pipeline.commands.synth import synth
from pipeline.commands.validate import validate
from pipeline.errors import AllocsimError
from pipeline.terminal import complain, open_streams, printing

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="allocsim",
    add_completion=False,
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


app.command("import")(_printing(import_))
for _command in (info, replay, report, compare, hazards, validate, sql, sweep):
    app.command()(_printing(_command))
app.add_typer(cost, name="cost")
app.command()(_printing(synth))
app.command()(_printing(fit))


def main() -> NoReturn:
    """Run the command line: 0 if all went well, 1 for bad input or a failed check, 2 for bad usage.

    An error the user can cause is one line on stderr.
    """
    open_streams()
    try:
        # Not standalone: typer raises its usage errors instead of drawing a box around them. What
        # it returns is the code of an early exit: after --help, or on an interrupt.
        code = app(prog_name="allocsim", standalone_mode=False) or 0
        if code == _INTERRUPTED:
            complain("interrupted")
    except AllocsimError as error:
        code = error.exit_code
        complain(str(error))
    except MemoryError:
        code = 1
        complain("not enough memory for this; a damaged number in the input may ask for it")
    except BrokenPipeError:
        code = 1
    except OSError as error:  # of a file that no command had to expect trouble with
        code = 1
        complain(f"{error.filename or 'a file'}: {error.strerror or error}")
    except typer.TyperException as error:
        code = error.exit_code
        command = getattr(getattr(error, "ctx", None), "command_path", "allocsim")
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        complain(f"{message} (see {command} --help)")
    sys.exit(code)
