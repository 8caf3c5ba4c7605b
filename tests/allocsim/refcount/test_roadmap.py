"""The steps of the plan: each kind in one, and none where its policy or scheme says otherwise."""

from __future__ import annotations

import pytest

from allocsim.memdesc.schemes import shipped_schemes, sizes
from allocsim.recording.page_kinds import KIND_NAMES, PageKind
from allocsim.refcount.policies import shipped_policies
from allocsim.refcount.roadmap import parse_roadmap, shipped_roadmap
from allocsim.toml_data.table import DataFileError

STEPS = {step.name: set(step.kinds) for step in shipped_roadmap()}


def test_kinds_stand_where_the_policies_and_the_scheme_have_them() -> None:
    assert sorted(kind for kinds in STEPS.values() for kind in kinds) == sorted(KIND_NAMES)
    assert STEPS["merged"] == shipped_policies()["linux-7.2"].freeze
    frozen = shipped_policies()["frozen-page-tables"].freeze
    assert STEPS["page-tables"] == frozen - STEPS["merged"]
    farthest = shipped_policies()["everything-freezable"].freeze
    assert STEPS["stacks-vmalloc"] <= farthest
    # Misc pages have no descriptor; those of the last step all do.
    described = {
        KIND_NAMES[size.page_kind]
        for size in sizes(shipped_schemes()["memdesc-8"])
        if not size.charged and size.bytes and not size.bound
    }
    assert STEPS["descriptors"] <= described
    assert not (STEPS["misc"] | STEPS["stacks-vmalloc"]) & described


def file_of(kinds: list[list[str]]) -> str:
    tables = [
        f'[steps.s{at}]\ntitle = "A step"\nkinds = {names}\nknown = "assumed"\nsource = "me"\n'
        for at, names in enumerate(kinds)
    ]
    return 'name = "mine"\n' + "\n".join(tables)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([list(KIND_NAMES), ["slab"]], "slab pages stand in 2 steps"),
        ([list(KIND_NAMES[1:])], "unknown pages stand in 0 steps"),
        ([[*KIND_NAMES, "slabs"]], "slab"),
    ],
)
def test_a_kind_in_no_step_or_in_two_is_refused(kinds: list[list[str]], said: str) -> None:
    with pytest.raises(DataFileError, match=said):
        parse_roadmap(file_of(kinds), "mine.toml")


def test_steps_come_in_the_order_of_the_file() -> None:
    steps = parse_roadmap(file_of([list(KIND_NAMES[:3]), list(KIND_NAMES[3:])]), "mine.toml")
    assert [step.name for step in steps] == ["s0", "s1"]
    assert PageKind.SLAB.name.lower() in steps[0].kinds
