"""Reading a folder of tables: all events in order of time, whatever table they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.events import EVENTS
from pipeline.ingest.event_tables import folder as folders
from pipeline.ingest.event_tables.table import EventTable
from pipeline.ingest.events import STACK, EventTypes, Kept
from pipeline.ingest.formats import EventFormat, Field
from pipeline.ingest.raw.laid_out import COMMON, STACK_HEAD, Laid, joined
from pipeline.ingest.raw.time_chunks import LATEST, NEAR, ChunkPlaces, time_orders
from pipeline.ingest.reader import Facts
from pipeline.ingest.stacks.symbols import Kallsyms
from pipeline.ingest.stream import SLACK, Heads, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_STACK, _USER_STACK = 200, 201
_MEMBERS = {name: event for event in EVENTS for name in (event.name, *event.aliases)}
_LACKS = (
    "tables of events lack what the recording had: lost events, the machine's page size (4 KiB is "
    "taken), and which of two events of one CPU and time came first (in order of their names)"
)
_NO_RELEASE = (
    "the kernel's release is not in the tables, and a replay needs it: put the output of uname -a "
    "beside them, in a file called uname, and import it again"
)
_NO_FLAGS = (
    "no common_flags in {tables}: what interrupts did is told from what tasks did by nothing"
)
_NO_SYMBOLS = (
    "no symbols: neither a meta.json of trace-dump nor a copy of /proc/kallsyms, called kallsyms, "
    "lies beside them; functions are addresses only"
)
_INCOMPLETE = "{count} rows of {table} lack a value and are left out"


class EventTablesReader:
    """The reader of a folder of tables, one an event (pipeline.ingest.reader.Reader).

    Args:
        folder: the folder.
        uname: what uname -a said of the recorded kernel; "" if that is not known.

    Raises:
        InputError: a table is damaged, or lacks what every event has.
    """

    word = 8
    page_size = 4096

    def __init__(self, folder: Path, uname: str) -> None:
        self.path = str(folder)
        self._meta = folders.read_dump_meta(folder)
        self._uname = uname.split()
        self._tables: list[EventTable] = []
        self._others: dict[str, int] = {}
        self.types = EventTypes(common=COMMON)
        found = folders.tables_in(folder)
        # Stacks last: of one time they come behind their events.
        for name in sorted(found, key=lambda name: (name not in _MEMBERS, name)):
            self._take(name, found[name])
        self._heads: Heads = Heads(self.types, "<")
        self._cpus = self._meta.cpus
        self._read = 0
        self._no_symbols = False

    def _take(self, name: str, path: Path) -> None:
        types = self.types
        if name in _MEMBERS:
            number = len(types.kept)
            table = EventTable(path, number, _MEMBERS[name])
            layout = {where.name: where for where in table.columns.values()}
            layout |= {
                each: Field(each, 0, 0, signed=False, kind="array") for each in table.ignored
            }
            kept = EventFormat(number, _MEMBERS[name].system, name, {**COMMON, **layout})
            types.kept.append(Kept(_MEMBERS[name], kept, table.columns))
            types.slot[number] = number
        elif name == folders.STACK:
            number = _STACK
            table = EventTable(path, number, None)
            caller = Field("caller", STACK_HEAD, 0, signed=False)
            types.stack = EventFormat(number, "ftrace", name, {**COMMON, "caller": caller})
            types.slot[number] = STACK
        elif name == folders.USER_STACK:
            number = types.user_stack = _USER_STACK
            table = EventTable(path, number, None)
        else:
            # Its rows are counted by what the file says, without reading them.
            self._others[name] = EventTable(path, 0, None).rows
            return
        types.names[number] = name
        self._tables.append(table)

    @property
    def progress(self) -> float:
        """The part of the recording that has been read, 0 to 1."""
        return min(self._read / max(sum(table.rows for table in self._tables), 1), 1.0)

    def symbols(self, beside: Callable[[], memoryview]) -> Kallsyms:
        """The symbols that meta.json has, or those of the kallsyms ``beside`` it."""
        symbols = Kallsyms(memoryview(self._meta.kallsyms) if self._meta.kallsyms else beside())
        self._no_symbols = not len(symbols)
        return symbols

    def streams(self, budget: int) -> Iterator[Stream]:
        """The records of windows of about ``budget`` bytes."""
        sources = [table.laid() for table in self._tables]
        reach = [-LATEST] * len(sources)  # how far each table was read
        held: list[tuple[int, Laid]] = []
        since, waiting = -LATEST, 0
        while True:
            open_ = [number for number, far in enumerate(reach) if far < LATEST]
            until = min((reach[number] for number in open_), default=LATEST) - NEAR
            if open_ and (waiting < budget or until <= since):
                number = min(open_, key=lambda each: reach[each])
                part = next(sources[number], None)
                reach[number] = LATEST if part is None else int(part.ts[-1])
                if part is not None:
                    held.append((number, part))
                    waiting += len(part.data)
                    self._read += len(part.ts)
                continue
            until = until if open_ else LATEST
            yield self._stream([part for _, part in sorted(held, key=_number)], since, until)
            if not open_:
                return
            held = [(number, part) for number, part in held if part.ts[-1] >= until - NEAR]
            since, waiting = until, 0

    def _stream(self, parts: list[Laid], since: int, until: int) -> Stream:
        near = joined([part.between(since - NEAR, until + NEAR) for part in parts], SLACK)
        order, _ = time_orders(near.ts, near.cpu)  # of one time the lower CPU comes first
        ts, cpu = near.ts[order], near.cpu[order]
        self._cpus = max(self._cpus, int(cpu.max(initial=0)) + 1)
        offset, size = near.offset[order], near.size[order]
        none = np.zeros(1, np.int64)
        places = ChunkPlaces(f"{self.path}: record at", none, none)
        head, slot = self._heads.read(near.data, offset, size, places)
        return Stream(
            data=near.data,
            order="<",
            offset=offset,
            size=size,
            ts=ts,
            cpu=cpu,
            slot=slot,
            head=head,
            inside=(ts >= since) & (ts < until),
            places=places,
        )

    def facts(self) -> Facts:
        """What the recording says of itself."""
        words = self._uname
        comms = {pid: name for table in self._tables for pid, name in table.comms.items()}
        none = {str(cpu): 0 for cpu in range(self._cpus)}
        lacking = sum(table.incomplete for table in self._tables)
        return Facts(
            format="tables of events",
            version=1,
            kernel_release=words[2] if len(words) > 2 else None,
            arch=words[-2] if len(words) > 4 else None,
            cpus=self._cpus,
            clock=self._meta.clock or "not named",
            ts_unit="ns",
            lost={"per_cpu": none, "sources": {"marks_without_a_number": none}},
            comms=comms | self._meta.comms,
            dropped=self._others | ({"unreadable_lines": lacking} if lacking else {}),
            lacks=list(self._lacks()),
        )

    def _lacks(self) -> Iterator[str]:
        yield _LACKS
        if len(self._uname) <= 2:
            yield _NO_RELEASE
        if self._no_symbols:
            yield _NO_SYMBOLS
        without = [table.path.name for table in self._tables if not table.has_flags]
        if without:
            some = without[0] if len(without) == 1 else f"{without[0]} and {len(without) - 1} more"
            yield _NO_FLAGS.format(tables=some)
        for table in self._tables:
            if table.incomplete:
                yield _INCOMPLETE.format(count=table.incomplete, table=table.path.name)
        for event, error in self._meta.errors.items():
            if event in folders.READ:
                yield f"trace-dump could not read all of {event}: {error}"


def _number(held: tuple[int, Laid]) -> int:
    return held[0]
