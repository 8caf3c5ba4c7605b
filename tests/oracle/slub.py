"""SLUB of 7.2 with sheaves, one event at a time (R3.9 - R3.18, R3.22 - R3.26).

Also kfree_rcu through sheaves (R3.20) and prefilled sheaves (R3.16).

Written to be read beside mm/slub.c and docs/rules.md, not to be fast: docs/reading-the-model.md is
a way through it. Every counter is incremented where mm/slub.c has stat() or stat_add(), under the
name of the sysfs file; `list_lock` counts the acquisitions of the node's list_lock,
`freelist_cmpxchg` the calls of slab_update_freelist. Paths have the names of
allocsim.slub.paths.AllocPath in lower case.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from allocsim.page_alloc.nodes import NO_NODE, Nodes
from allocsim.slub.requests import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from allocsim.kernels.cache_shapes import SheafShape

GRACE_PERIOD = 20_000_000  # ns
KFREE_DRAIN = 5_000_000_000  # ns: KFREE_DRAIN_JIFFIES
KVFREE_BULK_MAX_ENTR = 507
PCS_BATCH_MAX = 32
NOTHING = (-1, -1)

Found = tuple["Slab", int]  # an object: its slab and its place in it


@dataclass(eq=False)
class Slab:
    number: int  # as handed to the outside
    order: int
    objects: int
    free: list[int]  # free list: indices, head first
    node: int = 0  # whose page it is

    @property
    def inuse(self) -> int:
        return self.objects - len(self.free)


@dataclass(eq=False)
class Sheaf:
    objects: list[Found] = field(default_factory=list)
    memory: Found | None = (
        None  # the object of its kmalloc cache that it is; the first ones have none
    )
    of: Cache | None = None  # that cache
    capacity: int = 0
    nobarn: bool = False  # rcu_free_sheaf_nobarn is its callback


@dataclass(eq=False)
class Batch:
    """struct kvfree_rcu_bulk_data, R3.60: of one CPU, here of one cache too."""

    drain: int  # when the monitor takes it
    objects: list[Found] = field(default_factory=list)


@dataclass
class Pcs:
    """struct slub_percpu_sheaves."""

    main: Sheaf = field(default_factory=Sheaf)
    spare: Sheaf | None = None
    rcu_free: Sheaf | None = None


@dataclass
class Node:
    """struct kmem_cache_node and struct node_barn of a cache, R3.25."""

    partial: list[Slab] = field(default_factory=list)  # head first
    full: list[Sheaf] = field(default_factory=list)  # barn->sheaves_full, head last
    empty: list[Sheaf] = field(default_factory=list)  # barn->sheaves_empty, head last


class Cache:
    """One cache: `shape` has order, objects, min_order, min_objects, min_partial, capacity."""

    def __init__(self, slub: Slub, number: int, shape: SheafShape) -> None:
        self.slub = slub
        self.number = number
        self.shape = shape
        self.pcs: dict[int, Pcs] = {}  # of the CPUs that did anything
        self.nodes = [Node() for _ in range(slub.nodes.count)]
        self.slabs: dict[int, Slab] = {}  # every slab by number
        self.created = 0
        self.no_recurse = False
        self.after_grace: list[tuple[int, int, Sheaf | Batch]] = []  # when, CPU, what
        self.batches: dict[int, Batch] = {}  # by CPU
        self.prefilled: dict[int, Sheaf] = {}  # by run
        self.stat: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """Under the names of their files."""
        return self.stat

    # --- allocation -------------------------------------------------------------------------

    def alloc(self, cpu: int, node: int = NO_NODE) -> tuple[str, Found | None]:
        """slab_alloc_node: the path, and the object if there is one."""
        return self.alloc_from_pcs(cpu, node) or self.slab_alloc(cpu, node)

    def alloc_from_pcs(self, cpu: int, node: int = NO_NODE) -> tuple[str, Found] | None:
        if node not in (NO_NODE, self.slub.node_of(cpu)):
            self.stat["alloc_node_mismatch"] += 1
            return None
        pcs = self.pcs.setdefault(cpu, Pcs())
        path = "main_hit"
        if not pcs.main.objects:
            replaced = self.replace_empty_main(cpu, pcs)
            if replaced is None:
                return None
            path = replaced
        if node not in (NO_NODE, pcs.main.objects[-1][0].node):
            self.stat["alloc_node_mismatch"] += 1
            return None
        found = pcs.main.objects.pop()
        self.stat["alloc_fastpath"] += 1
        return path, found

    def barn(self, cpu: int) -> Node:
        """get_barn."""
        return self.nodes[self.slub.node_of(cpu)]

    def replace_empty_main(self, cpu: int, pcs: Pcs) -> str | None:
        """__pcs_replace_empty_main, steps 4 - 8 of R3.23."""
        if not self.shape.capacity:
            return None
        barn = self.barn(cpu)
        if pcs.spare is not None and pcs.spare.objects:
            pcs.main, pcs.spare = pcs.spare, pcs.main
            return "spare_swap"
        if barn.full:
            self.stat["barn_get"] += 1
            barn.empty.append(pcs.main)
            pcs.main = barn.full.pop()
            return "barn_get"
        self.stat["barn_get_fail"] += 1
        empty = None
        if pcs.spare is not None:
            empty, pcs.spare = pcs.spare, None
        elif barn.empty:
            empty = barn.empty.pop()
        if empty is None:
            empty = self.alloc_empty_sheaf()
            if empty is None:
                return None
        new_slabs = self.stat["alloc_slab"]
        if not self.refill_sheaf(cpu, empty):
            self.flush_unused(empty)
            self.free_empty_sheaf(empty)
            return None
        # Nothing ran in between here, so main is still empty and spare was taken above.
        pcs.spare = pcs.main
        pcs.main = empty
        return "refill_new" if self.stat["alloc_slab"] > new_slabs else "refill_partial"

    def alloc_empty_sheaf(self) -> Sheaf | None:
        """A sheaf is a small kmalloc: refused only while not even one page is to be had.

        One made for a kmalloc cache's sheaf must not lead to another (SLAB_ALLOC_NO_RECURSE).
        """
        if self.slub.max_order(self.slub.seq) < 0 or self.no_recurse:
            return None
        return self.new_sheaf()

    def new_sheaf(self) -> Sheaf:
        self.stat["sheaf_alloc"] += 1
        memory = self.slub.kmalloc_sheaf(self)
        return Sheaf([], memory, self.slub.kmalloc_cache(self), self.shape.capacity)

    def free_empty_sheaf(self, sheaf: Sheaf) -> None:
        """free_empty_sheaf: a kfree, also for the kmalloc cache."""
        self.stat["sheaf_free"] += 1
        self.slub.kfree_sheaf(sheaf)

    def refill_sheaf(self, cpu: int, sheaf: Sheaf) -> bool:
        want = (sheaf.capacity or self.shape.capacity) - len(sheaf.objects)
        got = self.refill_objects(cpu, want)
        sheaf.objects += got
        self.stat["sheaf_refill"] += len(got)
        return len(got) == want

    def refill_objects(self, cpu: int, want: int) -> list[Found]:
        """R3.13: the own node's list, the others', new slabs."""
        local = self.slub.node_of(cpu)
        got = self.refill_objects_node(self.nodes[local], want)
        for other in self.others(local) if len(got) < want else ():
            if len(other.partial) > self.shape.min_partial:
                got += self.refill_objects_node(other, want - len(got))
                if len(got) == want:
                    break
        while len(got) < want:
            slab = self.new_slab(local)
            if slab is None:
                break
            got += self.alloc_from_new_slab(slab, want - len(got))
        return got

    def others(self, node: int) -> list[Node]:
        """The nodes of a node's zonelist, but for itself."""
        return [self.nodes[other] for other in self.slub.nodes.near[node] if other != node]

    def refill_objects_node(self, node: Node, want: int) -> list[Found]:
        """__refill_objects_node."""
        got: list[Found] = []
        for slab in self.get_partial_node_bulk(node, want):
            take = min(len(slab.free), want - len(got))
            rest = slab.free[take:]
            self.stat["freelist_cmpxchg"] += 1  # get_freelist_nofreeze
            got += [(slab, index) for index in slab.free[:take]]
            slab.free = []
            if rest:  # __slab_try_return_freelist
                slab.free = rest
                self.stat["freelist_cmpxchg"] += 1
                self.stat["list_lock"] += 1
                node.partial.append(slab)
        return got

    def get_partial_node_bulk(self, node: Node, want: int) -> list[Slab]:
        if not node.partial:
            return []
        self.stat["list_lock"] += 1
        taken: list[Slab] = []
        total = 0
        while node.partial and total < want:
            slab = node.partial.pop(0)
            taken.append(slab)
            total += len(slab.free)
        return taken

    def new_slab(self, node: int) -> Slab | None:
        """allocate_slab: the preferred order, then the fallback order.

        From a node without memory the nearest serves, which is the slab's node then.
        """
        shape = self.shape
        limit = self.slub.max_order(self.slub.seq)
        if shape.order <= limit:
            order, objects = shape.order, shape.objects
        elif shape.min_order <= limit:
            order, objects = shape.min_order, shape.min_objects
            self.stat["order_fallback"] += 1
        else:
            return None
        number = (self.number << 32) | self.created
        free = self.slub.freelist_order(self.number, self.created, objects)
        slab = Slab(number, order, objects, list(free), self.slub.nodes.near[node][0])
        self.created += 1
        self.slabs[number] = slab
        self.stat["alloc_slab"] += 1
        self.slub.page(self, slab, +1)
        return slab

    def alloc_from_new_slab(self, slab: Slab, count: int) -> list[Found]:
        needs_add_partial = count < slab.objects
        count = min(count, slab.objects)
        got = [(slab, index) for index in slab.free[:count]]
        slab.free = slab.free[count:]
        if needs_add_partial:
            self.stat["list_lock"] += 1
            self.nodes[slab.node].partial.insert(0, slab)
        return got

    def slab_alloc(self, cpu: int, node: int = NO_NODE) -> tuple[str, Found | None]:
        """___slab_alloc, R3.15 and R3.25."""
        self.stat["alloc_slowpath"] += 1
        wanted = self.slub.node_of(cpu) if node == NO_NODE else node
        found = self.get_from_partial_node(self.nodes[wanted])
        if found is None and node == NO_NODE:
            found = self.any_partial(cpu)
        if found is not None:
            return "slow_partial", found
        # With a node asked for, only its own pages are tried first (__GFP_THISNODE).
        slab = None
        if node == NO_NODE or self.slub.nodes.memory[node]:
            slab = self.new_slab(wanted)
        if slab is None and node != NO_NODE:
            found = self.any_partial(cpu)
            if found is not None:
                return "slow_partial", found
            slab = self.new_slab(wanted)
        if slab is None:
            return "failed", None
        return "slow_new", self.alloc_from_new_slab(slab, 1)[0]

    def get_from_partial_node(self, node: Node) -> Found | None:
        if not node.partial:
            return None
        self.stat["list_lock"] += 1
        slab = node.partial[0]
        self.stat["freelist_cmpxchg"] += 1
        index = slab.free.pop(0)
        if not slab.free:
            node.partial.pop(0)
        return slab, index

    def any_partial(self, cpu: int) -> Found | None:
        """get_from_any_partial: from lists that have more than min_partial slabs, nearest first."""
        for node in self.slub.nodes.near[self.slub.node_of(cpu)]:
            if len(self.nodes[node].partial) > self.shape.min_partial:
                return self.get_from_partial_node(self.nodes[node])
        return None

    # --- prefilled sheaves, R3.16 -----------------------------------------------------------

    def alloc_from_sheaf(self, cpu: int, run: int, left: int) -> tuple[str, Found | None]:
        """kmem_cache_alloc_from_sheaf, between a prefill and a return: `left` are to come."""
        if run not in self.prefilled:
            sheaf = self.prefill_sheaf(cpu, min(left, self.shape.capacity))
        else:
            sheaf = self.prefilled.pop(run)
            if not sheaf.objects:
                self.refill_sheaf(cpu, sheaf)  # kmem_cache_refill_sheaf
        path: str
        found: Found | None
        if sheaf is not None and sheaf.objects:
            path, found = "from_sheaf", sheaf.objects.pop()
        else:
            path, found = self.slab_alloc(cpu)
        if sheaf is not None and left > 1:
            self.prefilled[run] = sheaf
        elif sheaf is not None:
            self.return_sheaf(cpu, sheaf)
        return path, found

    def ask_sheaf(self, cpu: int, run: int, wanted: int) -> None:
        """A call for a prefilled sheaf, for more objects in it, or of its return (0)."""
        if not self.shape.capacity and run not in self.prefilled:
            return
        if run not in self.prefilled:
            sheaf = None
            if wanted:
                sheaf = self.prefill_sheaf(cpu, min(wanted, self.shape.capacity))
            if sheaf is not None:
                self.prefilled[run] = sheaf
        elif not wanted:
            self.return_sheaf(cpu, self.prefilled.pop(run))
        elif len(self.prefilled[run].objects) < wanted:
            self.refill_sheaf(cpu, self.prefilled[run])  # kmem_cache_refill_sheaf

    def prefill_sheaf(self, cpu: int, size: int) -> Sheaf | None:
        """kmem_cache_prefill_sheaf."""
        pcs, barn = self.pcs.setdefault(cpu, Pcs()), self.barn(cpu)
        sheaf: Sheaf | None
        if pcs.spare is not None:
            sheaf, pcs.spare = pcs.spare, None
            self.stat["sheaf_prefill_fast"] += 1
        else:
            self.stat["sheaf_prefill_slow"] += 1
            if barn.full:
                sheaf = barn.full.pop()
                self.stat["barn_get"] += 1
            else:
                self.stat["barn_get_fail"] += 1
                sheaf = barn.empty.pop() if barn.empty else self.alloc_empty_sheaf()
        if sheaf is not None and len(sheaf.objects) < size and not self.refill_sheaf(cpu, sheaf):
            self.flush_unused(sheaf)
            self.free_empty_sheaf(sheaf)
            return None
        return sheaf

    def return_sheaf(self, cpu: int, sheaf: Sheaf) -> None:
        """kmem_cache_return_sheaf."""
        if sheaf.capacity and sheaf.capacity != self.shape.capacity:
            self.flush_unused(sheaf)
            self.free_empty_sheaf(sheaf)
            return
        pcs, barn = self.pcs.setdefault(cpu, Pcs()), self.barn(cpu)
        if pcs.spare is None:
            pcs.spare = sheaf
            self.stat["sheaf_return_fast"] += 1
            return
        self.stat["sheaf_return_slow"] += 1
        full = len(barn.full) >= self.shape.max_full_sheaves
        if full or not self.refill_sheaf(cpu, sheaf):
            self.flush_unused(sheaf)
            self.free_empty_sheaf(sheaf)
            return
        barn.full.append(sheaf)
        self.stat["barn_put"] += 1

    # --- kfree_rcu, R3.20 -------------------------------------------------------------------

    def kfree_rcu(self, cpu: int, what: Found, due: int) -> str:
        """kfree_rcu_sheaf; ``due`` is when the sheaf comes back if this fills it."""
        if what[0].node != self.slub.node_of(cpu):
            return self.batch(cpu, what)
        pcs, barn = self.pcs.setdefault(cpu, Pcs()), self.barn(cpu)
        if not self.shape.capacity:
            self.stat["free_rcu_sheaf_fail"] += 1
            return self.kfree_bulk(what)
        if pcs.rcu_free is None:
            if pcs.spare is not None and not pcs.spare.objects:
                pcs.rcu_free, pcs.spare = pcs.spare, None
            elif barn.empty:
                pcs.rcu_free = barn.empty.pop()
            else:
                pcs.rcu_free = self.alloc_empty_sheaf()
        if pcs.rcu_free is None:
            self.stat["free_rcu_sheaf_fail"] += 1
            return self.kfree_bulk(what)
        pcs.rcu_free.objects.append(what)
        if len(pcs.rcu_free.objects) == self.shape.capacity:
            self.wait(due, cpu, pcs.rcu_free)
            pcs.rcu_free = None
        self.stat["free_rcu_sheaf"] += 1
        return "rcu_free"

    def wait(self, due: int, cpu: int, what: Sheaf | Batch) -> None:
        """Among what waits, in the order in which it is due."""
        self.after_grace.append((due, cpu, what))
        self.after_grace.sort(key=itemgetter(0))

    def batch(self, cpu: int, what: Found) -> str:
        """R3.60: add_ptr_to_bulk_krc_lock, __schedule_delayed_monitor_work, kfree_rcu_monitor."""
        now, page = self.slub.now, self.batches.get(cpu)
        if page is None or now >= page.drain:
            page = self.batches[cpu] = Batch(now + KFREE_DRAIN)
            self.wait(page.drain + GRACE_PERIOD, cpu, page)
        page.objects.append(what)
        if len(page.objects) == KVFREE_BULK_MAX_ENTR:
            self.after_grace = [each for each in self.after_grace if each[2] is not page]
            self.wait(now + GRACE_PERIOD, cpu, page)
            del self.batches[cpu]
        return "remote_free"

    def kfree_bulk(self, what: Found) -> str:
        """Past the sheaves; where there was no sheaf to be had, here at once (R3.20)."""
        self.slab_free(what[0], [what[1]])
        self.stat["free_slowpath"] += 1
        return "slow_free"

    def rcu_callbacks(self, now: int) -> None:
        """rcu_free_sheaf, once a grace period is over, each on the CPU that filled the sheaf.

        That is the CPU of whatever the callback does: the page lists a slab goes back to, the
        sheaves that a sheaf's memory is freed to, and those which that free may need in turn.
        """
        event_cpu = self.slub.cpu
        while self.after_grace and self.after_grace[0][0] <= now:
            _, self.slub.cpu, sheaf = self.after_grace.pop(0)
            if isinstance(sheaf, Batch):
                if self.batches.get(self.slub.cpu) is sheaf:
                    del self.batches[self.slub.cpu]
                for what in reversed(sheaf.objects):
                    self.kfree_bulk(what)
                continue
            if sheaf.nobarn:
                self.flush_unused(sheaf)
                self.free_empty_sheaf(sheaf)
                continue
            barn = self.barn(self.slub.cpu)
            if len(barn.full) < self.shape.max_full_sheaves:
                self.stat["barn_put"] += 1
                barn.full.append(sheaf)
                continue
            self.stat["barn_put_fail"] += 1
            self.flush_unused(sheaf)
            if len(barn.empty) < self.shape.max_empty_sheaves:
                barn.empty.append(sheaf)
            else:
                self.free_empty_sheaf(sheaf)
        self.slub.cpu = event_cpu

    # --- another capacity, R3.27 --------------------------------------------------------------

    def replace_sheaves(self, shape: SheafShape, cpus: int, kmalloc_cache: int) -> None:
        """Replace all sheaves by others; on CPU 0 but for what is a CPU's own."""
        event_cpu = self.slub.cpu
        for cpu in range(cpus):
            self.slub.cpu = cpu
            self.drop(self.pcs.setdefault(cpu, Pcs()))
        self.slub.cpu = 0
        for node in self.nodes:  # barn_shrink
            for sheaf in reversed(node.full):
                self.flush_unused(sheaf)
                self.free_empty_sheaf(sheaf)
            for sheaf in reversed(node.empty):
                self.free_empty_sheaf(sheaf)
            node.full, node.empty = [], []
        for _, _, waits in self.after_grace:
            if isinstance(waits, Sheaf):
                waits.nobarn = True
        for sheaf in self.prefilled.values():
            sheaf.capacity = sheaf.capacity or self.shape.capacity
        self.shape, self.slub.kmalloc_caches[self.number] = shape, kmalloc_cache
        for cpu in range(cpus):  # init_percpu_sheaves
            self.pcs[cpu] = Pcs(self.new_sheaf() if shape.capacity else Sheaf())
        self.slub.cpu = event_cpu

    def drop(self, pcs: Pcs) -> None:
        """pcs_flush_all, and main goes too."""
        if pcs.spare is not None:
            self.flush_unused(pcs.spare)
            self.free_empty_sheaf(pcs.spare)
        if pcs.rcu_free is not None:
            self.wait(self.slub.now + GRACE_PERIOD, self.slub.cpu, pcs.rcu_free)
        if self.shape.capacity:
            self.flush_main(pcs)
            self.free_empty_sheaf(pcs.main)

    # --- free -------------------------------------------------------------------------------

    def free(self, cpu: int, what: Found) -> str:
        """slab_free: the path."""
        remote = self.remote(cpu, what[0])
        path = None if remote else self.free_to_pcs(cpu, what)
        if path is None:
            self.slab_free(what[0], [what[1]])
            self.stat["free_slowpath"] += 1
            return "remote_free" if remote else "slow_free"
        return path

    def remote(self, cpu: int, slab: Slab) -> bool:
        """can_free_to_pcs says no, R3.26."""
        node = self.slub.node_of(cpu)
        return slab.node != node and self.slub.nodes.memory[node]

    def free_to_pcs(self, cpu: int, what: Found) -> str | None:
        pcs = self.pcs.setdefault(cpu, Pcs())
        path = "main_push"
        if len(pcs.main.objects) == self.shape.capacity:
            replaced = self.replace_full_main(cpu, pcs)
            if replaced is None:
                return None
            path = replaced
        pcs.main.objects.append(what)
        self.stat["free_fastpath"] += 1
        return path

    def replace_full_main(self, cpu: int, pcs: Pcs) -> str | None:
        """__pcs_replace_full_main, steps 4 - 7 of R3.24."""
        if not self.shape.capacity:
            return None
        barn = self.barn(cpu)
        if pcs.spare is None:
            return self.install_empty(barn, pcs)
        if len(pcs.spare.objects) < self.shape.capacity:
            pcs.main, pcs.spare = pcs.spare, pcs.main
            return "spare_swap"
        if len(barn.full) >= self.shape.max_full_sheaves:
            self.stat["barn_put_fail"] += 1
            to_flush = pcs.spare
            self.flush_unused(to_flush)
            pcs.spare, pcs.main = pcs.main, to_flush
            return "flush"
        empty = barn.empty.pop() if barn.empty else self.alloc_empty_sheaf()
        if empty is None:
            self.stat["barn_put_fail"] += 1
            return self.flush_main(pcs)
        self.stat["barn_put"] += 1
        barn.full.append(pcs.main)
        pcs.main = empty
        return "barn_put"

    def install_empty(self, barn: Node, pcs: Pcs) -> str:
        """Main is full and there is no spare: __pcs_install_empty_sheaf, if a sheaf can be had."""
        empty = barn.empty.pop() if barn.empty else self.alloc_empty_sheaf()
        if empty is None:
            return self.flush_main(pcs)
        pcs.spare, pcs.main = pcs.main, empty
        return "install_empty"

    def flush_main(self, pcs: Pcs) -> str:
        """sheaf_try_flush_main."""
        while pcs.main.objects:
            batch = pcs.main.objects[-self.slub.flush_batch :]
            del pcs.main.objects[-self.slub.flush_batch :]
            self.free_bulk(batch)
            self.stat["sheaf_flush"] += len(batch)
        return "flush_main"

    def flush_unused(self, sheaf: Sheaf) -> None:
        """sheaf_flush_unused."""
        self.stat["sheaf_flush"] += len(sheaf.objects)
        self.free_bulk(list(sheaf.objects))
        sheaf.objects.clear()

    def free_bulk(self, p: list[Found]) -> None:
        """__kmem_cache_free_bulk; build_detached_freelist is R3.18."""
        size = len(p)
        while size:
            lookahead = 3
            size -= 1
            slab = p[size][0]
            chain = [p[size][1]]
            same = size
            while size:
                size -= 1
                if p[size][0] is slab:
                    chain.insert(0, p[size][1])
                    same -= 1
                    if size != same:
                        p[size], p[same] = p[same], p[size]
                    continue
                lookahead -= 1
                if not lookahead:
                    break
            size = same
            self.slab_free(slab, chain)

    def slab_free(self, slab: Slab, chain: list[int]) -> None:
        """__slab_free, R3.17."""
        self.stat["freelist_cmpxchg"] += 1
        was_full = not slab.free
        slab.free = chain + slab.free
        if slab.inuse and not was_full:
            return
        self.stat["list_lock"] += 1
        node = self.nodes[slab.node]
        on_node_partial = slab in node.partial
        assert was_full or on_node_partial  # nothing is ever detached between two events
        if not slab.inuse and len(node.partial) >= self.shape.min_partial:
            if not was_full:
                node.partial.remove(slab)
                self.stat["free_remove_partial"] += 1
            self.stat["free_slab"] += 1
            del self.slabs[slab.number]
            self.slub.page(self, slab, -1)
            return
        if was_full:
            node.partial.append(slab)
            self.stat["free_add_partial"] += 1


