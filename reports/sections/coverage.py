"""What a recording covers of its machine: which CPUs, and from when to when each.

Made of meta.json, which an import writes and a results database keeps (traces.meta).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.render.wording import MISSING, count, duration, joined_numbers, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Gap:
    """Something of the machine that a recording does not cover.

    Attributes:
        text: a sentence.
        observed: the recording says so; else it is inferred from the times of its events.
    """

    text: str
    observed: bool


Covered = dict[int, dict[str, Any]]


def covered_cpus(meta: Mapping[str, Any]) -> Covered | None:
    """What meta.json says of each CPU with events, by its number; None: imported before it did."""
    coverage = meta.get("coverage")
    if coverage is None:
        return None
    return {int(cpu): each for cpu, each in coverage["cpus"].items()}


def in_short(meta: Mapping[str, Any]) -> str:
    """How many CPUs are covered, and how far apart their beginnings and their ends are."""
    covered = covered_cpus(meta)
    if covered is None:
        return "not known (imported by an earlier allocsim)"
    text = f"{count(len(covered))} of {plural(meta['cpus'], 'CPU')}"
    if len(covered) > 1:
        begun, ended = (_spread(meta, covered, name) for name in ("first_ts", "last_ts"))
        text += f" (begun within {begun}, ended within {ended})"
    return text


def table(meta: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Of each CPU of the machine: its number, its events, and the clock at its first and last."""
    covered = covered_cpus(meta)
    if covered is None:
        return []
    rows = []
    for cpu in sorted({*range(meta["cpus"]), *covered}):
        each = covered.get(cpu)
        if each is None:
            rows.append((str(cpu), "0", MISSING, MISSING))
        else:
            begin, end = (_clock(meta, each[name]) for name in ("first_ts", "last_ts"))
            rows.append((str(cpu), count(each["events"]), begin, end))
    return rows


def _clock(meta: Mapping[str, Any], ts: int) -> str:
    """A time as trace-cmd report prints it: seconds, in whole microseconds."""
    return f"{ts / 1e9:.6f}" if meta["ts_unit"] == "ns" else count(ts)


def warnings(meta: Mapping[str, Any]) -> list[str]:
    """The sentences of ``gaps``."""
    return [each.text for each in gaps(meta)]


def gaps(meta: Mapping[str, Any]) -> list[Gap]:
    """What of the machine the recording does not cover; nothing if it covers all."""
    covered = covered_cpus(meta)
    if not covered:
        return []
    return [*_absent(meta, covered), *_late(meta, covered), *_early(meta, covered)]


def _spread(meta: Mapping[str, Any], covered: Covered, name: str) -> str:
    """How far apart the CPUs' first (``first_ts``) or last (``last_ts``) events are."""
    times = [each[name] for each in covered.values()]
    return _length(meta, max(times) - min(times))


def _length(meta: Mapping[str, Any], length: int) -> str:
    return duration(length) if meta["ts_unit"] == "ns" else f"{count(length)} {meta['ts_unit']}"


def _cpus(cpus: Sequence[int]) -> str:
    return f"CPU {cpus[0]}" if len(cpus) == 1 else f"CPUs {joined_numbers(cpus)}"


def _absent(meta: Mapping[str, Any], covered: Covered) -> Iterator[Gap]:
    absent = [cpu for cpu in range(meta["cpus"]) if cpu not in covered]
    if absent:
        yield Gap(
            f"no events of {_cpus(absent)} (of {plural(meta['cpus'], 'CPU')}): idle, or not "
            "recorded; what was freed there stays live here, what was allocated there is unknown",
            observed=True,
        )


def _late(meta: Mapping[str, Any], covered: Covered) -> Iterator[Gap]:
    since = min(each["first_ts"] for each in covered.values())
    remedy = "allocsim import --from-common-start begins where all have begun"
    late = _of(covered, "late", "overwritten")
    if late:
        lost = [covered[cpu]["overwritten"] for cpu in late]
        events = "how many is not known"
        if any(lost):
            events = plural(sum(filter(None, lost)), "event")
            events += " at least" if None in lost else ""
        yield Gap(
            f"{_begin(meta, covered, late, since)}: the ring buffer wrote over what was before "
            f"({events}); {remedy}",
            observed=True,
        )
    late = _of(covered, "late", "unexplained")
    if late:
        yield Gap(
            f"{_begin(meta, covered, late, since)}, longer than silent later: idle or offline "
            f"until then, or not recorded; {remedy}",
            observed=False,
        )


def _begin(meta: Mapping[str, Any], covered: Covered, late: list[int], since: int) -> str:
    last = max(covered[cpu]["first_ts"] for cpu in late) - since
    if len(late) == 1:
        return f"{_cpus(late)} begins {_length(meta, last)} after the first"
    return f"{_cpus(late)} begin up to {_length(meta, last)} after the first"


def _early(meta: Mapping[str, Any], covered: Covered) -> Iterator[Gap]:
    until = max(each["last_ts"] for each in covered.values())
    for why, reason in (
        ("full", "the ring buffer was full, and took no more events"),
        ("unexplained", "longer than silent before: idle, or no longer recorded"),
    ):
        early = _of(covered, "early", why)
        if early:
            left = _length(meta, until - min(covered[cpu]["last_ts"] for cpu in early))
            ends = "ends" if len(early) == 1 else "end up to"
            text = f"{_cpus(early)} {ends} {left} before the last: {reason}"
            yield Gap(text, observed=why == "full")


def _of(covered: Covered, name: str, why: str) -> list[int]:
    return [cpu for cpu, each in sorted(covered.items()) if each[name] == why]
