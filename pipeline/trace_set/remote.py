"""Traces that lie where pyarrow's file systems reach: s3://BUCKET/FOLDER, gs://, file://.

They are copied to this machine for as long as they are needed. As a path such a name has one slash
where the URI has two: that is how pathlib writes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+]+):/+(?P<rest>.+)")


def uri(path: Path) -> str | None:
    """The URI that a path stands for; None: it is one of this machine."""
    found = _SCHEME.fullmatch(str(path))
    if found is None:
        return None
    slashes = "///" if found["scheme"] == "file" else "//"
    return f"{found['scheme']}:{slashes}{found['rest']}"


def fetched(path: Path, into: Path) -> Path:
    """Copy what a URI names, a file or a folder with all that is in it, into a folder.

    Raises:
        InputError: it is not there, or cannot be read.
    """
    from pyarrow import fs  # noqa: PLC0415 - few are remote

    name = str(uri(path))
    copy = into / path.name
    try:
        files, root = fs.FileSystem.from_uri(name)
        [found] = files.get_file_info([root])
        if found.type == fs.FileType.NotFound:
            raise InputError(f"{name}: no such trace set or recording")
        if found.type == fs.FileType.Directory:
            copy.mkdir()
        fs.copy_files(
            root, str(copy), source_filesystem=files, destination_filesystem=fs.LocalFileSystem()
        )
    except (OSError, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise InputError(f"{name}: cannot be read ({reason})") from None
    return copy
