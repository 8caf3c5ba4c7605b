"""What must be alike in the recordings of a comparison, what should be, and what is only noted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reports import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row


class Weight(StrEnum):
    """What it means that a rule is broken."""

    MUST = "must"  #: the comparison would mislead: refused
    SHOULD = "should"  #: the reader is warned
    NOTE = "note"  #: what the comparison is about, perhaps: stated


@dataclass(frozen=True, slots=True)
class RecordingProperty:
    """One property of a recording.

    Args:
        name: what it is called.
        weight: what a difference between the sides means.
        within: what a difference between the repeats of one side means.
        value: the property, made of what is known of a recording.
        why: what a difference would do to the comparison.
    """

    name: str
    weight: Weight
    within: Weight
    value: Callable[[Row], str]
    why: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A rule that the recordings at hand break.

    Args:
        weight: what that means.
        text: one line for the reader: what differs, and what of it.
    """

    weight: Weight
    text: str


_CORE = (
    "kmalloc",
    "kfree",
    "kmem_cache_alloc",
    "kmem_cache_free",
    "mm_page_alloc",
    "mm_page_free",
)
_PATH_EVENTS = (
    "mm_page_alloc_zone_locked",
    "mm_page_pcpu_drain",
    "mm_page_free_batched",
    "mm_page_alloc_extfrag",
)
_NONE = "none"


def about(connection: DuckDBPyConnection, run: Row) -> Row:
    """What the rules look at: the run, with what meta.json and the tables of policies say of it.

    ``run`` has own_policy besides the columns of queries.runs.
    """
    prices = queries.rows(
        connection,
        """
        SELECT policies.name AS policy, md5(string_agg(
            concat_ws(' ', page_kind, stage, plain_ops, locked_ops, plain_ops_per_page,
                locked_ops_per_page), ';' ORDER BY page_kind, stage)) AS price
        FROM policies JOIN policy_ops USING (run, policy) WHERE run = $run GROUP BY ALL
        """,
        run=run.get("of_run") or run["run"],
    )
    frozen = queries.rows(
        connection,
        """
        SELECT DISTINCT page_kind AS kind FROM policies JOIN policy_ops USING (run, policy)
        WHERE run = $run AND policies.name = $own AND frozen ORDER BY kind
        """,
        run=run.get("of_run") or run["run"],
        own=run["own_policy"],
    )
    meta: dict[str, Any] = json.loads(run["meta"] or "{}")
    return {
        **run,
        "meta": meta,
        "events_recorded": meta.get("recorded_events") or list(meta.get("events", {})),
        "frozen": ", ".join(row["kind"] for row in frozen) or _NONE,
        "prices": {row["policy"]: row["price"] for row in prices},
    }


def _recorded(run: Row, names: Sequence[str]) -> str:
    return ", ".join(name for name in names if name in run["events_recorded"]) or _NONE


def _page_ref(run: Row) -> str:
    return "yes" if any(name.startswith("page_ref") for name in run["events_recorded"]) else "no"


def _others(run: Row) -> str:
    names = (set(run["events_recorded"]) - set(_CORE)) & set(_PATH_EVENTS)
    return ", ".join(sorted(names)) or _NONE


def _lost(run: Row) -> str:
    lost, gaps = run["lost_events"] or 0, run["lost_gaps"] or 0
    return "some" if lost or gaps else _NONE


def _settings(run: Row) -> str:
    settings = json.loads(run.get("settings") or "{}")
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or _NONE


RULES = (
    RecordingProperty(
        "events recorded",
        Weight.MUST,
        Weight.MUST,
        lambda run: _recorded(run, _CORE),
        "what one side did not record would read as not done",
    ),
    RecordingProperty(
        "page_ref events",
        Weight.MUST,
        Weight.MUST,
        _page_ref,
        "operations in use would be observed on one side and assumed on the other",
    ),
    RecordingProperty(
        "path events seen",
        Weight.SHOULD,
        Weight.NOTE,
        _others,
        "the recording does not say whether the others did not occur or were not recorded",
    ),
    RecordingProperty(
        "architecture",
        Weight.MUST,
        Weight.MUST,
        lambda run: str(run["arch"]),
        "other sizes of everything",
    ),
    RecordingProperty(
        "page size",
        Weight.MUST,
        Weight.MUST,
        lambda run: f"{run['page_size']} bytes",
        "a page is not the same thing on both sides",
    ),
    RecordingProperty(
        "CPUs",
        Weight.MUST,
        Weight.MUST,
        lambda run: str(run["cpus"]),
        "lists and sheaves are per CPU, and so is what is remote",
    ),
    RecordingProperty(
        "unit of time",
        Weight.MUST,
        Weight.MUST,
        lambda run: str(run["meta"].get("ts_unit", "ns")),
        "rates and lifetimes would be in different units",
    ),
    RecordingProperty(
        "placement",
        Weight.MUST,
        Weight.MUST,
        lambda run: str(run.get("placement") or "recorded"),
        "one is what the kernel did, the other what the model did",
    ),
    RecordingProperty(
        "clock",
        Weight.SHOULD,
        Weight.SHOULD,
        lambda run: str(run["clock"]),
        "lifetimes across CPUs are as exact as the clock",
    ),
    RecordingProperty(
        "lost events",
        Weight.SHOULD,
        Weight.SHOULD,
        _lost,
        "what was lost is missing from every count",
    ),
    RecordingProperty(
        "allocsim",
        Weight.SHOULD,
        Weight.SHOULD,
        lambda run: str(run["allocsim_version"]),
        "the model may have changed between the replays",
    ),
    RecordingProperty(
        "kernel",
        Weight.NOTE,
        Weight.MUST,
        lambda run: str(run["kernel_release"]),
        "repeats are recordings of one kernel",
    ),
    RecordingProperty(
        "frozen under the own policy",
        Weight.NOTE,
        Weight.MUST,
        lambda run: str(run["frozen"]),
        "repeats are recordings of one kernel",
    ),
    RecordingProperty(
        "modelled kernel",
        Weight.NOTE,
        Weight.MUST,
        lambda run: str(run.get("profile") or _NONE),
        "repeats are simulations of one kernel",
    ),
    RecordingProperty(
        "settings",
        Weight.NOTE,
        Weight.MUST,
        _settings,
        "repeats are simulations with one setting",
    ),
)


