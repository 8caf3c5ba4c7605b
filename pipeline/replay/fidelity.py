"""Which SLUB a recorded kernel has, and whether a simulation is one of that kernel as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.profile import DEFAULT, profile_of
from allocsim.kernels.release import Generation, kernel_of
from allocsim.kernels.settings import KERNEL, PARTITION_SEED, PARTITIONS, kernel_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.kernels.profile import Profile
    from pipeline.replay.world import Recorded


def own_profile(release: str) -> Profile | None:
    """The profile whose SLUB is that of a recorded kernel; None: it is none of the modelled."""
    return profile_of(kernel_of(release))


def kernel_settings(profile: Profile) -> dict[str, int]:
    """The settings that pick a profile."""
    return {} if profile is DEFAULT else {KERNEL: profile.code}


def own_settings(release: str) -> dict[str, int]:
    """The settings of a recorded kernel as it was.

    Where its SLUB is not modelled, the model's default stands in, and is a what-if.
    """
    return kernel_settings(own_profile(release) or DEFAULT)


def what_if(recorded: Recorded, settings: Mapping[str, int]) -> str | None:
    """Why a simulation is not one of the recorded kernel as it was; None if it is."""
    reasons = []
    chosen = kernel_profile(settings)
    if chosen is not own_profile(recorded.release):
        reasons.append(f"Linux {recorded.release} has {_missing(recorded.release, chosen)}")
    if recorded.memory_nodes > recorded.nodes.count:
        reasons.append(f"the machine's {recorded.memory_nodes} memory nodes are taken as one")
    debugged = sum(
        size > 0 and name in recorded.facts and recorded.facts[name].debugged
        for name, size in recorded.caches
    )
    if debugged:
        reasons.append(f"{debugged} of its caches are under slab_debug, which is not modelled")
    others = {key: value for key, value in settings.items() if key != KERNEL}
    if recorded.partitions > 1:
        others.pop(PARTITION_SEED, None)  # a draw as good as any other
    if others.items() - {("cpus", recorded.cpus), (PARTITIONS, recorded.partitions)}:
        reasons.append("settings changed")
    if any("@" in key and not key.startswith("min_partial") for key in settings):
        reasons.append("sheaves change at a moment, as was proposed in May 2026 (R3.27)")
    return "; ".join(reasons) or None


def _missing(release: str, chosen: Profile) -> str:
    """What of the chosen kernel's SLUB a recorded kernel has not."""
    generation = chosen.slub.generation
    if generation is Generation.SHEAVES and kernel_of(release).slub is not generation:
        none = "no" if kernel_of(release).slub is Generation.CPU_SLABS else "not for all caches"
        return f"{none} sheaves; those of Linux {chosen.word} are modelled instead"
    return f"not the {generation.value} of Linux {chosen.word}, which are modelled instead"
