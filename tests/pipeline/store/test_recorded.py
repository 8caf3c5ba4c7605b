"""The view recorded: the rows of the trace set's own Parquet, and of no other file."""

from __future__ import annotations

import hashlib
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from pyarrow import parquet

from allocsim.trace.events import EVENT_COLUMNS, EVENT_NAMES
from pipeline.errors import InputError, UsageError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay.recorded import replay_traces
from pipeline.store.asking import Question, ask
from pipeline.store.asking.trace_sets import columns_named, find_trace_sets
from pipeline.store.database import reading
from pipeline.store.query import Asked, _tree, asking
from pipeline.store.recorded import NAMES, RECORDED
from tests.conftest import ROOT
from tests.pipeline.store.asked import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rows = list[tuple[Any, ...]]

MIGRATETYPES = ("unmovable", "movable", "reclaimable", "highatomic")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trace sets and a results database of both, run 1 and run 2."""
    folder = tmp_path_factory.mktemp("recorded")
    for name in ("6.18-mixed", "6.16-mixed"):
        shutil.copytree(ROOT / "tests" / "data" / name, folder / name)
    sets = [folder / "6.18-mixed", folder / "6.16-mixed"]
    replay_traces(sets, folder / "x.db", [], Progress())
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same elsewhere: the trace sets are not where the database knows them."""
    return Path(shutil.copytree(made, tmp_path / "folder"))


def rows_of(db: Path, sql: str, traces: Sequence[Path] = ()) -> Rows:
    """What a statement is answered within this process."""
    with reading(db) as connection:
        runs = find_trace_sets(connection, traces)
    with answer(db, sql, runs) as (_, rows):
        return list(rows)


def asked(db: Path, sql: str, traces: Sequence[Path] = ()) -> str:
    """What the command line is answered, as CSV."""
    out = BytesIO()
    ask(Question(str(db), sql, "csv", 60.0, None, tuple(map(str, traces))), out)
    return out.getvalue().decode()


def state(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_row_and_column_is_that_of_the_parquet(made: Path) -> None:
    found = rows_of(made / "x.db", "FROM recorded WHERE run = 1 ORDER BY seq")
    columns = dict(zip(NAMES, zip(*found, strict=True), strict=True))
    told = parquet.read_table(made / "6.18-mixed" / "events.parquet").to_pydict()
    count = len(told["ts"])
    assert columns["run"] == (1,) * count
    assert columns["seq"] == tuple(range(count))
    for column in EVENT_COLUMNS:
        expected = told.get(column.name, [None] * count)
        if column.name == "event":
            expected = [EVENT_NAMES[code] for code in expected]
        elif column.name.endswith("migratetype"):
            expected = [code if code is None else MIGRATETYPES[code] for code in expected]
        assert columns[column.name] == tuple(expected), column.name


def test_numbers_are_names_too(made: Path) -> None:
    found = rows_of(
        made / "x.db",
        "SELECT call_site, symbol, gfp_flags, gfp, stack, frames FROM recorded WHERE run = 1",
    )
    table = parquet.read_table(made / "6.18-mixed" / "symbols.parquet").to_pylist()
    names = {
        row["address"]: f"{row['symbol']}+{row['offset']:#x}" for row in table if row["symbol"]
    }
    assert any(name for name in names.values())
    with reading(made / "x.db") as connection:
        frames = dict(
            connection.execute("SELECT stack, frames FROM stacks WHERE run = 1").fetchall()
        )
    for site, symbol, flags, gfp, stack, called in found:
        assert symbol == (None if site is None else names.get(site, hex(site)))
        assert (flags is None) == (gfp is None)
        assert called == frames.get(stack)
    by_flags = {flags: gfp for _, _, flags, gfp, _, _ in found}
    assert by_flags[0xCC0] == "GFP_KERNEL"  # include/linux/gfp_types.h: RECLAIM, IO and FS


def test_it_is_joined_to_the_events_by_run_and_seq(made: Path) -> None:
    [(rows, alike)] = rows_of(
        made / "x.db",
        """
        SELECT count(*), count_if(
            (recorded.ts, recorded.cpu, recorded.pid, recorded.event::VARCHAR)
            = (events.ts, events.cpu, events.pid, events.event::VARCHAR)
            AND recorded.call_site IS NOT DISTINCT FROM events.call_site
            AND recorded.pfn IS NOT DISTINCT FROM events.pfn
        )
        FROM recorded JOIN events USING (run, seq)
        """,
    )
    [(events,)] = rows_of(made / "x.db", "SELECT sum(events) FROM runs WHERE of_run IS NULL")
    assert rows == alike == events


def test_it_has_the_columns_that_the_file_says(made: Path) -> None:
    with duckdb.connect(made / "x.db", read_only=True) as connection:
        in_file = connection.execute("DESCRIBE recorded").fetchall()
        with pytest.raises(duckdb.Error, match="ask with allocsim sql"):
            connection.execute("SELECT ptr FROM recorded")
    assert rows_of(made / "x.db", "DESCRIBE recorded") == in_file
    assert [name for name, *_ in in_file] == [name for name, _, _ in RECORDED.columns]
    assert all(doc.endswith(".") for _, _, doc in RECORDED.columns)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT count(*) FROM recorded", []),
        ("SELECT max(ptr) FROM Recorded WHERE event = 'kfree'", ["event", "ptr"]),
        ("WITH w AS (FROM recorded SELECT gfp) FROM w SELECT gfp", ["gfp"]),
        ("SELECT r.node FROM recorded AS r JOIN pages USING (pfn)", ["node", "pfn"]),
        ("SELECT ptr FROM runs, recorded WHERE placement = 'recorded'", ["ptr"]),
        *[
            (sql, NAMES)
            for sql in (
                "FROM recorded",
                "SELECT * EXCLUDE (ptr) FROM recorded",
                "SELECT COLUMNS('p.*') FROM recorded",
                "SELECT recorded FROM recorded",
                "SELECT hash(r) FROM recorded AS r",
                "SELECT #1 FROM recorded",
                "SELECT count(*) FROM recorded NATURAL JOIN pages",
                "PIVOT recorded ON event IN ('kfree') USING count(*)",
                "FROM query('SELECT ptr FROM recorded')",
                "SELECT count(*) FROM query_table('recorded')",
                "SUMMARIZE recorded",
                "DESCRIBE recorded",
            )
        ],
        ("FROM runs WHERE placement = 'recorded'", None),
        ("SELECT 'recorded'", None),
    ],
)
def test_the_columns_a_statement_may_mean_are_read(sql: str, columns: Sequence[str] | None) -> None:
    with duckdb.connect() as connection:
        found = columns_named(_tree(connection, sql))
    assert (found and sorted(found)) == (columns and sorted(columns))


