"""A results database of a small recording, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import allocsim
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TRACE = ROOT / "tests" / "data" / "6.18-mixed"


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded and the simulated run of TRACE; not to be changed."""
    path = tmp_path_factory.mktemp("api") / "results.duckdb"
    allocsim.replay(TRACE, path).close()
    return path
