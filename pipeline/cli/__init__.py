"""The command ``allocsim``: what becomes of the words behind it, and of errors."""

from __future__ import annotations

import os
import sys
from signal import SIGINT
from typing import NoReturn

from pipeline.cli.quick import plain_call
from pipeline.commands.options import completion
from pipeline.errors import AllocsimError
from pipeline.processes import signals
from pipeline.terminal import complain, open_streams, printing


def main() -> NoReturn:
    """Run the command line: 0 if all went well, 1 for bad input or a failed check, 2 for bad usage.

    An error the user can cause is one line on stderr. So is a signal that ended the command, and
    whatever it has come out as.
    """
    # numpy's linear algebra would keep a thread waiting on every CPU, busily; nothing needs it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    open_streams()
    try:
        code, message = _run(sys.argv[1:])
    except BaseException:
        if signals.received() is None:
            raise
    if (number := signals.received()) is not None:
        code, message = signals.code(number), signals.said(number)
    if message is not None:
        complain(message)
    sys.exit(code)


def _run(words: list[str]) -> tuple[int, str | None]:  # noqa: PLR0911 - one for each kind of error
    """The exit code, and what is to be said."""
    try:
        asked = completion.asked()
        call = None if asked else plain_call(words)
        if call is None:
            return _by_typer(words[0] if words and not asked else "")
        with printing():
            call()
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
    except KeyboardInterrupt:
        return signals.code(SIGINT), signals.said(SIGINT)
    return 0, None


def _by_typer(only: str) -> tuple[int, str | None]:
    """The same, of words that are typer's to look at."""
    import typer

    from pipeline.cli.typer_app import typer_app

    try:
        # Not standalone: typer raises its usage errors instead of drawing a box around them. What
        # it returns is the code of an early exit: after --help, or on an interrupt.
        code = typer_app(only)(prog_name="allocsim", standalone_mode=False) or 0
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "allocsim")
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        return error.exit_code, f"{message} (see {command} --help)"
    interrupted = code == signals.code(SIGINT)
    return code, signals.said(SIGINT) if interrupted else None