def test_a_row_is_whole_and_narrow_reads_agree_with_wide_ones(made: Path) -> None:
    statements = [
        "SELECT r FROM recorded AS r WHERE run = 1 AND seq = 7",
        "FROM recorded WHERE run = 1 AND seq = 7",
        *(f'SELECT "{name}" FROM recorded WHERE run = 1 AND seq = 7' for name in NAMES),
    ]
    with reading(made / "x.db") as connection:
        runs = find_trace_sets(connection, [])
    with asking(made / "x.db", None, runs) as each:
        count = each.statements(";".join(statements))
        [[(row,)], [wide], *narrow] = [list(each.answer(n).rows) for n in range(count)]
    assert tuple(row) == NAMES
    assert wide == tuple(row.values())
    assert narrow == [[(value,)] for value in wide]


def test_a_set_that_was_moved_is_named(made: Path, folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (folder / "6.18-mixed").rename(moved)
    with duckdb.connect(folder / "x.db") as connection:
        connection.execute(
            "UPDATE runs SET trace_path = replace(trace_path, ?, ?)", [str(made), str(folder)]
        )
    db = folder / "x.db"
    counted = "SELECT count(*) FROM recorded WHERE run = {}"
    with pytest.raises(InputError) as caught:
        rows_of(db, counted.format(1))
    assert str(caught.value) == (
        f"recorded: the trace set of run 1 is not in {folder}/6.18-mixed any more;"
        " say where it is, with --trace DIR"
    )
    assert rows_of(db, counted.format(2)) == [(30225,)]
    assert rows_of(db, counted.format(1), [moved]) == [(30273,)]
    with pytest.raises(InputError, match=r"--trace .*7.2n-numa-huge: no run of the database is of"):
        rows_of(db, counted.format(1), [ROOT / "traces" / "7.2n-numa-huge"])
    shutil.copytree(folder / "6.16-mixed", folder / "6.18-mixed")
    with pytest.raises(InputError, match="is another trace set than that of run 1; say where"):
        rows_of(db, counted.format(1))


def test_a_set_that_was_not_kept_says_so(folder: Path) -> None:
    with duckdb.connect(folder / "x.db") as connection:
        connection.execute("UPDATE runs SET trace_path = NULL, recording = '/r/trace.dat'")
    with pytest.raises(InputError, match=r"was not kept: /r/trace.dat was imported on the way; im"):
        rows_of(folder / "x.db", "SELECT ptr FROM recorded")
    found = rows_of(folder / "x.db", "SELECT count(*) FROM recorded WHERE run = 1",
                    [folder / "6.18-mixed"])  # fmt: skip
    assert found == [(30273,)]


def test_where_a_trace_set_was_is_known(made: Path) -> None:
    found = rows_of(made / "x.db", "SELECT trace_path, recording FROM runs ORDER BY run")
    assert found == [(str(made / "6.18-mixed"), None), (str(made / "6.16-mixed"), None)]


def shortened(path: Path) -> None:
    table = parquet.read_table(path)
    parquet.write_table(table.slice(1), path)


def linked(path: Path) -> None:
    outside = path.parent.parent / "outside.parquet"
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shortened, r"events.parquet: has 30272 events, and run 1 30273"),
        (linked, r"events.parquet: a link out of the trace set, which is not followed"),
        (lambda path: path.write_bytes(b"PAR1" * 9), r"events.parquet: cannot be read \("),
        (Path.unlink, r"events.parquet: not there"),
    ],
)
def test_events_that_are_not_the_runs_are_refused(
    folder: Path, change: Callable[[Path], object], says: str
) -> None:
    change(folder / "6.18-mixed" / "events.parquet")
    with pytest.raises(InputError, match=says):
        rows_of(folder / "x.db", "SELECT count(*) FROM recorded", [folder / "6.18-mixed"])


