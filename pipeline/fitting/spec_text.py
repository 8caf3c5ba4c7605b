"""A fitted spec as the text of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernel import kernel_of
from pipeline.fitting.lines import (
    PERIODS,
    QUANTILES,
    FittedWork,
    free_place_works,
    object_line,
    older_works,
    page_line,
    phase_limits,
    works_of,
)
from pipeline.synth.machine import machine_shapes
from pipeline.synth.spec import KERNELS
from pipeline.synth.units import write_time

if TYPE_CHECKING:
    from pipeline.fitting.observed import Observed

_GIB = 1 << 30


def fitted_text(observed: Observed) -> str:
    """The spec of an observed trace, as TOML."""
    limits = phase_limits(observed)
    names = _cache_names(observed)
    works = _object_works(observed, limits, names) + _page_works(observed, limits)
    parts = [_head(observed, len(limits) - 1)]
    used = {line["cache"] for work in works for line in work.allocate if "cache" in line}
    for number, (_, size) in enumerate(observed.caches):
        if names[number] in used:
            parts.append(_cache(observed, number, names[number], size))
    for number, length in enumerate(np.diff(limits).tolist()):
        parts.append(f'[[phase]]\nname = "p{number}"\nlength = {_toml(write_time(length))}\n')
    parts += [_work(work, len(limits) - 1) for work in works]
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


def _object_works(
    observed: Observed, limits: np.ndarray[Any, np.dtype[np.int64]], names: dict[int, str]
) -> list[FittedWork]:
    cpus = observed.recorded.cpus
    lives, older = observed.objects, observed.older_objects
    works = []
    shapes = machine_shapes([(names[n], s) for n, (_, s) in enumerate(observed.caches)], cpus)
    for number in range(len(observed.caches)):
        line = object_line(names[number])
        works += older_works(line, older.of(number), cpus)
        shape = shapes[number]
        if shape is not None:
            places = int(observed.free_places[number])
            works += free_place_works(line, places, shape.objects, cpus)
        works += works_of(line, lives.of(lives.what == number), limits, cpus)
    return works


def _page_works(
    observed: Observed, limits: np.ndarray[Any, np.dtype[np.int64]]
) -> list[FittedWork]:
    cpus = observed.recorded.cpus
    lives, older = observed.pages, observed.older_pages
    works = []
    for what in np.unique(np.concatenate((lives.what, older.what))).tolist():
        line = page_line(what)
        works += older_works(line, older.of(what), cpus)
        works += works_of(line, lives.of(lives.what == what), limits, cpus)
    return works


def _head(observed: Observed, phases: int) -> str:
    recorded = observed.recorded
    version = kernel_of(recorded.release).version
    known = [tuple(map(int, kernel.split("."))) for kernel in KERNELS]
    kernel = KERNELS[max((n for n, v in enumerate(known) if v <= version), default=0)]
    memory = max(observed.managed << 12, 64 << 20)
    used = min(max(1 - observed.free / max(observed.managed, 1), 0), 0.9)
    left_out = (
        f", {observed.pieces} frees of parts of page blocks left out" if observed.pieces else ""
    )
    return f"""# Fitted by allocsim fit to the trace {observed.name} (Linux {recorded.release},
# {observed.events} events in {observed.length / 1e9:.3f} s{left_out}).
#
# {phases} phases with as many births each. In each of up to {PERIODS} periods a line has its own
# CPUs and lifetimes: a formula where its deciles are within 5 %, else {QUANTILES} quantiles.
# Work that is "before" made what is freed in the trace without having been allocated in it,
# and the free places on older slabs that it takes.

name = {_toml(observed.name + "-fitted")}
doc = {_toml(f"Fitted to {observed.name}.")}
source = {_toml(f"allocsim fit {observed.name}")}
kernel = {_toml(kernel)}
cpus = {recorded.cpus}
memory = {_toml(f"{memory >> 20} MiB")}
used = {used:.4f}
"""


def _cache(observed: Observed, number: int, name: str, size: int) -> str:
    facts = observed.recorded.facts.get(observed.caches[number][0])
    flags = []
    if facts is not None:
        flags += ["reclaimable"] if facts.reclaim_account else []
        flags += ["dma"] if facts.cache_dma else []
    text = f"[[cache]]\nname = {_toml(name)}\nsize = {-(-size // 8) * 8}\n"
    return text + (f"flags = {_toml(flags)}\n" if flags else "")


def _work(work: FittedWork, phases: int) -> str:
    lines = ["[[work]]", f"name = {_toml(work.name)}"]
    used = [cpu for cpu, weight in enumerate(work.cpus) if weight]
    weights = [work.cpus[cpu] for cpu in used]
    if len(used) < len(work.cpus) or len(set(weights)) > 1:
        lines.append(f"cpus = {_toml(used)}")
        if len(used) > 1:
            lines.append(f"weights = {_toml(weights)}")
    if work.phases and len(work.phases) < phases:
        lines.append(f"phases = {_toml(work.phases)}")
    lines += [f"arrival = {_toml(work.arrival)}", f"allocate = {_toml(work.allocate)}"]
    if work.lifetime:
        lines.append(f"lifetime = {_toml(work.lifetime)}")
    if work.free:
        lines.append(f"free = {_toml(work.free)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)
