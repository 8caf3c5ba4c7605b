"""A recording read straight gives what its trace set gives, its caches are as a replay says."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import UsageError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.source_places import by_name
from pipeline.stat.asked import asked
from pipeline.stat.document import as_json, as_text, csv_rows
from pipeline.stat.run import total
from pipeline.stat.selection import Selection, selection
from pipeline.stat.summary import slab_lines
from pipeline.stat.tables import PAGE, SLAB
from reports.console.stat import print_totals
from tests.conftest import ROOT
from tests.oracle.trace_dat import Cpu, Event, File

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.stat.run import Stat

EVERYTHING = Selection()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A trace.dat of two CPUs with a large kmalloc reported twice, stacks and remote frees."""
    symbols = {0x1000: "small", 0x5000: "big", 0x7000: "in"}
    file = File(
        kallsyms="".join(f"{address:016x} T {name}\n" for address, name in symbols.items()),
        options=[(5, b"Linux host 7.2.13 x86_64\0")],
    )
    file.cpus = {
        0: Cpu(
            [
                Event(1_000, file.kmalloc(0xA000, 64)),
                Event(2_000, file.kmalloc(0xB000, 16384, 0x7000)),
                Event(2_100, file.kmalloc(0xB000, 16384)),
                Event(3_000, file.page_alloc(5, 2)),
                Event(9_000, file.kfree(0xC0)),
            ]
        ),
        1: Cpu([Event(5_000, file.kfree(0xA000)), Event(6_000, file.kmalloc(0xC0, 96, pid=77))]),
    }
    path = tmp_path / "made.dat"
    path.write_bytes(file.encode())
    return path


def totals(path: Path, by: str, chosen: Selection = EVERYTHING) -> Stat:
    keys = tuple(by.split(","))
    wanted = {SLAB: keys} if keys == ("cache",) else {SLAB: keys, PAGE: keys}
    return total(path, wanted, chosen, Progress())


def rows(stat: Stat, layer: str = SLAB) -> dict[Any, dict[str, int]]:
    table = stat.tables[layer]
    texts = [
        tuple(stat.labels.text(name, layer, int(table.keys[name][row])) for name in table.by)
        for row in range(len(table))
    ]
    return {
        text: {name: int(v[row]) for name, v in table.figures.items() if v[row]}
        for row, text in enumerate(texts)
    }


def test_a_large_kmalloc_reported_twice_is_once_in_the_row_of_its_caller(made: Path) -> None:
    found = rows(totals(made, "site"))
    assert found[("big+0x0",)]["allocations"] == 1
    assert found[("in+0x0",)] == {
        "repeats": 1,
        "repeats_bytes_alloc": 16384,
        "repeats_bytes_req": 16384,
    }
    assert found[("small+0x40",)]["pingpong"] == 1


@pytest.mark.parametrize("by", ["site", "address", "cpu,pid", "gfp"])
def test_a_trace_set_gives_the_same(made: Path, by: str, tmp_path: Path) -> None:
    imported = import_recording(made, tmp_path)
    straight, kept = totals(made, by), totals(imported, by)
    for layer in (SLAB, PAGE):
        assert rows(straight, layer) == rows(kept, layer)
    assert (straight.objects, straight.pages) == (kept.objects, kept.pages)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (EVERYTHING, 3),
        (selection("+0.000001", None, [], [], []), 2),  # the first is earlier
        (selection("0.0000021", "0.000006", [], [], []), 2),  # both ends are in it
        (selection(None, "0.0000059", [], [], []), 2),
        (selection(None, None, ["1"], [], []), 1),
        (selection(None, None, ["0-1"], ["77"], []), 1),
        (selection(None, None, [], [], ["dma-kmalloc-96"]), 1),
    ],
    ids=lambda value: value.words() if isinstance(value, Selection) else str(value),
)
def test_a_selection_is_of_events(made: Path, chosen: Selection, expected: int) -> None:
    found = totals(made, "cache" if chosen.caches else "site", chosen)
    assert found.tables[SLAB].total("allocations") == expected


def test_what_is_live_is_live_at_the_end_of_the_selection(made: Path) -> None:
    """Whoever frees it, and also after the selection's CPU: the object of CPU 0 is gone at 5 us."""
    cpu = ["0"]
    for until, live in (("0.0000049", 2), ("0.000005", 1)):
        found = totals(made, "site", selection(None, until, cpu, [], []))
        assert found.tables[SLAB].total("live") == live


def test_caches_are_a_replay_s_and_large_kmallocs_are_none(made: Path) -> None:
    found = rows(totals(made, "cache"))
    assert {key: row["allocations"] for (key,), row in found.items()} == {
        "dma-kmalloc-64": 1,
        "dma-kmalloc-96": 1,
        "large kmalloc: pages": 1,
    }