TRIED = ("events.parquet", "symbols.parquet", "link.csv", "inside.csv", "meta.json", "*")
ATTEMPTS = (
    "FROM '{path}', recorded",
    "FROM read_parquet('{path}')",
    "FROM read_csv('{path}')",
    "FROM read_text('{path}')",
    "SELECT content FROM read_blob('{path}')",
    "FROM glob('{path}')",
    "FROM parquet_metadata('{path}')",
    "FROM parquet_schema('{path}')",
    "FROM query_table('{path}')",
    "ATTACH '{path}' AS other",
    "COPY (SELECT 1) TO '{path}' (use_tmp_file false)",
    "COPY recorded TO '{path}' (FORMAT parquet)",
    "WITH w AS (COPY (SELECT 1) TO '{path}') SELECT count(*) FROM w, recorded",
    "SELECT (SELECT count(*) FROM '{path}') FROM recorded",
)


def run(asked: Asked, sql: str) -> Rows:
    assert asked.statements(sql) == 1
    return list(asked.answer(0).rows)


@pytest.mark.slow
def test_the_command_line_reads_the_events_and_no_other_file(made: Path, folder: Path) -> None:
    db, sets = folder / "x.db", [folder / "6.18-mixed", folder / "6.16-mixed"]
    (folder / "secret.csv").write_text("one,two\n1,2\n")
    (folder / "6.18-mixed" / "link.csv").symlink_to(folder / "secret.csv")
    (folder / "6.18-mixed" / "inside.csv").write_text("one,two\n1,2\n")
    before = state(folder) | state(made)
    both = "SELECT run, count(*) AS n, max(seq) AS seq FROM recorded GROUP BY run ORDER BY run"
    assert asked(db, both, sets) == "run,n,seq\n1,30273,30272\n2,30225,30224\n"
    [_, row] = asked(db, "SELECT max(ptr) FROM recorded WHERE run = 1", sets).splitlines()
    assert re.fullmatch("0xffff[0-9a-f]{12}", row)
    with reading(db) as connection:
        runs = find_trace_sets(connection, sets)
    with asking(db, None, runs) as each:
        for sql in ATTEMPTS:
            for path in (*(sets[0] / name for name in TRIED), db, folder / "secret.csv"):
                with pytest.raises((UsageError, duckdb.Error)):
                    run(each, sql.format(path=path))
        assert len(run(each, both)) == 2
    for sql in (
        f"FROM read_parquet('{sets[0]}/events.parquet'), recorded",
        f"SELECT (SELECT count(*) FROM '{sets[0]}/link.csv') FROM recorded",
        f"COPY recorded TO '{sets[0]}/events.parquet'",
    ):
        with pytest.raises(UsageError):
            asked(db, sql, sets)
    assert state(folder) | state(made) == before


@pytest.mark.parametrize("recording", ["7.3-text-tiny"], indirect=True)
def test_a_recording_that_is_imported_on_the_way_is_named(recording: Path, tmp_path: Path) -> None:
    replay_traces([recording], tmp_path / "x.db", [], Progress())
    found = rows_of(tmp_path / "x.db", "SELECT trace_path, recording FROM runs")
    assert found == [(None, str(recording.resolve()))]
    kept = import_recording(recording, tmp_path)
    counted = "SELECT count(*) = any_value(runs.events) FROM recorded JOIN runs USING (run)"
    assert rows_of(tmp_path / "x.db", counted, [kept]) == [(True,)]
