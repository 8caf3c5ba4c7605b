"""Freed memory is used again, where the C library is glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Page faults of making and freeing arrays of 16 MiB; the first are made anew in any case.
FAULTS = """
import resource
import numpy as np
from pipeline.processes.malloc_tuning import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
for turn in range(21):
    if turn == 1:
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 21) for _ in range(3)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


def faults(*, kept: bool) -> int:
    code = FAULTS.format(kept=kept)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again() -> None:
    assert faults(kept=True) * 4 < faults(kept=False)
