"""Vectors of object extensions (R3.53 - R3.55): the view against the oracle and the kernel."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allocsim.trace.events import Ev
from pipeline.processes.progress import Progress
from pipeline.replay.recorded import replay_traces
from pipeline.store.database import reading
from reports.render.document import Table, Text
from reports.sections.placement import charges
from tests.conftest import ROOT
from tests.oracle.obj_exts import Cache, Slabs
from tests.reports.conftest import OBJECT_EVENTS, insert, insert_object_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

TRACE = ROOT / "traces" / "7.2q-memcg"
ACCOUNT = 1 << 22
Rows = list[tuple[Any, ...]]
PLACES = ("leftover", "objects", "kmalloc, with the slab", "kmalloc, at a charge")
OF_VIEW = (
    "SELECT cache, scheme, leftover, in_objects, kmallocs_low, kmallocs_high - kmallocs_low,"
    " kmalloc_bytes_low, kmalloc_bytes_high, charged_objects"
    " FROM obj_ext_vectors WHERE run = {}"
)


@pytest.mark.parametrize(
    ("cache", "order", "objects", "where", "class_"),
    [
        # filp of 7.2: 21 objects end at 4032, 64 bytes are left and 168 wanted; a slot has 192
        # bytes for an object of 168, whose free pointer RCU keeps out of it.
        (Cache(192, True, 168, mergeable=False, behind=True), 0, 21, "objects", 0),
        # The same if it could be merged, or if the object took 184: the pointer has what is left.
        (Cache(192, True, 168, behind=True), 0, 21, "kmalloc, with the slab", 192),
        (Cache(192, True, 184, mergeable=False, behind=True), 0, 21, "kmalloc, with the slab", 192),
        (Cache(192, True, 184, mergeable=False), 0, 21, "objects", 0),
        (Cache(192, True, 181, mergeable=False), 0, 21, "objects", 0),
        (
            Cache(192, True, 168, mergeable=False, debugged=True),
            *(0, 21, "kmalloc, with the slab", 192),
        ),
        # tw_sock_TCP: 16 objects of 248 end at 3968, and 128 are left for 128.
        (Cache(248, True, 240, mergeable=False), 0, 16, "leftover", 0),
        # 14 of 292 end at 4088: 8 are left; 3 of 1236 end at 3708, aligned 3712, for 24.
        (Cache(292, True), 0, 14, "kmalloc, with the slab", 128),
        (Cache(1236, True), 0, 3, "leftover", 0),
        (Cache(24, True), 0, 170, "kmalloc, with the slab", 2048),
        (Cache(8, True), 1, 1024, "kmalloc, with the slab", 8192),
        (Cache(8, True), 2, 2048, "kmalloc, with the slab", 16384),
        (Cache(704, True), 2, 23, "leftover", 0),
    ],
)
def test_where_a_vector_lies(
    cache: Cache, order: int, objects: int, where: str, class_: int
) -> None:
    slabs = Slabs(in_slab=True, online=True)
    slabs.made(1, cache, order)
    vector = slabs.vectors[1]
    assert (vector.size, vector.where, vector.kmalloc) == (8 * objects, where, class_)
    older = Slabs(in_slab=False, online=True)
    older.made(1, cache, order)
    assert older.vectors[1].where == "kmalloc, with the slab"


def test_a_slab_made_before_charges_gets_its_vector_with_the_first() -> None:
    slabs = Slabs(in_slab=True)
    slabs.made(1, Cache(704, True), 2)
    slabs.charged(1)
    assert not slabs.vectors
    slabs.online = True
    slabs.charged(1)
    slabs.charged(1)
    assert slabs.vectors[1].where == "kmalloc, at a charge"
    slabs.made(2, Cache(64, False), 0)
    assert 2 not in slabs.vectors


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    db = tmp_path_factory.mktemp("db") / "results.duckdb"
    replay_traces([TRACE], db, [], Progress(), {})
    with reading(db) as connection:
        yield connection


def folders() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The folder of each name in the snapshot of sysfs, and its files."""
    files: dict[str, dict[str, str]] = defaultdict(dict)
    links = {}
    text = (TRACE / "snapshots" / "after" / "sysfs_slab.txt").read_text()
    for line in text.splitlines():
        name, file, value, *_ = line.split()
        if file == "->":
            links[name] = value
        else:
            files[name][file] = value
    return links, files


def caches_of(events: list[dict[str, Any]], slots: Rows) -> dict[int, Cache]:
    """What vectors go by, of every cache of a run, by the texts and events of the trace set."""
    links, files = folders()
    accounted: dict[str, set[bool]] = defaultdict(set)
    for event in events:
        if event["event"] == Ev.KMEM_CACHE_ALLOC and not event["gfp_flags"] & ACCOUNT:
            accounted[event["cache"]].add(event["accounted"])
    found = {}
    for cache, name, slot in slots:
        folder = links.get(name, name)
        of = files.get(folder, {})
        mergeable = folder.startswith(":")
        found[cache] = Cache(
            slot,
            "A" in folder.partition("-")[0] if mergeable else True in accounted[name],
            int(of["object_size"]) if of else None,
            mergeable=mergeable,
            behind=of.get("destroy_by_rcu") == "1" or "ctor" in of,
        )
    return found


