"""Model = oracle on real recordings, whatever kernel made them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_6_12
from tests.allocsim.slub.object_requests import of_recording
from tests.oracle.slub_compare import assert_equal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

WHOLE = 1 << 40


@pytest.mark.parametrize(
    ("recording", "most"),
    [
        ("6.1-hackbench", WHOLE),
        ("6.12-forkexec", 100_000),
        ("6.12p-churn-gt", 100_000),
        ("7.2p-mixed-gt", 100_000),
        ("7.2p-churn-gt", WHOLE),
        ("7.3-churn-4cpu", 200_000),
        ("7.3-kaslr-net", 100_000),
    ],
    indirect=["recording"],
)
def test_model_equals_oracle(recording: Path, most: int) -> None:
    trace = of_recording(recording, most)
    assert len(trace.requests) > 10_000
    # Up to 6.12 an allocation does not say its cache, so the caches here are sizes (T1).
    assert trace.pre_trace or recording.name.startswith("6.")
    assert_equal(trace, 70_000)


@pytest.mark.parametrize(
    ("recording", "most"),
    [("6.12p-boot-churn", 150_000), ("6.12p-net-gt", WHOLE), ("7.3-churn-4cpu", 150_000)],
    indirect=["recording"],
)
def test_model_of_cpu_slabs_equals_its_oracle(recording: Path, most: int) -> None:
    trace = of_recording(recording, most)
    sizes = [(shape.name, shape.size) for shape in trace.shapes]
    shapes = cache_shapes(LINUX_6_12, sizes, trace.cpus)
    assert_equal(replace(trace, shapes=shapes, profile=LINUX_6_12), 70_000)