def test_directories_are_those_of_the_functions() -> None:
    """Rows of call sites, by the file that each one's function is in, make the rows."""
    trace = ROOT / "traces" / "7.2p-net-gt"
    sites, directories = totals(trace, "site"), totals(trace, "directory")
    files = by_name.places(by_name.nearest("7.2.13"))
    for layer in (SLAB, PAGE):
        expected: Counter[str | None] = Counter()
        for (site,), row in rows(sites, layer).items():
            path = files.get(by_name.function_of((site or "").partition("+")[0]), "")
            expected[path.rpartition("/")[0] or None] += row["bytes_alloc"]
        found = {key: row["bytes_alloc"] for (key,), row in rows(directories, layer).items()}
        assert found == expected
        assert max(found, key=lambda key: found[key]) == "net/core"


def test_what_is_not_there_is_said(made: Path) -> None:
    with pytest.raises(UsageError, match="--cache dentry: no object"):
        totals(made, "cache", selection(None, None, [], [], ["dentry"]))


@pytest.mark.parametrize(
    ("option", "value"),
    [("since", "now"), ("since", "-1"), ("until", "1e9"), ("cpus", ["x"]), ("cpus", ["3-1"])],
)
def test_a_selection_that_is_none_is_refused(option: str, value: Any) -> None:
    options: dict[str, Any] = {"since": None, "until": None, "cpus": [], "pids": [], "caches": []}
    with pytest.raises(UsageError):
        selection(**options | {option: value})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"by": "foo"}, "--by foo: not one of"),
        ({"by": "order", "slab": True}, "objects have no order"),
        ({"by": "cache", "page": True}, "pages have no cache"),
        ({"sort": "order"}, "--sort order: the table of objects has site"),
        ({"sort": "pingpong"}, "--sort pingpong: the table of pages has"),
    ],
)
def test_what_no_table_has_is_refused(options: dict[str, Any], match: str) -> None:
    usual: dict[str, Any] = {"slab": False, "page": False, "by": None, "selection": EVERYTHING}
    with pytest.raises(UsageError, match=match):
        asked(**usual | {"live": False, "sort": "bytes", "lines": 0} | options)


def test_json_has_the_totals_and_perf_s(made: Path) -> None:
    wanted = asked(
        slab=True, page=False, by=None, selection=EVERYTHING, live=False, sort="hit", lines=0
    )
    text = as_json(total(made, wanted.by, EVERYTHING, Progress()), wanted)
    assert '"allocations": 3' in text
    assert '"call_site": "0x5000"' in text
    assert '"bytes_alloc": 32928' in text  # of perf_kmem: 64 + 96 + 2 x 16384


@pytest.mark.parametrize("what", ["kmalloc", "page_alloc", "kfree"])
def test_a_recording_of_one_event_is_enough(what: str, tmp_path: Path) -> None:
    file = File()
    record = {
        "kmalloc": file.kmalloc(0xA000, 64),
        "page_alloc": file.page_alloc(5, 0),
        "kfree": file.kfree(0xA000),
    }[what]
    file.cpus = {0: Cpu([Event(1, record)])}
    path = tmp_path / "one.dat"
    path.write_bytes(file.encode())
    wanted = asked(
        slab=False, page=False, by=None, selection=EVERYTHING, live=False, sort="hit", lines=0
    )
    found = total(path, wanted.by, EVERYTHING, Progress())
    assert found.tables[SLAB].total("allocations") == (what == "kmalloc")
    assert found.tables[PAGE].total("allocations") == (what == "page_alloc")
    assert found.objects.unknown_frees == (what == "kfree")
    out = StringIO()
    print_totals(as_text(found, wanted), out)
    assert "allocated" in out.getvalue()


def test_programs_get_numbers_where_people_get_words(made: Path) -> None:
    wanted = asked(
        slab=True, page=False, by="pid,cpu", selection=EVERYTHING, live=False, sort="hit", lines=0
    )
    names, found = csv_rows(total(made, wanted.by, EVERYTHING, Progress()), wanted)
    assert names[:4] == ["pid", "comm", "cpu", "allocations"]
    assert [row[:4] for row in found] == [(7, None, 0, 2), (77, None, 1, 1)]


def test_a_trace_set_of_before_says_what_it_left_out() -> None:
    """Its second events of large kmallocs are counted, and not kept."""
    wanted = asked(
        slab=True, page=False, by=None, selection=EVERYTHING, live=False, sort="hit", lines=0
    )
    found = total(ROOT / "traces" / "7.2p-net-gt", wanted.by, EVERYTHING, Progress())
    left_out = [line for line in slab_lines(found) if line.name == "large kmallocs again"]
    assert [(line.count, line.size) for line in left_out] == [(370, None)]
    assert '"perf_kmem": null' in as_json(found, wanted)
