"""Folders of the user's in which something is kept from one call to the next (XDG)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_DEFAULTS = {"XDG_CACHE_HOME": ".cache", "XDG_STATE_HOME": ".local/state"}


def user_folder(variable: str) -> Path | None:
    """The program's own folder below one of the user's; made if it is not there.

    Args:
        variable: XDG_CACHE_HOME for what can be made anew, XDG_STATE_HOME for what cannot.

    Returns:
        None where it cannot be made or written to, or is another user's: nothing is kept then.
    """
    said = Path(os.environ.get(variable, ""))
    with suppress(OSError, RuntimeError):  # RuntimeError: nobody says where home is
        base = said if said.is_absolute() else Path.home() / _DEFAULTS[variable]
        folder = base / "allocsim"
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        if nearest.stat().st_uid == os.geteuid() and os.access(nearest, os.W_OK):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return folder
    return None
