"""Where the command begins: allocsim, and python -m pipeline."""

from __future__ import annotations

from typing import NoReturn

from pipeline.processes import signals


def main() -> NoReturn:
    """Run the command line; a signal that comes while it is being loaded ends it without a word."""
    signals.handle()
    from pipeline.cli import main as run  # noqa: PLC0415 - a second, with all it imports

    run()


if __name__ == "__main__":  # not in the processes of a sweep
    main()
