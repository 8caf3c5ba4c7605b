"""What a page_ref event costs: plain stores and locked instructions (R1.1, R1.2, R1.7, P3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from allocsim.tables import I8, U1, Array, Bools

# R1.1: page_ref_add, _sub, _dec_and_test, _add_return and cmpxchg are locked instructions, the
# freeze even when it fails; set and unfreeze are stores. R1.2: add_unless reads first and stops
# at zero without the cmpxchg, so a refused one (ret 0) costs nothing.
_PLAIN = np.zeros(256, np.int64)
_PLAIN[[Ev.PAGE_REF_SET, Ev.PAGE_REF_UNFREEZE]] = 1
_LOCKED = np.zeros(256, np.int64)
_LOCKED[
    [
        Ev.PAGE_REF_MOD,
        Ev.PAGE_REF_MOD_AND_TEST,
        Ev.PAGE_REF_MOD_AND_RETURN,
        Ev.PAGE_REF_MOD_UNLESS,
        Ev.PAGE_REF_FREEZE,
    ]
] = 1


def event_costs(code: U1, ret: Array) -> tuple[I8, I8]:
    """Plain stores and locked instructions of each event (i8 each; 0 for other events).

    Args:
        code: event codes.
        ret: what the operation returned; 0 on events without the field.
    """
    refused = (code == Ev.PAGE_REF_MOD_UNLESS) & (ret == 0)
    return _PLAIN[code], _LOCKED[code] - refused


def drops_to_zero(code: U1, ret: Array) -> Bools:
    """Whether each operation took the count to zero, by what it returned, not by P1's re-read.

    A successful freeze ends a folio in reclaim and, from 7.2 on, in the drain of an LRU batch
    (R1.23b, R1.24c).
    """
    tested = (code == Ev.PAGE_REF_MOD_AND_TEST) | (code == Ev.PAGE_REF_FREEZE)
    returned = code == Ev.PAGE_REF_MOD_AND_RETURN
    drops: Bools = (tested & (ret != 0)) | (returned & (ret == 0))
    return drops


def takes_reference(code: U1, val: Array, ret: Array) -> Bools:
    """Whether each operation took a reference besides the one a page is born with.

    Adding zero takes none (R1.3), nor does a refused get-unless-zero (R1.2). A set takes some if
    it sets more than one, as page_frag_cache does for its fragments (R1.28b). A store that
    undoes a freeze takes none: it gives back what was there.
    """
    adds = (code == Ev.PAGE_REF_MOD) | (code == Ev.PAGE_REF_MOD_AND_RETURN)
    adds |= (code == Ev.PAGE_REF_MOD_UNLESS) & (ret != 0)
    takes: Bools = (adds & (val > 0)) | ((code == Ev.PAGE_REF_SET) & (val > 1))
    return takes
