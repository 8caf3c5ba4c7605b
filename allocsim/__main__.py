"""Where the command begins: allocsim, and python -m allocsim."""

import sys

import allocsim


def main() -> None:
    """Run the command line; where another package lies over ours, one line says so."""
    try:
        begin = allocsim._loaded("pipeline.__main__")  # noqa: SLF001 - the door is ours
    except ImportError as error:
        sys.exit(f"allocsim: {error}")
    begin.main()


if __name__ == "__main__":
    main()
