"""Locked instructions and plain stores of page_ref events: R1.1, R1.2, P3."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.recording.page_ref import drops_to_zero, event_costs
from allocsim.trace.events import Ev


@pytest.mark.parametrize(
    ("code", "ret", "plain", "locked", "drops"),
    [
        (Ev.PAGE_REF_SET, 0, 1, 0, False),
        (Ev.PAGE_REF_UNFREEZE, 0, 1, 0, False),
        (Ev.PAGE_REF_MOD, 0, 0, 1, False),
        (Ev.PAGE_REF_MOD_AND_TEST, 0, 0, 1, False),
        (Ev.PAGE_REF_MOD_AND_TEST, 1, 0, 1, True),
        (Ev.PAGE_REF_MOD_AND_RETURN, 2, 0, 1, False),
        (Ev.PAGE_REF_MOD_AND_RETURN, 0, 0, 1, True),
        (Ev.PAGE_REF_MOD_UNLESS, 1, 0, 1, False),
        # It read zero and stopped before the cmpxchg (R1.2).
        (Ev.PAGE_REF_MOD_UNLESS, 0, 0, 0, False),
        # The cmpxchg of a freeze is locked also when it fails (R1.1).
        (Ev.PAGE_REF_FREEZE, 0, 0, 1, False),
        (Ev.PAGE_REF_FREEZE, 1, 0, 1, True),
        (Ev.MM_PAGE_ALLOC, 0, 0, 0, False),
        (Ev.KMALLOC, 0, 0, 0, False),
    ],
)
def test_cost_of_an_event(code: Ev, ret: int, plain: int, locked: int, drops: bool) -> None:
    codes, rets = np.array([code], np.uint8), np.array([ret], np.int32)
    stores, instructions = event_costs(codes, rets)
    assert (stores.tolist(), instructions.tolist()) == ([plain], [locked])
    assert drops_to_zero(codes, rets).tolist() == [drops]
