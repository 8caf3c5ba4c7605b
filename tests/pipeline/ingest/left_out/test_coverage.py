"""Which CPUs a recording covers, from when to when, and starting where all have begun."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.ingest.convert import Conversion
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_traces
from pipeline.store.database import reading
from pipeline.trace_set.reader import TraceSet
from reports import queries
from reports.render.text import to_text
from reports.render.wording import joined_numbers
from reports.sections import quality, summary
from reports.sections.build import build
from reports.sections.coverage import warnings
from tests.conftest import FAULTS, ROOT
from tests.oracle.trace_dat import OTHER, Cpu, Event, File

if TYPE_CHECKING:
    from pathlib import Path

UNAME = (5, b"Linux x 6.12.0 x86_64\0")


def stats(cpu: int, overrun: int = 0, dropped: int = 0) -> tuple[int, bytes]:
    text = f"CPU: {cpu}\nentries: 1\noverrun: {overrun}\ndropped events: {dropped}\n\0"
    return 2, text.encode()


def steady(file: File, begin: int, end: int, step: int = 100) -> Cpu:
    """Frees of one address at regular times; an event of another kind first and last."""
    events = [Event(ts, file.kfree(0xA000)) for ts in range(begin + 1, end - 1, step)]
    other = file.record(OTHER, b"")
    return Cpu([Event(begin, other), *events, Event(end, other)])


def imported(file: File, folder: Path, **options: Any) -> TraceSet:
    (folder / "made.dat").write_bytes(file.encode())
    return TraceSet.open(import_recording(folder / "made.dat", folder, force=True, **options))


def cpus(trace: TraceSet) -> dict[str, Any]:
    found: dict[str, Any] = trace.meta["coverage"]["cpus"]
    return found


@pytest.mark.parametrize("budget", [1, 4096, 1 << 20])
def test_every_cpus_part_is_told_however_windows_are_cut(
    tmp_path: Path, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Conversion.windows
    monkeypatch.setattr(Conversion, "windows", lambda self: cut(self, budget))
    file = File(room=200, options=[stats(0), stats(3)])
    file.cpus = {0: steady(file, 1000, 9000), 3: steady(file, 2000, 9500)}
    del file.cpus[3].events[31:35]
    everything = {"overwritten": 0, "late": None, "early": None}
    expected = {}
    for cpu, part in file.cpus.items():
        ts = [event.ts for event in part.events]
        gap = max(b - a for a, b in pairwise(ts))
        said = {"events": len(ts), "first_ts": ts[0], "last_ts": ts[-1], "longest_gap": gap}
        expected[str(cpu)] = said | everything
    assert expected["3"]["longest_gap"] == 500
    assert cpus(imported(file, tmp_path)) == expected


def overwritten(**kind: Any) -> File:
    """CPU 1 begins late, for its oldest events are gone; CPU 0 late, for it was idle."""
    file = File(room=200, options=[UNAME, stats(0), stats(1, overrun=500), stats(2)], **kind)
    file.cpus = {
        0: steady(file, 3000, 9000),
        1: Cpu(steady(file, 5000, 9000).events, {0: 500}),
        2: steady(file, 1000, 9000),
    }
    return file


def test_a_cpu_whose_oldest_events_were_overwritten_begins_late(tmp_path: Path) -> None:
    trace = imported(overwritten(), tmp_path)
    late = {cpu: (each["late"], each["overwritten"]) for cpu, each in cpus(trace).items()}
    assert late == {"0": (None, 0), "1": ("overwritten", 500), "2": (None, 0)}
    [said] = warnings(trace.meta)
    assert said == (
        "CPU 1 begins 4.000\u202fµs after the first: the ring buffer wrote over what was before "
        "(500 events); allocsim import --from-common-start begins where all have begun"
    )


def test_losses_later_on_are_not_a_late_beginning(tmp_path: Path) -> None:
    file = overwritten()
    file.cpus[1].lost = {4: 500}
    assert cpus(imported(file, tmp_path))["1"]["late"] is None
    # No mark at all (a recorder that did not keep them): the ring buffer's count speaks.
    file.cpus[1].lost = {}
    assert cpus(imported(file, tmp_path))["1"]["overwritten"] == 500
    file.cpus[1].lost = {0: -1}
    trace = imported(file, tmp_path)
    assert cpus(trace)["1"]["overwritten"] is None
    assert "(how many is not known)" in warnings(trace.meta)[0]


@pytest.mark.parametrize("kind", [{"version": 6}, {}, {"compression": "none"}])
def test_from_common_start_begins_where_all_have_begun(
    tmp_path: Path, kind: dict[str, Any]
) -> None:
    whole = imported(overwritten(**kind), tmp_path)
    (tmp_path / "late").mkdir()
    trace = imported(overwritten(**kind), tmp_path / "late", from_common_start=True)
    assert trace.meta["coverage"]["common_start"] == 5000
    assert trace.meta["coverage"]["left_out"] == 21 + 41
    assert warnings(trace.meta) == []
    [all_events], [events] = whole.windows(), trace.windows()
    kept = all_events["ts"] >= 5000
    assert 0 < kept.sum() < len(kept)
    assert all(np.array_equal(all_events[name][kept], events[name]) for name in events)


def test_a_recording_whose_cpus_begin_together_is_left_whole(tmp_path: Path) -> None:
    """CPU 1 is idle at first, and nothing was lost of it."""
    file = File(options=[stats(0), stats(1)])
    file.cpus = {0: steady(file, 1000, 9000), 1: steady(file, 6000, 9000)}
    trace = imported(file, tmp_path, from_common_start=True)
    assert trace.meta["coverage"]["common_start"] is None
    assert trace.meta["coverage"]["left_out"] == 0
    assert warnings(trace.meta) == []


def test_without_statistics_a_late_beginning_is_a_guess(tmp_path: Path) -> None:
    """trace-cmd split leaves them out."""
    file = File()
    file.cpus = {0: steady(file, 1000, 9000), 1: steady(file, 2000, 5000)}
    trace = imported(file, tmp_path)
    assert [(each["late"], each["early"]) for each in cpus(trace).values()] == [
        (None, None),
        ("unexplained", "unexplained"),
    ]
    assert [each.split(":")[0] for each in warnings(trace.meta)] == [
        "CPU 1 begins 1.000\u202fµs after the first, longer than silent later",
        "CPU 1 ends 4.000\u202fµs before the last",
    ]
    # As long as it is silent later, and a tenth of the recording, are taken for idleness.
    file.cpus[1] = steady(file, 2000, 9000, 1000)
    assert warnings(imported(file, tmp_path).meta) == []
    file.cpus[1] = steady(file, 1750, 9000)
    assert warnings(imported(file, tmp_path).meta) == []


def test_a_cpu_whose_buffer_was_full_ends_early(tmp_path: Path) -> None:
    file = File(options=[stats(0, dropped=77), stats(1)])
    file.cpus = {0: steady(file, 1000, 4000), 1: steady(file, 1000, 9000)}
    [said] = warnings(imported(file, tmp_path).meta)
    why = "the ring buffer was full, and took no more events"
    assert said == f"CPU 0 ends 5.000\u202fµs before the last: {why}"


def test_runs_of_cpus_are_joined() -> None:
    assert joined_numbers([0, 2, 3, 4, 5, 7, 8]) == "0, 2–5, 7 and 8"


def test_one_cpu_of_two_is_said_wherever_it_counts(tmp_path: Path) -> None:
    """The fault's file: its numbers are of one CPU, of a machine of two."""
    said = "no events of CPU 1 (of 2 CPUs): idle, or not recorded"
    source = FAULTS / "one_cpu_of_two.dat.gz"
    command = [sys.executable, "-m", "pipeline", "import", str(source), "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ": 100 events, 0 lost, 1 of 2 CPUs " in " ".join(done.stdout.split())
    assert f"  {said}" in done.stdout
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= 98
    trace = next(path for path in tmp_path.iterdir() if path.is_dir())
    info = [sys.executable, "-m", "pipeline", "info", str(trace)]
    shown = subprocess.run(info, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said in shown
    assert "0       100  1.000000  1.000388\n1         0         –         –\n" in shown
    db = tmp_path / "results.duckdb"
    replay_traces([trace], db, find_policies([]), Progress())
    with reading(db) as connection:
        [row] = queries.rows(connection, "FROM quality")
        assert (row["cpus"], row["covered_cpus"], row["uncovered_cpus"]) == (2, 1, "1")
        [run] = queries.runs(connection)
        assert "these are lower bounds" in str(summary.first_page(connection, run))
        assert said in to_text(build(connection, [run])).replace("\n" + " " * 17, " ")
        assert said in str(quality.blocks(connection, run))
        found = connection.execute("SELECT cpu, events, first_ts FROM trace_cpus").fetchall()
    assert found == [(0, 100, 1_000_000_000), (1, 0, None)]


def test_a_trace_set_of_before_says_nothing(tmp_path: Path) -> None:
    trace = imported(overwritten(), tmp_path)
    meta = json.loads((trace.path / "meta.json").read_text())
    del meta["coverage"]
    assert warnings(meta) == []
    (trace.path / "meta.json").write_text(json.dumps(meta))
    db = tmp_path / "results.duckdb"
    replay_traces([trace.path], db, find_policies([]), Progress())
    with reading(db) as connection:
        [row] = queries.rows(connection, "FROM quality")
    assert (row["cpus"], row["covered_cpus"]) == (3, None)
