"""Steps that kernels do otherwise, found in page_ref events: by hand, and against their stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from allocsim.kernels.release import kernel_of
from allocsim.recording.page_kinds import PageKind
from allocsim.trace.events import Ev
from pipeline.processes.progress import Progress
from pipeline.replay.kernel_steps import add_kernel_steps
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_path
from pipeline.store.schema import create_tables
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from pathlib import Path

# An operation as the spec writes it: S, A+n, T-n, U+n, F, a page allocation; ``l``: under the
# page's lock, ``!``: it failed, ``z``: it took the count to zero.
_CODES = {
    "P": Ev.MM_PAGE_ALLOC,
    "S": Ev.PAGE_REF_SET,
    "A": Ev.PAGE_REF_MOD,
    "T": Ev.PAGE_REF_MOD_AND_TEST,
    "U": Ev.PAGE_REF_MOD_UNLESS,
    "F": Ev.PAGE_REF_FREEZE,
}


def steps(
    release: str, *operations: str, kinds: dict[int, PageKind] | None = None
) -> list[list[str]]:
    """Steps found at each of "PID PAGE OPERATION"; pages are of the page cache unless said."""
    connection = duckdb.connect()
    create_tables(connection)
    insert(connection, "runs", run=1, first_ts=0, last_ts=100, slice_ns=10)
    pages, born = set(), set()
    for seq, text in enumerate(operations):
        pid, page, what = text.split()
        code, rest = _CODES[what[0]], what[1:].rstrip("l!z")
        pages.add(int(page))
        if code == Ev.PAGE_REF_SET:
            born.add(int(page))
        insert(
            connection,
            "page_events",
            run=1,
            seq=seq,
            ts=seq,
            cpu=0,
            pid=int(pid),
            event=code.name.lower(),
            page=int(page),
            val=int(rest) if rest else 1,
            ret=int("z" in what if code == Ev.PAGE_REF_MOD_AND_TEST else "!" not in what),
            page_locked="l" in what,
        )
    for page in pages:
        kind = (kinds or {}).get(page, PageKind.PAGE_CACHE)
        ts = 0 if page in born else None
        values = {"order": 0, "page_kind": kind.name.lower(), "alloc_ts": ts}
        insert(connection, "pages", run=1, page=page, **values)
    add_kernel_steps(connection, 1, kernel_of(release))
    found = connection.execute(
        "SELECT seq, step FROM internal.kernel_steps ORDER BY ALL"
    ).fetchall()
    sums = connection.execute("SELECT sum(steps)::INT FROM internal.step_samples").fetchall()
    assert sums == [(len(found) or None,)]
    return [[step for at, step in found if at == seq] for seq in range(len(operations))]


def none(count: int) -> list[list[str]]:
    return [[] for _ in range(count)]


AROUND, LARGE, LRU = ["fault_around"], ["fault_around_large"], ["lru_insertion"]


def test_up_to_6_17_fault_around_adds_under_the_lock_and_drops_behind_it() -> None:
    mapped = ("7 1 U+1", "7 1 A+1l", "7 1 T-1")
    assert steps("6.12.107", *mapped) == [[], AROUND, []]
    assert steps("6.17.8", "7 1 U+1", "7 1 A+4l", "7 1 T-1") == [[], LARGE, []]
    # Splice and activation add without the lock, a fault on the page itself adds zero.
    assert steps("6.12.107", "7 1 U+1", "7 1 A+1", "7 1 T-1") == none(3)
    assert steps("6.12.107", "7 1 U+1", "7 1 A+0l", "7 1 T-1") == none(3)
    # Another task's operations are no part of it.
    assert steps("6.12.107", "7 1 U+1", "8 1 A+1l", "7 1 T-1") == none(3)


def test_from_6_18_on_the_mapping_keeps_the_reference_of_the_look_up() -> None:
    kept = ("7 1 U+1", "7 2 P", "7 1 T-1")
    assert steps("6.18.15", *kept, kinds={2: PageKind.PAGE_TABLE}) == [AROUND, [], []]
    assert steps("7.2.13", "7 1 U+1") == [AROUND]
    assert steps("7.2.13", "7 1 U+1", "7 1 A+3l") == [LARGE, []]
    # A read drops it, nothing was mapped, the fault was on the page itself.
    assert steps("7.2.13", "7 1 U+1", "7 1 T-1") == none(2)
    assert steps("7.2.13", "7 1 U+1", "7 2 U+1", "7 1 T-1", "7 2 T-1") == none(4)
    assert steps("7.2.13", "7 1 U+1", "7 1 A-1l") == none(2)
    assert steps("7.2.13", "7 1 U+1", "7 1 A+0l") == none(2)
    assert steps("7.2.13", "7 1 U+1!") == none(1)


def test_a_failed_freeze_is_an_insertion_from_7_2_on() -> None:
    anon = {1: PageKind.ANON}
    life = ("7 1 S1", "7 1 A+0", "7 1 A+1", "7 1 F!", "7 1 T-1", "7 1 T-1z")
    assert steps("7.2.13", *life, kinds=anon) == [[], [], [], LRU, [], []]
    dead = ("7 1 S1", "7 1 A+0", "7 1 A+1", "7 1 T-1", "7 1 F")
    assert steps("7.2.13", *dead, kinds=anon) == none(5)


def test_before_it_is_the_batch_s_reference_of_a_folio_that_outlives_it() -> None:
    anon = {1: PageKind.ANON, 2: PageKind.TLB_BATCH, 3: PageKind.ANON}
    life = ("7 1 S1", "7 1 A+0", "7 1 A+1", "7 1 T-1", "7 3 A+0", "7 1 T-1z")
    assert steps("6.12.107", *life, kinds=anon) == [[], [], LRU, [], [], []]
    # Unmapping empties the batch and frees the folio, gathering pages on its way.
    dead = ("7 1 S1", "7 1 A+0", "7 1 A+1", "7 1 T-1", "7 2 P", "7 2 S1", "7 1 T-1z")
    assert steps("6.12.107", *dead, kinds=anon) == none(7)
    cached = ("7 1 S1", "7 1 A+1", "7 1 A+1", "7 1 A+1", "7 1 T-1", "7 1 T-1z")
    assert steps("6.12.107", *cached) == [[], [], LRU, [], [], []]
    assert steps("6.12.107", *cached[1:]) == none(5), "older pages are on the LRU already"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recording", "event", "most_missed", "most_false"),
    [
        ("6.12p-mixed-refstacks-gt", "page_ref_mod", 0.03, 0.001),
        ("7.2p-mixed-refstacks-gt", "page_ref_mod_unless", 0.02, 0.01),
    ],
    indirect=["recording"],
)
def test_stacks_say_the_same(
    recording: Path, event: str, most_missed: float, most_false: float, tmp_path: Path
) -> None:
    """Fault-around by filemap_map_pages, and not by what the events look like."""
    db = tmp_path / "results.duckdb"
    replay_path(recording, db, find_policies(["refcounted"]), Progress(), [])
    with duckdb.connect(str(db), read_only=True) as connection:
        # From 6.18 on a look-up that maps nothing is undone at once, by an addition of -1.
        [(mapped, found, false)] = connection.execute(
            """
            WITH uses AS (
                SELECT frames, step, lead(val) OVER life AS following, events.val, events.event
                FROM page_events AS events
                JOIN stacks USING (run, stack)
                LEFT JOIN (
                    FROM internal.kernel_steps WHERE starts_with(step, 'fault')
                ) USING (run, seq)
                WHERE page_kind IN ('page_cache', 'shmem')
                WINDOW life AS (PARTITION BY events.page ORDER BY seq)
            )
            SELECT
                count(*) FILTER (contains(frames, 'filemap_map_pages') AND following <> -1
                    OR contains(frames, 'filemap_map_pages') AND event <> $unless),
                count(step) FILTER (contains(frames, 'filemap_map_pages')),
                count(step) FILTER (NOT contains(frames, 'filemap_map_pages'))
            FROM uses
            WHERE event = $event AND val > 0
            """,
            {"event": event, "unless": "page_ref_mod_unless"},
        ).fetchall()
    assert mapped > 70_000
    assert found > (1 - most_missed) * mapped
    assert false <= most_false * mapped
