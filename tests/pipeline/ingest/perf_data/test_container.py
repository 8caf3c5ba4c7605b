"""perf.data that is more than one file of tracepoints: folders, groups, and none of ours."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.recording import find_recording, import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS
from tests.oracle import perf_data
from tests.oracle.perf_data import Attr, PerfFile
from tests.oracle.perf_script import script
from tests.oracle.trace_dat import KFREE, OTHER
from tests.pipeline.ingest.perf_data.test_reader import imported
from tests.pipeline.ingest.trace_dat.test_reader import columns

if TYPE_CHECKING:
    from pathlib import Path

KALLSYMS = "0000000000001000 T _text\n0000000000001030 t one\n0000000000002000 t two\n"


def some(file: PerfFile) -> PerfFile:
    file.sample(1000, file.made.kmalloc(0xA0, 64))
    file.sample(1001, file.made.kfree(0xA0))
    return file


# --- folders of perf record --kcore


def kcore(folder: Path) -> Path:
    (folder / "kcore_dir").mkdir(parents=True)
    (folder / "data").write_bytes(some(PerfFile()).encode())
    (folder / "kcore_dir" / "kallsyms").write_text(KALLSYMS)
    (folder / "kcore_dir" / "kcore").write_bytes(b"\x7fELF")
    return folder


@pytest.mark.parametrize(
    ("made", "given", "name"),
    [
        ("mine.data", "mine.data", "mine"),
        ("work/perf.data", "work/perf.data", "work"),
        ("work/perf.data", "work", "work"),
        ("mine", "mine", "mine-trace-set"),
        ("mine", "mine/data", "data-trace-set"),
    ],
)
def test_reads_what_kcore_makes_of_a_recording(
    tmp_path: Path, made: str, given: str, name: str
) -> None:
    kcore(tmp_path / made)
    trace = TraceSet.open(import_recording(tmp_path / given, tmp_path / "out"))
    assert trace.path.name == name
    assert columns(trace)["event"].tolist() == [Ev.KMALLOC, Ev.KFREE]
    assert [trace.symbols.name(at) for at in (0x1040, 0x2000)] == ["one", "two"]
    assert "lacks" not in trace.meta
    assert trace.meta["source"]["files"] == ["data"]


def test_a_kallsyms_beside_the_folder_is_found_where_it_has_none(tmp_path: Path) -> None:
    folder = kcore(tmp_path / "mine.data")
    (folder / "kcore_dir" / "kallsyms").rename(tmp_path / "kallsyms")
    trace = TraceSet.open(import_recording(folder, tmp_path / "out"))
    assert trace.symbols.name(0x1040) == "one"


def test_a_folder_with_other_data_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("1 2 3\n")
    with pytest.raises(InputError, match="no recording in this folder"):
        find_recording(tmp_path)


# --- groups: {a,b} and {a,b}:S

READ = perf_data.GROUP | perf_data.READ_ID
GROUP_OF = [
    Attr(read_format=READ, sample_type=perf_data.USUAL | perf_data.READ),
    Attr(
        "kmem:kfree",
        KFREE,
        read_format=READ,
        sample_type=perf_data.USUAL | perf_data.READ,
        period=0,
        ids=(20, 21),
    ),
]


def group(*, chains: bool = False, lost: bool = False, order: str = "<") -> PerfFile:
    """A leader's samples with its own count and that of a member without any."""
    extra = perf_data.CALLCHAIN if chains else 0
    attrs = [
        Attr(
            **{
                **{name: getattr(attr, name) for name in ("name", "config", "ids", "period")},
                "sample_type": attr.sample_type | extra,
                "read_format": READ | (perf_data.READ_LOST if lost else 0),
            }
        )
        for attr in GROUP_OF
    ]
    file = PerfFile(order=order, attrs=attrs)
    for step in range(6):
        cpu = step % 2
        reads = ((1 + step // 2, 10 + cpu), (7 * step, 20 + cpu))
        chain = (perf_data.KERNEL, 0x5001) if chains else ()
        file.sample(1000 + step, file.made.kmalloc(step, 64), cpu=cpu, reads=reads, chain=chain)
    return file


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("chains", [False, True])
def test_reads_a_groups_leader_and_says_what_was_only_counted(
    tmp_path: Path, order: str, *, chains: bool, lost: bool
) -> None:
    trace = imported(group(order=order, chains=chains, lost=lost), tmp_path)
    found = columns(trace)
    assert found["ptr"].tolist() == list(range(6))
    assert found["event"].tolist() == [Ev.KMALLOC] * 6
    if chains:
        assert found["stack"].tolist() == [0] * 6
    [told] = [text for text in trace.meta["lacks"] if "counted" in text]
    # The last counts: 7 * 4 on CPU 0, 7 * 5 on CPU 1.
    assert told.startswith("kmem:kfree was only counted, as a member of a group ({a,b}:S)")
    assert "no record of any of its 63 events" in told


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_perf_reads_the_same_leader(tmp_path: Path) -> None:
    source = tmp_path / "made.data"
    source.write_bytes(group().encode())
    theirs = script(source, tmp_path).events
    leader = theirs.filter(theirs["event"] == "kmalloc")
    assert leader["ts"].unique().sort().to_list() == list(range(1000, 1006))
    assert columns(imported(group(), tmp_path))["ts"].tolist() == list(range(1000, 1006))


def test_reads_all_members_of_a_group_that_all_have_samples(tmp_path: Path) -> None:
    kind = perf_data.USUAL | perf_data.READ
    attrs = [
        Attr(read_format=READ, sample_type=kind),
        Attr("kmem:kfree", KFREE, read_format=READ, sample_type=kind, ids=(20, 21)),
    ]
    file = PerfFile(attrs=attrs)
    for step in range(4):
        made = file.made.kfree(step // 2) if step % 2 else file.made.kmalloc(step // 2, 64)
        file.sample(1000 + step, made, attr=step % 2, reads=((step, 10), (step, 20)))
    trace = imported(file, tmp_path)
    assert columns(trace)["ptr"].tolist() == [0, 0, 1, 1]
    assert not any("counted" in text for text in trace.meta["lacks"])


def test_refuses_a_group_whose_kmem_events_are_only_counted(tmp_path: Path) -> None:
    leader = Attr("", 0, kind=0, sample_type=perf_data.USUAL & ~perf_data.RAW, read_format=READ)
    member = Attr(period=0, read_format=READ, ids=(20, 21))
    file = PerfFile(attrs=[leader, member])
    file.sample(1000, b"")
    with pytest.raises(
        InputError, match=r"it has cycles, kmem:kmalloc \(only counted, in a group with :S\)"
    ):
        imported(file, tmp_path)


def test_stacks_of_left_out_events_are_not_of_ours(tmp_path: Path) -> None:
    kind = perf_data.USUAL | perf_data.CALLCHAIN
    attrs = [Attr(sample_type=kind), Attr("sched:sched_nothing", OTHER, 2, kind, ids=(20, 21))]
    file = PerfFile(attrs=attrs)
    for attr, made in ((0, file.made.kmalloc(1, 64)), (1, file.made.record(OTHER, b""))):
        file.sample(1000 + attr, made, attr=attr, chain=(perf_data.KERNEL, 0x5001))
    stacks = imported(file, tmp_path).meta["stacks"]
    assert stacks == {"events": 2, "unattached": 0, "distinct": 1, "of_others": 1}


# --- no tracepoints, or none of ours


def test_says_what_a_pipe_has_instead() -> None:
    with pytest.raises(InputError, match=r"no tracepoints; record .* \(it has cycles\)"):
        import_recording(FAULTS / "pipe_without_tracepoints.data", FAULTS / "never")
    assert not (FAULTS / "never" / "pipe_without_tracepoints").exists()


NO_RECORD = perf_data.USUAL & ~perf_data.RAW


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize(
    ("attr", "listed"),
    [
        (Attr("cycles:u", 0, kind=0, sample_type=NO_RECORD), "cycles:u"),
        (Attr("", 4, kind=1, sample_type=NO_RECORD), "cpu-migrations"),
        (Attr("", 0x1C2, kind=4, sample_type=NO_RECORD), "an event of type 4, config 0x1c2"),
        (Attr(sample_type=NO_RECORD), r"kmem:kmalloc \(without its record\)"),
    ],
)
def test_says_which_events_there_are(
    tmp_path: Path, attr: Attr, listed: str, *, piped: bool
) -> None:
    file = PerfFile(attrs=[attr] * 7 if attr.kind == 4 else [attr], piped=piped)
    file.sample(1000, b"")
    with pytest.raises(InputError, match=rf"no tracepoints; record .* \(it has {listed}\)"):
        imported(file, tmp_path)


def test_names_the_first_few_events(tmp_path: Path) -> None:
    attrs = [Attr("", config, kind=0, sample_type=NO_RECORD) for config in range(8)]
    file = PerfFile(attrs=attrs)
    file.sample(1000, b"")
    with pytest.raises(InputError, match=r"cycles, instructions, .*, branches, 3 more\)"):
        imported(file, tmp_path)


def test_a_pipe_says_names_behind_the_attributes(tmp_path: Path) -> None:
    """perf writes PERF_RECORD_EVENT_UPDATE where it has more to say of an event."""
    file = PerfFile(attrs=[Attr("", 77, kind=9, sample_type=NO_RECORD)], piped=True)
    file.sample(1000, b"")
    update = file.record(78, struct.pack("<QQ", 2, 10) + b"my-pmu/event/\0\0\0")
    data = file.encode()
    at = 16 + 8 + 128 + 16  # behind the only attribute and its ids
    (tmp_path / "made.data").write_bytes(data[:at] + update + data[at:])
    with pytest.raises(InputError, match=r"\(it has my-pmu/event/\)"):
        import_recording(tmp_path / "made.data", tmp_path)


@pytest.mark.parametrize("piped", [False, True])
def test_tracepoints_of_other_systems_are_named(tmp_path: Path, *, piped: bool) -> None:
    file = PerfFile(attrs=[Attr("sched:sched_nothing", OTHER)], piped=piped)
    for ts in range(3):
        file.sample(1000 + ts, file.made.record(OTHER, bytes(16)))
    with pytest.raises(InputError, match=r"no kmem events .*\(it has 3 sched_nothing\)"):
        imported(file, tmp_path)
    with pytest.raises(InputError, match="not ended properly"):
        imported(PerfFile(attrs=[], piped=piped), tmp_path)
