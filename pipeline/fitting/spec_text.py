"""A fitted spec as the text of its file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.release import kernel_of, nearest
from allocsim.toml_data.table import is_name
from allocsim.toml_data.text import toml
from pipeline.fitting.lifetime_quantiles import CLOSE
from pipeline.fitting.lines import (
    FittedWork,
    object_line,
    page_line,
    pre_trace_works,
    works_of,
)
from pipeline.fitting.periods import SWING
from pipeline.fitting.pre_trace_slabs import (
    pages_in_use,
    pre_trace_object_works,
    spare_works,
    unseen_works,
)
from pipeline.synth.spec.model import KERNELS
from pipeline.synth.spec.parse import MEMORY
from pipeline.synth.spec.units import write_time
from reports.render.wording import visible

if TYPE_CHECKING:
    from pipeline.fitting.lives import Observed

_GIB = 1 << 30


def fitted_text(observed: Observed) -> str:
    """The spec of an observed trace, as TOML."""
    names = _cache_names(observed)
    works = _object_works(observed, names) + _page_works(observed)
    parts = [_head(observed)]
    used = {line["cache"] for work in works for line in work.allocate if "cache" in line}
    for number, (_, size) in enumerate(observed.caches):
        if names[number] in used:
            parts.append(_cache(observed, number, names[number], size))
    parts.append(f'[[phase]]\nname = "all"\nlength = {toml(write_time(observed.length))}\n')
    parts += [_work(work) for work in works]
    return "\n".join(parts)


def _cache_names(observed: Observed) -> dict[int, str]:
    """A name for each cache that a spec may have."""
    names: dict[int, str] = {}
    for number, (name, _) in enumerate(observed.caches):
        plain = "".join(c for c in name if not c.isspace())
        if "kmalloc" in plain and "cache" in object_line(plain):
            plain = plain.replace("kmalloc", "km")
        names[number] = plain
    return names


def _object_works(observed: Observed, names: dict[int, str]) -> list[FittedWork]:
    cpus = observed.recorded.cpus
    lives, pre_trace = observed.objects, observed.pre_trace_objects
    works = []
    for number in range(len(observed.caches)):
        line = object_line(names[number])
        slabs = observed.pre_trace_slabs[number]
        works += pre_trace_object_works(line, pre_trace.of(number), slabs, cpus)
        works += unseen_works(line, pre_trace.of(number), slabs, cpus)
        made = works_of(line, lives.of(lives.what == number), cpus)
        works += (spare_works(line, slabs, cpus) if made else []) + made
    return works


def _page_works(observed: Observed) -> list[FittedWork]:
    cpus = observed.recorded.cpus
    lives, pre_trace = observed.pages, observed.pre_trace_pages
    works = []
    for what in np.unique(np.concatenate((lives.what, pre_trace.what))).tolist():
        line = page_line(what)
        works += pre_trace_works(line, pre_trace.of(what), cpus)
        works += works_of(line, lives.of(lives.what == what), cpus)
    return works


def _head(observed: Observed) -> str:
    recorded = observed.recorded
    kernel = nearest_kernel(recorded.release)
    memory = max(observed.managed << 12, MEMORY[0])
    # What is older must fit what was in use, which rounds up.
    least = pages_in_use(
        observed.pre_trace_slabs, observed.pre_trace_pages.what & 255, recorded.cpus
    )
    in_use = max(observed.managed - observed.free, least)
    used = min(math.ceil(10_000 * in_use / (memory >> 12)) / 10_000, 0.9)
    left_out = left_out_text(observed)
    name = visible(observed.name)
    return f"""# Fitted by allocsim fit to the trace {name} (Linux {recorded.release},
# {observed.events} events in {observed.length / 1e9:.3f} s{left_out}).
#
# Of each caller of a cache on each CPU, and of pages by kind, a work for each period and fate:
# what dies in the period, what outlives it, what outlives the trace. Periods end where the number
# alive, or what a CPU gains from the others, turns by more than {100 * SWING:g} %, and every eighth
# of the births. A formula stands for lifetimes if its deciles are within {100 * CLOSE:g} %, else
# quantiles, between which all are.
# Work that is "before" fills slabs as they were when the trace began: what dies in it, what was
# free and whose sheaf it lay in, what stays. What is "unused" is assumed. Work that is not traced
# was allocated without an event.

name = {toml(_name(observed.name))}
doc = {toml(f"Fitted to {observed.name}.")}
source = {toml(f"allocsim fit {observed.name}")}
kernel = {toml(kernel)}
cpus = {recorded.cpus}
memory = {toml(f"{memory >> 20} MiB")}
used = {used:.4f}
"""


def nearest_kernel(release: str) -> str:
    """Which of the kernels that specs know is most like another: it sets the count where that does.

    Args:
        release: uname -r of the recorded kernel.
    """
    found = nearest(kernel_of(release), [kernel_of(name) for name in KERNELS])
    return ".".join(map(str, found.version))


def left_out_text(observed: Observed) -> str:
    """What of the trace is not in the spec, for the end of a sentence; empty: nothing."""
    parts = (
        (observed.unsized, "allocations from caches whose size nothing tells"),
        (observed.pieces, "frees of parts of page blocks"),
    )
    said = " and ".join(f"{count} {what}" for count, what in parts if count)
    return f", {said} left out" if said else ""


def _name(trace: str) -> str:
    """A name for the trace set of a spec, by that of the trace."""
    fit = "".join(c if is_name(f"x{c}") else "-" for c in trace)
    return f"{fit[:80].lstrip('.-') or 'trace'}-fitted"


def _cache(observed: Observed, number: int, name: str, size: int) -> str:
    facts = observed.recorded.facts.get(observed.caches[number][0])
    flags = []
    if facts is not None:
        flags += ["reclaimable"] if facts.reclaim_account else []
        flags += ["dma"] if facts.cache_dma else []
    text = f"[[cache]]\nname = {toml(name)}\nsize = {-(-size // 8) * 8}\n"
    return text + (f"flags = {toml(flags)}\n" if flags else "")


def _work(work: FittedWork) -> str:
    lines = ["[[work]]", f"name = {toml(work.name)}"]
    used = [cpu for cpu, weight in enumerate(work.cpus) if weight]
    weights = [work.cpus[cpu] for cpu in used]
    if len(used) < len(work.cpus) or len(set(weights)) > 1:
        lines.append(f"cpus = {toml(used)}")
        if len(used) > 1:
            lines.append(f"weights = {toml(weights)}")
    lines += [f"arrival = {toml(work.arrival)}", f"allocate = {toml(work.allocate)}"]
    if work.lifetime:
        lines.append(f"lifetime = {toml(work.lifetime)}")
    if work.free:
        lines.append(f"free = {toml(work.free)}")
    return "\n".join(lines) + "\n"
