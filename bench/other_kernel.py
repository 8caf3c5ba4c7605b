"""What another kernel would have done, beside what it did: python bench/other_kernel.py.

Recordings of the same workload on two kernels, with page_ref events: locked instructions of the
policy of each kernel on the other's recording, beside those that the other's own recording counted.
Writes bench/OTHER_KERNEL.md. The recordings lie in the folder that ALLOCSIM_RECORDINGS names, or
beside the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_path
from pipeline.store.database import reading
from reports import queries

HERE = Path(__file__).resolve().parent
RECORDINGS = Path(os.environ.get("ALLOCSIM_RECORDINGS", HERE.parent.parent / "shared" / "traces"))
KERNELS = {"6.12p": "linux-6.12", "7.2p": "linux-7.2"}
WORKLOADS = ("tmpfsfiles", "net", "hackbench", "mixed", "churn")
LEAST = 1.0  # % of the recorded total that a kind must be off by to be listed
TOTALS = (
    "workload | recorded on | locked | policy | predicted | change | recorded | change | off by"
    " | total predicted | total recorded"
)
KINDS = "workload | policy | kind | predicted | recorded | difference | allocations | the other's"
HEAD = """# What another kernel would have done, beside what it did

Made by `python bench/other_kernel.py`. Each workload was recorded on 6.12.107 and on 7.2.13 with
page_ref events. *Predicted* is the policy of one kernel on the other's recording (inferred: the
recorded operations, changed by the rules that differ); *recorded* is what that kernel's own
recording counted (observed). Locked instructions for each 1,000 page allocations of the recording;
*change* against the recording that was predicted from.

They are not the same run twice: the two made other numbers of page allocations, at other moments.
"""
REST = """
## What remains, by kind of page

Predicted less recorded, for each 1,000 page allocations, where it is 1 % of the recorded total or
more; allocations of the kind likewise, of the recording predicted from and of the other.
"""
WHY = """
What that is, none of it a rule of the count:

* **churn**: 6.12 made {slabs[0]} slab pages, 7.2 {slabs[1]}, for the same objects, so that 1,000
  page allocations are another part of the work, which shows in every kind. In all, linux-7.2 says
  {said} where 7.2 counted {did}; the other way it lacks what the slab pages cost that 7.2 did not
  make. Which slab pages a kernel makes is for the simulated placement to say. **slab of
  hackbench**: likewise.
* **page_cache of mixed**: 7.2 has large folios in ext4, {folios[1]} folios for the bytes of 6.12's
  {folios[0]}, with as many fewer look-ups, insertions and truncations. With stacks, on the
  recordings mixed-refstacks: splice looked up 8,130 folios on 6.12, 808 on 7.2; truncation 3,968
  and 1,613. And unmapping marked 2,209 folios accessed on 6.12, 195 on 7.2.
* **skb_frag of net**: {frags[0]:.2f} operations an allocation on 6.12, {frags[1]:.2f} on 7.2: how
  many fragments were handed out of a page before it went. Not looked into further.
* **anon, page_cache of hackbench**: {share[0]:.2f} operations an allocation of anonymous memory on
  6.12 under 7.2's rules, {share[1]:.2f} on 7.2; pages of programs, mapped as often as the script
  ran some. The two recordings are of one script, not of one run.
