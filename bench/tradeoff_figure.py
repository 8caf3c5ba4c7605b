"""Draw what sheaves of a shipped trace serve and hold: docs/figures/sheaf-tradeoff.svg.

    python bench/tradeoff_figure.py

README.md shows it; a test holds it.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.processes.progress import Progress  # noqa: E402
from pipeline.processes.scratch import scratch  # noqa: E402
from pipeline.replay.settings import combinations  # noqa: E402
from pipeline.replay.units.replays import Where  # noqa: E402
from pipeline.replay.units.sweeps import sweep_traces  # noqa: E402
from pipeline.store.database import reading  # noqa: E402
from reports.render.document import Chart  # noqa: E402
from reports.render.plots import svg  # noqa: E402
from reports.sections.sheaf_tradeoff import blocks  # noqa: E402

FIGURE = ROOT / "docs" / "figures" / "sheaf-tradeoff.svg"
TRACE = ROOT / "traces" / "7.2p-net-gt"
VARIED = "sheaf.capacity=default,4,8,16,32,60,120"


def drawn(db: Path) -> str:
    """The figure, of a sweep that is put into a database."""
    sweep_traces([TRACE], db, combinations([VARIED], {}), Where(), Progress())
    with reading(db) as connection:
        [chart] = [each for each in blocks(connection, 1) if isinstance(each, Chart)]
    return svg(chart).replace("<svg ", '<svg style="background: #fff" ', 1)  # on any page


if __name__ == "__main__":
    with scratch() as folder:
        FIGURE.write_text(drawn(folder / "results.duckdb"), "utf-8")
