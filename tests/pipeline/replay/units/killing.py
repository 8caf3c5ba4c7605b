"""Work whose process is killed in the middle of it: the second trace's, the first time."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.replay.units.work import replay_units

if TYPE_CHECKING:
    from pipeline.replay.units.work import Begun, ReplayWork


def killed_once(work: ReplayWork) -> Begun:
    """As replay_units; the process of the second trace is killed, unless one has been before."""
    mark = Path(work.units).parent / "killed"
    if work.turn == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return replay_units(work)
