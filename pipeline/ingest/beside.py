"""What lies beside a recording in its folder: snapshots, and files that say more of its machine.

It is taken where it is plainly this recording's: in the folder that was given, or that the file
given lies in, unless other recordings lie there too. Names that are links out of the folder are not
followed.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.ingest.perf_data.container import MAGIC as PERF_MAGIC
from pipeline.ingest.trace_dat.container import MAGIC
from pipeline.trace_set.parts import SNAPSHOTS
from pipeline.trace_set.side_files import LONGEST_KALLSYMS, side_bytes, unfolded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Files that a trace set keeps, and folders of snapshots.
FILES = ("truth.json", "iomem", "cmdline", "cpuinfo", "uname", "trace_stats")
FOLDERS = (f"{SNAPSHOTS}/before", f"{SNAPSHOTS}/after")
NO_SNAPSHOTS = (
    "no snapshots: the memory zones, what was free in them and the limits of the CPUs' "
    "page lists are assumed, so that page-list and buddy figures of a simulated placement are "
    "estimates; orders of slabs follow from the kernel's rules; validate has little to compare"
)

_LONGEST = 1 << 20  # bytes of uname and zoneinfo
#: What a whole file may be compressed with, by its first bytes, and what its name then ends in.
PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}
PACKED_SUFFIXES = (".zst", ".gz")
# What recordings begin with, by what their names end in.
_HEADS = {
    ".dat": (MAGIC, *PACKED),
    ".data": (*PERF_MAGIC, *PACKED),
    ".txt": (b"# tracer:", b"cpus=", b"version = ", *PACKED),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken along into a trace set.

    Attributes:
        names: of files and of folders of snapshots.
        missed: what was not there, or not taken, and what that costs: a sentence each.
    """

    names: list[str]
    missed: list[str]

    @property
    def snapshots(self) -> list[str]:
        """When there were snapshots."""
        return sorted(name.rpartition("/")[2] for name in self.names if name in FOLDERS)


def nothing_taken(why: str) -> Taken:
    """What is said where nothing beside a recording is taken."""
    return Taken([], [f"what lies beside it is not taken: {why}", NO_SNAPSHOTS])


def other_recordings(file: Path) -> list[str]:
    """Names of recordings that lie beside a recording."""
    return [path.name for path in sorted(file.parent.iterdir()) if path != file and _records(path)]


def _records(path: Path) -> bool:
    ends = [suffix for suffix in path.suffixes if suffix not in PACKED_SUFFIXES]
    heads = _HEADS.get(ends[-1], ()) if ends else ()
    if not heads or not path.is_file():
        return False
    try:
        with path.open("rb") as opened:
            return opened.read(16).startswith(heads)
    except OSError:
        return False


def contents(folder: Path, name: str) -> bytes:
    """What a file of a folder holds, compressed with zstd or not; empty if it is not there.

    Raises:
        InputError: it cannot be read, or is longer than such files are.
    """
    longest = LONGEST_KALLSYMS if name == "kallsyms" else _LONGEST
    if _inside(folder, folder / name):
        return side_bytes(folder / name, longest) or b""
    packed = folder / f"{name}.zst"
    return unfolded(packed, longest) or b"" if _inside(folder, packed) else b""


def take_along(folder: Path, target: Path, release: str | None) -> Taken:
    """Copy what lies in a recording's folder into the folder of its trace set.

    Args:
        folder: the recording's.
        target: the trace set's.
        release: uname -r of the recorded kernel, as the recording itself says; None: it does not.
    """
    uname = contents(folder, "uname").decode("utf-8", "replace").split()
    if release and uname and release not in uname:
        other = uname[2] if len(uname) > 2 else uname[-1]
        return nothing_taken(f"the uname there is of Linux {other}, the recording of {release}")
    home = folder.resolve()
    found = {name: list(_below(folder / name, home)) for name in (*FOLDERS, *FILES)}
    names = [name for name in found if _copy(folder, found[name], target)]
    out = [name for name, each in found.items() if not all(inside for _, inside in each)]
    links = sorted({name.partition("/")[0] for name in out})
    missed = [f"links out of its folder not followed: {', '.join(links)}"] if links else []
    if FOLDERS[0] not in names:
        missed.append(NO_SNAPSHOTS)
    return Taken(names, missed)


def _copy(folder: Path, found: list[tuple[Path, bool]], target: Path) -> bool:
    """Copy contents, not permissions: what is copied must be removable. True: there was any."""
    files = [path for path, inside in found if inside and path.is_file()]
    for file in files:
        to = target / file.relative_to(folder)
        if not to.parent.exists():
            to.parent.mkdir(parents=True)
        try:
            shutil.copyfile(file, to)
        except PermissionError as error:
            if error.filename != str(file):
                raise
            raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    return bool(files)


def _inside(folder: Path, path: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _below(path: Path, home: Path) -> Iterator[tuple[Path, bool]]:
    """What is at a path and below it, and whether that lies in ``home``; links are not entered.

    Only links are followed to where they lead: that takes as long as copying a file.
    """
    if not path.exists():
        return
    inside = path.resolve().is_relative_to(home)
    if not path.is_dir():
        yield path, inside
        return
    with suppress(PermissionError):
        for each in path.iterdir():
            if each.is_symlink():
                if each.exists():
                    yield each, each.resolve().is_relative_to(home)
            elif each.is_dir():
                yield from _below(each, home)
            else:
                yield each, inside
