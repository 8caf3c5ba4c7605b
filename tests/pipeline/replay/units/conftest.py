"""Small traces of three kinds, and what one process makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies, shipped_pricing
from pipeline.replay.units.replays import Where, replay_all
from pipeline.store.schema import TABLES
from pipeline.synth.spec.changes import changed
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.spec.patterns import read_spec
from pipeline.synth.write import write_trace_set
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.replay.done import Done

HERE = Where(jobs=1)


def replayed(traces: list[Path], db: Path, where: Where = HERE, **more: Any) -> Done:
    """Traces through both placements."""
    return replay_all(
        traces, db, find_policies([]), Progress(), {}, shipped_pricing(), where=where, **more
    )


def rows(db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in the order in which they are stored; not when runs were made."""
    with duckdb.connect(db, read_only=True) as connection:
        return {
            table.name: connection.execute(
                f"SELECT * EXCLUDE (started) FROM {table.sql_name}"
                if table.name == "runs"
                else f"FROM {table.sql_name}"
            ).fetchall()
            for table in TABLES
        }


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two recordings, which are imported on the way, and a trace set, whose name wants escaping."""
    text = read_spec("producer-consumer")
    sets = tmp_path_factory.mktemp("sets")
    made = write_trace_set(changed(parse_spec(text, "x"), events=3000), text, sets)
    name = made.rename(sets / "a=b%2F 'c'")
    meta = name / "meta.json"
    meta.write_text(meta.read_text().replace('"name": "', '"name": "../a=b%2F \'c\' ', 1))
    data = ROOT / "tests" / "data"
    return [data / "6.18-mixed", name, data / "6.16-mixed"]


@pytest.fixture(scope="session")
def expected(traces: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that one process makes of them; not to be changed."""
    db = tmp_path_factory.mktemp("expected") / "results.duckdb"
    assert replayed(traces, db).added == [1, 2, 3, 4, 5, 6]
    return db
