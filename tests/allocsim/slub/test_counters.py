"""The table of counters against the kernel's own files, and what is made of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from allocsim.kernels.profile import PROFILES
from allocsim.kernels.release import Generation
from allocsim.slub.counters import COUNTERS, Use, counted, used
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: A line of a counter in sysfs_slab.txt: mm/slub.c:show_stat writes the CPUs' shares behind it.
_STAT = re.compile(r"^\S+ (\w+) \d+(?: C\d+=\d+)+$", re.MULTILINE)
_SQL = ROOT / "reports" / "sql" / "placement"


def kept(generation: Generation) -> set[str]:
    """The kernel's own counters of a generation."""
    return {each.name for each in COUNTERS if generation in each.of and not each.ours}


def assert_has_the_files_of(trace: Path, generation: Generation, *left_out: str) -> None:
    """Every counter is a file of the recorded kernel, every file with CPUs' shares a counter.

    But for files that were left out when the snapshot was taken.
    """
    text = (trace / "snapshots" / "before" / "sysfs_slab.txt").read_text("utf-8")
    counters = set(_STAT.findall(text))
    assert len(counters) > 10
    assert counters <= kept(generation)
    assert kept(generation) <= {line.split()[1] for line in text.splitlines()} | {*left_out}


def test_the_table_has_the_files_of_a_shipped_trace() -> None:
    assert_has_the_files_of(ROOT / "traces" / "7.2n-numa-huge", Generation.SHEAVES)


@pytest.mark.parametrize("recording", ["6.12p-boot-churn"], indirect=True)
def test_the_table_has_the_files_of_cpu_slabs(recording: Path) -> None:
    left_out = ("cmpxchg_double_cpu_fail", "deactivate_to_head", "deactivate_to_tail")
    assert_has_the_files_of(recording, Generation.CPU_SLABS, *left_out)


def test_names_stand_once_and_say_what_they_are() -> None:
    assert len({each.name for each in COUNTERS}) == len(COUNTERS)
    for each in COUNTERS:
        assert each.of
        assert each.unit in {"objects", "slabs", "sheaves", "times"}
        assert each.doc.endswith(".")
        assert each.modelled or not any(each.of.values()), "what is not modelled cannot be compared"


def test_every_modelled_generation_has_counters_that_are_compared_and_shown() -> None:
    for generation in {profile.slub.generation for profile in PROFILES}:
        for use in (Use.CACHE, Use.TOTAL, Use.CHIEF):
            assert set(used(generation, use)) < set(counted(generation))


def test_the_view_has_every_counter_as_the_table_says_it() -> None:
    """In the table's order, with its sentence, counted by its own name."""
    text = (_SQL / "cache_counter_summary.sql").read_text("utf-8")
    modelled = {each.name: each.doc for each in COUNTERS if each.modelled}
    docs = re.findall(r"^--   (\w+) +(.*)$", text, re.MULTILINE)
    assert [(name, doc) for name, doc in docs if name in modelled] == list(modelled.items())
    sums = re.findall(r"\(name = '(\w+)'\)::bigint\s+as (\w+)", text)
    assert sums == [(name, name) for name in modelled]
    assert re.findall(r"^    counted\.(\w+),$", text, re.MULTILINE) == list(modelled)


@pytest.mark.parametrize("view", ["placement_summary", "sheaf_summary"])
def test_counters_that_a_view_names_are_in_the_table(view: str) -> None:
    text = (_SQL / f"{view}.sql").read_text("utf-8")
    told = re.findall(r"name (?:=|in) \(?((?:'\w+'(?:, )?)+)", text)
    names = {name for group in told for name in re.findall(r"'(\w+)'", group)}
    others = {"slab", "zone_lock", "pcp_refill", "pcp_drain", "zone_locked"}  # of other tables
    refused = {name for name in names if name.startswith("refused_")}
    assert names - others - refused <= {each.name for each in COUNTERS if each.modelled}
