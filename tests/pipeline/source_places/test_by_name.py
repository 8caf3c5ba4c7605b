"""Files of functions by name: the table that is shipped, and how it is made of sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.source_places.by_name import function_of, nearest, places, versions
from pipeline.source_places.scan import defined, table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("alloc_pipe_info", "alloc_pipe_info"),
        ("radix_tree_node_alloc.constprop.0", "radix_tree_node_alloc"),
        ("put_pid.part.0", "put_pid"),
        ("__x64_sys_brk", "__do_sys_brk"),
        ("__se_sys_brk", "__do_sys_brk"),
        ("__ia32_compat_sys_ioctl", "__do_compat_sys_ioctl"),
        ("__arm64_sys_openat", "__do_sys_openat"),
        ("ksys_read", "ksys_read"),
    ],
)
def test_symbols_have_what_compilers_and_macros_put_around_names(symbol: str, name: str) -> None:
    assert function_of(symbol) == name


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-56-cloud-amd64", "6.1"),
        ("6.12.107-pageref", "6.12"),
        ("6.16.2", "6.12"),
        ("7.3.4+deb13-cloud-amd64", "7.3"),
        ("8.0", "7.3"),
        ("5.10.0", "6.1"),
        ("", "6.1"),
    ],
)
def test_the_version_before_a_release_stands_for_it(release: str, version: str) -> None:
    assert nearest(release) == version


def test_the_shipped_table_has_what_anybody_can_look_up() -> None:
    assert versions() == ["6.1", "6.12", "6.17", "6.18", "6.19", "7.1", "7.2", "7.3"]
    for version in versions():
        found = places(version)
        assert found["__alloc_skb"] == "net/core/skbuff.c"
        assert found["ext4_alloc_inode"] == "fs/ext4/super.c"
        assert found["copy_process"] == "kernel/fork.c"
        # In mm/mmap.c, and where there is no MMU in mm/nommu.c.
        assert found["__do_sys_brk"] == "mm/"
        # Nearly every file system has one of its own.
        assert "init_once" not in found
    # Moved by "mm: move vma allocation" between these two.
    assert places("6.12")["vm_area_alloc"] == "kernel/fork.c"
    assert places("7.2")["vm_area_alloc"] == "mm/vma_init.c"


def test_functions_are_told_by_the_kernels_style() -> None:
    text = """
#define HELPER(name) \\
static int name##_helper(void)
/* int commented(void)
{
} */
static __always_inline void *
__slab_alloc(struct kmem_cache *s, gfp_t gfp,
             unsigned long addr)
{
    if (likely(s)) {
        while (again())
            ;
    }
}

__printf(2, 3)
void slab_err(struct kmem_cache *s, const char *fmt, ...)
{
}
SYSCALL_DEFINE1(brk, unsigned long, brk)
{
}
COMPAT_SYSCALL_DEFINE3(ioctl, unsigned int, fd, unsigned int, cmd, compat_ulong_t, arg32)
{
}
static inline int one_line(void) { return 0; }
int declared(void);
static const struct ops table = {
    .open = opened,
};
STAT_ATTR(ALLOC_FASTPATH, alloc_fastpath)
{
}
"""
    assert defined(text) == {
        "__slab_alloc", "slab_err", "__do_sys_brk", "__do_compat_sys_ioctl", "one_line",
    }  # fmt: skip


def test_names_of_several_files_are_of_their_folder_or_of_none(tmp_path: Path) -> None:
    def function(tree: str, path: str, *names: str) -> None:
        file = tmp_path / tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"void {name}(void)\n{{\n}}\n\n" for name in names))

    function("old", "mm/a.c", "only", "twice", "moved")
    function("old", "mm/b.c", "twice", "probe")
    function("old", "drivers/pci/c.c", "probe", "pci_only")
    function("old", "sound/d.c", "sound_only")
    function("old", "kernel/f.c", "then_two")
    # A tree without drivers: those of the other version count, and "probe" is one of two still.
    function("new", "mm/a.c", "only", "twice")
    function("new", "mm/b.c", "twice", "probe")
    function("new", "mm/g.c", "then_two")
    function("new", "kernel/e.c", "moved", "then_two")
    made = table({"1.0": tmp_path / "old", "2.0": tmp_path / "new"})
    assert made == (
        "1.0 2.0\n"
        "drivers/pci/c.c\n pci_only\n"
        "kernel/e.c\n moved 2\n"
        "kernel/f.c\n then_two 1\n"
        "mm/\n twice\n"
        "mm/a.c\n moved 1\n only\n"
    )
