"""Vectors of object extensions, slab by slab, as R3.53 - R3.55 have them."""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE = 4096
#: R3.1: the classes of kmalloc.
CLASSES = (8, 16, 32, 64, 96, 128, 192, *(1 << shift for shift in range(8, 14)))


@dataclass
class Cache:
    """What a vector goes by.

    Args:
        size: bytes from one object to the next.
        account: it has SLAB_ACCOUNT.
        object_size: bytes of an object; None: not known, and so none of its padding.
        mergeable: its folder in sysfs has a name with a colon.
        behind: the free pointer lies behind the object.
        debugged: slab_debug uses what pads an object.
    """

    size: int
    account: bool
    object_size: int | None = None
    mergeable: bool = True
    behind: bool = False
    debugged: bool = False

    def padding(self) -> int:
        """Bytes of a slot that nothing uses (mm/slub.c:calculate_sizes, 7.2)."""
        if self.object_size is None or self.mergeable or self.debugged:
            return 0
        used = -(-self.object_size // 8) * 8
        if self.behind:
            used += 8
        return self.size - used


@dataclass
class Vector:
    """A vector: where it lies, its bytes, and the kmalloc class it takes; 0 inside its slab."""

    where: str
    size: int
    kmalloc: int


@dataclass
class Slabs:
    """The slabs of a kernel, and their vectors.

    Args:
        in_slab: vectors may lie inside their slabs (from 7.1 on).
        online: charges have begun.
        ext: sizeof(struct slabobj_ext): CONFIG_MEMCG alone, or CONFIG_MEM_ALLOC_PROFILING too (16).
    """

    in_slab: bool
    online: bool = False
    ext: int = 8
    caches: dict[int, Cache] = field(default_factory=dict)
    orders: dict[int, int] = field(default_factory=dict)
    vectors: dict[int, Vector] = field(default_factory=dict)

    def made(self, slab: int, cache: Cache, order: int) -> None:
        """R3.53: a slab is made (mm/slub.c:allocate_slab)."""
        self.caches[slab] = cache
        self.orders[slab] = order
        if not (self.online and cache.account):
            return
        where = self.inside(slab) if self.in_slab else None
        self.vectors[slab] = self.vector(slab, where or "kmalloc, with the slab")

    def charged(self, slab: int) -> None:
        """R3.53: an object is charged (mm/memcontrol.c:__memcg_slab_post_alloc_hook)."""
        if self.online and slab not in self.vectors:
            self.vectors[slab] = self.vector(slab, "kmalloc, at a charge")

    def objects(self, slab: int) -> int:
        """Objects of a slab (R3.4)."""
        return min((PAGE << self.orders[slab]) // self.caches[slab].size, (1 << 15) - 1)

    def vector(self, slab: int, where: str) -> Vector:
        """R3.54: how large it is, and the size class it takes."""
        size = self.ext * self.objects(slab)
        if not where.startswith("kmalloc"):
            return Vector(where, size, 0)
        for each in CLASSES:
            if size <= each:
                return Vector(where, size, each)
        pages = PAGE
        while pages < size:
            pages *= 2
        return Vector(where, size, pages)

    def inside(self, slab: int) -> str | None:
        """R3.55: where in its slab there is room (mm/slub.c:alloc_slab_obj_exts_early)."""
        objects, cache = self.objects(slab), self.caches[slab]
        end = objects * cache.size
        while end % self.ext:
            end += 1
        if end + self.ext * objects <= PAGE << self.orders[slab]:
            return "leftover"
        if cache.padding() >= self.ext:
            return "objects"
        return None
