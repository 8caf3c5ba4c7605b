"""Refcount policies: what each stage in the life of each kind of page costs, as data (TOML).

A policy is the code paths its pages take and the kinds that are frozen on them. The paths are
those of a kernel, linux-6.12 or linux-7.2, whose files give, for the refcounted and the frozen
form of each kind, plain stores and locked instructions at allocation, use and free, the entry
used and the depth at which the count is set (spec 1, 2). ``base = "recorded"`` takes the
recorded kernel's own paths.

So ``locked_ops_saved`` against the policy ``refcounted`` is exactly what freezing saves for every
policy on the recorded kernel's paths. Policies on another kernel's paths, linux-7.2 on a 6.12
recording, also show what else that kernel does differently: 7.2 tries to freeze every folio it
puts on the LRU, one locked instruction more (spec 1.3.3).

What a page goes through in use hangs on how often it is mapped, read or sent. Where no page_ref
events tell, it is assumed, as a range: ``locked = [low, high]`` a life, and ``locked_per_table``
for each page table that is allocated, since what maps a page need not have allocated it.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import asdict, dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from allocsim.recording.page_kinds import KIND_NAMES, Kind
from allocsim.toml_data import DataFileError, only, parse, refuse, table, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Range = tuple[int, int]  #: at least, at most

STAGES = ("alloc", "use", "free")
_FORMS = ("refcounted", "frozen")
_USE = "use"
_COUNTS = ("plain", "locked", "plain_per_page", "locked_per_page")
_PER_TABLE = "locked_per_table"
_TEXTS = ("entry", "depth", "rule", "source")
_ANY = "any"
RECORDED = "recorded"
KERNELS = ("linux-6.12", "linux-7.2")


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage in the life of a page costs: one table of a policy file.

    Args:
        plain: plain stores per allocation, per life in use, or per free.
        locked: locked instructions, likewise; the middle of locked_range, in whole ones.
        plain_per_page: plain stores per base page allocated or freed, on top of ``plain``.
        locked_per_page: locked instructions, likewise.
        locked_range: of ``locked`` in use, where nothing tells it: at least, at most; None: exact.
        locked_per_table: locked instructions in use on pages of this kind for each page table
            allocated, on top of these: at least, at most; None: none.
        entry: kernel function through which the page comes or goes.
        depth: where on the call stack the count is set or dropped (spec 2).
        rule: rule of the spec.
        source: file:function (kernel version).
    """

    plain: int = 0
    locked: int = 0
    plain_per_page: int = 0
    locked_per_page: int = 0
    locked_range: Range | None = None
    locked_per_table: Range | None = None
    entry: str = ""
    depth: str = ""
    rule: str = ""
    source: str = ""


