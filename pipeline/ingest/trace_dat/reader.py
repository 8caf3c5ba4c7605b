"""Reading a trace.dat: the records of one of its instances, and what the file says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.events import EventTypes
from pipeline.ingest.raw.cursor import text_of
from pipeline.ingest.reader import Facts
from pipeline.ingest.stacks.symbols import Kallsyms
from pipeline.ingest.trace_dat.container import CPUCOUNT, CPUSTAT, UNAME, read_trace_dat
from pipeline.ingest.trace_dat.cpu_stats import LOST, lost_by_cpu
from pipeline.ingest.trace_dat.instances import Instance, choose, name_of
from pipeline.trace_set.parts import PAGE_SIZES, PIDS
from pipeline.untrusted import must_be_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.ingest.stream import Stream
    from pipeline.ingest.trace_dat.container import TraceDat


_OVERWRITTEN, _, _REFUSED = LOST


class TraceDatReader:
    """The reader of a trace.dat (pipeline.ingest.reader.Reader).

    Args:
        path: the file's name, for errors.
        data: the whole file.
        instance: the trace instance to read; None: the only one with kmem events.

    Raises:
        InputError: it is damaged, of a version that is not known, or has no such instance.
    """

    def __init__(self, path: str, data: memoryview, instance: str | None = None) -> None:
        self.path = path
        trace = self._trace = read_trace_dat(path, data)
        self.page_size = _page_size(trace)
        self.types = EventTypes.of(trace.formats, path)
        self._instance = Instance(trace, choose(trace, self.types, instance), self.types)
        self.word = self._instance.layout.commit_size

    @property
    def progress(self) -> float:
        """The part of the recording that has been read, 0 to 1."""
        size = sum(cpu.size for cpu in self._instance.buffer.cpus)
        return sum(cpu.consumed for cpu in self._instance.cpus) / max(size, 1)

    def symbols(self, beside: Callable[[], memoryview]) -> Kallsyms:
        """The recording's own symbols, or those ``beside`` it."""
        text = self._trace.kallsyms() or beside()
        self.types.name_unlisted(text, self.word)
        return Kallsyms(text)

    def streams(self, budget: int) -> Iterator[Stream]:
        """The records of windows of about ``budget`` bytes."""
        return self._instance.streams(budget)

    def facts(self) -> Facts:
        """What the recording says of itself."""
        trace = self._trace
        release, arch = _uname(trace.text(UNAME))
        lost_counts = self._lost_counts()
        return Facts(
            format="trace.dat",
            version=trace.version,
            kernel_release=release,
            arch=arch,
            cpus=self._cpu_count(),
            clock=self._instance.clock.name,
            ts_unit=self._instance.clock.unit,
            lost=self._lost(lost_counts),
            comms=comms_of(trace.cmdlines, self.path),
            overwritten=self._overwritten(lost_counts),
            refused={cpu: counts[_REFUSED] for cpu, counts in lost_counts.items()},
            watched_cpus=lost_counts.keys(),
            instance=self._instance.buffer.name,
            other_buffers=self._others(),
        )

    def _others(self) -> list[str]:
        """The instances with data that are not read."""
        taken = self._instance.buffer
        filled = (each for each in self._trace.buffers if any(cpu.size for cpu in each.cpus))
        return [name_of(each) for each in filled if each is not taken]

    def _cpu_count(self) -> int:
        """CPUs of the machine; numbers may have holes, and idle ones have no section."""
        data = self._trace.option(CPUCOUNT)
        told = 0
        if data is not None and len(data) == 4:
            told = int(np.frombuffer(data, f"{self._trace.order}u4")[0])
        return max(told, 1, *(section.cpu + 1 for section in self._instance.buffer.cpus))

    def _lost_counts(self) -> dict[int, dict[str, int]]:
        """What the ring buffer counted of each CPU's lost events."""
        texts = [text_of(data) for number, data in self._trace.options if number == CPUSTAT]
        return lost_by_cpu(texts, self._instance.buffer.name, self.path)

    def _overwritten(self, lost_counts: dict[int, dict[str, int]]) -> dict[int, int | None]:
        """Events lost before each CPU's first, by the mark on its first sub-buffer.

        Where no sub-buffer at all has a mark, those that the ring buffer counts were lost there.
        """
        found: dict[int, int | None] = {}
        for cpu in self._instance.cpus:
            overwritten = cpu.overwritten
            if not cpu.marks:
                overwritten = lost_counts.get(cpu.cpu, {}).get(_OVERWRITTEN, 0)
            if overwritten != 0:
                found[cpu.cpu] = overwritten
        return found

    def _lost(self, lost_counts: dict[int, dict[str, int]]) -> dict[str, Any]:
        """Lost events per CPU, and who says so.

        The marks on sub-buffers and the statistics count the same losses, so the larger one counts.
        """
        cpus = self._instance.cpus
        marked = {cpu.cpu: cpu.lost for cpu in cpus}
        every = sorted({cpu.cpu for cpu in self._instance.buffer.cpus} | set(lost_counts))
        counted = {cpu: sum(lost_counts.get(cpu, {}).values()) for cpu in every}
        return {
            "per_cpu": {str(cpu): max(counted[cpu], marked.get(cpu, 0)) for cpu in every},
            "sources": {
                "missed_events": {str(cpu): marked.get(cpu, 0) for cpu in every},
                "marks": {str(cpu.cpu): cpu.marks for cpu in cpus},
                "marks_without_a_number": {str(cpu.cpu): cpu.unknown for cpu in cpus},
                **{
                    name.replace(" ", "_"): {
                        str(cpu): lost_counts[cpu][name] for cpu in sorted(lost_counts)
                    }
                    for name in LOST
                },
            },
        }


def _page_size(trace: TraceDat) -> int:
    """Bytes of a page of the recorded kernel.

    The header's figure is that of a sub-buffer (trace-cmd 3.3 lib/trace-cmd/trace-output.c:
    get_trace_page_size): one page, unless buffer_subbuf_size_kb says more (6.8 and later).

    Raises:
        InputError: it is neither a page size nor does the architecture tell.
    """
    _, arch = _uname(trace.text(UNAME))
    if arch == "x86_64":
        return PAGE_SIZES[0]
    if trace.page_size not in PAGE_SIZES:
        raise InputError(
            f"{trace.path}: sub-buffers of {trace.page_size} bytes do not tell the page size of "
            f"{arch or 'the machine'}; record with buffer_subbuf_size_kb as it is after boot"
        )
    return trace.page_size


def _uname(text: str) -> tuple[str | None, str | None]:
    """Release and machine: the option holds sysname, nodename, release and machine."""
    words = text.split()
    return (words[2], words[3]) if len(words) >= 4 else (None, None)


def comms_of(text: bytes, where: str) -> dict[str, str]:
    """Names of tasks by pid: lines of pid and name (tracefs saved_cmdlines).

    Raises:
        InputError: a pid is a number that no kernel has; says ``where``.
    """
    lines = text_of(text).splitlines()
    pairs = (line.partition(" ") for line in lines)
    named = {pid: comm for pid, _, comm in pairs if pid.isdigit()}
    for pid in named:
        must_be_number(pid, f"{where}: the pid of a command line", most=PIDS)
    return named
