"""What a comparison compares: a measure per another one, as quantities.toml has them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from reports.compare.measure import MEASURES

OPS = "Reference operations"
MEMORY = "Memory of objects"
FRAGMENTATION = "Fragmentation"
CACHES = "Caches"
SITES = "Call sites"
MOVERS = (CACHES, SITES)  #: groups with too many rows to print: only what moved is shown

#: How a quantity is known, and what that means.
KNOWN = {
    "observed": "events of the recording, counted",
    "inferred": "the same, sorted by kinds of page, caches or lives that the model finds out",
    "priced": "the same, times what a policy says each stage of a life costs; what page_ref events"
    " show of the use stage is observed",
    "estimated": "the same, times what a scheme of page descriptors or a table of costs says:"
    " published or estimated figures, never more than a range",
    "simulated": "what the model does with the requests of the recording",
}

#: What a difference changes, in the order in which differences come.
EFFECTS = {
    "locked": "operations on reference counts",
    "memory": "memory",
    "lock": "list locks",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measure per another.

    Args:
        group: heading under which it is shown.
        name: its name; the item's follows it where there are items.
        part: name of the measure above the line.
        unit: of the quotient times ``scale``.
        doc: one sentence on what it is.
        known: how it is known: a key of KNOWN.
        whole: name of the measure below it; else objects that every side shows.
        scale: 1000 for "per 1,000 objects", 100 for per cent.
        items: a row for each item of ``part``; one row for all of them together if False.
        order: items in the order in which they are shown; else the largest first.
        listed: a run does not have the items that ``part`` does not list, not none of them.
        own_whole: divide by the same item of ``whole``; by all of them together if False.
        effect: what a difference changes, a key of EFFECTS; '' for none of them.
        headline: shown on the first page.
        counts: name of the measure of events behind ``part`` where that is no count of them itself.
        tested: False: another row tells the same times a size, and is tested.
        counted: part and whole are counts of events, too few of which are not tested.
        state: a state that lasts: how it varies from slice to slice says nothing of another run.
        kinds: items are kinds of page: what is none because a kind is frozen, is not by chance.
        bins: name of the binned measure that tells how a quantile varies within a run.
        quantile: which quantile of it ``part`` is.
    """

    group: str
    name: str
    part: str
    unit: str
    doc: str
    known: str
    whole: str = "objects"
    scale: float = 1
    items: bool = False
    order: tuple[str, ...] = ()
    own_whole: bool = False
    listed: bool = False
    effect: str = ""
    headline: bool = False
    counts: str = ""
    tested: bool = True
    counted: bool = True
    state: bool = False
    kinds: bool = False
    bins: str = ""
    quantile: float = 0

    @property
    def sliced(self) -> bool:
        """Whether part and whole are known by time slice."""
        return MEASURES[self.part].sliced and MEASURES[self.whole].sliced

    @property
    def varies(self) -> bool:
        """Whether how it varies within a run says how far another run may differ."""
        return (self.sliced and not self.state) or bool(self.bins)


@dataclass(frozen=True, slots=True)
class BriefRow:
    """A row of the brief table.

    Args:
        part: the measure that a quantity of objects has above the line.
        name: what the row is called there.
        item: its item; '' for the quantity that has none.
    """

    part: str
    name: str
    item: str = ""


_DATA = tomllib.loads((files("reports.compare") / "quantities.toml").read_text("utf-8"))
QUANTITIES = tuple(
    Quantity(**{**row, "order": tuple(row.get("order", ()))}) for row in _DATA["quantity"]
)
BRIEF = tuple(BriefRow(**row) for row in _DATA["brief"])
GROUPS = tuple(dict.fromkeys(quantity.group for quantity in QUANTITIES))  #: as they are shown
#: Lifetimes that are shown as whole distributions: what of, and the binned measure.
DISTRIBUTIONS = {"Lifetimes of objects": "object_bins", "Lifetimes of pages": "page_bins"}
