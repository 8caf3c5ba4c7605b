"""Probes of functions without a tracepoint: which there are, and what their formats say (T19)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from allocsim.trace.events import Ev, Probe
from pipeline.ingest.formats import Field

if TYPE_CHECKING:
    from pipeline.ingest.formats import EventFormat

#: What an element of an array of pointers is among the kinds of fields.
ELEMENT = "element"
POINTER = 8  #: bytes of one
_EVENT = {
    Probe.KFREE_RCU_SHEAF: Ev.KFREE,
    Probe.KMEM_CACHE_FREE_BULK: Ev.KMEM_CACHE_FREE,
    Probe.KMEM_CACHE_ALLOC_BULK: Ev.KMEM_CACHE_ALLOC,
}
#: By field of a probe, the column it lands in; the first of them that a format has.
_COLUMNS = {
    "caller": "call_site",
    "__probe_ret_ip": "call_site",
    "__probe_ip": "call_site",
    "cache": "cache",
    "bytes_alloc": "bytes_alloc",
    "gfp": "gfp_flags",
}


@dataclass(frozen=True, slots=True)
class ProbeFormat:
    """A probe of a recording.

    Attributes:
        probe: which.
        event: what its objects are events of.
        columns: where their columns lie.
        first: number of the first object of the call that it shows.
        most: how many it can show.
        number: the common_type of its records.
        nr: how many objects the call was of; None: one.
        done: what the call returned, 0 for nothing; None: it is not asked.
        size: bytes that a record has at least.
    """

    probe: Probe
    event: Ev
    columns: dict[str, Field]
    first: int
    most: int
    number: int
    nr: Field | None
    done: Field | None
    size: int

    @classmethod
    def of(cls, layout: EventFormat) -> ProbeFormat | None:
        """The probe that a format is of; None if it is none of ours, or lacks what it needs."""
        name, _, first = layout.name.partition("_from_")
        if name.upper() not in Probe.__members__ or not (first or "0").isdecimal():
            return None
        probe, fields = Probe[name.upper()], layout.fields
        pointer = fields.get("ptrs") or fields.get("ptr")
        if pointer is None or pointer.size < POINTER or pointer.size % POINTER:
            return None
        nr = fields.get("nr")
        if pointer.size > POINTER and nr is None:
            return None
        columns = {"ptr": Field(pointer.name, pointer.offset, POINTER, signed=False, kind=ELEMENT)}
        for name_, column in _COLUMNS.items():
            if name_ in fields and column not in columns:
                columns[column] = fields[name_]
        if "call_site" not in columns:
            return None
        if probe is Probe.KMEM_CACHE_ALLOC_BULK and "bytes_alloc" not in columns:
            return None
        asked = [pointer, *columns.values(), *(one for one in (nr, fields.get("done")) if one)]
        return cls(
            probe,
            _EVENT[probe],
            columns,
            int(first or "0"),
            pointer.size // POINTER,
            layout.number,
            nr,
            fields.get("done"),
            max(where.end for where in asked),
        )


@dataclass(slots=True)
class Probes:
    """The probes of a recording, and what their records showed.

    Attributes:
        slots: by the slot of their objects.
        calls: objects of all calls, as far as these say how many.
        shown: by probe, those that an event is made of.
    """

    slots: dict[int, ProbeFormat] = field(default_factory=dict)
    calls: int = 0
    shown: Counter[Probe] = field(default_factory=Counter)

    def said(self) -> list[str]:
        """A sentence on the objects that no array had room for, if there are any."""
        hidden = self.calls - self.shown.total()
        if not hidden:
            return []
        said = f"{hidden:,} of {self.calls:,} objects of probed calls are not shown"
        return [f"{said}: arrays of probes have no more room"]