SLABS = {
    1: 'SELECT coalesce(alloc_seq, -1), page, page_caches.cache, "order"'
    " FROM pages JOIN page_caches USING (run, page) WHERE run = 1",
    2: 'SELECT coalesce(alloc_seq, -1), slab, cache, "order" FROM placed_slabs WHERE run = 2',
}
#: The slab on which the object of each event lies.
LIES_ON = {
    1: "SELECT seq, page FROM object_events WHERE run = 1 AND page IS NOT NULL",
    2: "SELECT seq, slab FROM placed_events WHERE run = 2 AND slab IS NOT NULL",
}


def walked(
    events: list[dict[str, Any]], slabs: Rows, lies_on: dict[int, int], caches: dict[int, Cache]
) -> tuple[dict[str, Slabs], Counter[int]]:
    """The slabs of each scheme behind the last event, and charged objects of each slab."""
    made: dict[int, Rows] = defaultdict(list)
    for seq, *slab in slabs:
        made[seq].append(tuple(slab))
    known = {slab for _, slab, *_ in slabs}
    schemes = {"kmalloc": Slabs(in_slab=False), "in slab": Slabs(in_slab=True)}
    charged: Counter[int] = Counter()
    for seq, event in enumerate([{"event": -1}, *events], -1):
        for scheme in schemes.values():
            for slab, cache, order in made[seq]:
                scheme.made(slab, caches[cache], order)
        if event["event"] not in (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC):
            continue
        if event["cache"] == "mem_cgroup" and event["pid"]:
            for scheme in schemes.values():
                scheme.online = True
        if (event["accounted"] or event["gfp_flags"] & ACCOUNT) and lies_on.get(seq) in known:
            charged[lies_on[seq]] += schemes["kmalloc"].online
            for scheme in schemes.values():
                scheme.charged(lies_on[seq])
    return schemes, charged


def summed(
    slabs: Slabs, cache_of: dict[int, int], charged: Counter[int]
) -> dict[int, tuple[int, ...]]:
    """What the view says of each cache under a scheme: OF_VIEW behind its first two columns."""
    found: dict[int, tuple[int, ...]] = {}
    for cache in {cache_of[slab] for slab in slabs.vectors}:
        of = [vector for slab, vector in slabs.vectors.items() if cache_of[slab] == cache]
        places = Counter(vector.where for vector in of)
        low = sum(vector.kmalloc for vector in of if vector.where == PLACES[2])
        objects = sum(count for slab, count in charged.items() if cache_of[slab] == cache)
        kmallocs = sum(vector.kmalloc for vector in of)
        found[cache] = (*(places[place] for place in PLACES), low, kmallocs, objects)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("run", [1, 2])
def test_the_view_is_the_oracle_event_by_event(
    results: duckdb.DuckDBPyConnection, run: int
) -> None:
    def ask(query: str) -> Rows:
        return results.execute(query).fetchall()

    columns = ["event", "pid", "cache", "gfp_flags", "accounted"]
    events = pq.read_table(TRACE / "events.parquet", columns=columns).to_pylist()
    slots = ask(f"SELECT cache, name, object_size FROM caches WHERE run = {run}")
    caches = caches_of(events, slots)
    slabs = ask(SLABS[run])
    cache_of = {slab: cache for _, slab, cache, _ in slabs}
    schemes, charged = walked(events, slabs, dict(ask(LIES_ON[run])), caches)
    names = {cache: name for cache, name, _ in slots}
    expected = {
        (names[cache], name): figures
        for name, scheme in schemes.items()
        for cache, figures in summed(scheme, cache_of, charged).items()
    }
    found = ask(OF_VIEW.format(run))
    assert {(cache, scheme): tuple(rest) for cache, scheme, *rest in found} == expected
    assert len(found) > 40
    of = ask(f"SELECT DISTINCT account_how, charges_how FROM obj_ext_vectors WHERE run = {run}")
    assert of == [("observed", "observed")]


@pytest.mark.slow
def test_the_kernels_vectors_are_within_what_the_rules_say(
    results: duckdb.DuckDBPyConnection,
) -> None:
    """The recorded kernel is 7.2: its kmallocs of vectors are those of the scheme in slab."""
    rows = results.execute(
        "SELECT cache, kmallocs_low, kmallocs_high, recorded_kmallocs, vector_bytes"
        " FROM obj_ext_vectors WHERE run = 1 AND scheme = 'in slab'"
    ).fetchall()
    outside = {row[0] for row in rows if not row[1] <= row[3] <= row[2]}
    # Of slabs on which no event lies, which are in no figure but the recorded one.
    assert outside <= {"dentry", "kmalloc-cg-192", "mm_struct"}
    low, high, kernel = (sum(row[place] for row in rows) for place in (1, 2, 3))
    assert (low, high, kernel) == (67, 142, 138)
    # Each has the size that its cache's slabs ask for.
    sizes = results.execute(
        "SELECT bytes_req, count(*) FROM object_events JOIN call_sites USING (run, call_site)"
        " WHERE run = 1 AND event = 'kmalloc' AND symbol = 'alloc_slab_obj_exts' GROUP BY bytes_req"
    ).fetchall()
    wanted: Counter[int] = Counter()
    for *_, recorded, size in rows:
        wanted[size] += recorded
    assert dict(sizes) == +wanted


