"""Derive how many locked instructions the pages of each kind see in use, where nothing tells.

    python bench/use_ranges.py [-o FILE] [RECORDING_OR_TRACE_SET ...]

Without a name it takes every shipped trace set and every recording at hand that has page_ref
events. Each is replayed twice: as it is, and with its page_ref events taken away, as a recording of
kmem events alone would be. What the first counts is set against what the second knows: allocations
of each kind, and of page tables. Prints the tables of bench/USE_RANGES.md, and ends in 1 if a total
lies outside its range, a range is wider than WIDEST, or the policies have other ranges than these.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import duckdb

sys.path.append(str(Path(__file__).resolve().parent.parent))
from allocsim.kernels.release import kernel_of
from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.policies import policy_ops, shipped_policies
from pipeline.fitting.kmem_only import without_page_refs
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import BASELINE, find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.trace_source import opened
from tests.conftest import ROOT, recordings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WIDEST = 2.5  #: high / low of a total
ENOUGH = 100  #: allocations of a kind below which a recording says nothing of it
#: What the greatest of a spread is widened by. More would be better founded: two recordings of one
#: workload differ by up to 7 %. More would leave hackbench on 7.2 wider than WIDEST.
MARGIN = 1.02


class Rule(NamedTuple):
    """What a life of a kind must see in use by the rules, and what adds to it.

    Args:
        least: locked instructions of a life that nobody else looks at, by kernel.
        source: where that is from.
        adds: what adds to it.
    """

    least: dict[str, int]
    source: str
    adds: str


RULES = {
    "anon": Rule(
        {"linux-6.12": 2, "linux-7.2": 3},
        "A+1 and T-1 of the LRU batch, 7.2 one failed freeze (mm/swap.c:folio_batch_move_lru). A"
        " page filled with zeros sees A+0 besides (mm/memory.c:do_anonymous_page), one copied on"
        " write does not (mm/memory.c:wp_page_copy)",
        "fork takes a reference for each mapped entry of a page table it copies, and each unmap"
        " drops it (mm/memory.c:copy_present_ptes): per page table, not per page",
    ),
    "page_cache": Rule(
        {"linux-6.12": 4, "linux-7.2": 5},
        "A+N into the cache, A+1 and T-1 of the LRU batch, 7.2 one failed freeze, T-1 of readahead",
        "reads, truncation, writeback: per page. Mapping a file takes references on pages that were"
        " in the cache long before (mm/filemap.c:filemap_map_pages): per page table",
    ),
    "shmem": Rule(
        {"linux-6.12": 4, "linux-7.2": 5},
        "A+N into the mapping, A+1 and T-1 of the LRU batch, 7.2 one failed freeze, T-1 of the"
        " writer",
        "U+1 and T-N of truncation, reads, faults",
    ),
    "skb_frag": Rule(
        {"linux-6.12": 0, "linux-7.2": 0},
        "none: a page given back before a fragment of it was handed out",
        "A+1 and T-1 for each fragment (include/linux/skbuff_ref.h:__skb_frag_ref)",
    ),
}
#: Policies whose saved share is printed: what a newer kernel does, and what could be frozen.
SHARES = ("linux-7.2", "everything-freezable")
HEAD = f"""# What pages see in use, where nothing tells

