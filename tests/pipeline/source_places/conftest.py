"""A small kernel image, compiled with DWARF from sources that are laid out as the kernel's."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.trace_set.parts import Symbols

if TYPE_CHECKING:
    from pathlib import Path

#: By file; a call that is a call site has its name in a comment, in the line where it counts.
SOURCES = {
    "init/main.c": """\
void *slab(unsigned long size);

void *start_kernel(void)
{
    return slab(1);
}
""",
    "include/linux/slab.h": """\
void *__kmalloc(unsigned long size);

static inline __attribute__((always_inline)) void *kmalloc(unsigned long size)
{
    if (size > 4096)
        size = 4096;
    return __kmalloc(size);
}
""",
    "mm/slub.c": """\
#include "../include/linux/slab.h"
static char memory[4096];

__attribute__((noinline)) void *__kmalloc(unsigned long size)
{
    asm volatile("" : "+r"(size));
    return memory + size;
}

void *slab(unsigned long size)
{
    char *made = __kmalloc(size); /* slab */
    return made + 1;
}
""",
    "net/core/skbuff.c": """\
#include "../../include/linux/slab.h"

static inline __attribute__((always_inline)) char *data_of(unsigned long size)
{
    char *data = kmalloc(size); /* __alloc_skb */

    return data ? data + 2 : data;
}

char *__alloc_skb(unsigned long size)
{
    char *data = data_of(size + 8);

    return data + 3;
}

char *skb_clone(unsigned long size)
{
    char *data;

    data = kmalloc(size + 1); /* skb_clone */
    return data + 5;
}
""",
}


@dataclass(frozen=True)
class Image:
    """The image; its call sites, by function: address, function, offset; the line of each."""

    path: Path
    sites: list[tuple[int, str, int]]
    lines: dict[str, tuple[str, int]]

    def symbols(self, distance: int = 0, names: bool = True) -> Symbols:
        """As a recording has them whose kernel lay that far from where it was linked."""
        return Symbols(
            np.array([address + distance for address, _, _ in self.sites], np.uint64),
            [name if names else None for _, name, _ in self.sites],
            np.array([offset for _, _, offset in self.sites]),
            [None for _ in self.sites],
        )


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if not (shutil.which("gcc") and shutil.which("objdump")):
        pytest.skip("gcc and objdump are not there to make an image with DWARF")
    tree = tmp_path_factory.mktemp("linux")
    for name, text in SOURCES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return compiled(tree, [name for name in SOURCES if name.endswith(".c")])


def compiled(tree: Path, files: list[str], *options: str) -> Image:
    """An image of these files, compiled in the top folder of the sources."""
    command = ["gcc", "-O2", "-g", "-nostdlib", "-static", "-Wl,-e,start_kernel", "-Wl,--build-id"]
    subprocess.run([*command, *options, "-o", "vmlinux", *files], cwd=tree, check=True)
    code = subprocess.run(
        ["objdump", "-d", "vmlinux"], cwd=tree, check=True, capture_output=True, text=True
    ).stdout
    sites = []
    for function in re.finditer(r"^0*([0-9a-f]+) <(\w+)>:\n((?:.+\n)*)", code, re.MULTILINE):
        returns = re.search(r"\t(?:call|bl)\b.*<__kmalloc>\n\s*([0-9a-f]+):", function[3])
        if returns:
            start, address = int(function[1], 16), int(returns[1], 16)
            sites.append((address, function[2], address - start))
    lines = {
        mark[1]: (name, number)
        for name, text in SOURCES.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (mark := re.search(r"/\* (\w+) \*/", line))
    }
    assert {name for _, name, _ in sites} == lines.keys()
    return Image(tree / "vmlinux", sorted(sites), lines)
