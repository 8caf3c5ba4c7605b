"""Which SLUB a recorded kernel has, and whether a simulation is one of that kernel as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.profile import profile_of
from allocsim.kernels.release import Slub, kernel_of
from allocsim.kernels.settings import DEFAULT_KERNEL, KERNEL, KERNELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.replay.world import Recorded


def own_kernel(release: str) -> dict[str, int] | None:
    """The settings that model the SLUB of a recorded kernel; None: it is none of the modelled."""
    model = kernel_of(release).slub_model
    if model is None or model == DEFAULT_KERNEL:
        return None if model is None else {}
    return {KERNEL: KERNELS[model]}


def what_if(recorded: Recorded, settings: Mapping[str, int]) -> str | None:
    """Why a simulation is not one of the recorded kernel as it was; None if it is."""
    reasons = []
    release, own = recorded.release, own_kernel(recorded.release)
    if not profile_of(settings).slub.cpu_slabs:
        if kernel_of(release).slub is not Slub.SHEAVES:
            reasons.append(f"Linux {release} has no sheaves for all caches")
    elif not own:
        reasons.append(f"Linux {release} has not the cpu slabs of 6.12")
    if recorded.nodes > 1:
        reasons.append(f"the machine's {recorded.nodes} memory nodes are taken as one")
    debugged = sum(
        size > 0 and name in recorded.facts and recorded.facts[name].debugged
        for name, size in recorded.caches
    )
    if debugged:
        reasons.append(f"{debugged} of its caches are under slab_debug, which is not modelled")
    others = {key: value for key, value in settings.items() if key != KERNEL}
    if others.items() - {("cpus", recorded.cpus)}:
        reasons.append("settings changed")
    return "; ".join(reasons) or None
