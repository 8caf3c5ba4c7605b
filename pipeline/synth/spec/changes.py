"""What the command line changes in a spec: another machine, another pace, another seed.

A change of the CPUs keeps the load of each CPU, and a change of the rate or the speed what one
object goes through: so does a machine of that size do what the spec's machine does.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from allocsim.toml_data.table import NAME, is_name
from pipeline.errors import UsageError
from pipeline.synth.spec.parse import MAX_CPUS, MEMORY
from pipeline.synth.spec.units import SIZES, parse_units, write_time
from pipeline.synth.tables import LARGEST

if TYPE_CHECKING:
    from pipeline.synth.spec.model import Arrival, Entry, Free, Life, Spec, Work

_MIB = 1 << 20


def parse_memory(text: str) -> int:
    """Bytes that ``--memory`` says.

    Raises:
        UsageError: no size, or one that cannot be.
    """
    try:
        size = parse_units(text, SIZES)
    except ValueError as error:
        raise UsageError(f"--memory {text!r}: {error}") from None
    if not MEMORY[0] <= size <= MEMORY[1]:
        raise UsageError(
            f"--memory {text!r}: from {MEMORY[0] >> 20} MiB to {MEMORY[1] >> 40} TiB are possible"
        )
    return size


def changed(  # noqa: PLR0913 - what the command line has
    spec: Spec,
    *,
    events: int | None = None,
    seed: int | None = None,
    cpus: int | None = None,
    memory: int | None = None,
    rate: float | None = None,
    speed: float | None = None,
    name: str | None = None,
) -> Spec:
    """The spec with other numbers, where they are given.

    Args:
        spec: the spec.
        events: of the whole trace.
        seed: of all that is random.
        cpus: CPUs, each with the load that it has, or that its like has, in the spec.
        memory: bytes of memory; else it grows with the CPUs.
        rate: factor on all arrivals.
        speed: by which all times are divided.
        name: of the trace set.

    Raises:
        UsageError: a name that is no file name; more CPUs, memory or time than can be; a rate of
            closed loops.
    """
    if name is not None and not is_name(name):
        raise UsageError(f"--name {name!r}: {NAME}")
    if cpus is not None:
        spec = with_cpus(spec, cpus)
    if rate is not None:
        spec = _at_rate(spec, Decimal(str(rate)))
    if speed is not None:
        spec = _at_speed(spec, Decimal(str(speed)))
    return replace(
        spec,
        events=spec.events if events is None else events,
        seed=spec.seed if seed is None else seed,
        memory=spec.memory if memory is None else memory,
        name=spec.name if name is None else name,
    )


def with_cpus(spec: Spec, cpus: int) -> Spec:
    """The spec on a machine of another size: CPU c does what CPU c modulo the spec's CPUs does.

    Rates, counts, memory and events grow with the CPUs that do a work. What a CPU frees of its own
    stays its own; what it frees for others is spread over all CPUs that do as these.

    Raises:
        UsageError: nothing is left to do; more CPUs or memory than can be.
    """
    if cpus == spec.cpus:
        return spec
    if not 1 <= cpus <= MAX_CPUS:
        raise UsageError(f"--cpus {cpus}: from 1 to {MAX_CPUS} are possible")
    memory = max(spec.memory * cpus // spec.cpus // _MIB * _MIB, MEMORY[0])
    if memory > MEMORY[1]:
        raise UsageError(
            f"--cpus {cpus}: {memory >> 40} TiB of memory, as much for each CPU as in the spec, are"
            f" more than the model has room for: {MEMORY[1] >> 40} TiB"
        )
    works = [_work_with_cpus(work, spec, cpus) for work in spec.works]
    found = replace(
        spec,
        cpus=cpus,
        roles=min(spec.roles, cpus),
        memory=memory,
        events=_events(spec, Decimal(cpus) / spec.cpus),
        works=tuple(work for work in works if work is not None),
    )
    if not found.allocates:
        raise UsageError(f"--cpus {cpus}: no work of {spec.name} is on any of these CPUs")
    return found


def _events(spec: Spec, factor: Decimal) -> int:
    """So many times as many events, where they are given: as long a time."""
    return max(round(spec.events * factor), 1) if spec.events else 0


def _work_with_cpus(work: Work, spec: Spec, cpus: int) -> Work | None:
    weights = tuple(work.cpus[cpu % spec.cpus] for cpu in range(cpus))
    factor = Decimal(sum(weights)) / sum(work.cpus)
    arrival = _more(work.arrival, factor)
    if not factor or (work.arrival.count and not arrival.count):
        return None
    entries = tuple(
        replace(entry, free=_free_with_cpus(entry.free, cpus)) for entry in work.entries
    )
    return replace(work, arrival=arrival, cpus=weights, entries=entries)


def _more(arrival: Arrival, factor: Decimal) -> Arrival:
    """So many times as many batches."""
    rates = tuple(rate * factor for rate in arrival.rates)
    return replace(arrival, rates=rates, count=round(arrival.count * factor))


def _free_with_cpus(free: Free, cpus: int) -> Free:
    """What is left of who frees, where there are fewer CPUs; without any the allocating one."""
    if cpus >= len(free.cpus or free.matrix):
        return free
    rows = []
    for cpu, row in enumerate(free.matrix[:cpus]):
        own = tuple(int(other == cpu) for other in range(cpus))
        rows.append(row[:cpus] if any(row[:cpus]) else own)
    left = free.cpus[:cpus]
    return replace(free, cpus=left if any(left) else (), matrix=tuple(rows))


def _at_rate(spec: Spec, rate: Decimal) -> Spec:
    """So many times as many arrivals, of what was there before too; lives as they are."""
    if all(work.arrival.kind in ("closed", "before") for work in spec.works):
        raise UsageError(
            f"--rate {rate}: {spec.name} has closed loops only, which keep their pace; --speed"
            " makes them faster"
        )
    works = tuple(
        replace(work, arrival=_more(work.arrival, rate)) if work.arrival.kind == "before" else work
        for work in spec.works
    )
    found = replace(
        spec,
        events=_events(spec, rate),
        phases=tuple(replace(phase, rate=phase.rate * rate) for phase in spec.phases),
        works=tuple(work for work in works if work.arrival.kind != "before" or work.arrival.count),
    )
    if not found.allocates:
        raise UsageError(f"--rate {rate}: nothing of {spec.name} is left")
    return found


def _at_speed(spec: Spec, speed: Decimal) -> Spec:
    """All times so many times shorter, but for grace periods: they are the kernel's."""

    def less(ns: int, least: int = 0) -> int:
        found = max(round(ns / speed), least)
        if found > LARGEST:
            raise UsageError(f"--speed {speed}: {write_time(ns)} would be longer than can be")
        return found

    def of_free(free: Free) -> Free:
        return replace(free, step=less(free.step), over=less(free.over, 1))

    def of_life(life: Life) -> Life:
        return replace(life, times=tuple(less(time) for time in life.times))

    def of_entry(entry: Entry) -> Entry:
        lives = tuple(of_life(life) for life in entry.lives)
        return replace(entry, lives=lives, free=of_free(entry.free))

    def of_work(work: Work) -> Work:
        arrival = replace(
            work.arrival,
            rates=tuple(rate * speed for rate in work.arrival.rates),
            gap=less(work.arrival.gap),
            hold=less(work.arrival.hold),
            think=less(work.arrival.think),
            times=tuple(less(time) for time in work.arrival.times),
        )
        entries = tuple(of_entry(entry) for entry in work.entries)
        return replace(work, arrival=arrival, entries=entries, step=less(work.step))

    phases = tuple(replace(phase, length=less(phase.length, 1)) for phase in spec.phases)
    return replace(spec, phases=phases, works=tuple(of_work(work) for work in spec.works))