Made by `python bench/use_ranges.py -o bench/USE_RANGES.md`. Where no page_ref events were recorded
the policies (allocsim/refcount/policies/*.toml) assume a range of locked instructions that a page
sees in use. The figures there are those below.

* **Low** is the least that the rules of the kernel allow (the script has them, with their source),
  or the least mean over recordings where two workloads or more speak of the kind, rounded down.
* **High** is the greatest mean over recordings, times {MARGIN:g}, rounded up.
* **Both kernels** speak of shmem and of socket fragments: what is beyond the least by rule is put
  together, so that the two differ by rules only.
* **Per page table.** What maps a file takes references on pages that are in the page cache for
  long, and fork takes them on the pages of its parent: neither follows the allocations of these
  pages. Both go with the page tables that are filled, and their allocations are recorded. Per page
  of the page cache allocated, 6.12p-hackbench-gt has 2,617 locked instructions and
  6.12p-tmpfsfiles-gt 30; per page table they have 48 and 94.
* **The page cache in two parts.** High: operations on pages that were read in during the recording,
  per such page, of recordings with {ENOUGH} or more; those on pages that were cached before, per
  page table. Recordings from boot, to which all pages are new, do not tell the two apart. Low: the
  least by rule a page; the least of what is beyond that, per page table.
* **Forks.** The part of mixed in which a shell forks and executes is a workload of its own: the
  slices from the first to the last with half as many page tables as any.
* The margin is what the width allows: more than {MARGIN - 1:.0%} would leave hackbench on 7.2 wider
  than {WIDEST}. Two recordings of one workload differ by up to 7 % per page table.

A recording that does little but read cached files has operations that no kmem event shows, and can
lie above its range; so can one that forks a large process. None of these does.
"""
_KINDS = """
    SELECT page_kind, page_allocs, locked_ops - use_locked_ops, use_locked_ops
    FROM page_kind_summary WHERE run = $run AND policy = 'refcounted'
"""
# Operations on pages of the page cache that were in it before the recording began, and on others.
_CACHED = """
    SELECT coalesce(sum(ref_use_locked) FILTER (alloc_seq IS NULL), 0)::BIGINT,
        coalesce(sum(ref_use_locked) FILTER (alloc_seq IS NOT NULL), 0)::BIGINT
    FROM pages WHERE run = $run AND page_kind = 'page_cache'
"""
_SLICES = """
    SELECT slice, sum(page_allocs) FILTER (page_kind = 'page_table')::BIGINT,
        sum(page_allocs) FILTER (page_kind = 'anon')::BIGINT,
        sum(use_locked) FILTER (page_kind = 'anon')::BIGINT,
        sum(use_locked) FILTER (page_kind = 'page_cache')::BIGINT,
        coalesce(sum(page_allocs) FILTER (page_kind = 'page_cache'), 0)::BIGINT
    FROM internal.samples WHERE run = $run GROUP BY ALL ORDER BY slice
"""
_TOTAL = """
    SELECT policy, locked_ops, frozen_saved_pct, locked_ops_low, locked_ops_high,
        frozen_saved_pct_low, frozen_saved_pct_high
    FROM policy_summary WHERE run = $run
"""


@dataclass(slots=True)
class Counted:
    """What one recording has, or a part of one.

    Args:
        name: of the recording.
        kernel: name of the policy that is its kernel's own.
        allocs: allocations by kind.
        used: locked instructions in use by kind, as page_ref events tell.
        cached: of those on the page cache, on pages that were in it before; None: all were new.
        fixed: locked instructions at allocation and free, as known without page_ref events.
        rest: those in use of the kinds that RULES leaves out, likewise.
        policies: what policy_summary says of each policy: with page_ref events, and without.
    """

    name: str
    kernel: str
    allocs: dict[str, int]
    used: dict[str, int]
    cached: int | None
    fixed: int = 0
    rest: int = 0
    policies: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)

    @property
    def workload(self) -> str:
        """What ran: recordings of one workload are no independent witnesses."""
        words = self.name.split("-")[1:]
        return "-".join(word for word in words if word not in {"boot", "gt", "refstacks"})

    @property
    def tables(self) -> int:
        """Page tables allocated."""
        return self.allocs.get("page_table", 0)


class Use(NamedTuple):
    """Locked instructions in use: per allocation, and per page table allocated besides."""

    low: int
    high: int
    table_low: int = 0
    table_high: int = 0

    def total(self, counted: Counted, kind: str) -> tuple[int, int]:
        """Of all pages of a kind in a recording, least and most."""
        allocs, tables = counted.allocs.get(kind, 0), counted.tables
        return (
            self.low * allocs + self.table_low * tables,
            self.high * allocs + self.table_high * tables,
        )


def count(path: Path) -> Iterator[Counted]:
    """What a recording has, and its part that forks most where it does a little of everything."""
    with TemporaryDirectory() as folder, opened(path, Progress()) as trace:
        db = Path(folder) / "results.duckdb"
        policies = find_policies([])
        run = replay_trace(trace, db, policies)
        bare = replay_trace(without_page_refs(trace, Path(folder)), db, policies)
        with duckdb.connect(db, read_only=True) as connection:
            kinds = connection.execute(_KINDS, {"run": run}).fetchall()
            known = connection.execute(_KINDS, {"run": bare}).fetchall()
            [(before, _)] = connection.execute(_CACHED, {"run": run}).fetchall()
            totals = {
                row[0]: row[1:] for row in connection.execute(_TOTAL, {"run": run}).fetchall()
            }
            ranges = {
                row[0]: row[1:] for row in connection.execute(_TOTAL, {"run": bare}).fetchall()
            }
            slices = connection.execute(_SLICES, {"run": run}).fetchall()
        whole = Counted(
            trace.meta["name"],
            kernel_of(trace.meta["kernel_release"]).policy,
            {kind: allocs for kind, allocs, *_ in known},
            {kind: used for kind, *_, used in kinds},
            # From boot on everything is new: such a recording cannot tell the two apart.
            before or None,
            sum(fixed for *_, fixed, _ in known),
            sum(used for kind, *_, used in known if kind not in RULES),
            {name: (totals[name], ranges[name]) for name in totals},
        )
    yield whole
    if whole.workload == "mixed":
        yield _forking(whole, slices)


def _forking(whole: Counted, slices: Sequence[tuple[int | None, ...]]) -> Counted:
    """The slices from the first to the last with half as many page tables as any has.

    A workload of its own: a shell that forks and executes, and nothing else. It reads no page in.
    """
    half = max(row[1] or 0 for row in slices) / 2
    busy = [at for at, row in enumerate(slices) if (row[1] or 0) >= half]
    rows = slices[busy[0] : busy[-1] + 1]
    tables, anon, anon_used, cache_used, read = (
        sum(row[column] or 0 for row in rows) for column in range(1, 6)
    )
    return Counted(
        f"{whole.name}/forks",
        whole.kernel,
        {"page_table": tables, "anon": anon, "page_cache": read},
        {"anon": anon_used, "page_cache": cache_used},
        cache_used if not read else None,
    )


def derive(kernel: str, every: Sequence[Counted]) -> dict[str, Use]:
    """The ranges of one kernel that recordings give, by kind.

    Low: the least that the rules allow, or that a recording had where two workloads or more speak.
    High: the greatest that a recording had, and MARGIN. Both in whole instructions, outwards.

    Args:
        kernel: name of the policy that is its own.
        every: recordings of all kernels. What kernels do alike but for the least of a page, in
            kinds that are not mapped by fault-around for the most part, all of them tell.
    """
    least = {kind: rule.least[kernel] for kind, rule in RULES.items()}
    counted = [each for each in every if each.kernel == kernel]
    whole = [each for each in counted if each.policies]
    found = {}
    for kind in ("shmem", "skb_frag"):
        says = [each for each in every if each.policies and _says(each, kind)]
        beyond = [_mean(each, kind) - RULES[kind].least[each.kernel] for each in says]
        several = len({each.workload for each in says}) > 1
        found[kind] = Use(
            least[kind] + (math.floor(min(beyond)) if several else 0), least[kind] + _most(beyond)
        )
    # A page that is filled with zeros and never seen by a fork: one more than the least.
    zeroed = least["anon"] + 1
    found["anon"] = Use(
        least["anon"],
        zeroed,
        0,
        _most(_beyond(each, "anon", zeroed) for each in counted if each.tables),
    )
    found["page_cache"] = Use(
        least["page_cache"],
        _most(
            (each.used["page_cache"] - each.cached) / each.allocs["page_cache"]
            for each in whole
            if _says(each, "page_cache") and each.cached is not None
        ),
        math.floor(
            min(_beyond(each, "page_cache", least["page_cache"]) for each in whole if each.tables)
        ),
        _most(each.cached / each.tables for each in counted if each.cached is not None),
    )
    return {kind: found[kind] for kind in RULES}


def _says(counted: Counted, kind: str) -> bool:
    return counted.allocs.get(kind, 0) >= ENOUGH


def _mean(counted: Counted, kind: str) -> float:
    return counted.used[kind] / counted.allocs[kind]


def _beyond(counted: Counted, kind: str, each: int) -> float:
    """What is beyond so many instructions a page, per page table."""
    return (counted.used[kind] - each * counted.allocs.get(kind, 0)) / counted.tables


def _most(values: Iterable[float]) -> int:
    return math.ceil(MARGIN * max(values))


def kernels(counted: Sequence[Counted]) -> dict[str, list[Counted]]:
    """Recordings by the policy that is their kernel's own."""
    found: dict[str, list[Counted]] = {}
    for each in counted:
        found.setdefault(each.kernel, []).append(each)
    return dict(sorted(found.items()))


def left_out(kernel: str, every: Sequence[Counted]) -> list[tuple[Counted, dict[str, Use]]]:
    """Each recording of one kernel, and the ranges that the other workloads give."""
    return [
        (each, derive(kernel, [other for other in every if other.workload != each.workload]))
        for each in every
        if each.policies and each.kernel == kernel
    ]


def total(counted: Counted, uses: dict[str, Use]) -> tuple[int, int]:
    """Locked instructions under 'refcounted' by such ranges, least and most."""
    ends = [use.total(counted, kind) for kind, use in uses.items()]
    low, high = (counted.fixed + counted.rest + sum(each) for each in zip(*ends, strict=True))
    return low, high


def observed(counted: Counted) -> int:
    """Locked instructions under 'refcounted' with page_ref events."""
    return int(counted.policies[BASELINE][0][0])


def _document(counted: Sequence[Counted]) -> list[str]:
    lines = [HEAD]
    for kernel, group in kernels(counted).items():
        lines += [f"## {kernel}", "", *_derived(kernel, counted, group)]
        lines += [*_held(kernel, counted), *_printed(group)]
    return lines


def _derived(kernel: str, every: Sequence[Counted], group: Sequence[Counted]) -> list[str]:
    rows = []
    for kind, use in derive(kernel, every).items():
        says = [each for each in group if each.policies and each.allocs.get(kind)]
        means = [_mean(each, kind) for each in says if _says(each, kind)]
        tables = [each.used[kind] / each.tables for each in says if each.tables]
        mapped = use.table_high > 0
        rows.append(
            [
                kind,
                str(RULES[kind].least[kernel]),
                f"{min(means):.2f} to {max(means):.2f} ({len(means)})",
                f"{min(tables):.1f} to {max(tables):.1f}" if mapped else "",
                f"{use.low} to {use.high}",
                f"{use.table_low} to {use.table_high}" if mapped else "",
            ]
        )
    heads = ["kind", "least by rule", "recorded, a page (recordings)", "recorded, a page table"]
    return [
        "Locked instructions in use. What was recorded is all of the kind's over all its pages,",
        "and over all page tables; the range has a part for each.",
        "",
        *_table([*heads, "range, a page", "and a page table"], rows),
    ]


def _held(kernel: str, every: Sequence[Counted]) -> list[str]:
    rows = []
    for each, uses in left_out(kernel, every):
        low, high = total(each, uses)
        missed = [
            kind
            for kind, use in uses.items()
            if each.allocs.get(kind) and not _inside(each.used[kind], use.total(each, kind))
        ]
        rows.append(
            [
                each.name,
                f"{observed(each):,}",
                f"{low:,} to {high:,}",
                f"{high / low:.2f}",
                "yes" if low <= observed(each) <= high else "**no**",
                ", ".join(missed),
            ]
        )
    heads = ["left out", "recorded", "range of the other workloads", "wide", "inside"]
    return [
        "Locked instructions under `refcounted` by ranges that were derived without the recording",
        "and all others of its workload. By kind some lie outside; in total none should.",
        "",
        *_table([*heads, "kinds outside"], rows),
    ]


def _printed(group: Sequence[Counted]) -> list[str]:
    rows = []
    for each in group:
        if not each.policies:
            continue
        _, (_, _, low, high, *_) = each.policies[BASELINE]
        shares = []
        for name in SHARES:
            (_, share, *_), (*_, share_low, share_high) = each.policies[name]
            mark = "" if _inside(share, (share_low, share_high)) else " **outside**"
            shares.append(f"{share:.3f} in {share_low:.3f} to {share_high:.3f}{mark}")
        rows.append(
            [
                each.name,
                f"{observed(each):,}",
                f"{low:,} to {high:,}",
                f"{high / low:.2f}",
                "yes" if _inside(observed(each), (low, high)) else "**no**",
                *shares,
            ]
        )
    heads = ["recording", "recorded", "printed without page_ref events", "wide", "inside"]
    return [
        "What allocsim prints of the recording without its page_ref events: locked instructions",
        "under `refcounted`, and the share of them that freezing saves, in percent.",
        "",
        *_table([*heads, *(f"saved, {name}" for name in SHARES)], rows),
    ]


def _inside(value: float, ends: tuple[float, float]) -> bool:
    low, high = ends
    return low <= value <= high


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def misses(counted: Sequence[Counted]) -> list[str]:
    """What does not hold of what is printed: a sentence each.

    Every policy's total and share must be inside, of another kernel's as inferred from what was
    recorded; the baseline's total, which shares are of, must not be wider than WIDEST.
    """
    found = []
    for each in (each for each in counted if each.policies):
        for name, ((value, share, *_), (_, _, *ends)) in each.policies.items():
            low, high, share_low, share_high = ends
            if not _inside(value, (low, high)):
                found.append(f"{each.name}: {value:,} under {name} is not in {low:,} to {high:,}")
            if not _inside(share, (share_low, share_high)):
                found.append(f"{each.name}: {share} % by {name}: not {share_low} to {share_high}")
            if name == BASELINE and high > WIDEST * low:
                found.append(f"{each.name}: {low:,} to {high:,} is too wide")
    return found


def not_shipped(counted: Sequence[Counted]) -> list[str]:
    """Ranges that the policies do not have as they were derived: a sentence each."""
    found = []
    for kernel in kernels(counted):
        for kind, use in derive(kernel, counted).items():
            [row] = [
                op
                for op in policy_ops(shipped_policies()[kernel], kernel)
                if KIND_NAMES[op.page_kind] == kind and op.stage == "use"
            ]
            has = Use(*(row.locked_range or (0, 0)), *(row.locked_per_table or (0, 0)))
            if has != use:
                found.append(f"{kernel}: {kind} is derived as {use}, and shipped as {has}")
    return found


def _paths(given: Sequence[Path]) -> Iterator[Path]:
    if given:
        yield from given
        return
    at_hand = list(recordings("*-gt"))
    yield from at_hand
    known = {path.name for path in at_hand}
    yield from (path for path in sorted((ROOT / "traces").glob("*-gt")) if path.name not in known)


def main() -> int:
    """Derive, print, write; 1 if anything does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("traces", nargs="*", type=Path)
    given = parser.parse_args()
    counted = [each for path in _paths(given.traces) for each in count(path)]
    text = "\n".join(_document(counted))
    print(text)
    if given.output:
        given.output.write_text(text, "utf-8")
    found = misses(counted) + ([] if given.traces else not_shipped(counted))
    print("\n".join(found), file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
