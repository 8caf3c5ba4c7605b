"""What every test may use: where the recordings are, and a visible skip where they are not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
#: Where the recordings are; a folder with nothing in it where nobody says (make test does).
RECORDINGS = Path(os.environ.get("ALLOCSIM_RECORDINGS") or os.devnull)
#: Small recordings that were once answered wrongly, each of one kind of fault.
FAULTS = ROOT / "tests" / "data" / "faults"

# Random inputs: the same ones each time where CI is true, so that what fails there is in the change
# that it ran for; a quarter as many, others each time, at a desk. HYPOTHESIS_PROFILE chooses where
# it is set. No deadlines: machines that run tests are busy.
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("dev", max_examples=25, deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
)


def examples(count: int, **more: Any) -> settings:
    """Settings of a test of so many random inputs where CI is true, and its share elsewhere."""
    return settings(max_examples=max(count * settings().max_examples // 100, 1), **more)


def pytest_report_header() -> str:
    """What the tests that need recordings use; they skip where there are none."""
    found = len(list(RECORDINGS.glob("*/")))
    where = f"{found} in {RECORDINGS}" if found else "none (set ALLOCSIM_RECORDINGS)"
    return f"recordings: {where}; random inputs: {settings.get_current_profile_name()}"


def recordings(pattern: str) -> list[Path]:
    """Folders of recordings whose name matches; empty where the recordings are not at hand."""
    return sorted(RECORDINGS.glob(pattern))


@pytest.fixture(scope="session", autouse=True)
def _users_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders in which commands keep something, which are not those of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Path:
    """The recording folder named by an indirect parameter; skips where it is absent."""
    path = RECORDINGS / str(request.param)
    if not path.is_dir():
        pytest.skip(f"recording {request.param} is not at hand (set ALLOCSIM_RECORDINGS)")
    return path
