"""What /proc/allocinfo said: how much each place in the source had allocated and not freed.

Memory allocation profiling (CONFIG_MEM_ALLOC_PROFILING, 6.10 and later) counts, at every place that
calls an allocator, the bytes and allocations that are alive. Source: lib/alloc_tag.c:
print_allocinfo_header, :alloc_tag_to_text, lib/codetag.c:codetag_to_text (6.12: version 1.0; 6.18
to 7.2: version 2.0, which marks tags whose counts are not exact).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.trace_set.side_files import side_text, unfolded
from pipeline.untrusted import MOST, number, shown

if TYPE_CHECKING:
    from pathlib import Path

_TAG = re.compile(
    r"^ *(?P<bytes>-?\d{1,19}) +(?P<calls>\d{1,20}) (?P<file>\S+):(?P<line>\d{1,9})"
    r"(?: \[(?P<module>[^\]]+)\])? func:(?P<function>\S+)(?P<notes>(?: [\w.-]+:\S+)*) *$"
)
_VERSION = re.compile(r"^allocinfo - version: (\S+)")
_VERSIONS = ("1.0", "2.0")
_INACCURATE = " accurate:no"
_LONGEST = 1 << 26  # bytes; a kernel with all its modules has some 10,000 lines of 100

#: Of a place: file, line, module ("" for the kernel) and function.
Place = tuple[str, int, str, str]


@dataclass(slots=True)
class Tagged:
    """What was alive of one place; several tags of it (an inline function's) are added up."""

    bytes: int = 0
    calls: int = 0
    tags: int = 0
    accurate: bool = True


def allocinfo(path: Path) -> dict[Place, Tagged] | None:
    """What a snapshot's allocinfo says of each place; None where there is none.

    The file, or it compressed with ``.zst`` behind its name.

    Raises:
        InputError: it is of a version that is not known, or a line of it cannot be read.
    """
    text = side_text(path)
    if text is None:
        packed = unfolded(path.with_name(f"{path.name}.zst"), _LONGEST)
        if packed is None:
            return None
        text = packed.decode("utf-8", "replace")
    places: dict[Place, Tagged] = {}
    # Those who keep it have it sorted by size, or without its head.
    for count, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if version := _VERSION.match(line):
            if version[1] not in _VERSIONS:
                raise InputError(
                    f"{path}: version {shown(version[1])} of allocinfo is not known; those that "
                    f"are: {', '.join(_VERSIONS)}"
                )
            continue
        match = _TAG.match(line)
        if match is None:
            raise InputError(f"{path}: line {count} is not of an allocation tag: {shown(line)}")
        place = (match["file"], int(match["line"]), match["module"] or "", match["function"])
        tagged = places.setdefault(place, Tagged())
        size = number(match["bytes"].removeprefix("-"))
        calls = number(match["calls"])
        if size is None or calls is None:
            raise InputError(f"{path}: line {count}: a number in it cannot be: {shown(line)}")
        tagged.bytes += -size if match["bytes"].startswith("-") else size
        tagged.calls += calls
        tagged.tags += 1
        tagged.accurate &= _INACCURATE not in match["notes"]
        if abs(tagged.bytes) > MOST or tagged.calls > MOST:
            raise InputError(f"{path}: line {count}: the sum of this place cannot be")
    return places
