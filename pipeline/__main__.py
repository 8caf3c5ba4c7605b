"""Where the command begins: allocsim, and python -m pipeline."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from pipeline.processes import signals


def main() -> NoReturn:
    """Run the command line; a signal that comes while it is being loaded ends it without a word."""
    signals.handle()
    from pipeline.cli import main as run  # noqa: PLC0415 - a second, with all it imports

    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, int):
            _end(end.code)
        raise


def _end(code: int) -> None:
    """End the process at once, if all that it printed is out.

    Python would take every module and array apart first: a fifth of a short command.
    """
    with suppress(OSError, ValueError):  # as Python says it, then; of a stream that is closed too
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()  # noqa: SLF001 - as Python does before it takes itself apart
        os._exit(code)


if __name__ == "__main__":  # not in the processes of a sweep
    main()
