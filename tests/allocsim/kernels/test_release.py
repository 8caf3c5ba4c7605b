"""What a release fixes, release by release, and that nothing else compares versions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import allocsim
from allocsim.kernels.profile import LINUX_6_12, LINUX_6_18, LINUX_7_2, profile_of
from allocsim.kernels.release import POLICIES, Generation, Kernel, kernel_of

ROOT = Path(allocsim.__file__).parents[1]

# Read in each version: where the count is set, the threshold of free_high with half of high_min,
# drains that let go of the lock after a batch, and SLUB.
RELEASES = {
    "6.1.0-56-cloud-amd64": ("linux-6.12", True, False, False, Generation.CPU_SLABS),
    "6.12.107-pageref": ("linux-6.12", True, False, False, Generation.CPU_SLABS),
    "6.13.7": ("linux-6.12", True, False, False, Generation.CPU_SLABS),
    "6.14.0": ("linux-6.14", False, False, False, Generation.CPU_SLABS),
    "6.15.4": ("linux-6.14", False, False, False, Generation.CPU_SLABS),
    "6.16.12+deb13-amd64": ("linux-6.16", False, True, False, Generation.CPU_SLABS),
    "6.17.8": ("linux-6.17", False, True, False, Generation.CPU_SLABS),
    "6.18.15": ("linux-6.18", False, True, False, Generation.SHEAVES_ASKED),
    "6.19.6": ("linux-6.18", False, True, True, Generation.SHEAVES_ASKED),
    "7.0.13": ("linux-7.0", False, True, True, Generation.SHEAVES),
    "7.1.13": ("linux-7.0", False, True, True, Generation.SHEAVES),
    "7.2.13-pageref": ("linux-7.2", False, True, True, Generation.SHEAVES),
    "7.3.4": ("linux-7.3", False, True, True, Generation.SHEAVES),
    "7.4.0-rc1": ("linux-7.3", False, True, True, Generation.SHEAVES),
}
NOTES = {
    "6.1.0": "no policy of Linux 6.1: that of 6.12, the oldest, is used",
    "6.15.4": "no policy of Linux 6.15, which was not read: that of 6.14, the nearest older one",
    "6.19.6": "Linux 6.19 was read and does as 6.18 does",
    "7.1.13": "Linux 7.1 was read and does as 7.0 does",
}


def _facts(kernel: Kernel) -> tuple[object, ...]:
    pages = kernel.pages
    return (
        kernel.policy,
        kernel.set_before_alloc,
        pages.free_high_half,
        pages.drain_in_batches,
        kernel.slub,
    )


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_has_the_rules_of_its_source(release: str) -> None:
    assert _facts(kernel_of(release)) == RELEASES[release]


@pytest.mark.parametrize("release", NOTES)
def test_where_the_policy_is_another_version_s_it_is_said(release: str) -> None:
    assert kernel_of(release).policy_note == NOTES[release]


def test_a_kernel_with_a_policy_of_its_own_has_nothing_to_say() -> None:
    for policy in POLICIES:
        kernel = kernel_of(policy.removeprefix("linux-"))
        assert (kernel.policy, kernel.policy_note) == (policy, "")


def test_only_what_was_modelled_is_a_kernel_s_own_slub() -> None:
    releases = ("6.1", "6.12", "6.17", "6.18", "7.0")
    models = [profile_of(kernel_of(release)) for release in releases]
    assert models == [None, LINUX_6_12, LINUX_6_12, LINUX_6_18, LINUX_7_2]


def test_a_release_that_is_no_version_is_refused() -> None:
    with pytest.raises(ValueError, match="does not begin with a version"):
        kernel_of("unknown")


def test_no_other_module_compares_versions() -> None:
    compares = re.compile(
        r"(?:[<>]=?|==)\s*\([4-9],\s*\d+\)|version\s*[<>]=?\s*[_A-Z(a-z]|release.*\.startswith"
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("allocsim", "pipeline", "reports")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != ROOT / "allocsim" / "kernels" / "release.py"
        for line in path.read_text("utf-8").splitlines()
        if compares.search(line)
    ]
    assert found == []