def remarks(sides: Sequence[tuple[str, Sequence[Row]]]) -> list[Remark]:
    """The rules that are broken, the heaviest first.

    Args:
        sides: label of each side, and what about() says of each of its recordings.
    """
    found = [remark for rule in RULES for remark in _broken(rule, sides)]
    found += _same_recordings(sides)
    found += _own(sides)
    found += _prices(sides)
    found += _losses(sides)
    return sorted(found, key=lambda remark: list(Weight).index(remark.weight))


def _broken(rule: RecordingProperty, sides: Sequence[tuple[str, Sequence[Row]]]) -> list[Remark]:
    found = []
    values = {label: sorted({rule.value(run) for run in runs}) for label, runs in sides}
    for label, several in values.items():
        if len(several) > 1:
            text = f"{rule.name} not the same in the repeats of {label}: "
            found.append(Remark(rule.within, f"{text}{' / '.join(several)}: {rule.why}"))
    if len({tuple(several) for several in values.values()}) > 1:
        each = "; ".join(f"{label}: {' / '.join(several)}" for label, several in values.items())
        tail = "" if rule.weight is Weight.NOTE else f": {rule.why}"
        found.append(Remark(rule.weight, f"{rule.name} not the same ({each}){tail}"))
    return found


def _same_recordings(sides: Sequence[tuple[str, Sequence[Row]]]) -> list[Remark]:
    """Repeats that are one recording twice: they have no noise between them."""
    found = []
    for label, runs in sides:
        known = [(queries.identity(run), run.get("settings")) for run in runs]
        if None not in {each for each, _ in known} and len(set(known)) < len(known):
            text = f"repeats of {label} are the same recording more than once"
            found.append(Remark(Weight.MUST, f"{text}: that is not another sample"))
    return found


def _own(sides: Sequence[tuple[str, Sequence[Row]]]) -> list[Remark]:
    """Runs that were not priced with what their kernel does."""
    lacking = {
        (label, run["own_policy"])
        for label, runs in sides
        for run in runs
        if run["own_policy"] not in run["prices"]
    }
    return [
        Remark(
            Weight.SHOULD,
            f"{label} was not replayed with policy {own}: rows of the own policy are left out",
        )
        for label, own in sorted(lacking)
    ]


def _prices(sides: Sequence[tuple[str, Sequence[Row]]]) -> list[Remark]:
    """Policies that have one name and two prices, and policies that not everybody has."""
    runs = [run for _, runs in sides for run in runs]
    names = {
        name: {run["prices"].get(name) for run in runs} for run in runs for name in run["prices"]
    }
    found = [
        Remark(
            Weight.SHOULD,
            f"policy {name} is not in every run: its rows are left out",
        )
        for name, prices in names.items()
        if None in prices
    ]
    # The tables of the kernel's own code paths differ by kernel under any policy.
    by_release: dict[tuple[str, str], set[str | None]] = {}
    for run in runs:
        for name, price in run["prices"].items():
            by_release.setdefault((name, run["own_policy"]), set()).add(price)
    found += [
        Remark(Weight.MUST, f"policy {name} does not cost the same in each run of one kernel")
        for (name, _), prices in by_release.items()
        if len(prices) > 1
    ]
    return found


def _losses(sides: Sequence[tuple[str, Sequence[Row]]]) -> list[Remark]:
    found = []
    for label, runs in sides:
        lost = sum(run["lost_events"] or 0 for run in runs)
        gaps = sum(run["lost_gaps"] or 0 for run in runs)
        if lost or gaps:
            found.append(
                Remark(Weight.SHOULD, f"{label} lost {lost:,} events, {gaps:,} gaps without number")
            )
    return found
