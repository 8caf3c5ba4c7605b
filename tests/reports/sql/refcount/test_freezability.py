"""What could be frozen, against the kernel's own tallies and a plain count of the events."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from allocsim.refcount.freezability import Verdict
from allocsim.trace.events import Ev
from pipeline.ingest.recording import import_recording
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.trace_set.reader import TraceSet
from reports import queries
from reports.render.document import Bars, Chart, Mono, Table, Text
from reports.sections import freezing
from tests.conftest import RECORDINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("6.12p-mixed-gt", "7.2p-hackbench-gt")
#: Kinds as truth.json calls them.
KINDS = {
    "slab": "slab",
    "large_kmalloc": "large_kmalloc",
    "pagetable": "page_table",
    "pipe_buf": "pipe",
    "tlb_batch": "tlb_batch",
    "anon_fault(inlined)": "anon",
    "cow_anon": "anon",
    "pagecache": "page_cache",
    "shmem": "shmem",
    "skb_frag": "skb_frag",
    "thp_anon": "thp",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Of each recording, its trace set and a database with one run of it, in small windows."""
    if not all((RECORDINGS / name).is_dir() for name in NAMES):
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    folder = tmp_path_factory.mktemp("traces")
    made = {}
    for name in NAMES:
        trace = import_recording(RECORDINGS / name, folder)
        db = folder / f"{name}.duckdb"
        replay_trace(TraceSet.open(trace), db, find_policies([]), window_rows=300_007)
        made[name] = (trace, db)
    return made


