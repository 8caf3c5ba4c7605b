"""The pcs stack: main and spare of one (cache, CPU) as a bounded stack, all events at once.

main and spare are a stack of depth 0 to 2 x capacity: a free pushes, an allocation pops (R3.10).
Count the depth as a plain running sum, never clipped, and cut it into bands of ``capacity`` cells.
An event touches one cell, and so one band; the main sheaf is the sheaf of that band. Then:

* A stack changes its main sheaf exactly when an event touches another band than the stack's event
  before it. Arriving at a band's edge and turning round changes nothing.
* After an upward change the spare is full, after a downward change it is empty. So a change that
  turns back is a swap of main and spare, and a change that goes on in the same direction finds no
  room or no object in either: only there does the barn come in. After it, whatever the barn gave,
  the stack stands one object inside the new band.

So no search is needed, only a running sum, a division and a comparison of neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.tables import stable_order

if TYPE_CHECKING:
    from allocsim.tables import I1, I4, I8, Bools, Ints


class StackWalk(NamedTuple):
    """The events of a window stack by stack.

    Args:
        order: event of each place, stack by stack, in time within each (i8).
        stacks: the stack of each run of places (i8), ascending.
        starts: first place of each run (i8).
        cell: cell of the main sheaf each place touches, 0 to capacity - 1 (i4).
        entered: places where another band than before is touched (bool); for a stack's first place,
            another than the main sheaf it came with.
        depth: objects in the main sheaf of each run's stack behind the window (i8).
    """

    order: I8
    stacks: I8
    starts: I8
    cell: I4
    entered: Bools
    depth: I8


def walk(stack: Ints, op: I1, depth: I8, capacity: int) -> StackWalk:
    """Walk every stack through its events.

    Args:
        stack: stack of each event, in time order.
        op: +1 allocation, -1 free.
        depth: objects in the main sheaf of every stack before the window.
        capacity: objects in a sheaf, at least 1.
    """
    order = stable_order(stack)
    count = np.bincount(stack, minlength=len(depth))
    stacks = np.flatnonzero(count)
    starts = np.cumsum(count[stacks]) - count[stacks]
    # One running sum for all stacks: a stack's first step also takes back where the last one ended.
    step = np.negative(op.take(order), dtype=np.int32)
    push = step > 0
    end = depth[stacks] + np.add.reduceat(step, starts)
    step[starts] += depth[stacks]
    step[starts[1:]] -= end[:-1]
    touched = np.cumsum(step, dtype=np.int32)
    touched -= push
    band = touched // np.int32(capacity)
    entered = np.empty(len(op), np.bool_)
    np.not_equal(band[1:], band[:-1], out=entered[1:])
    entered[starts] = band[starts] != 0
    band *= capacity
    touched -= band
    last = np.append(starts[1:], len(op)) - 1
    return StackWalk(order, stacks, starts, touched, entered, touched[last] + push[last])
