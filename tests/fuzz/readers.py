"""What reads anybody's files: for each kind of input, some that are sound, and who reads them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyarrow import parquet

from allocsim.initial_state.zoneinfo import parse_list_pages
from allocsim.memdesc.schemes import parse_scheme
from allocsim.recording.kpageflags import blocks_of_flags
from allocsim.refcount.costs import parse_costs
from allocsim.refcount.policies import parse_policy
from pipeline.errors import AllocsimError
from pipeline.ingest.recording import import_recording
from pipeline.processes.progress import Progress
from pipeline.replay import world
from pipeline.replay.cache_line_places import cpu_packages
from pipeline.replay.pricing import find_policies, from_file, shipped_pricing
from pipeline.replay.recorded import recording_of, replay_path
from pipeline.replay.trace_source import opened
from pipeline.store.database import reading
from pipeline.store.schema import TABLES
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.spec.patterns import read_spec, shipped_specs
from pipeline.trace_set import machine
from pipeline.trace_set.allocinfo import allocinfo
from pipeline.trace_set.page_owner import page_owners
from pipeline.trace_set.snapshots import page_flags, slab_caches
from pipeline.validation.page_layer import free_blocks
from tests.conftest import ROOT
from tests.pipeline.ingest.event_tables.test_tables import dumped
from tests.pipeline.ingest.test_damage import (
    KINDS,
    PERF_KINDS,
    small,
    small_perf,
    small_report,
    small_script,
    small_text,
)

_BASE = ROOT / "traces" / "7.2n-numa-huge"
_ROWS = 2000
_FLAGS = 1 << 18  # bytes of kpageflags: of 32,768 frames
_UNAME = "Linux box 6.12.0 #1 SMP x86_64 GNU/Linux\n"
_SNAPSHOTS = ("zoneinfo", "pagetypeinfo", "buddyinfo", "slabinfo", "sysfs_slab.txt", "vmstat")
_SNAPSHOTS += ("meminfo", "kpageflags.zst")


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of input.

    Args:
        seeds: inputs that are sound.
        read: reads one in an empty folder, and raises an AllocsimError if it is not sound; returns
            what can be replayed, if anything can.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Path | None]


def _imported(name: str, data: bytes, folder: Path) -> Path:
    source = folder / "mine"
    source.mkdir()
    (source / "uname").write_text(_UNAME)
    (source / name).write_bytes(data)
    made = import_recording(source, folder / "sets")
    _windows(made)
    return made


def _beside_text(name: str, data: bytes, folder: Path) -> Path:
    source = folder / "mine"
    source.mkdir()
    (source / "ftrace.txt").write_bytes(small_text())
    (source / name).write_bytes(data)
    made = import_recording(source, folder / "sets")
    _windows(made)
    return made


def _in_tables(name: str, data: bytes, folder: Path) -> Path:
    """A folder of tables, one an event, of which one file is not as it should be."""
    dumped(folder / "mine", _ROWS)
    (folder / "mine" / name).write_bytes(data)
    made = import_recording(folder / "mine", folder / "sets")
    _windows(made)
    return made


def _dumped(name: str) -> list[bytes]:
    with TemporaryDirectory() as folder:
        dumped(Path(folder) / "mine", _ROWS)
        return [(Path(folder) / "mine" / name).read_bytes()]


def _windows(path: Path) -> None:
    with opened(path, Progress()) as trace:
        recording_of(trace)
        assert sum(len(window["ts"]) for window in trace.windows()) == trace.rows
        assert len(trace.symbols.symbol) == len(trace.symbols.address)
        assert len(trace.text("cache")) == len(trace.names.get("cache", ()))


@functools.cache
def _base(folder: Path) -> Path:
    """A trace set with all snapshots, and few events."""
    path = folder / "base"
    if path.exists():  # made by the worker before
        return path
    shutil.copytree(_BASE, path)
    for file in path.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    events = parquet.read_table(path / "events.parquet").slice(0, _ROWS)
    parquet.write_table(events, path / "events.parquet", row_group_size=1000)
    for when in ("before", "after"):  # most of it says the same of other caches
        sysfs = path / "snapshots" / when / "sysfs_slab.txt"
        sysfs.write_text("".join(sysfs.read_text().splitlines(keepends=True)[:400]))
        flags = path / "snapshots" / when / "kpageflags.zst"
        some = _unpacked(f"snapshots/{when}/kpageflags.zst")[0]
        flags.write_bytes(pa.compress(some, "zstd", asbytes=True))
    return path


def _in_trace_set(name: str, data: bytes, folder: Path) -> Path:
    path = folder.parent / "set"
    if not path.exists():
        shutil.copytree(_base(folder.parent), path)
    for file in ("meta.json", "events.parquet", name):
        shutil.copyfile(_base(folder.parent) / file, path / file)
    (path / name).write_bytes(data)
    if name.endswith((".parquet", ".json")):
        _windows(path)
    _snapshots(path)
    return path


def _snapshots(path: Path) -> None:
    """All that a replay and a validation take from snapshots, short of replaying."""
    with opened(path, Progress()) as trace:
        cpus = trace.meta["cpus"]
        zones, states, *_ = world.recorded_zones(trace, 1 << 18)
        assert len(zones) == len(states)
        world.recorded_facts(trace)
        world.recorded_nodes(trace)
        world.has_thp(trace)
        parse_list_pages(trace.snapshot_text("zoneinfo") or "", cpus)
        machine.machine_pages(trace, 1 << 18)
        machine.machine_nodes(trace)
        machine.used_pages(trace)
        machine.kernel_caches(trace)
        machine.charges_cgroups(trace)
        cpu_packages(trace)
        for when in ("before", "after"):
            slab_caches(trace.snapshot("sysfs_slab.txt", when))
            free_blocks(trace.snapshot("buddyinfo", when))
            flags = page_flags(trace.snapshot("kpageflags.zst", when))
            if flags is not None:
                blocks_of_flags(flags)


def _toml(option: str, data: bytes, folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_bytes(data)
    parse = {"policy": parse_policy, "scheme": parse_scheme, "costs": parse_costs}
    if option == "spec":
        parse_spec(read_spec(str(path)), str(path))
    else:
        from_file(f"--{option}", str(path), {}, parse[option])


def _read_alone(read: Callable[[Path], object], data: bytes, folder: Path) -> None:
    path = folder / "mine"
    path.write_bytes(data)
    read(path)


def _database() -> bytes:
    """A small results database with a run."""
    with TemporaryDirectory() as name:
        path = Path(name) / "results.duckdb"
        base = _base(Path(name))
        replay_path(base, path, find_policies([]), Progress(), [], shipped_pricing())
        return path.read_bytes()


def _asked(data: bytes, folder: Path) -> None:
    path = folder / "results.duckdb"
    path.write_bytes(data)
    with reading(path) as connection:
        for table in TABLES:
            asked = f"SELECT bit_xor(hash(rows)) FROM {table.sql_name} AS rows"
            connection.execute(asked).fetchall()


def replayed(path: Path, folder: Path) -> None:
    """What came of reading, through the model; a refusal is as good as a run."""
    try:
        db = folder / "results.duckdb"
        replay_path(path, db, find_policies([]), Progress(), [{}], shipped_pricing())
    except AllocsimError as error:
        check(error)


def check(error: AllocsimError) -> None:
    """A refusal must be one line."""
    assert "\n" not in str(error), "an error of several lines"


def _files(folder: Path, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob(pattern))]


def _of_base(name: str) -> Target:
    return Target(lambda: _files(_BASE, name), functools.partial(_in_trace_set, name))


def _packed(name: str, data: bytes, folder: Path) -> Path:
    return _in_trace_set(name, pa.compress(data, "zstd", asbytes=True), folder)


def _unpacked(name: str) -> list[bytes]:
    return [pa.input_stream(str(_BASE / name), compression="zstd").read(_FLAGS)]


def _tables(name: str) -> list[bytes]:
    """A table of the trace set, whole and with each column gone, null, there twice, or of texts."""
    whole = parquet.read_table(_BASE / name).slice(0, _ROWS)
    tables = [whole]
    for at, column in enumerate(whole.column_names):
        values = whole.column(at)
        tables += [
            whole.drop_columns([column]),
            whole.set_column(at, column, pa.nulls(len(whole), values.type)),
            whole.append_column(column, values),
            whole.set_column(at, column, pa.array([str(value) for value in values])),
        ]
    return [*map(_parquet, tables), _parquet(whole.slice(0, 0))]


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, row_group_size=1000)
    return sink.getvalue().to_pybytes()


_REFCOUNT = ROOT / "allocsim" / "refcount"
#: Formats whose readers take bytes apart.
BYTE_READERS = {
    "trace.dat": Target(
        lambda: [small(kind) for kind in KINDS], functools.partial(_imported, "trace.dat")
    ),
    "perf.data": Target(
        lambda: [small_perf(kind) for kind in PERF_KINDS], functools.partial(_imported, "perf.data")
    ),
    "ftrace.txt": Target(lambda: [small_text()], functools.partial(_imported, "ftrace.txt")),
    "trace-cmd.txt": Target(lambda: [small_report()], functools.partial(_imported, "ftrace.txt")),
    "perf-script.txt": Target(lambda: [small_script()], functools.partial(_imported, "ftrace.txt")),
}
#: Files beside them, and files of the user's.
SIDE_FILES = {
    "kallsyms": Target(
        lambda: [b"0000000000002000 t one\nffffffff81000000 T two\t[m]\n"],
        functools.partial(_beside_text, "kallsyms"),
    ),
    **{
        f"tables/{name}": Target(
            functools.partial(_dumped, name), functools.partial(_in_tables, name)
        )
        for name in ("kfree.parquet", "kernel_stack.parquet", "meta.json")
    },
    "uname": Target(lambda: [_UNAME.encode()], functools.partial(_beside_text, "uname")),
    "meta.json": _of_base("meta.json"),
    **{
        name: Target(functools.partial(_tables, name), functools.partial(_in_trace_set, name))
        for name in ("events.parquet", "stacks.parquet", "symbols.parquet")
    },
    **{name: _of_base(f"snapshots/before/{name}") for name in _SNAPSHOTS},
    "kpageflags": Target(
        lambda: _unpacked("snapshots/before/kpageflags.zst"),
        functools.partial(_packed, "snapshots/before/kpageflags.zst"),
    ),
    **{name: _of_base(name) for name in ("iomem", "cpuinfo")},
    "allocinfo": Target(
        lambda: _files(ROOT / "traces" / "recordings" / "allocinfo", "snapshots/*/allocinfo"),
        functools.partial(_read_alone, allocinfo),
    ),
    "page_owner": Target(
        lambda: _files(ROOT / "tests" / "data" / "page_owner", "snapshots/*/page_owner"),
        functools.partial(_read_alone, page_owners),
    ),
    "spec": Target(
        lambda: [path.read_bytes() for path in shipped_specs().values()],
        functools.partial(_toml, "spec"),
    ),
    "policy": Target(
        lambda: _files(_REFCOUNT, "policies/*.toml"), functools.partial(_toml, "policy")
    ),
    "scheme": Target(
        lambda: _files(ROOT / "allocsim" / "memdesc", "schemes/*.toml"),
        functools.partial(_toml, "scheme"),
    ),
    "costs": Target(lambda: _files(_REFCOUNT, "costs/*.toml"), functools.partial(_toml, "costs")),
    "results.duckdb": Target(lambda: [_database()], _asked),
}
TARGETS = BYTE_READERS | SIDE_FILES