def ask(db: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(db, read_only=True) as connection:
        result = connection.execute(sql)
        names = [name for name, *_ in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_whole_lives_and_their_references_are_those_the_kernel_told(
    asked: dict[str, tuple[Path, Path]], name: str
) -> None:
    truth = json.loads((RECORDINGS / name / "truth.json").read_text("utf-8"))["page_ref_truth"]
    told: dict[str, Counter[str]] = {}
    for kind, tally in truth["kinds"].items():
        if kind in KINDS:
            counts = {"closed": tally["closed"], **tally["ops_closed"]}
            told.setdefault(KINDS[kind], Counter()).update(counts)
    rows = ask(asked[name][1], "FROM freezability WHERE scope = 'kind'")
    for row in rows:
        if row["page_kind"] in told:
            tally = told[row["page_kind"]]
            assert row["whole_lives"] == tally["closed"], row
            # Each reference was given back: by a drop that did not end the page's life.
            assert row["extra_references"] == tally["mod_and_test"], row
            assert (row["extra_lives"] == 0) == (row["extra_references"] == 0), row
    assert len({row["page_kind"] for row in rows} & set(told)) >= 4


@pytest.mark.slow
def test_slab_saves_next_to_nothing_and_page_tables_twenty_times_that(
    asked: dict[str, tuple[Path, Path]],
) -> None:
    rows = ask(asked["6.12p-mixed-gt"][1], "FROM freezability WHERE scope = 'kind'")
    saved = {row["page_kind"]: row["saved_pct"] for row in rows}
    assert saved["slab"] == pytest.approx(0.07, abs=0.005)
    assert saved["page_table"] / saved["slab"] == pytest.approx(20, abs=1)
    verdicts = {row["page_kind"]: row["verdict"] for row in rows}
    observed = {row["page_kind"]: row["observed"] for row in rows}
    for kind in ("slab", "large_kmalloc", "page_table", "pipe"):
        assert (observed[kind], verdicts[kind]) == ("freezable", "freezable once readers change")
    assert (observed["tlb_batch"], verdicts["tlb_batch"]) == ("freezable", "freezable")
    assert (observed["unknown"], verdicts["unknown"]) == ("freezable", "not known")
    for kind in ("anon", "page_cache", "shmem", "thp"):
        assert verdicts[kind] == "needs its count"
    [pipe] = [row for row in rows if row["page_kind"] == "pipe"]
    assert {"anon_pipe_buf_release", "anon_pipe_buf_try_steal", "generic_pipe_buf_get"} <= set(
        pipe["readers"].split(", ")
    )


@pytest.mark.slow
def test_on_a_frozen_kernel_slab_is_frozen_already(asked: dict[str, tuple[Path, Path]]) -> None:
    rows = ask(asked["7.2p-hackbench-gt"][1], "FROM freezability WHERE page_kind = 'slab'")
    assert {row["verdict"] for row in rows} <= {"frozen already", "not known"}
    assert sum(row["plain_ops_saved"] + row["locked_ops_saved"] for row in rows) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_callers_add_up_to_their_kind(asked: dict[str, tuple[Path, Path]], name: str) -> None:
    counts = ["lives", "whole_lives", "bare_lives", "extra_lives", "extra_references"]
    counts += ["plain_ops_saved", "locked_ops_saved"]
    sums = ", ".join(f"sum({count})::bigint AS {count}" for count in counts)
    by_scope = [
        ask(
            asked[name][1],
            f"SELECT page_kind, {sums} FROM freezability WHERE scope = '{scope}'"
            " GROUP BY page_kind ORDER BY page_kind",
        )
        for scope in ("kind", "caller")
    ]
    assert by_scope[0] == by_scope[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_takers_took_every_reference_the_events_show(
    asked: dict[str, tuple[Path, Path]], name: str
) -> None:
    trace, db = asked[name]
    events = pl.read_parquet(trace / "events.parquet").filter(pl.col("val") > 0)
    code = pl.col("event")
    took = (code == Ev.PAGE_REF_MOD) | ((code == Ev.PAGE_REF_MOD_UNLESS) & (pl.col("ret") == 1))
    [row] = ask(
        db, 'SELECT sum("references")::bigint AS n, max(high_count) AS h FROM reference_takers'
    )
    taken = events.filter(took)
    assert row["n"] == len(taken)
    assert row["h"] == taken["count"].max()


@pytest.mark.slow
def test_each_level_saves_what_the_policy_of_its_kernel_saves(
    asked: dict[str, tuple[Path, Path]],
) -> None:
    """7.2 sets the count in the wrappers: what enters below them saves a drop a page freed."""
    db = asked["7.2p-hackbench-gt"][1]
    rows = ask(
        db,
        "SELECT level_name, sum(locked_ops_saved)::bigint AS saved,"
        " sum(steps_out)::bigint AS steps"
        " FROM refcount_depth GROUP BY level, level_name ORDER BY level",
    )
    [frozen] = ask(
        db,
        "SELECT sum(frees)::bigint AS frees, count(*) FILTER (stack IS NULL) AS older FROM pages"
        " WHERE page_kind IN ('slab', 'large_kmalloc')"
        " AND (stack IS NOT NULL OR frees > 0)",
    )
    saved = {row["level_name"]: row["saved"] for row in rows}
    assert saved["prep_new_page"] == 0
    # Slabs from before the recording have no stack to say where they entered.
    assert saved["alloc_pages"] == frozen["frees"] - frozen["older"] > 0
    assert saved["the user"] > saved["alloc_pages"]
    assert list(saved.values()) == sorted(saved.values())
    whole = ask(
        db,
        "SELECT sum(plain_ops_saved + locked_ops_saved)::bigint AS n FROM refcount_depth"
        " WHERE level_name = 'the user'",
    )
    assert sum(row["steps"] for row in rows) == whole[0]["n"]


def _lives(taken: int, bare: int) -> tuple[Any, ...]:
    slab = ("slab", "observed", 0, True, 1)
    return ((*slab, 2),) * taken + ((*slab, 0),) * bare


@pytest.mark.slow
@pytest.mark.parametrize(
    ("taken", "bare", "verdict"),
    [(0, 1, "freezable"), (1, 99, "nearly"), (1, 98, "needs its count"), (1, 0, "needs its count")],
)
def test_the_verdict_goes_by_the_share_of_lives_with_an_extra_reference(
    empty: duckdb.DuckDBPyConnection,
    add_run: Callable[..., None],
    taken: int,
    bare: int,
    verdict: str,
) -> None:
    add_run(empty, 1, "trace", lives=_lives(taken, bare))
    rows = empty.execute("SELECT DISTINCT verdict FROM freezability").fetchall()
    assert rows == [(verdict,)]


#: observed, by the sources, and what stands: the stricter, and never a guess.
TOGETHER = [
    ("freezable", Verdict.FREEZABLE, "freezable"),
    ("freezable", Verdict.ONCE, "freezable once readers change"),
    ("freezable", Verdict.NEEDED, "needs its count"),
    ("freezable", Verdict.UNSEEN, "not known"),
    ("freezable", Verdict.FROZEN, "freezable"),
    ("nearly", Verdict.FREEZABLE, "nearly"),
    ("nearly", Verdict.ONCE, "nearly"),
    ("nearly", Verdict.NEEDED, "needs its count"),
    ("nearly", Verdict.UNSEEN, "not known"),
    ("needs its count", Verdict.FREEZABLE, "needs its count"),
    ("needs its count", Verdict.ONCE, "needs its count"),
    ("needs its count", Verdict.UNSEEN, "needs its count"),
    ("not known", Verdict.FREEZABLE, "not known"),
    ("not known", Verdict.ONCE, "not known"),
    ("not known", Verdict.NEEDED, "needs its count"),
]
SEEN: dict[str, tuple[tuple[Any, ...], ...]] = {
    "freezable": _lives(0, 4),
    "nearly": _lives(1, 99),
    "needs its count": _lives(1, 3),
    "not known": (("slab", "observed", 0, True, 0, 0),),
}


@pytest.mark.slow
@pytest.mark.parametrize(("observed", "by_source", "verdict"), TOGETHER)
def test_of_lives_and_sources_the_stricter_stands(
    empty: duckdb.DuckDBPyConnection,
    add_run: Callable[..., None],
    observed: str,
    by_source: Verdict,
    verdict: str,
) -> None:
    add_run(empty, 1, "trace", lives=SEEN[observed], by_source={"slab": by_source})
    rows = empty.execute(
        "SELECT DISTINCT observed, verdict, sources_of, readers FROM freezability"
    ).fetchall()
    reader = "reader" if by_source in {Verdict.ONCE, Verdict.NEEDED} else None
    assert rows == [(observed, verdict, "6.12", reader)]


@pytest.mark.slow
def test_a_kind_without_an_entry_is_never_freezable(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    add_run(empty, 1, "trace", lives=_lives(0, 4), by_source={})
    assert empty.execute("SELECT DISTINCT verdict FROM freezability").fetchall() == [("not known",)]


@pytest.mark.slow
def test_a_caller_whose_code_was_read_has_its_own_verdict(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    table = ("page_table", "observed", None, True, 1, 0)
    add_run(empty, 1, "trace", lives=(table,) * 2, by_source={"page_table": Verdict.UNSEEN})
    empty.execute(
        "INSERT INTO source_verdicts BY NAME SELECT 1 AS run, 'page_table' AS page_kind,"
        " 'pte_alloc_one' AS caller, 'freezable' AS verdict, '6.12' AS kernel,"
        " false AS frozen_later"
    )
    empty.execute("UPDATE stacks SET caller = 'pte_alloc_one_noprof.isra.0'")
    rows = empty.execute("SELECT scope, verdict FROM freezability ORDER BY scope").fetchall()
    assert rows == [("caller", "freezable"), ("kind", "not known")]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_page_of_nobody_s_is_called_freezable(
    asked: dict[str, tuple[Path, Path]], name: str
) -> None:
    rows = ask(asked[name][1], "FROM freezability WHERE page_kind IN ('unknown', 'other')")
    assert rows
    assert {row["verdict"] for row in rows} <= {"not known", "needs its count", "frozen already"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_who_reads_the_count_is_told_of_the_kinds_met(
    asked: dict[str, tuple[Path, Path]], name: str
) -> None:
    rows = ask(asked[name][1], "FROM count_readers")
    kernel = name.partition("p-")[0]
    assert all(row["source"].endswith(f":{row['kernel_function']} ({kernel})") for row in rows)
    met = {
        kind
        for (kind,) in [
            tuple(row.values())
            for row in ask(asked[name][1], "SELECT DISTINCT page_kind FROM pages")
        ]
    }
    assert {row["page_kind"] for row in rows} - {None} <= met
    assert {row["does"] for row in rows if row["page_kind"] is None} == {"scans"}
    assert {"page_table", "anon"} <= {row["page_kind"] for row in rows}


def test_the_verdicts_read_as_they_did(empty: duckdb.DuckDBPyConnection) -> None:
    rows = empty.execute("SELECT verdict, max_extra_pct FROM verdicts ORDER BY verdict").fetchall()
    assert rows == [
        ("frozen already", None),
        ("freezable", 0.0),
        ("freezable once readers change", None),
        ("nearly", 1.0),
        ("needs its count", 100.0),
        ("not known", None),
    ]


def test_lives_the_recording_cuts_off_have_no_say(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    open_end = ("slab", "observed", 0, True, 0, 2)
    older = ("slab", "observed", 0, False, 1, 2)
    add_run(empty, 1, "trace", lives=(open_end, older))
    rows = empty.execute("SELECT lives, whole_lives, verdict FROM freezability").fetchall()
    assert set(rows) == {(2, 0, "not known")}


@pytest.mark.slow
def test_the_report_shows_verdicts_and_depth(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    add_run(empty, 1, "trace", lives=_lives(1, 3), policies={"refcounted": {}, "frozen": {}})
    blocks = freezing.verdicts(empty, 1)
    [table] = [block for block in blocks if isinstance(block, Table)]
    assert len(table.rows) == 1
    assert "needs" in str(table.rows[0])
    assert any(isinstance(block, Chart | Text) for block in freezing.depth(empty, 1))


@pytest.mark.slow
def test_the_report_names_who_reads_the_count(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    add_run(empty, 1, "trace", lives=_lives(0, 3), by_source={"slab": Verdict.ONCE})
    tables = [block for block in freezing.verdicts(empty, 1) if isinstance(block, Table)]
    assert tables[-1].rows == [["slab", "reads", Mono("mm/reader.c:reader (6.12)"), "reads it"]]
    assert "Reading fires no event" in tables[-1].caption


def test_without_page_ref_events_the_policy_says_who_needs_a_count(
    small: duckdb.DuckDBPyConnection,
) -> None:
    rows = small.execute(
        "SELECT page_kind, needs_count, needs_how, sum(plain_ops_saved), sum(locked_ops_saved)"
        " FROM refcount_depth WHERE level_name = 'the user' GROUP BY ALL ORDER BY page_kind"
    ).fetchall()
    assert rows == [
        ("slab", False, "assumed", 4, 3),
        ("large_kmalloc", False, "assumed", 1, 1),
        ("page_table", False, "assumed", 1, 2),
        ("anon", True, "assumed", 0, 0),
    ]


def test_without_page_ref_events_no_verdict_is_given(small: duckdb.DuckDBPyConnection) -> None:
    [_, text] = freezing.verdicts(small, 1)
    assert isinstance(text, Text)
    assert "not known" in text.text
    assert freezing.hazards(small, 1) == []


def test_the_figure_draws_what_the_view_says(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    add_run(empty, 1, "trace", lives=_lives(1, 3), policies={"refcounted": {}, "frozen": {}})
    [row] = queries.rows(empty, "FROM freezability WHERE scope = 'kind'")
    saved = row["plain_ops_saved"] + row["locked_ops_saved"]
    [chart] = freezing.figure(empty, 1)
    assert isinstance(chart, Chart)
    [bars] = chart.panels
    assert isinstance(bars, Bars)
    assert list(bars.rows) == [row["page_kind"]]
    assert bars.parts == {row["verdict"]: [saved]}
    lives = f"{row['extra_lives']} of {row['whole_lives']} lives"
    assert list(bars.notes) == [f"{saved}; in {lives}"]
