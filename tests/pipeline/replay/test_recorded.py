"""Runs in the database against the model's own words, and against each other."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import pipeline.store.load
from allocsim.recording.interpret import Replay
from allocsim.tables import concat
from allocsim.trace.events import EVENTS
from allocsim.trace.results import EVENT_RESULTS, PAGE_RESULTS
from pipeline.errors import AllocsimError, InputError, UsageError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import DEFAULTS, find_policies, shipped_pricing
from pipeline.replay.recorded import recording_of, replay_trace, replay_traces
from pipeline.store.adding import writing
from pipeline.store.schema import TABLES
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS, RECORDINGS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# One with page_ref events and stacks, two without; kernels with and without cache names.
NAMES = ("7.2p-tmpfsfiles-gt", "6.12-tmpfsfiles", "7.3-hackbench")
NEED_STACKS = {"page_caller_summary"}
NEED_PAGE_REF = {"freezability", "reference_takers"}
WINDOWS = (1 << 20, 30_011)

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def trace_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traces")
    return {
        name: import_recording(RECORDINGS / name, folder)
        for name in NAMES
        if (RECORDINGS / name).is_dir()
    }


@pytest.fixture(scope="module")
def db(trace_sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs 1, 2, 3 of the traces in one window, then 4, 5, 6 of them in many."""
    if len(trace_sets) < len(NAMES):
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    path = tmp_path_factory.mktemp("db") / "results.duckdb"
    policies = find_policies([])
    numbers = [
        replay_trace(TraceSet.open(trace_sets[name]), path, policies, window_rows=rows)
        for rows in WINDOWS
        for name in NAMES
    ]
    assert numbers == [1, 2, 3, 4, 5, 6]
    return path


def ask(path: Path, sql: str) -> Rows:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def stored(path: Path, sql: str) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """The columns of a query, with the model's codes for names."""
    with duckdb.connect(path, read_only=True) as connection:
        found = connection.sql(sql)
        named = [
            name for name, kind in zip(found.columns, found.types, strict=True) if kind.id == "enum"
        ]
        codes = ", ".join(f"enum_code({name})::SMALLINT AS {name}" for name in named)
        columns: dict[str, Any] = found.select(f"* REPLACE ({codes})").fetchnumpy()
    return {name: np.ma.asarray(values) for name, values in columns.items()}


@pytest.mark.parametrize("name", NAMES)
def test_events_say_what_the_trace_and_the_model_say(
    db: Path, trace_sets: dict[str, Path], name: str
) -> None:
    trace = TraceSet.open(trace_sets[name])
    columns = concat(trace.windows())
    model = Replay(recording_of(trace))
    results = model.window(columns).columns
    for column, (rows, values) in model.finish().late_results.items():
        results[column][rows] = values
    run = NAMES.index(name) + 1
    found = stored(db, f"SELECT * FROM events WHERE run = {run} ORDER BY seq")
    assert found["seq"].tolist() == list(range(trace.rows))
    for column in ("ts", "cpu", "pid", "event"):
        assert np.array_equal(found[column].filled(), columns[column]), column
    for column in ("call_site", "bytes_req", "bytes_alloc", "pfn", "order"):
        having = [event.code for event in EVENTS if column in event.columns]
        has = np.isin(columns["event"], having)
        assert np.array_equal(~np.ma.getmaskarray(found[column]), has), column
        assert np.array_equal(found[column][has].filled(), columns[column][has]), column
    if "stack" in columns:
        assert np.array_equal(found["stack"].filled(-1), columns["stack"])
    for result in EVENT_RESULTS:
        if result.name != "slab":
            assert np.array_equal(found[result.name].filled(-1), results[result.name]), result.name
    # The slab is the first page of the life the object lies on, as known at that life's end.
    on_slab = results["slab"] >= 0
    assert np.array_equal(found["slab"][on_slab].filled(-1), results["slab"][on_slab])


