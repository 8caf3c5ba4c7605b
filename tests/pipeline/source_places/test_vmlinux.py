"""File and line by DWARF, of an image whose call sites are known by what stands in its sources."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.errors import InputError, UsageError
from pipeline.source_places.vmlinux import find_positions
from pipeline.trace_set.parts import Symbols
from tests.pipeline.source_places.conftest import SOURCES, Image, compiled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("distance", [0, 0x1F400000, -0x200000])
def test_call_sites_are_found_wherever_the_kernel_lay(image: Image, distance: int) -> None:
    """Through what was inlined: the line in a source file, not that of kmalloc's header."""
    parts = [0.0]
    found = find_positions(image.path, image.symbols(distance), parts.append)
    assert found.positions == {
        address + distance: image.lines[name] for address, name, _ in image.sites
    }
    assert len(found.build_id) == 40
    assert parts[-1] == 1


def test_sources_compiled_elsewhere_have_the_same_names(image: Image, tmp_path: Path) -> None:
    tree = image.path.parent
    absolute = [str(tree / name) for name in SOURCES if name.endswith(".c")]
    other = compiled(tmp_path, absolute)
    found = find_positions(other.path, other.symbols())
    assert found.positions == {address: other.lines[name] for address, name, _ in other.sites}


def test_older_dwarf_is_read_too(image: Image, tmp_path: Path) -> None:
    shutil.copytree(image.path.parent, tmp_path / "tree")
    files = [name for name in SOURCES if name.endswith(".c")]
    older = compiled(tmp_path / "tree", files, "-gdwarf-4")
    found = find_positions(older.path, older.symbols())
    assert found.positions == {address: older.lines[name] for address, name, _ in older.sites}


def test_addresses_of_modules_and_of_nothing_are_left_out(image: Image) -> None:
    symbols = image.symbols()
    symbols = Symbols(
        np.array([*symbols.address, 0xFFFFFFFFC0000010], np.uint64),
        [*symbols.symbol, None],
        np.array([*symbols.offset, 0]),
        ["ext4", None, None, None],
    )
    found = find_positions(image.path, symbols)
    assert found.positions.keys() == {address for address, _, _ in image.sites[1:]}


def test_another_kernels_image_is_refused(image: Image) -> None:
    symbols = image.symbols()
    moved = Symbols(
        symbols.address + np.array([0, 16, 48], np.uint64),
        symbols.symbol,
        symbols.offset,
        symbols.module,
    )
    with pytest.raises(InputError, match="not the recorded kernel's: of 3 code addresses 1 are"):
        find_positions(image.path, moved)
    with pytest.raises(InputError, match="has no symbols of its kernel"):
        find_positions(image.path, image.symbols(names=False))


def test_what_is_no_image_with_dwarf_is_refused(image: Image, tmp_path: Path) -> None:
    wrong = tmp_path / "vmlinux"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        find_positions(wrong, image.symbols())
    wrong.write_bytes(b"bzImage")
    with pytest.raises(InputError, match="not an ELF image that can be read"):
        find_positions(wrong, image.symbols())
    for option, said in (("--strip-debug", "has no DWARF"), ("--strip-unneeded", "has no")):
        subprocess.run(["strip", option, "-o", wrong, image.path], check=True)
        with pytest.raises(InputError, match=said):
            find_positions(wrong, image.symbols())
    data = image.path.read_bytes()
    for length in range(0, len(data), len(data) // 40):
        wrong.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"vmlinux: \S"):
            find_positions(wrong, image.symbols())


def test_without_pyelftools_it_says_how_to_get_it(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "elftools.elf.elffile", None)
    with pytest.raises(UsageError, match=r"pip install 'allocsim\[vmlinux\]'"):
        find_positions(image.path, image.symbols())
