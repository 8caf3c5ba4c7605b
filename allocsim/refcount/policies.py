"""Refcount policies: what each stage in the life of each kind of page costs, as data (TOML).

A policy is the code paths its pages take and the kinds that are frozen on them. The paths are
those of a kernel, whose file gives, for the refcounted and the frozen form of each kind, plain
stores and locked instructions at allocation, use and free, the entry used and the depth at which
the count is set (R1.20 - R1.40, R2.1, R2.2). A kernel's file may be based on that of an older one
and give what differs. ``base = "recorded"`` takes the recorded kernel's own paths.

So ``locked_ops_saved`` against the policy ``refcounted`` is exactly what freezing saves for every
policy on the recorded kernel's paths. Policies on another kernel's paths, linux-7.2 on a 6.12
recording, also show what else that kernel does differently: the steps of a page's use that it
does with other operations (allocsim.refcount.use_steps), such as the freeze that 7.2 tries for
every folio it puts on the LRU, one locked instruction more (R1.40).

What a page goes through in use hangs on how often it is mapped, read or sent. Where no page_ref
events tell, it is assumed, as a range: ``locked = [low, high]`` a life, and ``locked_per_table``
for each page table that is allocated, since what maps a page need not have allocated it.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any

from allocsim.kernels.release import POLICIES
from allocsim.recording.page_kinds import KIND_NAMES, PageKind
from allocsim.refcount.use_steps import STEP_NAMES
from allocsim.tables import row_of
from allocsim.toml_data.table import TomlTable
from allocsim.toml_data.text import shipped_texts

Range = tuple[int, int]  #: at least, at most

STAGES = ("alloc", "use", "free")
_FORMS = ("refcounted", "frozen")
_USE = "use"
_COUNTS = ("plain", "locked", "plain_per_page", "locked_per_page")
_PER_TABLE = "locked_per_table"
_RANGES = {"locked", _PER_TABLE}  #: counts that may be ranges in use
_TEXTS = ("entry", "depth", "rule", "source")
_STEP_COUNTS = ("plain", "locked")
_STEP_TEXTS = ("rule", "source")
_ANY = "any"
_MOST = 10**9  # operations
RECORDED = "recorded"
KERNELS = POLICIES  #: the shipped policies that are a kernel's, oldest first


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
        depth: where on the call stack the count is set or dropped (R2.1 - R2.3).
        rule: rule of docs/rules.md.
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


@dataclass(frozen=True, slots=True)
class Step:
    """What a kernel does in one step of a page's use: a table ``steps`` of a policy file.

    Args:
        plain: plain stores.
        locked: locked instructions.
        rule: rule of docs/rules.md.
        source: file:function (kernel version).
    """

    plain: int = 0
    locked: int = 0
    rule: str = ""
    source: str = ""


Tables = dict[tuple[str, str, str], Stage]
Steps = dict[str, Step]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as its file has it.

    Args:
        name: what it is called in results.
        doc: one sentence.
        source: "shipped", or the file it was read from.
        base: whose paths its pages take where it has no tables of its own: "recorded", or a
            kernel of KERNELS; "": it has all.
        freeze: kinds without a count.
        tables: stages by (form, kind or "any", stage); they go before those of the base.
        steps: steps of a page's use by name (allocsim.refcount.use_steps), likewise.
    """

    name: str
    doc: str
    source: str
    base: str
    freeze: frozenset[str]
    tables: Tables
    steps: Steps = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStep(Step):
    """What one step costs under one policy: see Step.

    Args:
        step: name of the step.
        plain_more: plain stores more than the recorded kernel's own; negative: fewer.
        locked_more: locked instructions, likewise.
    """

    step: str
    plain_more: int
    locked_more: int


def parse_policy(text: str, source: str) -> Policy:
    """Read a policy from the text of its file.

    Args:
        text: TOML; docs/policies.md and the shipped files show the form.
        source: the file's name, for messages and results.

    Raises:
        DataFileError: no TOML, a key that is missing or unknown, or a value that will not do.
    """
    top = TomlTable.parse(text, source, "doc", "base", "freeze", "steps", *_FORMS)
    bases = (RECORDED, *KERNELS)
    base = top.choice("base", bases, "")
    tables = _tables(top)
    for form, stage in itertools.product(_FORMS, STAGES):
        if not base and (form, _ANY, stage) not in tables:
            top.refuse(
                None,
                f"neither base nor [{form}.{_ANY}.{stage}] is given: set base to one of:"
                f" {', '.join(bases)}",
            )
    return Policy(
        top.text("name"),
        top.text("doc", ""),
        source,
        base,
        frozenset(top.texts("freeze", KIND_NAMES)),
        tables,
        {name: _step(row) for name, row in top.named_tables("steps", STEP_NAMES).items()},
    )


