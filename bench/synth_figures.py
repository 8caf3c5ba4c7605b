"""Draw what the shipped patterns show: docs/figures/synth-*.svg.

    python bench/synth_figures.py

Each figure is of simulations of the specs as they ship; docs/synth.md says what is to be seen.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import matplotlib as mpl  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

from allocsim.page_alloc.unusable_index import unusable_index  # noqa: E402
from pipeline.synth.machine import make_machine  # noqa: E402
from pipeline.synth.placing import Placing  # noqa: E402
from pipeline.synth.rows import Templates  # noqa: E402
from pipeline.synth.spec.parse import parse_spec  # noqa: E402
from pipeline.synth.spec.patterns import read_spec  # noqa: E402
from pipeline.synth.windows import windows  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from allocsim.simulation import Simulation
    from pipeline.synth.spec.model import Spec

FIGURES = ROOT / "docs" / "figures"
CAPACITIES = (4, 12, 28, 44, 60, 76, 92, 108, 124, 252)
BATCHES = (1, 10, 100, 1000)
ORDERS = ("in-order", "shuffled")
PIECES = 1024  # requests between two looks at the free memory


def spec_of(name: str) -> Spec:
    """A shipped spec."""
    return parse_spec(read_spec(name), name)


def steps(spec: Spec, settings: Mapping[str, int]) -> Iterator[tuple[int, Simulation]]:
    """The model behind every thousand requests, and the time then in ns."""
    machine = make_machine(spec, settings)
    placing = Placing(spec, machine, Templates())
    rows = 0
    for _, _, moments in windows(spec):
        for first in range(0, len(moments.ts), PIECES):
            part = moments.of(slice(first, first + PIECES))
            rows += len(placing.window(part).ts)
            yield int(part.ts[-1]), machine.world.simulation
            if spec.events and rows >= spec.events:
                return


def counters(spec: Spec, settings: Mapping[str, int]) -> dict[str, int]:
    """SLUB's counters at the end, all caches together."""
    *_, (_, simulation) = steps(spec, settings)
    return {name: int(found.sum()) for name, found in simulation.slub.counters().items()}


def capacity() -> None:
    """Where the exchange between producer and consumer no longer reaches the slabs."""
    spec = spec_of("producer-consumer")
    found = [counters(spec, {"sheaf.capacity": each}) for each in CAPACITIES]
    events = spec.events / 1000
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    for name, label in (
        ("sheaf_refill", "objects refilled from slabs"),
        ("sheaf_flush", "objects flushed to slabs"),
        ("barn", "sheaves to and from the barn"),
    ):
        values = [
            (each["barn_get"] + each["barn_put"] if name == "barn" else each[name]) / events
            for each in found
        ]
        axes.plot(CAPACITIES, values, marker="o", label=label)
    axes.set_xlabel("sheaf.capacity (the kernel's own for 256 bytes: 28)")
    axes.set_ylabel("per 1,000 events")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    save(figure, "synth-producer-consumer")


def microbenchmark() -> None:
    """What the larger batches cost."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
    for order, style in zip(ORDERS, ("-", "--"), strict=True):
        found = [counters(spec_of(f"microbench-{batch}-{order}"), {}) for batch in BATCHES]
        left.plot(BATCHES, [fast_share(each) for each in found], style, marker="o", label=order)
        right.plot(BATCHES, [each["free_slab"] for each in found], style, marker="o", label=order)
    left.set_ylabel("% on the CPU's own sheaves")
    right.set_ylabel("slabs given back, of 200,000 events")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("objects in a batch")
        axes.legend(frameon=False)
    save(figure, "synth-microbenchmark")


def fast_share(count: Mapping[str, int]) -> float:
    """Operations that neither the barn nor the slabs had a part in, of 100."""
    fast = count["alloc_fastpath"] + count["free_fastpath"]
    slow = sum(count[f"barn_{way}"] for way in ("get", "get_fail", "put", "put_fail"))
    return 100 * fast / (fast + slow)


def fragmentation() -> None:
    """What the attack leaves, beside the same without its unmovable pages."""
    attack = spec_of("buddy-fragmentation")
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    for spec, label in (
        (attack, "attack"),
        (replace(attack, works=attack.works[:1]), "without unmovable pages"),
    ):
        times, index = [], []
        for ts, simulation in steps(spec, {}):
            blocks = simulation.pages.sample(0).free_blocks.sum(axis=(0, 2))
            times.append(ts / 1e6)
            index.append(float(unusable_index(blocks)[9]))
        axes.plot(times, index, label=label)
    axes.set_xlabel("ms: memory is filled until 50, pinned until 100, released until 150")
    axes.set_ylabel("unusable free space index, order 9")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    save(figure, "synth-fragmentation")


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure, the same bytes each time."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "allocsim"
    mpl.rcParams["font.size"] = 9
    capacity()
    microbenchmark()
    fragmentation()
