"""Object requests of a recording, with lifetimes worked out in the simplest way there is."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_7_2
from allocsim.tables import concat
from allocsim.trace.events import Ev
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.oracle.slub_compare import Trace

PAGE_SHIFT = 12
LARGEST = 8192  # what is larger comes from the page allocator (R3.1)
COLUMNS = ("event", "cpu", "ptr", "cache", "bytes_alloc", "metadata")
ALLOCS = (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC)
FREES = (Ev.KFREE, Ev.KMEM_CACHE_FREE)


def of_recording(folder: Path, most: int) -> Trace:
    """The first ``most`` object requests of a recording.

    A cache is its name where the event has one, else its size. An object freed but never allocated
    lay in a slab older than the trace; where its cache is not known, its free is left out. So is
    what the allocator took for its own sheaves, which the model makes itself (T7).
    """
    with TemporaryDirectory() as target:
        trace_set = TraceSet.open(import_recording(folder, Path(target)))
        columns = concat(trace_set.windows(columns=COLUMNS))
        names = trace_set.text("cache")
        cpus = trace_set.meta["cpus"]
    rows = list(zip(*(columns[name].tolist() for name in COLUMNS), strict=True))

    sizes: dict[str, int] = {}
    for event, _, _, name, size, _ in rows:
        if event in ALLOCS and 0 < size <= LARGEST:
            sizes[_cache(names, event, name, size)] = size
    number = {cache: at for at, cache in enumerate(sizes)}
    shapes = cache_shapes(LINUX_7_2, list(sizes.items()), cpus)

    live: dict[int, tuple[int, int]] = {}
    pre_trace: dict[int, tuple[int, int]] = {}
    places: set[tuple[int, int]] = set()
    older: dict[tuple[int, int], int] = {}
    requests = []
    for seq, (event, cpu, ptr, name, size, metadata) in enumerate(rows):
        if len(requests) == most:
            break
        if metadata:
            continue
        if event in ALLOCS and 0 < size <= LARGEST:
            cache = number[_cache(names, event, name, size)]
            live[ptr] = seq, cache
            requests.append((seq, cpu, cache, +1, seq))
        elif event in FREES and ptr in live:
            handle, cache = live.pop(ptr)
            requests.append((seq, cpu, cache, -1, handle))
        elif event in FREES and name >= 0 and names[name] in number:
            cache = number[names[name]]
            shift = PAGE_SHIFT + shapes[cache].order
            key = older.setdefault((cache, ptr >> shift), -2 - len(older))
            place = key, ptr % (1 << shift) // shapes[cache].size
            if place not in places:  # a second time, an allocation in between was not traced (T6)
                places.add(place)
                pre_trace[seq] = place
                requests.append((seq, cpu, cache, -1, seq))
    return Trace(shapes, cpus, requests, pre_trace)


def _cache(names: list[str], event: int, name: int, size: int) -> str:
    if name >= 0:
        return names[name]
    if event != Ev.KMALLOC:
        return f"size {size}"
    return f"kmalloc-{size}" if size < 1024 else f"kmalloc-{size // 1024}k"
