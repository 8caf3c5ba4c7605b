"""Look up every function that refcount/readers cites in the sources of the kernels it cites.

    python bench/count_readers.py 6.12=FOLDER[:FOLDER] 7.2=FOLDER[:FOLDER] 7.3=FOLDER[:FOLDER]

Each citation must name a function of that file whose body has a call that does what the reader is
said to do. Prints a row for each that has none, then the functions that read a count by name and
that nothing cites, so that what was left out was left out on purpose. Ends in 1 if a citation
does not hold.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parent.parent))
from allocsim.refcount.count_readers import KERNELS, SCANS, shipped_readers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_COUNT = r"\b(page_count|page_ref_count|folio_ref_count|folio_maybe_dma_pinned|\w+_ref_freeze)\("
_TAKE = (
    r"\b(get_page|try_get_page|folio_get\w*|folio_try_get|zpdesc_get|(page|folio)_ref_(add|inc)\w*"
    r"|(set|init)_page_count|fb_deferred_io_get_page)\("
)
#: What the body of a function must call, by what the reader does.
_CALLS: dict[str, str] = {
    "reads": rf"{_COUNT}|page_ref_\w+_(and_test|return)\(",
    "takes": _TAKE,
    "drops": r"\b(put_page|folio_put|zpdesc_put|free_page_and_swap_cache|tlb_remove_page)\(",
    "maps": rf"{_TAKE}|\bvm_insert_pages?\(",
    "isolates": rf"{_TAKE}|folio_get_nontail_page\(",
    "freezes": r"\b\w+_ref_freeze\(",
    SCANS: _COUNT,
}
#: Where the functions that nothing cites are looked for.
_LOOKED_AT = ("mm/*.c", "fs/*.c", "kernel/trace/*.c", "kernel/events/*.c", "net/core/*.c")
_NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")


@cache
def functions(path: Path) -> dict[str, str]:
    """Body of each function of a C file by its name; of one with several, all of them."""
    lines = path.read_text("utf-8", "replace").splitlines()
    found: dict[str, str] = {}
    for at, line in enumerate(lines):
        if not line.startswith("{"):
            continue
        head = at
        while head and _continues(lines[head - 1]):
            head -= 1
        name = _NAME.search(" ".join(lines[head:at]))
        end = next((n for n in range(at, len(lines)) if lines[n].startswith("}")), len(lines))
        if name:
            found[name[1]] = found.get(name[1], "") + "\n".join(lines[at:end])
    return found


def _continues(line: str) -> bool:
    """Whether a line above a body can be part of what declares the function."""
    return (
        bool(line.strip()) and not line.startswith(("}", "#", "/*", " *")) and line[-1] not in ";/"
    )


def _body(folders: Sequence[Path], file: str, function: str) -> str | None:
    found = [functions(folder / file) for folder in folders if (folder / file).is_file()]
    return next((bodies[function] for bodies in found if function in bodies), None)


def _faults(folders: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Every citation that does not hold."""
    known = shipped_readers()
    cited = [
        (citation, _CALLS[reader.does]) for reader in known.readers for citation in reader.source
    ]
    cited += [
        (citation, r"alloc_|free_page|get_zeroed_page")
        for c in known.callers
        for citation in c.source
    ]
    for citation, calls in cited:
        for kernel in sorted(citation.kernels):
            body = _body(folders[kernel], citation.file, citation.function)
            if body is None or not re.search(calls, body):
                what = "no such function" if body is None else f"calls none of {calls}"
                yield f"{citation.file}:{citation.function} ({kernel}): {what}"


def _uncited(folders: Sequence[Path], kernel: str) -> Iterator[str]:
    known = {
        (citation.file, citation.function)
        for reader in shipped_readers().readers
        for citation in reader.cited(kernel)
    }
    for folder in folders:
        for path in sorted(path for pattern in _LOOKED_AT for path in folder.glob(pattern)):
            file = str(path.relative_to(folder))
            for function, body in functions(path).items():
                if re.search(_COUNT, body) and (file, function) not in known:
                    yield f"{file}:{function} ({kernel})"


def main() -> int:
    """Check; 1 if a citation does not hold."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if set(given) != set(KERNELS):
        print(__doc__)
        return 2
    folders = {kernel: [Path(part) for part in given[kernel].split(":")] for kernel in KERNELS}
    faults = list(_faults(folders))
    print(*faults, sep="\n")
    print(f"{len(faults)} citations do not hold\n\nread a count, and are not cited:")
    for kernel in KERNELS:
        print(*_uncited(folders[kernel], kernel), sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