def policy_ops(policy: Policy, own: str) -> list[PolicyOp]:
    """Every kind and stage of a policy, in order of kind.

    Args:
        policy: the policy.
        own: name of the policy that is the recorded kernel's own (Kernel.policy).
    """
    tables: Tables = {}
    for each in _bases(policy, own):
        tables |= each.tables
    ops = []
    for kind, name in zip(PageKind, KIND_NAMES, strict=True):
        form = "frozen" if name in policy.freeze else "refcounted"
        for stage in STAGES:
            row = tables.get((form, name, stage), tables[form, _ANY, stage])
            ops.append(
                PolicyOp(page_kind=int(kind), stage=stage, frozen=form == "frozen", **row_of(row))
            )
    return ops


def policy_steps(policy: Policy, own: str) -> list[PolicyStep]:
    """Every step of a page's use under a policy, and how it differs from the recorded kernel's.

    A policy without paths of a kernel does in each step what was recorded.

    Args:
        policy: the policy.
        own: name of the policy that is the recorded kernel's own (Kernel.policy).
    """
    here = _steps(shipped_policies()[own], own)
    there = here | _steps(policy, own)
    return [
        PolicyStep(
            step=name,
            plain_more=there[name].plain - here[name].plain,
            locked_more=there[name].locked - here[name].locked,
            **row_of(there[name]),
        )
        for name in STEP_NAMES
    ]


def _steps(policy: Policy, own: str) -> Steps:
    steps: Steps = {}
    for each in _bases(policy, own):
        steps |= each.steps
    return steps


def _bases(policy: Policy, own: str) -> list[Policy]:
    """What a policy is based on, the furthest first, and itself."""
    base = own if policy.base == RECORDED else policy.base
    return [*(_bases(shipped_policies()[base], own) if base else []), policy]


@functools.cache
def shipped_policies() -> dict[str, Policy]:
    """The policies that come with allocsim, by name, in the order in which they are reported."""
    names = ("refcounted", *KERNELS, "frozen-page-tables", "everything-freezable")
    texts = shipped_texts("allocsim.refcount", "policies", names)
    return {name: parse_policy(text, "shipped") for name, text in texts.items()}


def _tables(top: TomlTable) -> Tables:
    return {
        (form, kind, stage): _stage(row, stage)
        for form in _FORMS
        for kind, stages in top.named_tables(form, (_ANY, *KIND_NAMES)).items()
        for stage, row in stages.named(STAGES).items()
    }


def _stage(row: TomlTable, stage: str) -> Stage:
    in_use = stage == _USE
    row.only(*_COUNTS, *_TEXTS, *((_PER_TABLE,) if in_use else ()))
    ranges = {key: _range(row, key) for key in _RANGES if in_use and key in row}
    locked = ranges.get("locked")
    values: dict[str, Any] = {key: row.text(key, "") for key in _TEXTS}
    values |= {key: _count(row, key) for key in _COUNTS if key not in ranges}
    if locked:
        values["locked"] = sum(locked) // 2
    return Stage(
        **values,
        locked_range=locked if locked and locked[0] < locked[1] else None,
        locked_per_table=ranges.get(_PER_TABLE),
    )


def _range(row: TomlTable, key: str) -> Range:
    """A count, or [low, high]."""
    ends = row.wholes(key, 0, _MOST, 2)
    low, high = ends[0], ends[-1]
    if len(ends) > 2 or low > high:
        row.refuse(key, "a count, 0 or more, is wanted, or [low, high]")
    return low, high


def _step(row: TomlTable) -> Step:
    row.only(*_STEP_COUNTS, *_STEP_TEXTS)
    return Step(
        _count(row, "plain"),
        _count(row, "locked"),
        row.text("rule", ""),
        row.text("source", ""),
    )


def _count(row: TomlTable, key: str) -> int:
    return row.whole(key, 0, _MOST, 0, what="a count")