@pytest.mark.parametrize("name", NAMES)
def test_page_lives_are_the_models(db: Path, trace_sets: dict[str, Path], name: str) -> None:
    trace = TraceSet.open(trace_sets[name])
    model = Replay(recording_of(trace))
    pages = concat([model.window(concat(trace.windows())).pages, model.finish().pages])
    order = np.argsort(pages["page"])
    run = NAMES.index(name) + 1
    found = stored(db, f"SELECT * FROM pages WHERE run = {run} ORDER BY page")
    for column in PAGE_RESULTS:
        assert np.array_equal(found[column.name].filled(-1), pages[column.name][order]), column.name


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("events", "seq"),
        ("pages", "page"),
        ("internal.samples", "slice, page_kind"),
        ("fallbacks", "seq"),
        ("gfp_names", "gfp_flags"),
        ("policy_ops", "policy, page_kind, stage"),
        ("policy_summary", "policy"),
        ("page_kind_summary", "policy, page_kind"),
        ("cache_summary", "cache"),
        ("cache_policy_summary", "policy, cache"),
        ("call_site_summary", "call_site"),
        ("page_caller_summary", "policy, caller, page_kind"),
        ("timeline", "policy, slice, page_kind"),
        ("freezability", "scope, page_kind, caller, cache"),
        ("reference_takers", "page_kind, caller, cache, taker"),
        ("refcount_depth", "level, page_kind, caller, entry"),
        ("quality", "events"),
        ("quality_counts", "name"),
    ],
)
def test_the_window_size_does_not_matter(db: Path, table: str, key: str) -> None:
    for run in (1, 2, 3):
        whole, parts = (
            ask(db, f"SELECT * EXCLUDE (run) FROM {table} WHERE run = {number} ORDER BY {key}")
            for number in (run, run + 3)
        )
        assert whole == parts
        assert whole or table in NEED_STACKS or (run > 1 and table in NEED_PAGE_REF)


