"""What a reader of one format of recordings gives: streams of records, and what it knows besides.

A reader lays every event out as a record of the kernel's ring buffer, whatever the file holds; from
there on all formats take the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from allocsim.tables import U8
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.stream import Stream
    from pipeline.trace_set.parts import Symbols


@dataclass(frozen=True, slots=True)
class Facts:
    """What a recording says of itself, complete once all its streams have been made.

    Attributes:
        format: what kind of file it is.
        version: the format's version.
        kernel_release: uname -r of the recorded kernel; None: it does not say.
        arch: its uname -m; None: it does not say.
        cpus: CPUs of the machine.
        clock: the name of the clock.
        ts_unit: what ``ts`` counts.
        lost: what meta.json says of lost events.
        comms: names of tasks by pid.
        dropped: records that no stream has, by name.
        instance: the trace instance that is read; "" for the top one, and where there is no other.
        other_buffers: other trace instances in the file with data, which are not read.
        tracer: the tracer that ran beside the events, if it says; "" if not.
        overwritten: how many events each CPU lost before its first one, in overwrite mode of the
            ring buffer; None: it did, but not how many.
        refused: how many events found the buffer of each CPU full.
        watched_cpus: the CPUs of which the recording says whether such events were lost.
        lacks: what recordings of this format, or this one, cannot tell: a sentence each.
    """

    format: str
    version: int
    kernel_release: str | None
    arch: str | None
    cpus: int
    clock: str
    ts_unit: str
    lost: dict[str, Any]
    comms: dict[str, str]
    dropped: dict[str, int] = field(default_factory=dict)
    instance: str = ""
    other_buffers: list[str] = field(default_factory=list)
    tracer: str = ""
    overwritten: dict[int, int | None] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    watched_cpus: Collection[int] = ()
    lacks: list[str] = field(default_factory=list)


class SymbolTable(Protocol):
    """Names of code addresses."""

    def __len__(self) -> int:
        """How many symbols there are."""

    def name(self, address: int) -> str | None:
        """The symbol that ``address`` lies in; None if none is known."""

    def resolve(self, addresses: U8) -> Symbols:
        """The symbols that ``addresses`` (ascending) lie in."""


class Reader(Protocol):
    """A recording of one format, opened.

    Attributes:
        path: the file's name, for errors.
        page_size: bytes of a page of the recorded kernel.
        word: bytes of an address in it.
    """

    path: str
    page_size: int
    word: int

    @property
    def types(self) -> EventTypes:
        """The types of the recording's events."""

    @property
    def progress(self) -> float:
        """The part of the recording that has been read, 0 to 1."""

    def symbols(self, beside: Callable[[], memoryview]) -> SymbolTable:
        """The kernel's symbols, where the recording has none those of the kallsyms ``beside`` it.

        Raises:
            InputError: they are damaged, or not of the recorded kernel.
        """

    def streams(self, budget: int) -> Iterator[Stream]:
        """The records of one window of time after another, each of about ``budget`` bytes.

        Raises:
            InputError: the recording is damaged.
        """

    def facts(self) -> Facts:
        """What the recording says of itself; after all streams have been made."""
