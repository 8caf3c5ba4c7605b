"""The base of the direct map, by vote (I1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.recording.direct_map import DirectMapVote
from allocsim.trace.events import Ev
from tests.allocsim.replayed import imported

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.tables import Columns

BASE = 0xFF42_D8C4_0000_0000


def _events(*events: tuple[Ev, int, int, int, int, int]) -> Columns:
    """Columns of (event, cpu, pid, pfn, order, ptr)."""
    names = ("event", "cpu", "pid", "pfn", "order", "ptr")
    dtypes = ("u1", "i2", "i4", "i8", "i4", "u8")
    return {
        name: np.array([event[at] for event in events], dtype)
        for at, (name, dtype) in enumerate(zip(names, dtypes, strict=True))
    }


def _page(
    pfn: int, order: int = 0, cpu: int = 0, pid: int = 7
) -> tuple[Ev, int, int, int, int, int]:
    return (Ev.MM_PAGE_ALLOC, cpu, pid, pfn, order, 0)


def _object(offset: int, cpu: int = 0, pid: int = 7) -> tuple[Ev, int, int, int, int, int]:
    return (Ev.KMALLOC, cpu, pid, 0, 0, BASE + offset)


def _vote(*windows: Columns) -> tuple[int | None, int, int]:
    vote = DirectMapVote()
    for window in windows:
        vote.window(window)
    result = vote.result()
    return result.base, result.votes, result.candidates


def test_an_object_anywhere_in_the_block_before_it_votes() -> None:
    assert _vote(_events(_page(8, order=3), _object((13 << 12) + 64))) == (BASE, 1, 1)


def test_another_task_cpu_or_allocation_between_does_not_vote() -> None:
    events = (_page(8), _object(8 << 12, pid=8), _page(9), _page(10), _object(10 << 12))
    assert _vote(_events(*events)) == (BASE, 1, 1)
    assert _vote(_events(_page(8), _object(8 << 12, cpu=1))) == (None, 0, 0)


def test_objects_elsewhere_do_not_vote() -> None:
    """They give a base that is no multiple of 1 GiB."""
    assert _vote(_events(_page(8), _object(99 << 12))) == (None, 0, 0)


def test_the_most_votes_win() -> None:
    stray = (_page(1 << 18), _object(0))  # gives BASE less 1 GiB
    good = (_page(8), _object(8 << 12), _page(9), _object(9 << 12))
    assert _vote(_events(*stray, *good)) == (BASE, 2, 3)


def test_votes_do_not_depend_on_windows() -> None:
    events = (_page(8), _page(3, cpu=1), _object(3 << 12, cpu=1), _object(8 << 12), _page(9))
    whole = _events(*events)
    parts = [{name: v[at : at + 1] for name, v in whole.items()} for at in range(len(events))]
    assert _vote(whole) == _vote(*parts) == (BASE, 2, 2)


ARM64_64K = 0xFFFE_FFFF_E000_0000  # memory begins at 512 MiB: PAGE_OFFSET less that


def _arm64(arch: str | None, base: int = ARM64_64K, shift: int = 16) -> tuple[int | None, int, int]:
    vote = DirectMapVote(1 << shift)
    pages = [8192 + at for at in range(3)]
    events = [
        event
        for pfn in pages
        for event in (_page(pfn), (Ev.KMALLOC, 0, 7, 0, 0, base + (pfn << shift) + 128))
    ]
    vote.window(_events(*events))
    found = vote.result(arch)
    return found.base, found.votes, found.alignment or 0


def test_the_base_is_a_multiple_of_what_the_architecture_aligns_it_to() -> None:
    """arm64 with 64 KiB pages: of a PMD, 512 MiB; with 4 KiB, and x86: of a PUD, 1 GiB."""
    assert _arm64("aarch64") == (ARM64_64K, 3, 512 << 20)
    assert _arm64("aarch64", shift=12) == (None, 0, 0)
    assert _arm64("x86_64") == (None, 0, 0)
    assert _arm64("aarch64", ARM64_64K - (512 << 20)) == (ARM64_64K - (512 << 20), 3, 512 << 20)


def test_without_a_rule_the_base_is_the_coarsest_that_all_votes_agree_on() -> None:
    assert _arm64(None) == _arm64("mips64") == (ARM64_64K, 3, 512 << 20)
    odd = 0xFFFF_FFD8_0020_0000  # riscv64, memory from 2 MiB on (OpenSBI lies below)
    assert _arm64("riscv64", odd, 12) == _arm64(None, odd, 12) == (odd, 3, 2 << 20)
    # A pair that does not lie in its block votes at 2 MiB, but not where the others agree.
    vote = DirectMapVote()
    stray = (_page(1), _object((1 << 21) + 4096))
    vote.window(_events(*stray, _page(8), _object(8 << 12)))
    assert (vote.result().base, vote.result().candidates) == (BASE, 1)
    assert vote.result("riscv64").candidates == 2


@pytest.mark.parametrize(
    "recording",
    [
        "6.1-hackbench",
        "6.12-forkexec",  # six votes only
        "6.12-kaslr-la57-hackbench",
        "7.3-kaslr-net",
        "7.3-hackbench",
    ],
    indirect=True,
)
def test_the_vote_finds_the_base_the_kernel_says(recording: Path) -> None:
    columns, _, meta = imported(recording)
    vote = DirectMapVote()
    vote.window(columns)
    truth = json.loads((recording / "truth.json").read_text("utf-8"))
    assert vote.result().base == int(truth["direct_map_base"], 16) == meta["direct_map"]["base"]
    assert vote.result().share > 0.99
