"""The specs that ship with allocsim, by name, and the user's own, by path."""

from __future__ import annotations

import sysconfig
import tomllib
from difflib import get_close_matches
from pathlib import Path

from pipeline.errors import InputError, UsageError

_IN_THE_CLONE = Path(__file__).resolve().parents[3] / "traces" / "specs"
_SHARED = Path("share", "allocsim", "specs")  # where an installation puts them (pyproject.toml)


def shipped_specs() -> dict[str, Path]:
    """The shipped specs: paths by name, in order of name; empty if they are not to be found."""
    for folder in (_IN_THE_CLONE, Path(sysconfig.get_path("data")) / _SHARED):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def read_spec(name: str) -> str:
    """The text of a spec: a shipped one by name, or a file by path.

    Raises:
        UsageError: there is none of that name.
        InputError: the file cannot be read.
    """
    shipped = shipped_specs()
    path = shipped.get(name, Path(name))
    if name not in shipped and path.suffix != ".toml" and not path.is_file():
        near = get_close_matches(name, shipped, n=1)
        hint = f"did you mean {near[0]}?" if near else "a file's name ends in .toml;"
        raise UsageError(
            f"{name}: no such spec; {hint} allocsim synth --list shows the shipped ones"
        )
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def listing() -> str:
    """A line for each shipped spec: its name, and what it is."""
    found = {name: tomllib.loads(path.read_text("utf-8")) for name, path in shipped_specs().items()}
    if not found:
        raise InputError("no specs were installed: name a file, or run from a clone")
    width = max(map(len, found))
    return "".join(f"{name.ljust(width)}  {spec.get('doc', '')}\n" for name, spec in found.items())