@pytest.mark.slow
def test_the_report_says_what_the_view_sums_to(results: duckdb.DuckDBPyConnection) -> None:
    _, text, table = charges.blocks(results, 1)
    assert isinstance(text, Text)
    assert text.text.endswith("The recorded kernel kmalloc’d 138 vectors ●.")
    assert isinstance(table, Table)
    sums = (
        "SELECT sum(slabs), sum(kmallocs_low), sum(kmallocs_high), sum(leftover), sum(in_objects),"
        " sum(saved_bytes) FROM obj_ext_vectors WHERE run = 1 AND scheme = '{}'"
    )
    [(slabs, low, high, *_)] = results.execute(sums.format("kmalloc")).fetchall()
    [(*_, behind, padded, saved)] = results.execute(sums.format("in slab")).fetchall()
    name, _, _, *figures = table.rows[-1]
    assert (name, figures[0], figures[2]) == ("all", f"{slabs}", f"{low} – {high}")
    assert (figures[4], figures[6]) == (f"{behind} + {padded}", f"{saved / 1024:.1f}")


# Cache, slot, __GFP_ACCOUNT and accounted of its allocations (None: kmalloc's): each has one slab.
MADE: tuple[tuple[str, int, bool, bool | None], ...] = (
    ("filp", 248, False, True),
    ("kmalloc-cg-96", 96, True, None),
    ("kmalloc-96", 96, True, None),
    ("radix_tree_node", 584, True, True),
    ("seq_file", 112, False, False),
)


@pytest.mark.slow
@pytest.mark.parametrize("ext", [8, 16])
def test_without_sysfs_it_goes_by_events_and_names(
    small: duckdb.DuckDBPyConnection, ext: int
) -> None:
    insert(small, "runs", run=5, trace_id=1, placement="recorded")
    if ext == 16:
        insert(small, "allocinfo", run=5, tag=0, file="fs/file_table.c", line=1, function="f")
    rows: list[dict[str, Any]] = []
    expected = {}
    for number, (name, slot, asks, accounted) in enumerate(MADE):
        insert(small, "caches", run=5, cache=number, name=name, object_size=slot)
        insert(
            small,
            "pages",
            run=5,
            page=10 * number,
            pfn=number,
            order=0,
            page_kind="slab",
            cache=number,
            alloc_seq=10 * number,
        )
        event = Ev.KMALLOC if accounted is None else Ev.KMEM_CACHE_ALLOC
        of = {"run": 5, "seq": 10 * number + 1, "ts": 0, "cpu": 0, "pid": 9, "event": event}
        of |= {"bytes_req": slot, "bytes_alloc": slot, "cache": number, "page": 10 * number}
        rows.append(of | {"asks_charge": asks, "accounted": accounted})
        account = name in {"filp", "kmalloc-cg-96"}
        slabs = Slabs(in_slab=True, online=True, ext=ext)
        slabs.made(1, Cache(slot, account), 0)
        if asks or accounted:
            slabs.charged(1)
        for vector in slabs.vectors.values():
            how = "observed" if name == "filp" else "inferred" if "-" in name else "assumed"
            where = (vector.where == "leftover", vector.where.endswith("a charge"))
            expected[name] = (account, how, "assumed", vector.size, *where, vector.kmalloc)
    insert_object_events(small, pa.Table.from_pylist(rows, schema=OBJECT_EVENTS))
    found = small.execute(
        "SELECT cache, account, account_how, charges_how, vector_bytes, leftover = 1,"
        " kmallocs_high - kmallocs_low = 1, kmalloc_bytes_high"
        " FROM obj_ext_vectors WHERE run = 5 AND scheme = 'in slab'"
    ).fetchall()
    assert {cache: tuple(rest) for cache, *rest in found} == expected
    assert expected["filp"][4] == (ext == 8)
    assert sorted(expected) == ["filp", "kmalloc-96", "kmalloc-cg-96", "radix_tree_node"]


@pytest.mark.slow
def test_a_kernel_without_memory_cgroups_has_no_rows(small: duckdb.DuckDBPyConnection) -> None:
    insert(small, "caches", run=1, cache=77, name="kmalloc-cg-64", object_size=64)
    assert small.execute("SELECT * FROM obj_ext_vectors").fetchall() == []
    assert charges.blocks(small, 1) == []