def ascending(_cache: int, _slab: int, objects: int) -> Sequence[int]:
    """The order a new slab hands its objects out in, without CONFIG_SLAB_FREELIST_RANDOM (R3.6)."""
    return range(objects)


class Slub:
    """Every cache of a machine.

    Args:
        shapes: the shape of each cache, by cache number.
        cpus: CPUs there are; it matters to changes alone.
        max_order: seq -> the largest order the page allocator can serve then; -1 for none.
        freelist_order: (cache, how many slabs before it, objects) -> allocation order of a slab.
        existing: handle -> (slab key, index) of objects live before the trace; keys are below -1.
        free_before: (cache, slab key, index, CPU) of free objects of slabs older than the trace,
            in list and free-list order, the CPU -1; or in that CPU's main sheaf, the next to be
            taken first. All their other objects are live.
        kmalloc_caches: the cache whose objects each cache's sheaves are, -1 for none; none given:
            nowhere.
        flush_batch: objects a full main is flushed by at a time.
        changes: (time, shapes, kmalloc caches) that hold from then on (R3.27).
        nodes: the memory nodes; None: all CPUs are on one.
        older_node: node of slabs older than the trace, by key -2 downwards; 0 if not told.
    """

    def __init__(
        self,
        shapes: Sequence[SheafShape],
        *,
        cpus: int = 1,
        max_order: Callable[[int], int] = lambda _: 10,
        freelist_order: Callable[[int, int, int], Sequence[int]] = ascending,
        existing: Mapping[int, tuple[int, int]] | None = None,
        free_before: Iterable[tuple[int, int, int, int]] = (),
        kmalloc_caches: Sequence[int] = (),
        flush_batch: int = PCS_BATCH_MAX,
        changes: Iterable[tuple[int, Sequence[SheafShape], Sequence[int]]] = (),
        nodes: Nodes | None = None,
        older_node: Sequence[int] = (),
    ) -> None:
        self.nodes, self.older_node = nodes or Nodes(()), older_node
        self.caches = [Cache(self, number, shape) for number, shape in enumerate(shapes)]
        self.cpus = cpus
        self.max_order = max_order
        self.kmalloc_caches = list(kmalloc_caches)
        self.changes = list(changes)
        ever = [kmalloc_caches, *(theirs for _, _, theirs in self.changes)]
        self.asked = [{each[at] for each in ever if each} - {-1} for at in range(len(shapes))]
        self.flush_batch = flush_batch
        self.freelist_order = freelist_order
        self.existing = existing or {}
        self.live: dict[int, Found | None] = {}
        self.pages: list[tuple[int, ...]] = []  # (seq, cpu, cache, slab, order, +1 or -1, node)
        self.seq = self.cpu = self.now = -1
        for cache, key, index, cpu in free_before:
            slab = self.pre_trace_slab(self.caches[cache], key)
            if cpu >= 0:
                pcs = self.caches[cache].pcs.setdefault(cpu, Pcs(spare=Sheaf()))
                pcs.main.objects.insert(0, (slab, index))
                continue
            partial = self.caches[cache].nodes[slab.node].partial
            if slab not in partial:
                partial.append(slab)
            slab.free.append(index)

    def kmalloc_sheaf(self, cache: Cache) -> Found | None:
        """The memory of a new sheaf of `cache`, from its kmalloc cache."""
        kmalloc_cache = self.kmalloc_cache(cache)
        if kmalloc_cache is None:
            return None
        kmalloc_cache.rcu_callbacks(self.now)
        kmalloc_cache.no_recurse = cache.shape.name.startswith("kmalloc-")
        _, memory = kmalloc_cache.alloc(self.cpu)
        kmalloc_cache.no_recurse = False
        return memory

    def kfree_sheaf(self, sheaf: Sheaf) -> None:
        """Give the memory of a sheaf back."""
        if sheaf.of is not None and sheaf.memory is not None:
            sheaf.of.rcu_callbacks(self.now)
            sheaf.of.free(self.cpu, sheaf.memory)

    def kmalloc_cache(self, cache: Cache) -> Cache | None:
        """The cache whose objects the sheaves of `cache` are, if it is there."""
        number = self.kmalloc_caches[cache.number] if self.kmalloc_caches else -1
        return self.caches[number] if number >= 0 else None

    def change(self, shapes: Sequence[SheafShape], kmalloc_caches: Sequence[int]) -> None:
        """R3.27, cache by cache: one whose sheaves are objects of another before that one."""
        for cache in sorted(self.caches, key=lambda each: -self.chain(each.number)):
            shape = shapes[cache.number]
            if shape == cache.shape:
                continue
            cache.rcu_callbacks(self.now)
            if shape.capacity != cache.shape.capacity:
                cache.replace_sheaves(shape, self.cpus, kmalloc_caches[cache.number])
            cache.shape = shape

    def chain(self, number: int) -> int:
        """The longest way from a cache to the last kmalloc cache of its sheaves."""
        return 1 + max(map(self.chain, self.asked[number]), default=0)

    def node_of(self, cpu: int) -> int:
        """numa_node_id."""
        return self.nodes.of_cpu[cpu] if self.nodes.of_cpu else 0

    def pre_trace_slab(self, cache: Cache, key: int) -> Slab:
        if key not in cache.slabs:
            told = -2 - key < len(self.older_node)
            node = self.older_node[-2 - key] if told else 0
            cache.slabs[key] = Slab(key, cache.shape.order, cache.shape.objects, [], node)
        return cache.slabs[key]

    def page(self, cache: Cache, slab: Slab, way: int) -> None:
        self.pages.append(
            (self.seq, self.cpu, cache.number, slab.number, slab.order, way, slab.node)
        )

    def event(
        self,
        seq: int,
        cpu: int,
        number: int,
        op: int,
        handle: int,
        now: int = 0,
        run: int = 0,
        left: int = 0,
        due: int = -1,
        node: int = NO_NODE,
    ) -> tuple[str, int, int]:
        """Replay one event: (path, slab, index).

        ``due``: when the sheaf comes back that a kfree_rcu may fill; -1: a grace period later.
        """
        self.seq, self.cpu, self.now = seq, cpu, now
        while self.changes and self.changes[0][0] <= now:
            self.change(*self.changes.pop(0)[1:])
        cache = self.caches[number]
        cache.rcu_callbacks(now)
        found: Found | None
        if op == Op.ASK_SHEAF:
            cache.ask_sheaf(cpu, run, left)
            return ("ignored", *NOTHING)
        if op > 0:
            if op == Op.FROM_SHEAF and (cache.shape.capacity or run in cache.prefilled):
                path, found = cache.alloc_from_sheaf(cpu, run, left)
            else:
                path, found = cache.alloc(cpu, node)
            self.live[handle] = found
        else:
            if handle in self.live:
                found = self.live.pop(handle)
            else:
                key, index = self.existing[handle]
                found = (self.pre_trace_slab(cache, key), index)
            if found is None:  # the model could not allocate it, so there is nothing to free
                return ("ignored", *NOTHING)
            if op == Op.FREE:
                path = cache.free(cpu, found)
            else:
                path = cache.kfree_rcu(cpu, found, now + GRACE_PERIOD if due < 0 else due)
        return (path, found[0].number, found[1]) if found else (path, *NOTHING)
