"""What every test may use: where the recordings are, and a visible skip where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = Path(os.environ.get("ALLOCSIM_RECORDINGS", ROOT.parent / "shared" / "traces"))
#: Small recordings that were once answered wrongly, each of one kind of fault.
FAULTS = ROOT / "tests" / "data" / "faults"


def recordings(pattern: str) -> list[Path]:
    """Folders of recordings whose name matches; empty where the recordings are not at hand."""
    return sorted(RECORDINGS.glob(pattern))


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Path:
    """The recording folder named by an indirect parameter; skips where it is absent."""
    path = RECORDINGS / str(request.param)
    if not path.is_dir():
        pytest.skip(f"recording {request.param} is not at hand (set ALLOCSIM_RECORDINGS)")
    return path
