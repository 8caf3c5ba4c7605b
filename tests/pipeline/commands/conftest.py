"""Results databases made by hand, as the tests of reports have them."""

from __future__ import annotations

from tests.reports.conftest import add_run

__all__ = ["add_run"]