"""


@dataclass(frozen=True)
class Counts:
    """Of one recording: what each policy counts, in total and by kind, and page allocations."""

    allocs: int
    recorded: int
    locked: dict[str, int]
    kinds: dict[tuple[str, str], tuple[int, int]]

    def rate(self, policy: str) -> float:
        """Locked instructions under a policy for each 1,000 page allocations."""
        return 1000 * self.locked[policy] / self.allocs

    def of_kind(self, policy: str, kind: str) -> tuple[float, float]:
        """Locked instructions and allocations of a kind, likewise."""
        locked, allocs = self.kinds.get((policy, kind), (0, 0))
        return 1000 * locked / self.allocs, 1000 * allocs / self.allocs


def main() -> int:
    """Predict, write the file; 1 if a prediction has the wrong sign where 2 % or more changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "OTHER_KERNEL.md")
    output = parser.parse_args().output
    pairs = {work: tuple(_counts(f"{k}-{work}-gt") for k in KERNELS) for work in WORKLOADS}
    lines, rest, wrong = [], [], 0
    for work, pair in pairs.items():
        for (here, there), (own, policy) in (
            (pair, tuple(KERNELS.values())),
            (pair[::-1], tuple(KERNELS.values())[::-1]),
        ):
            was, said, did = here.rate(own), here.rate(policy), there.rate(policy)
            real = did / was - 1
            wrong += abs(real) > 0.02 and (said - was) * (did - was) <= 0
            lines.append(
                f"| {work} | {own} | {was:,.1f} | {policy} | {said:,.1f} | {_pct(said / was - 1)} |"
                f" {did:,.1f} | {_pct(real)} | {_pct(said / did - 1)} |"
                f" {here.locked[policy]:,} | {there.locked[policy]:,} |"
            )
            rest += _rest(work, here, there, policy)
    text = [
        HEAD,
        f"Date: {datetime.now(UTC):%Y-%m-%d}. Wrong signs where 2 % or more changed: {wrong}.\n",
        *_heading(TOTALS, (0, 1, 3)),
        *lines,
        REST,
        *_heading(KINDS, (0, 1, 2)),
        *rest,
        _why(pairs),
    ]
    output.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    print(output.read_text("utf-8"))
    return wrong > 0


def _counts(name: str) -> Counts:
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "results.duckdb"
        policies = find_policies(list(KERNELS.values()))
        [run] = replay_path(RECORDINGS / name, db, policies, Progress(), [])
        with reading(db) as connection:
            rows = queries.policies(connection, run)
            kinds = queries.rows(connection, "FROM page_kind_summary WHERE run = $run", run=run)
            [(recorded,)] = connection.execute("SELECT sum(ref_locked) FROM pages").fetchall()
    return Counts(
        rows[0]["page_allocs"],
        recorded,
        {row["policy"]: row["locked_ops"] for row in rows},
        {
            (row["policy"], row["page_kind"]): (row["locked_ops"], row["page_allocs"])
            for row in kinds
        },
    )


def _rest(work: str, here: Counts, there: Counts, policy: str) -> list[str]:
    kinds = sorted({kind for _, kind in (*here.kinds, *there.kinds)})
    total, lines = there.rate(policy), []
    for kind in kinds:
        (said, allocs), (did, others) = here.of_kind(policy, kind), there.of_kind(policy, kind)
        if abs(said - did) > LEAST / 100 * total:
            lines.append(
                f"| {work} | {policy} | {kind} | {said:,.1f} | {did:,.1f} | {said - did:+,.1f} |"
                f" {allocs:,.1f} | {others:,.1f} |"
            )
    return lines


def _why(pairs: dict[str, tuple[Counts, ...]]) -> str:
    def each(work: str, kind: str) -> tuple[tuple[int, int], ...]:
        return tuple(counts.kinds["linux-7.2", kind] for counts in pairs[work])

    return WHY.format(
        slabs=[f"{allocs:,}" for _, allocs in each("churn", "slab")],
        said=f"{pairs['churn'][0].locked['linux-7.2']:,}",
        did=f"{pairs['churn'][1].locked['linux-7.2']:,}",
        folios=[f"{allocs:,}" for _, allocs in each("mixed", "page_cache")],
        frags=[locked / allocs for locked, allocs in each("net", "skb_frag")],
        share=[locked / allocs for locked, allocs in each("hackbench", "anon")],
    )


def _heading(names: str, texts: tuple[int, ...]) -> list[str]:
    """A table's head; the columns that are no numbers are given."""
    columns = names.split(" | ")
    rules = ["---" if number in texts else "---:" for number in range(len(columns))]
    return [f"| {names} |", f"| {' | '.join(rules)} |"]


def _pct(part: float) -> str:
    return f"{100 * part:+.1f} %"


if __name__ == "__main__":
    sys.exit(main())