Tables = dict[tuple[str, str, str], Stage]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as its file has it.

    Args:
        name: what it is called in results.
        doc: one sentence.
        source: "shipped", or the file it was read from.
        base: whose paths its pages take: "recorded", a kernel of KERNELS, or "" for the tables
            of its own.
        freeze: kinds without a count.
        tables: stages by (form, kind or "any", stage); they go before those of the base.
    """

    name: str
    doc: str
    source: str
    base: str
    freeze: frozenset[str]
    tables: Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOp(Stage):
    """What one stage in the life of one kind of page costs under one policy: see Stage.

    Args:
        page_kind: code of the kind.
        stage: "alloc", "use" or "free".
        frozen: the kind has no count under the policy.
    """

    page_kind: int
    stage: str
    frozen: bool


def parse_policy(text: str, source: str) -> Policy:
    """Read a policy from the text of its file.

    Args:
        text: TOML; docs/policies.md and the shipped files show the form.
        source: the file's name, for messages and results.

    Raises:
        DataFileError: no TOML, a key that is missing or unknown, or a value that will not do.
    """
    data = parse(text, source, ("name", "doc", "base", "freeze", *_FORMS))
    base = text_of(data, "base", source)
    if base and base not in (RECORDED, *KERNELS):
        refuse(source, "base", base, (RECORDED, *KERNELS))
    freeze = data.get("freeze", [])
    if not isinstance(freeze, list):
        raise DataFileError(f"{source}: freeze = {freeze!r}: a list of page kinds is wanted")
    for kind in freeze:
        if kind not in KIND_NAMES:
            refuse(source, "freeze:", kind, KIND_NAMES)
    tables = _tables(data, source)
    for form, stage in itertools.product(_FORMS, STAGES):
        if not base and (form, _ANY, stage) not in tables:
            raise DataFileError(
                f"{source}: neither base nor [{form}.{_ANY}.{stage}] is given:"
                f" set base to one of: {', '.join((RECORDED, *KERNELS))}"
            )
    doc = text_of(data, "doc", source)
    return Policy(data["name"], doc, source, base, frozenset(freeze), tables)


def policy_ops(policy: Policy, paths: str) -> list[PolicyOp]:
    """Every kind and stage of a policy, in order of kind.

    Args:
        policy: the policy.
        paths: the recorded kernel's paths, "6.12" or "7.2" (allocsim.kernels.release).
    """
    base = f"linux-{paths}" if policy.base == RECORDED else policy.base
    tables = {**(shipped_policies()[base].tables if base else {}), **policy.tables}
    ops = []
    for kind, name in zip(Kind, KIND_NAMES, strict=True):
        form = "frozen" if name in policy.freeze else "refcounted"
        for stage in STAGES:
            row = tables.get((form, name, stage), tables[form, _ANY, stage])
            ops.append(
                PolicyOp(page_kind=int(kind), stage=stage, frozen=form == "frozen", **asdict(row))
            )
    return ops


@functools.cache
def shipped_policies() -> dict[str, Policy]:
    """The policies that come with allocsim, by name, in the order in which they are reported."""
    names = ("refcounted", *KERNELS, "frozen-page-tables", "everything-freezable")
    folder = resources.files("allocsim.refcount") / "policies"
    texts = ((name, (folder / f"{name}.toml").read_text("utf-8")) for name in names)
    return {name: parse_policy(text, "shipped") for name, text in texts}


def _tables(data: Mapping[str, Any], source: str) -> Tables:
    tables: Tables = {}
    for form in _FORMS:
        kinds = table(data.get(form, {}), form, source)
        only(kinds, (_ANY, *KIND_NAMES), source, form)
        for kind, stages in kinds.items():
            where = f"{form}.{kind}"
            only(table(stages, where, source), STAGES, source, where)
            for stage, row in stages.items():
                tables[form, kind, stage] = _stage(row, f"{where}.{stage}", source, stage)
    return tables


def _stage(row: object, where: str, source: str, stage: str) -> Stage:
    values = dict(table(row, where, source))
    ranged = (_PER_TABLE,) if stage == _USE else ()
    only(values, (*_COUNTS, *ranged, *_TEXTS), source, where)
    for key, value in values.items():
        if key in _TEXTS:
            text_of(values, key, source, where)
        elif isinstance(value, list) and stage == _USE and key in {"locked", _PER_TABLE}:
            if len(value) != 2 or not all(map(_is_count, value)) or value[0] > value[1]:
                raise DataFileError(
                    f"{source}: {where}.{key} = {value!r}: [low, high] is wanted, counts in order"
                )
        elif not _is_count(value):
            raise DataFileError(
                f"{source}: {where}.{key} = {value!r}: a count, 0 or more, is wanted"
            )
    locked, per_table = values.pop("locked", 0), values.pop(_PER_TABLE, None)
    return Stage(
        **values,
        locked=sum(locked) // 2 if isinstance(locked, list) else locked,
        locked_range=_range(locked) if isinstance(locked, list) else None,
        locked_per_table=None if per_table is None else _range(per_table),
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _range(value: int | list[int]) -> Range:
    low, high = value if isinstance(value, list) else (value, value)
    return low, high