def test_late_results_of_stored_rows_come_to_the_same(
    db: Path, trace_sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is held back, so that every late result has to be an UPDATE."""
    monkeypatch.setattr(pipeline.store.load, "_HELD_ROWS", 0)
    path = tmp_path / "results.duckdb"
    policies = find_policies([])
    for run, name in enumerate(NAMES, 1):
        number = replay_trace(TraceSet.open(trace_sets[name]), path, policies, window_rows=5_003)
        assert number == run
    for table, key in (("events", "run, seq"), ("pages", "run, page"), ("internal.samples", "ALL")):
        query = f"FROM {table} WHERE run <= 3 ORDER BY {key}"
        assert ask(path, query) == ask(db, query)


def test_a_trace_is_stored_once_and_a_replay_is_a_run_of_its_own(db: Path) -> None:
    assert ask(db, "SELECT run, trace FROM runs JOIN traces USING (trace_id) ORDER BY run") == [
        (run, NAMES[(run - 1) % 3]) for run in range(1, 7)
    ]
    assert ask(db, "SELECT count(*) FROM traces") == [(3,)]


def test_keys_are_keys(db: Path) -> None:
    for table in TABLES:
        if table.key:
            key = ", ".join(f'"{name}"' for name in table.key)
            twice = f"SELECT {key} FROM {table.sql_name} GROUP BY ALL HAVING count(*) > 1"
            assert ask(db, twice) == [], table.name


def test_views_add_up_to_each_other(db: Path) -> None:
    whole = ask(
        db,
        "SELECT run, policy, page_allocs, page_frees, plain_ops, locked_ops FROM"
        " policy_summary ORDER BY ALL",
    )
    # Those of DEFAULTS, and the kernel's own where it is another's: twice 7.3's.
    own = ask(db, "SELECT own_policy FROM runs WHERE placement = 'recorded'")
    assert len(whole) == 6 * len(DEFAULTS) + sum(name not in DEFAULTS for (name,) in own)
    for view in ("page_kind_summary", "timeline"):
        sums = "sum(page_allocs), sum(page_frees), sum(plain_ops), sum(locked_ops)"
        assert ask(db, f"SELECT run, policy, {sums} FROM {view} GROUP BY ALL ORDER BY ALL") == whole
    slab = "SELECT run, policy, plain_ops, locked_ops FROM page_kind_summary"
    assert ask(
        db,
        "SELECT run, policy, sum(plain_ops), sum(locked_ops) FROM cache_policy_summary"
        " GROUP BY ALL ORDER BY ALL",
    ) == ask(db, f"{slab} WHERE page_kind = 'slab' ORDER BY ALL")


def test_the_use_stage_is_observed_where_page_ref_events_were_recorded(db: Path) -> None:
    assert ask(db, "SELECT run, use_how FROM quality ORDER BY run LIMIT 3") == [
        (1, "observed"),
        (2, "assumed"),
        (3, "assumed"),
    ]
    recorded = ask(db, "SELECT sum(ref_use_locked) FROM pages WHERE run = 1")
    assert (
        ask(
            db,
            "SELECT DISTINCT sum(use_locked_ops) FROM page_kind_summary WHERE run = 1"
            " AND policy <> 'linux-6.12' GROUP BY policy",
        )
        == recorded
    )


def test_another_kernel_s_use_is_the_recorded_one_changed_by_the_rules_that_differ(
    db: Path,
) -> None:
    """Run 1 is of 7.2: 6.12 freezes nothing, and needs two more for each page mapped around."""
    steps = dict(
        ask(db, "SELECT step, count(*) FROM internal.kernel_steps WHERE run = 1 GROUP BY step")
    )
    failed = ask(
        db,
        "SELECT count(*) FROM page_events"
        " WHERE run = 1 AND event = 'page_ref_freeze' AND ret = 0"
        " AND page_kind IN ('anon', 'thp', 'page_cache', 'shmem')",
    )
    assert failed == [(steps["lru_insertion"],)]
    use = dict(
        ask(
            db,
            "SELECT policy, sum(use_locked_ops) FROM page_kind_summary WHERE run = 1"
            " GROUP BY policy",
        )
    )
    more = 2 * steps["fault_around"] + steps.get("fault_around_large", 0) - steps["lru_insertion"]
    assert use["linux-6.12"] - use["linux-7.2"] == more != 0
    hows = ask(db, "SELECT policy, use_how FROM policy_summary WHERE run = 1 ORDER BY ALL")
    assert dict(hows) == {
        "everything-freezable": "observed",
        "frozen-page-tables": "observed",
        "linux-6.12": "inferred",
        "linux-7.2": "observed",
        "refcounted": "observed",
    }
    assert ask(
        db,
        "SELECT policy, sum(locked_ops) FROM policy_how_summary WHERE run = 1 GROUP BY policy"
        " ORDER BY ALL",
    ) == ask(db, "SELECT policy, locked_ops FROM policy_summary WHERE run = 1 ORDER BY ALL")
    assert ask(
        db,
        "SELECT policy, sum(locked_ops_saved) FILTER (frozen), sum(locked_ops_saved)"
        " FROM frozen_savings WHERE run = 1 GROUP BY policy HAVING bool_or(frozen) ORDER BY ALL",
    ) == ask(
        db,
        "SELECT policy, frozen_ops_saved, locked_ops_saved FROM policy_summary"
        " WHERE run = 1 AND frozen_ops_saved <> 0 ORDER BY ALL",
    )


def test_recorded_uses_count_when_they_were_recorded(db: Path) -> None:
    events, pages = (
        stored(db, f"FROM {t} WHERE run = 1 ORDER BY ALL") for t in ("events", "pages")
    )
    first, slice_ns = ask(db, "SELECT first_ts, slice_ns FROM runs WHERE run = 1")[0]
    expected: Counter[tuple[int, int]] = Counter()
    # All locked instructions, less the last one of a life that page_ref says ended it.
    last: dict[int, int] = {}
    kind = dict(zip(pages["page"].tolist(), pages["page_kind"].tolist(), strict=True))
    for ts, page, ops in zip(
        events["ts"].tolist(), events["page"].tolist(), events["locked_ops"].tolist(), strict=True
    ):
        if ops and page is not None:
            last[page] = (ts - first) // slice_ns
            expected[last[page], kind[page]] += ops
    for page, ops, uses in zip(
        pages["page"].tolist(),
        pages["ref_locked"].tolist(),
        pages["ref_use_locked"].tolist(),
        strict=True,
    ):
        if ops > uses:
            expected[last[page], kind[page]] -= ops - uses
    rows = ask(
        db, "SELECT slice, enum_code(page_kind), use_locked FROM internal.samples WHERE run = 1"
    )
    assert {(number, code): ops for number, code, ops in rows if ops} == {
        key: ops for key, ops in expected.items() if ops
    }
    assert min(ops for _, _, ops in rows) >= 0


def test_a_damaged_trace_set_adds_nothing(trace_sets: dict[str, Path], tmp_path: Path) -> None:
    if not trace_sets:
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    good = trace_sets["7.3-hackbench"]
    bad = tmp_path / "bad"
    shutil.copytree(good, bad)
    content = bytearray((bad / "events.parquet").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = bytes(4096)
    (bad / "events.parquet").write_bytes(content)
    fresh, used = tmp_path / "fresh.duckdb", tmp_path / "used.duckdb"
    policies = find_policies(["linux-7.2"])
    with pytest.raises(AllocsimError):
        replay_trace(TraceSet.open(bad), fresh, policies, window_rows=10_000)
    assert not fresh.exists()
    replay_trace(TraceSet.open(good), used, policies)
    before = ask(used, "FROM policy_summary"), ask(used, "SELECT count(*) FROM events")
    (failed,) = replay_traces([good, bad], used, policies, Progress(), again=True).failed
    assert "CRC checksum verification failed" in str(failed)
    assert ask(used, "SELECT run FROM runs ORDER BY run") == [(1,), (2,)]
    assert ask(used, "FROM policy_summary WHERE run = 1") == before[0]


def test_what_is_there_is_not_added_again_but_when_asked(tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"

    def done(
        settings: dict[str, int], *, policies: tuple[str, ...] = (), again: bool = False
    ) -> tuple[list[int], list[int]]:
        trace = [FAULTS / "named_at_free.dat"]
        wanted = find_policies(policies)
        found = replay_traces(
            trace, db, wanted, Progress(), settings, shipped_pricing(), again=again
        )
        return found.runs, found.added

    assert done({}) == ([1, 2], [1, 2])
    assert done({}) == ([1, 2], []), "imported anew, and still the same trace"
    assert done({"cpus": 4}) == ([1, 3], [3])
    assert done({}, policies=("linux-7.2",)) == ([4, 5], [4, 5])
    assert done({}, again=True) == ([6, 7], [6, 7])
    # As an end between the two transactions leaves it: the same command goes on.
    with writing(db) as connection:
        connection.execute("DELETE FROM runs WHERE run = 7")
        connection.execute("DELETE FROM runs WHERE run = 2")
    assert done({}) == ([6, 7], [7])


def test_a_missing_trace_is_found_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such trace set or recording"):
        replay_traces([tmp_path, tmp_path / "nowhere"], tmp_path / "db", [], Progress())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_neither_trace_set_nor_recording_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording in this folder"):
        replay_traces([tmp_path], tmp_path / "db", [], Progress())


def test_policies_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\ndoc = "Mine."\nbase = "recorded"\nfreeze = ["pipe"]\n')
    found = find_policies(["linux-7.2", str(own)])
    assert [policy.name for policy in found] == ["refcounted", "linux-7.2", "own"]
    assert [policy.source for policy in found] == ["shipped", "shipped", str(own)]
    every = [policy.name for policy in find_policies([])]
    assert every[0] == "refcounted"
    assert {"linux-6.12", "linux-7.2", "frozen-page-tables", "everything-freezable"} < set(every)


@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("linux-7.22", None, UsageError, "did you mean linux-7.2?"),
        ("nonsense", None, UsageError, "shipped are: refcounted"),
        ("gone.toml", None, InputError, "cannot be read: No such file"),
        ("a.toml", "name = 'a'\nfreeeze = ['slab']\n", InputError, "did you mean freeze?"),
        ("a.toml", "name = 'a'\nbase = 'recorded'\nfreeze = ['slap']\n", InputError, "'slap'"),
        ("a.toml", "name = ", InputError, "not valid TOML"),
        ("a.toml", "name = 'linux-7.2'\nbase = 'recorded'\n", UsageError, "rename it"),
        ("a.toml", b"\xff\xfe\x00", InputError, "not a text file"),
    ],
)
def test_a_bad_policy_is_one_line(
    tmp_path: Path, name: str, text: str | bytes | None, error: type[AllocsimError], says: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error) as caught:
        find_policies([str(path) if name.endswith(".toml") else name])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
