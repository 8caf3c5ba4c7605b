"""The table of functions by source file, made anew from kernel sources.

    python -m pipeline.source_places.scan 6.12=linux-6.12 7.3=linux-7.3 ...

writes functions.txt.xz beside this module, which pipeline.source_places.by_name reads: for each
file the functions that are defined in it alone, as far as the sources say. What is taken from them
are names. A function is found by the kernel's own style (Documentation/process/coding-style.rst):
its body begins with a brace at the start of a line, or ends in the line it begins in.

Trees may lack folders; of one that a version lacks, the nearest version that has it counts, so that
a name in it stays one of several. Names that several files have are of none of them, of their
folder if they share it. Shipped are those of the kernel's core and its widely used drivers.
"""

from __future__ import annotations

import lzma
import re
import sys
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.source_places.by_name import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOPS = (
    "arch/arm64", "arch/x86", "block", "certs", "crypto", "drivers", "fs", "include", "init",
    "io_uring", "ipc", "kernel", "lib", "mm", "net", "security", "sound", "virt",
)  # fmt: skip
# Of drivers, folders whose own files are shipped, without those of the folders below them.
_DRIVERS = frozenset({
    "acpi", "base", "block", "char", "dma-buf", "input", "iommu", "md", "net", "nvdimm",
    "nvme/host", "pci", "scsi", "tty", "tty/serial", "usb/core", "vhost", "virtio", "xen",
})  # fmt: skip

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_BODY = re.compile(r"\n\{")
_BEFORE = re.compile(r"\n\n|\n#[^\n]*(?=\n)|[;{}]")
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_ONE_LINE = re.compile(
    r"^[A-Za-z_][^\n;{}#=()]*?\b([A-Za-z_]\w*)\s*\([^\n;{}#=]*\)\s*\{", re.MULTILINE
)
_SYSCALL = re.compile(r"(COMPAT_)?SYSCALL_DEFINE\d\s*\(\s*(\w+)")
# Attributes that look like calls (include/linux/compiler_attributes.h, compiler_types.h).
_ATTRIBUTES = frozenset({
    "__acquires", "__aligned", "__alloc_size", "__assume_aligned", "__attribute__",
    "__cond_acquires", "__must_hold", "__no_sanitize", "__printf", "__realloc_size", "__releases",
    "__scanf", "__section",
})  # fmt: skip
_LONGEST_HEAD = 1500


def defined(text: str) -> set[str]:
    """Names of the functions that a C file defines, as the kernel's symbols have them."""
    text = _COMMENT.sub("", text)
    found = set(_ONE_LINE.findall(text))
    for body in _BODY.finditer(text):
        head = _BEFORE.split(text[max(0, body.start() - _LONGEST_HEAD) : body.start()])[-1]
        if syscall := _SYSCALL.search(head):
            found.add(f"__do_{'compat_' if syscall[1] else ''}sys_{syscall[2]}")
        elif names := [name for name in _CALLED.findall(head) if name not in _ATTRIBUTES]:
            found.add(names[0])
    return {name for name in found if not name.isupper()}


def _unit(path: str) -> str:
    """The folder that a tree has or lacks as a whole."""
    return "/".join(path.split("/")[: 2 if path.startswith(("drivers/", "arch/")) else 1])


def _files(trees: dict[str, Path]) -> Iterator[tuple[str, Path, set[str]]]:
    """Each C file of each version, with what it defines; a text is read once."""
    known: dict[bytes, set[str]] = {}
    for version, tree in trees.items():
        for top in _TOPS:
            for path in sorted((tree / top).rglob("*.c")):
                content = path.read_bytes()
                key = sha256(content).digest()
                if key not in known:
                    known[key] = defined(content.decode("utf-8", "replace"))
                yield version, path.relative_to(tree), known[key]


def table(trees: dict[str, Path]) -> str:
    """The text of the table, from the sources of each version, the oldest first."""
    versions = list(trees)
    units: dict[str, set[str]] = defaultdict(set)
    files: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for version, path, names in _files(trees):
        units[version].add(_unit(str(path)))
        for name in names:
            files[name][version].add(str(path))
    # Whose files stand for a folder in each version.
    every = set().union(*units.values())
    nearest = {
        (version, unit): min(
            (other for other in versions if unit in units[other]),
            key=lambda other: abs(versions.index(other) - versions.index(version)),
        )
        for version in versions
        for unit in every
    }
    lines: dict[str, list[str]] = defaultdict(list)
    for name, by_version in files.items():
        places: dict[str, int] = defaultdict(int)
        for place, version in enumerate(versions):
            there = {
                path
                for other, paths in by_version.items()
                for path in paths
                if nearest[version, _unit(path)] == other
            }
            if there:
                places[_common(there)] |= 1 << place
        for found, mask in places.items():
            if found and _shipped(found):
                lines[found].append(name if len(places) == 1 else f"{name} {mask:x}")
    rows = (
        f"{path}\n" + "".join(f" {line}\n" for line in sorted(lines[path]))
        for path in sorted(lines)
    )
    return f"{' '.join(versions)}\n" + "".join(rows)


def _common(paths: set[str]) -> str:
    """The only file; else the only folder, with a slash behind it; else nothing."""
    if len(paths) == 1:
        return next(iter(paths))
    folders = {path.rpartition("/")[0] for path in paths}
    return f"{folders.pop()}/" if len(folders) == 1 else ""


def _shipped(path: str) -> bool:
    if path.startswith("sound/"):
        return False
    return not path.startswith("drivers/") or path.split("/", 1)[1].rpartition("/")[0] in _DRIVERS


def main() -> None:
    """Write the table of the trees that the command line names, the oldest version first."""
    trees = {version: Path(path) for version, path in (word.split("=") for word in sys.argv[1:])}
    text = table(trees).encode()
    TABLE.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    sys.stderr.write(f"{TABLE}: {len(text):,} bytes of text, {TABLE.stat().st_size:,} packed\n")


if __name__ == "__main__":
    main()
