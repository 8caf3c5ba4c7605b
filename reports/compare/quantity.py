"""One quantity of a comparison: a measure per another."""

from __future__ import annotations

from dataclasses import dataclass

from reports.compare.all_measures import BY_NAME

OPS = "Reference operations"
COSTS = "Time of reference operations"
DESCRIPTORS = "Page descriptors"
PAGES = "Pages and slabs"
PATHS = "Paths"
SHEAVES = "Sheaves and barns"
FRAGMENTATION = "Fragmentation"
LIVES = "Lifetimes"
CACHES = "Caches"
SITES = "Call sites"
GROUPS = (
    OPS,
    COSTS,
    PAGES,
    DESCRIPTORS,
    PATHS,
    SHEAVES,
    FRAGMENTATION,
    LIVES,
    CACHES,
    SITES,
)  #: as they are shown
MOVERS = (CACHES, SITES)  #: groups with too many rows to print: only what moved is shown

#: How a quantity is known, and what that means.
KNOWN = {
    "observed": "events of the recording, counted",
    "inferred": "the same, told apart by kinds of page, caches or lives that the model finds out",
    "priced": "the same, times what a policy says each stage of a life costs; what page_ref events"
    " tell of the use stage is observed",
    "estimated": "the same, times what a scheme of page descriptors or a table of costs says:"
    " published or estimated figures, never more than a range",
    "simulated": "what the model does with the requests of the recording",
}

PER_EVENTS = "per 1,000 events"  #: object and page allocations and frees
PER_ALLOCS = "per 1,000 page allocations"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measure per another.

    Args:
        group: heading under which it is shown; one of GROUPS.
        name: its name; the item's follows it where there are items.
        part: name of the measure above the line.
        whole: name of the measure below it.
        unit: of the quotient times ``scale``.
        doc: one sentence on what it is.
        known: how it is known: a key of KNOWN.
        scale: 1000 for "per 1,000 events", 100 for per cent.
        items: a row for each item of ``part``; one row for all of them together if False.
        order: items in the order in which they are shown; else the largest first.
        listed: a run does not have the items that ``part`` does not list, not none of them.
        own_whole: divide by the same item of ``whole``; by all of them together if False.
        headline: shown on the first page.
        counted: part and whole are counts of events, too few of which are not tested.
        state: a state that lasts: how it varies from slice to slice says nothing of another run.
        kinds: items are kinds of page: what is none because a kind is frozen, is not by chance.
        bins: name of the binned measure that tells how a quantile varies within a run.
        quantile: which quantile of it ``part`` is.
    """

    group: str
    name: str
    part: str
    whole: str
    unit: str
    doc: str
    known: str
    scale: float = 1
    items: bool = False
    order: tuple[str, ...] = ()
    own_whole: bool = False
    listed: bool = False
    headline: bool = False
    counted: bool = True
    state: bool = False
    kinds: bool = False
    bins: str = ""
    quantile: float = 0

    @property
    def sliced(self) -> bool:
        """Whether part and whole are known by time slice."""
        return BY_NAME[self.part].sliced and BY_NAME[self.whole].sliced

    @property
    def varies(self) -> bool:
        """Whether how it varies within a run says how far another run may differ."""
        return (self.sliced and not self.state) or bool(self.bins)
