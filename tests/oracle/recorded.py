"""The recorded placement the plain way: one event at a time, dictionaries, no numpy.

What allocsim.recording.interpret must give, row for row, after all late results. Rules are cited
where they stand; the order of the code is the order of things in the kernel, not of the vectorised
model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocsim.recording.page_kinds import PageKind
from allocsim.trace.events import Ev
from allocsim.trace.results import CacheHow, How

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_CLASS = 8192


@dataclass
class PageLife:
    page: int
    pfn: int
    order: int
    alloc: dict[str, Any] | None = None
    alloc_ts: int = -1
    alloc_cpu: int = -1
    frames: int = 0
    freed: int = 0
    lost: int = 0
    frees: int = 0
    free_seq: int = -1
    free_ts: int = -1
    free_cpu: int = -1
    plain: int = 0
    locked: int = 0
    alloc_plain: int = 0
    free_locked: int = 0
    takes: int = 0
    peak: int = 0
    kinds_seen: list[tuple[int, int]] = field(default_factory=list)
    caches_seen: list[tuple[int, int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    @property
    def cache(self) -> int:
        return min(self.caches_seen)[1] if self.caches_seen else -1


@dataclass
class Frame:
    life: PageLife
    ref_seen: bool = False
    dropped: bool = False
    set_born: bool = False


@dataclass
class ObjectRow:
    seq: int
    allocates: bool
    own: int
    kmalloc: bool
    large: bool
    by_site: bool
    partner: ObjectRow | None = None  # the free of an allocation, the allocation of a free
    site: tuple[int, int] | None = None
    page: PageLife | None = None  # slab that may tell the cache
    frame: int = -1  # or the frame, while its page is not known


class Oracle:
    """Replays events given as dictionaries; see ``finish`` for what comes out."""

    def __init__(
        self,
        *,
        set_before_alloc: bool,
        stack_kind: list[PageKind],
        gfp_kind: Callable[[int, int], PageKind],
        mapping_kind: Callable[[int, int], PageKind],
        kmalloc_cache: Callable[[int, int], int],
        functions: dict[int, str],
        site_caches: dict[int, int],
        slots: dict[int, int],
        base: int,
    ) -> None:
        self.slots = slots  # cache -> its slot size, where slabinfo has it
        self.functions = functions
        self.site_caches = site_caches
        self.did: dict[int, bool] = {}  # what a task did last speaks for tmpfs
        self.set_before_alloc = set_before_alloc
        self.stack_kind = stack_kind
        self.gfp_kind = gfp_kind
        self.mapping_kind = mapping_kind
        self.kmalloc_cache = kmalloc_cache
        self.base = base
        self.rows: list[dict[str, int]] = []
        self.live: dict[int, ObjectRow] = {}
        self.objects: list[ObjectRow] = []
        self.born: dict[int, int] = {}  # seq of an allocation -> its time
        self.home: dict[int, int] = {}  # seq of an allocation -> its CPU
        self.frames: dict[int, Frame] = {}
        self.lives: list[PageLife] = []
        self.seen: dict[int, int] = {}  # frames of unknown pages with objects -> lowest cache
        self.sites: dict[tuple[int, int], set[int]] = {}
        self.counts = dict.fromkeys(
            (
                "null_frees",
                "failed_allocations",
                "unknown_frees",
                "reallocations",
                "remote_frees",
                "unknown_page_frees",
                "missed_page_frees",
                "failed_page_allocations",
            ),
            0,
        )

    def event(self, event: dict[str, Any]) -> None:
        seq = len(self.rows)
        self.rows.append(
            {
                "object": -1,
                "cache": -1,
                "cache_how": -1,
                "page": -1,
                "page_kind": -1,
                "kind_how": -1,
                "slab": -1,
                "lifetime": -1,
                "plain_ops": 0,
                "locked_ops": 0,
            }
        )
        code = event["event"]
        self._neighbours(event)
        if code <= Ev.KMEM_CACHE_FREE:
            self._object(seq, event)
        elif code == Ev.MM_PAGE_ALLOC:
            if event["pfn"] < 0:
                self.counts["failed_page_allocations"] += 1
            else:
                self._page_alloc(seq, event)
        elif code == Ev.MM_PAGE_FREE:
            self._page_free(seq, event)
        elif Ev.PAGE_REF_SET <= code <= Ev.PAGE_REF_UNFREEZE:
            self._page_ref(seq, event)

    def _neighbours(self, event: dict[str, Any]) -> None:
        """Opening a file, or a node for a mapping: the page the task takes next is tmpfs's."""
        code = event["event"]
        counts = code <= Ev.MM_PAGE_FREE or code == Ev.RSS_STAT
        if not counts or event["irq_flags"] & 0x18:  # an interrupt's work is not the task's (I6)
            return
        if event.get("probe"):  # or not all recordings would show the same (T19)
            return
        bits = event["gfp_flags"]
        if code == Ev.MM_PAGE_ALLOC and (bits & 0x0A) == 0x0A and not bits & 0x11100:
            event["near"] = self.did.get(event["pid"], False)
            return
        function = self.functions.get(event["call_site"], "").split(".")[0]
        self.did[event["pid"]] = (code, function) in {
            (Ev.KMEM_CACHE_FREE, "putname"),
            (Ev.KMEM_CACHE_FREE, "do_sys_openat2"),
            (Ev.KMEM_CACHE_ALLOC, "xas_alloc"),
        }

    # --- objects ---

    def _object(self, seq: int, event: dict[str, Any]) -> None:
        code, ptr = event["event"], event["ptr"]
        allocates = code in (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC)
        if ptr <= 16:  # NULL, ZERO_SIZE_PTR (T4)
            self.counts["failed_allocations" if allocates else "null_frees"] += 1
            return
        own = event["cache"]
        if code == Ev.KMALLOC:
            own = self.kmalloc_cache(event["bytes_alloc"], event["gfp_flags"])
        by_site = code == Ev.KMEM_CACHE_ALLOC and own < 0
        if by_site:
            own = self.site_caches.get(event["call_site"], -1)
        large = code == Ev.KMALLOC and own < 0 and event["bytes_alloc"] > LARGEST_CLASS
        row = ObjectRow(seq, allocates, own, code == Ev.KMALLOC, large, by_site=by_site)
        result = self.rows[seq]
        result["object"] = seq
        before = self.live.pop(ptr, None)
        sure = code != Ev.KFREE or ptr % 4096 != 0
        if allocates:
            if before is not None:  # I2: its free was not traced
                self.counts["reallocations"] += 1
            row.site = (event["call_site"], event["bytes_alloc"])
            self.live[ptr] = row
            self.born[seq], self.home[seq] = event["ts"], event["cpu"]
        elif before is None:
            self.counts["unknown_frees"] += 1
        else:
            row.partner, before.partner = before, row
            row.large, row.site = before.large, before.site
            result["object"] = before.seq
            result["lifetime"] = event["ts"] - self.born[before.seq]
            self.rows[before.seq]["lifetime"] = result["lifetime"]
            self.counts["remote_frees"] += event["cpu"] != self.home[before.seq]
            sure = True
        self.objects.append(row)
        self._place(row, ptr, on_slab=sure and not row.large)

    def _place(self, row: ObjectRow, ptr: int, *, on_slab: bool) -> None:
        pfn = (ptr - self.base) >> 12
        if not 0 <= pfn < 1 << 34:
            return
        frame = self.frames.get(pfn)
        if frame is None:
            row.frame = pfn
            if on_slab:
                known = [c for c in (self.seen.get(pfn, -1), row.own) if c >= 0]
                self.seen[pfn] = min(known, default=-1)
            return
        row.page = frame.life
        self.rows[row.seq]["page"] = frame.life.page
        if on_slab:
            self.rows[row.seq]["slab"] = frame.life.pfn
            frame.life.kinds_seen.append((row.seq, PageKind.SLAB))
            if row.own >= 0:
                frame.life.caches_seen.append((row.seq, row.own))
        elif row.large and row.allocates:
            frame.life.kinds_seen.append((row.seq, PageKind.LARGE_KMALLOC))

    # --- pages ---

    def _begin(self, seq: int, pfn: int, order: int) -> PageLife:
        life = PageLife(seq, pfn, order)
        self.lives.append(life)
        return life

    def _join(self, life: PageLife, pfn: int, seq: int, *, revealed: bool) -> Frame:
        """A frame becomes part of a life: by allocation, or because an event reveals it."""
        life.frames += 1
        self.frames[pfn] = frame = Frame(life)
        seen = self.seen.pop(pfn, None)
        for row in self.objects:
            if row.frame == pfn:
                row.frame = -1
                row.page = life if revealed else None
        if revealed and seen is not None:
            life.kinds_seen.append((seq, PageKind.SLAB))
            if seen >= 0:
                life.caches_seen.append((seq, seen))
        return frame

    def _lose(self, pfn: int, event: dict[str, Any]) -> None:
        life = self.frames.pop(pfn).life
        life.lost += 1
        self.counts["missed_page_frees"] += 1
        if life.lost + life.freed == life.frames:
            life.free_ts = event["ts"]

    def _page_alloc(self, seq: int, event: dict[str, Any]) -> None:
        pfn, order = event["pfn"], event["order"]
        head = self.frames.get(pfn)
        if self.set_before_alloc and head is not None and head.set_born:  # T8
            life = head.life
            head.set_born = False
            frames = range(pfn + 1, pfn + (1 << order))
        else:
            life = self._begin(seq, pfn, order)
            frames = range(pfn, pfn + (1 << order))
        for frame in frames:
            if frame in self.frames:
                self._lose(frame, event)
            self._join(life, frame, seq, revealed=False)
        life.order = order
        life.alloc = {**event, "seq": seq}
        life.alloc_ts, life.alloc_cpu = event["ts"], event["cpu"]
        life.rows.append(seq)

    def _page_free(self, seq: int, event: dict[str, Any]) -> None:
        pfn, order = event["pfn"], event["order"]
        frames = range(pfn, pfn + (1 << order))
        life = self.frames[pfn].life if pfn in self.frames else self._begin(seq, pfn, order)
        if life.alloc is None:
            self.counts["unknown_page_frees"] += 1
            life.order = order
        touched = {}
        for number in frames:
            if number not in self.frames:
                self._join(life, number, seq, revealed=True)
            frame = self.frames.pop(number)
            frame.life.freed += 1
            frame.life.free_locked += frame.dropped
            touched[frame.life.page] = frame.life
        for each in touched.values():
            each.frees += 1
            if each.lost + each.freed == each.frames:
                each.free_seq, each.free_ts = seq, event["ts"]
                each.free_cpu = event["cpu"]
        life.rows.append(seq)

    def _page_ref(self, seq: int, event: dict[str, Any]) -> None:
        code, pfn = event["event"], event["pfn"]
        is_set = code == Ev.PAGE_REF_SET
        frame = self.frames.get(pfn)
        if frame is None:
            life = self._begin(seq, pfn, 0)
            if is_set:
                life.alloc_ts, life.alloc_cpu = event["ts"], event["cpu"]
            frame = self._join(life, pfn, seq, revealed=not is_set)
            frame.set_born = is_set
        else:
            frame.set_born = False
        life = frame.life
        plain = code in (Ev.PAGE_REF_SET, Ev.PAGE_REF_UNFREEZE)  # R1.1
        locked = not plain and not (code == Ev.PAGE_REF_MOD_UNLESS and not event["ret"])  # R1.2
        life.plain += plain
        life.locked += locked
        life.alloc_plain += is_set and not frame.ref_seen
        if code in (Ev.PAGE_REF_MOD, Ev.PAGE_REF_MOD_AND_RETURN):
            life.takes += event["val"] > 0
        elif code == Ev.PAGE_REF_MOD_UNLESS:
            life.takes += event["val"] > 0 and event["ret"] != 0
        elif is_set:
            life.takes += event["val"] > 1
        life.peak = max(life.peak, event["count"])
        self.rows[seq]["plain_ops"] = int(plain)
        self.rows[seq]["locked_ops"] = int(locked)
        frame.ref_seen = True
        frame.dropped = (
            code in (Ev.PAGE_REF_MOD_AND_TEST, Ev.PAGE_REF_FREEZE) and event["ret"] != 0
        ) or (code == Ev.PAGE_REF_MOD_AND_RETURN and event["ret"] == 0)
        kind = self.mapping_kind(event["mapping"], event["page_flags"])
        if kind != PageKind.UNKNOWN:
            life.kinds_seen.append((seq, kind))
        life.rows.append(seq)

    # --- the end ---

    def finish(self) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
        """Results of every row, and every page life in order of its handle."""
        self._name_objects()
        pages = []
        for life in self.lives:
            kind, how = self._kind(life)
            for seq in life.rows:
                row = self.rows[seq]
                row.update(page=life.page, page_kind=kind, kind_how=how)
            alloc = life.alloc or {"seq": -1, "gfp_flags": -1, "stack": -1}
            if life.alloc and life.free_seq >= 0:
                length = life.free_ts - life.alloc_ts
                self.rows[alloc["seq"]]["lifetime"] = length
                self.rows[life.free_seq]["lifetime"] = length
            pages.append(
                {
                    "page": life.page,
                    "pfn": life.pfn,
                    "order": life.order,
                    "page_kind": kind,
                    "kind_how": how,
                    "cache": life.cache,
                    "alloc_seq": alloc["seq"],
                    "alloc_ts": life.alloc_ts,
                    "alloc_cpu": life.alloc_cpu,
                    "free_seq": life.free_seq,
                    "free_ts": life.free_ts,
                    "free_cpu": life.free_cpu,
                    "gfp_flags": alloc["gfp_flags"],
                    "stack": alloc["stack"],
                    "frees": life.frees,
                    "pages_freed": life.freed,
                    "ref_plain": life.plain,
                    "ref_locked": life.locked,
                    "ref_use_plain": life.plain - life.alloc_plain,
                    "ref_use_locked": life.locked - life.free_locked,
                    "ref_takes": life.takes,
                    "peak_count": life.peak,
                }
            )
        return self.rows, sorted(pages, key=lambda page: page["page"])

    def _kind(self, life: PageLife) -> tuple[PageKind, How]:
        stack = life.alloc["stack"] if life.alloc else -1
        by_stack = self.stack_kind[stack] if stack >= 0 else PageKind.UNKNOWN
        if by_stack not in (PageKind.OTHER, PageKind.UNKNOWN):
            return by_stack, How.OBSERVED
        if life.kinds_seen:
            seen = PageKind(min(life.kinds_seen)[1])
            return (
                PageKind.THP if seen == PageKind.ANON and life.order == 9 else seen
            ), How.OBSERVED
        if by_stack == PageKind.OTHER:
            return PageKind.OTHER, How.OBSERVED
        if life.alloc is None:
            return PageKind.UNKNOWN, How.UNKNOWN
        kind = self.gfp_kind(life.alloc["gfp_flags"], life.order)
        if kind == PageKind.ANON and life.alloc.get("near"):
            kind = PageKind.SHMEM
        return kind, How.ASSUMED if kind == PageKind.OTHER else How.INFERRED

    def _name_objects(self) -> None:
        for row in self.objects:
            partner = row.partner
            if row.allocates and row.own < 0 and not row.large and partner and self._fits(row):
                assert row.site is not None
                self.sites.setdefault(row.site, set()).add(partner.own)
        for row in self.objects:
            result = self.rows[row.seq]
            cache, how = self._name(row)
            result["cache"], result["cache_how"] = cache, how

    def sizes(self) -> dict[int, int]:
        """Slot size by cache (R3.3), of those some allocation was seen of; behind ``finish``."""
        told: dict[int, int] = {}
        votes: dict[int, list[int]] = {}
        for row in self.objects:
            if not row.allocates or row.site is None:
                continue
            cache, size = self.rows[row.seq]["cache"], row.site[1]
            if row.own >= 0:
                told[row.own] = size
            elif cache >= 0 and self.slots.get(cache, size) == size:
                votes.setdefault(cache, []).append(size)
        most = {
            cache: min(sizes, key=lambda size: (-sizes.count(size), size))
            for cache, sizes in votes.items()
        }
        return most | told

    def _fits(self, row: ObjectRow) -> bool:
        """The free of an allocation names a cache, and one with slots of this size."""
        if row.partner is None or row.partner.own < 0:
            return False
        size = row.site[1] if row.site else -1
        return self.slots.get(row.partner.own, size) == size

    def _name(self, row: ObjectRow) -> tuple[int, int]:
        partner = row.partner
        if row.own >= 0:
            kmalloc = CacheHow.SIZE_CLASS if row.kmalloc else CacheHow.NAMED
            return row.own, CacheHow.BY_CALL_SITE if row.by_site else kmalloc
        if row.large:
            return -1, -1
        if partner is not None and (self._fits(row) if row.allocates else partner.own >= 0):
            return partner.own, CacheHow.BY_FREE if row.allocates else CacheHow.BY_ALLOC
        by_slab = row.page.cache if row.page else self.seen.get(row.frame, -1)
        if by_slab >= 0:
            return by_slab, CacheHow.BY_SLAB
        told = self.sites.get(row.site, set()) if row.site else set()
        if len(told) == 1:
            return min(told), CacheHow.BY_CALL_SITE if row.allocates else CacheHow.BY_ALLOC
        return -1, CacheHow.UNRESOLVED
