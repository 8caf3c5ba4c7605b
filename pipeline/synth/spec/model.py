"""What a spec says: a synthetic trace as data. docs/synth.md tells the form of the file.

All times are whole ns, all shares exact decimals, so that nothing depends on a machine's floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIFETIMES = (
    "exponential",
    "lognormal",
    "fixed",
    "quantiles",
    "until",
    "batch",
    "phase-end",
    "forever",
    "gone",
    "unused",
)
BEFORE = ("gone", "unused")  #: of LIFETIMES those of what is over when the trace begins
ARRIVALS = ("poisson", "bursts", "spread", "closed", "before")
ORDERS = ("fifo", "lifo", "shuffled")
PICKS = ("all", "one")
CACHE_FLAGS = ("reclaimable", "dma", "account", "typesafe_by_rcu")
KMALLOC_TYPES = {
    "normal": "",
    "cg": "__GFP_ACCOUNT",
    "rcl": "__GFP_RECLAIMABLE",
    "dma": "__GFP_DMA",
}
KERNELS = ("6.1", "6.12", "7.2", "7.3")


@dataclass(frozen=True, slots=True)
class Cache:
    """A kmem cache.

    Args:
        name: its name.
        size: bytes from one object to the next (R3.3).
        flags: of CACHE_FLAGS.
    """

    name: str
    size: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time.

    Args:
        name: its name.
        length: in ns.
        rate: factor on the rates of all work in it.
    """

    name: str
    length: int
    rate: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """When batches are allocated.

    Args:
        kind: of ARRIVALS. poisson: at random; bursts: ``size`` batches ``gap`` apart on one CPU,
            the bursts at random; spread: so many, by quantiles of their times; closed: every CPU
            allocates a batch, holds it, frees it, thinks, and begins again; before: before the
            trace begins.
        rates: batches a second on all CPUs together, one figure or one a phase.
        size: batches of a burst.
        gap: ns from one to the next.
        hold: closed: ns from the last allocation of a batch to its first free.
        think: closed: ns from a batch's last free to the next batch.
        count: spread and before: batches.
        times: spread: quantiles of when, ns since the first phase began.
        at: spread: places of these, in 1/1024 of all; none: evenly spaced.
    """

    kind: str
    rates: tuple[Decimal, ...] = ()
    size: int = 1
    gap: int = 0
    hold: int = 0
    think: int = 0
    count: int = 0
    times: tuple[int, ...] = ()
    at: tuple[int, ...] = ()

    def rate(self, phase: int) -> Decimal:
        """Batches a second in a phase."""
        return self.rates[phase if len(self.rates) > 1 else 0] if self.rates else Decimal(0)


@dataclass(frozen=True, slots=True)
class Life:
    """One component of a mixture of lifetimes.

    Args:
        kind: of LIFETIMES. until: to a time since the first phase began, by quantiles; batch: until
            the batch has been held; phase-end: until the phase ends; gone: freed before the trace
            begins; unused: likewise, and in no sheaf.
        share: its weight among the components.
        times: ns: mean; median; the fixed time; the quantiles; how long a batch is held.
        sigma: lognormal: standard deviation of the logarithm.
        at: places of quantiles, in 1/1024 of all; none: evenly spaced.
    """

    kind: str
    share: Decimal = Decimal(1)
    times: tuple[int, ...] = ()
    sigma: Decimal = Decimal(0)
    at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Free:
    """Who frees, and how.

    Args:
        cpus: weight of each CPU as the one that frees, whoever allocated; none: the CPU that
            allocated.
        remote: share freed by another CPU, any of the others alike.
        matrix: weight of each freeing CPU, a row for each allocating one; before the two above.
        order: of a batch, of what dies with a phase, and of what is spread and dies at given times.
        step: ns from one free of a batch to the next.
        over: ns over which the frees at a phase's end are spread.
        grace: ns of a grace period: frees wait for the next multiple of it (kfree_rcu).
        traced: False: there is no event of the free, as with kfree_rcu through sheaves (T6); an
            object goes that way (R3.20).
    """

    cpus: tuple[int, ...] = ()
    remote: Decimal = Decimal(0)
    matrix: tuple[tuple[int, ...], ...] = ()
    order: str = "fifo"
    step: int = 100
    over: int = 1_000_000
    grace: int = 0
    traced: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of what a batch allocates.

    Args:
        cache: name of a cache; or
        kmalloc: bytes asked for; or
        pages: name of a kind of page.
        order: order of pages.
        type: kmalloc type: of KMALLOC_TYPES.
        count: how many in a row.
        weight: where one line of several is picked.
        lives: how long they live.
        free: who frees them.
        prefilled: they come out of a sheaf that was filled for them (R3.16), all at one time, with
            those of the prefilled lines of the same cache beside it where a batch is all lines.
        traced: False: there is no event of the allocation, as of those in bulk (T6).
    """

    lives: tuple[Life, ...]
    free: Free
    cache: str = ""
    kmalloc: int = 0
    pages: str = ""
    order: int = 0
    type: str = "normal"
    count: int = 1
    weight: int = 1
    prefilled: bool = False
    traced: bool = True


def sheaves(entries: Sequence[Entry], pick: str) -> list[list[Entry]]:
    """The lines of a work, those together that one prefilled sheaf serves (R3.16)."""
    found: list[list[Entry]] = []
    for entry in entries:
        together = pick == "all" and entry.prefilled and found and found[-1][-1].prefilled
        if together and found[-1][-1].cache == entry.cache:
            found[-1].append(entry)
        else:
            found.append([entry])
    return found


@dataclass(frozen=True, slots=True)
class Work:
    """Something that allocates.

    Args:
        name: its name.
        arrival: when.
        entries: what.
        pick: "all": a batch is all lines in order; "one": one of them, by weight.
        step: ns from one allocation of a batch to the next.
        cpus: weight of each CPU of the machine.
        phases: numbers of the phases it runs in.
    """

    name: str
    arrival: Arrival
    entries: tuple[Entry, ...]
    pick: str
    step: int
    cpus: tuple[int, ...]
    phases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """A synthetic trace.

    Args:
        name: of the trace set.
        doc: what it is.
        origin: where the pattern is from.
        kernel: version whose event format and gfp flags the trace has.
        cpus: CPUs.
        memory: bytes of memory.
        used: share of it in use before the trace.
        seed: of all that is random.
        events: the trace ends with this event; 0: with its last phase.
        caches: the caches that are named.
        phases: what follows on what; with ``events`` they begin again until it is reached.
        works: what allocates.
        roles: CPUs that the frees speak of: CPU c does as number c modulo this.
    """

    name: str
    doc: str
    origin: str
    kernel: str
    cpus: int
    memory: int
    used: Decimal
    seed: int
    events: int
    caches: tuple[Cache, ...]
    phases: tuple[Phase, ...]
    works: tuple[Work, ...]
    roles: int

    @property
    def allocates(self) -> bool:
        """Whether anything is allocated in the trace."""
        for work in self.works:
            arrival = work.arrival
            if arrival.kind == "closed":
                return True
            if arrival.kind == "spread" and round(arrival.count * self.phases[0].rate):
                return True
            if any(arrival.rate(phase) * self.phases[phase].rate for phase in work.phases):
                return True
        return False

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size of each named cache."""
        return {cache.name: cache.size for cache in self.caches}
