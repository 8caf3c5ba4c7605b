"""The kernel versions that are modelled, as data: a profile each.

A new one is a profile here and its line in PROFILES; its word among the settings, the recordings it
is the own kernel of, and the settings it takes all follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from allocsim.kernels.release import kernel_at, newest_since
from allocsim.kernels.slub_rules import GRACE_NS, AskedRules, CpuSlabRules, SheafRules

if TYPE_CHECKING:
    from allocsim.kernels.release import Kernel
    from allocsim.kernels.slub_rules import SlubRules
    from allocsim.page_alloc.zones import PageRules


@dataclass(frozen=True, slots=True)
class Profile:
    """A kernel version: its allocators' numbers.

    Args:
        version: (major, minor) of the kernel that was modelled.
        since: the first version whose SLUB does what this one's does, of the same generation.
        slub: SLUB's numbers.
        pages: the page allocator's rules.
    """

    version: tuple[int, int]
    since: tuple[int, int]
    slub: SlubRules
    pages: PageRules

    @property
    def word(self) -> str:
        """What a user calls it: 7.2."""
        return ".".join(map(str, self.version))

    @property
    def code(self) -> int:
        """The number that stands for it among settings: 702."""
        major, minor = self.version
        return 100 * major + minor

    @property
    def name(self) -> str:
        """What results call it: linux-7.2."""
        return f"linux-{self.word}"


RULES_6_12 = CpuSlabRules(
    max_order=3,
    min_partial=(5, 10),
    cpu_partial=((4096, 6), (1024, 24), (256, 52), (0, 120)),
)

RULES_7_2 = SheafRules(
    max_order=3,
    min_partial=(5, 10),
    sheaf_capacity=((4096, 4), (1024, 12), (256, 26), (0, 60)),
    sheaf_header=32,
    max_full_sheaves=10,
    max_empty_sheaves=10,
    grace_ns=GRACE_NS,
    flush_batch=32,
    # mm/slub.c:kmem_cache_init, mm/kmemleak.c:kmemleak_init,
    # lib/debugobjects.c:debug_objects_mem_init (7.2)
    no_sheaves=(
        "kmem_cache",
        "kmem_cache_node",
        "kmemleak_object",
        "kmemleak_scan_area",
        "debug_objects_cache",
    ),
    # lib/maple_tree.c:maple_tree_init, mm/vma_init.c:vma_state_init (7.2)
    sheaf_requests={"maple_node": 32, "vm_area_struct": 32},
)

# mm/slub.c:do_kmem_cache_create (6.18, 6.19): the capacity is what a cache asks for, not more.
RULES_6_18 = AskedRules(
    max_order=3,
    min_partial=(5, 10),
    sheaves=replace(RULES_7_2, sheaf_capacity=(), no_sheaves=()),
    cpu_slabs=RULES_6_12,
)

# mm/slub.c:___slab_alloc, __slab_free, get_partial_node, put_cpu_partial, deactivate_slab,
# calculate_order do the same in 6.12, 6.14 and 6.17; before, slabs are frozen elsewhere.
LINUX_6_12 = Profile((6, 12), (6, 12), RULES_6_12, kernel_at((6, 12)).pages)
# mm/slub.c: the functions that R3.45 cites do the same in 6.18 and 6.19, memory reserves apart.
LINUX_6_18 = Profile((6, 18), (6, 18), RULES_6_18, kernel_at((6, 18)).pages)
# mm/slub.c:calculate_sheaf_capacity: all caches have sheaves from 7.0 on.
LINUX_7_2 = Profile((7, 2), (7, 0), RULES_7_2, kernel_at((7, 2)).pages)

PROFILES = (LINUX_6_12, LINUX_6_18, LINUX_7_2)  #: oldest first
DEFAULT = LINUX_7_2  #: where no other kernel is asked for


def profile_of(kernel: Kernel) -> Profile | None:
    """The profile whose SLUB is a kernel's own; None: none was modelled."""
    alike = {each.since: each for each in PROFILES if each.slub.generation is kernel.slub}
    since = newest_since(kernel.version, list(alike))
    return None if since is None else alike[since]
