"""How far fitted synthetic traces are from their originals; writes bench/SYNTH.md.

    python bench/synth_fit.py [TRACE...]

By default the shipped trace sets and every trace.dat among the recordings that ALLOCSIM_RECORDINGS
names. What `allocsim fit` prints for each is reduced to a row: the largest difference of each kind.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.fitting.fit import fit_trace  # noqa: E402
from pipeline.processes.progress import Progress  # noqa: E402
from pipeline.replay.trace_source import opened  # noqa: E402
from tests.conftest import RECORDINGS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.fitting.distance import DistanceMeasure
    from pipeline.fitting.fit import Fit

#: The recordings that were looked at while the fit was written; the others were held out: made when
#: it was done, of other workloads.
SEEN = [
    "6.1-hackbench",
    "6.1-tmpfsfiles",
    "6.12-build",
    "6.12-forkexec",
    "6.12-hackbench",
    "6.12-huge",
    "6.12-kaslr-la57-hackbench",
    "6.12-record-net",
    "6.12-sqlite",
    "6.12-tmpfsfiles",
    "6.12p-boot-churn",
    "6.12p-churn-gt",
    "6.12p-hackbench-gt",
    "6.12p-mixed-gt",
    "6.12p-mixed-refstacks-gt",
    "6.12p-net-gt",
    "6.12p-tmpfsfiles-gt",
    "6.16-tree",
    "6.18-stress",
    "7.2p-boot-churn",
    "7.2p-boot-mixed-gt",
    "7.2p-churn-gt",
    "7.2p-hackbench-gt",
    "7.2p-mixed-gt",
    "7.2p-mixed-refstacks-gt",
    "7.2p-net-gt",
    "7.2p-tmpfsfiles-gt",
    "7.3-churn-4cpu",
    "7.3-forkexec",
    "7.3-hackbench",
    "7.3-iperf",
    "7.3-kaslr-net",
    "7.3-sqlite",
    "7.3-tmpfsfiles",
]
#: Column, how the names of its measures begin, and the limit.
KINDS = (
    ("share of events", "share", "2 points"),
    ("lifetime quartiles", "lifetime", "20 %"),
    ("plain quartiles", "plain", ""),
    ("remote frees", "remote", "2 points"),
    ("slab pages", "slab pages", "15 %"),
    ("locked operations", "locked", "5 %"),
)
HEAD = """# Fitted synthetic traces against their originals

Made by `python bench/synth_fit.py`. Of each recording a spec is fitted (`allocsim fit`), a trace
made of it (`allocsim synth`), and both are replayed. A cell has the largest difference of its kind:

* *share of events*: a cache's part of all object events, the cache that differs most;
* *lifetime quartiles*: of caches with at least 200 ended lives, the quartile that differs most, by
  how far it lies outside of the percentiles next to the original's (24 to 26, 49 to 51, 74 to 76).
  Of fewer than 1,900 lives a quartile is not known better than to these: its standard error is
  sqrt(3/16 / n). *plain quartiles* have the plain difference from the original's quartile;
* *remote frees*: part of the frees that another CPU did than the allocation;
* *slab pages*: pages of slabs made for 1,000 object events under the simulated placement;
* *locked operations*: of all policies, the one that differs most. Slab pages on both sides are
  those of the simulated placement, since the recorded kernel may have had another allocator.

References taken while a page is in use are no part of a spec: page_ref events are left out of the
originals, so what a page goes through in use is assumed by its kind on both sides, and the locked
operations compare kinds, counts and frees of pages, not their use.

Recordings marked * were looked at while the fit was written. The others were held out: made when it
was done, of other workloads; most are too large to ship. **Bold**: beyond the limit.
"""


def main(paths: list[Path]) -> None:
    """Fit them all and write the page."""
    lines = list(table(paths or default()))
    text = HEAD + "\n" + "\n".join(lines) + "\n"
    (ROOT / "bench" / "SYNTH.md").write_text(text, "utf-8")


def default() -> list[Path]:
    """The shipped trace sets that are recordings, and the recordings at hand."""
    found = {path.parent.name: path.parent for path in sorted(ROOT.glob("traces/*/meta.json"))}
    found |= {path.parent.name: path.parent for path in sorted(RECORDINGS.glob("*/trace.dat"))}
    return [found[name] for name in sorted(found)]


def table(paths: list[Path]) -> Iterator[str]:
    """Rows of the table, as they are made."""
    heads = [name + (f" (limit {limit})" if limit else "") for name, _, limit in KINDS]
    yield from (f"| recording | events | {' | '.join(heads)} |", "| --- " * (2 + len(heads)) + "|")
    for path in paths:
        with opened(path, Progress()) as trace:
            name, events = trace.meta["name"], trace.rows
            fit = fit_trace(trace, Progress())
        row = " | ".join([name + (" *" if name in SEEN else ""), f"{events:,}", *cells(fit)])
        print(row, flush=True)
        yield f"| {row} |"


def cells(fit: Fit) -> Iterator[str]:
    """The largest difference of each kind, measured by its limit."""
    for _, begins, _ in KINDS:
        measures = [m for m in fit.measures if m.name.startswith(begins)]
        if not measures:
            yield "–"
            continue
        worst = max(measures, key=lambda m: abs(m.difference) / (m.limit or 1))
        yield cell(worst)


def cell(measure: DistanceMeasure) -> str:
    """A difference, and the cache it is of."""
    text = f"{measure.difference:+.2f}"
    text = text if measure.met else f"**{text}**"
    return f"{text} ({measure.where})" if measure.where else text


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
