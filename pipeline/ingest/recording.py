"""What a recording is on disk, and importing one."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from allocsim.recording.page_frames import MAX_PFN
from allocsim.tables import distinct
from pipeline.errors import InputError, UsageError
from pipeline.ingest import struct_pages
from pipeline.ingest.beside import (
    FOLDERS,
    PACKED,
    PACKED_SUFFIXES,
    Taken,
    contents,
    nothing_taken,
    other_recordings,
    take_along,
)
from pipeline.ingest.convert import WINDOW_BYTES, Conversion
from pipeline.ingest.event_tables.folder import tables_in
from pipeline.ingest.left_out.coverage import common_start
from pipeline.ingest.meta import describe
from pipeline.ingest.perf_data.container import MAGIC as PERF_MAGIC
from pipeline.ingest.raw.mapped import HELD, let_go, mapped
from pipeline.ingest.trace_dat.container import MAGIC
from pipeline.ingest.trace_dat.reader import TraceDatReader
from pipeline.processes.prefetch import prefetch
from pipeline.processes.scratch import scratch
from pipeline.trace_set.aside import made_aside
from pipeline.trace_set.parts import BELIEVED_PFN, Stacks, Symbols, is_trace_set
from pipeline.trace_set.writer import TraceSetWriter
from pipeline.untrusted import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.ingest.reader import Reader
    from pipeline.trace_set.parts import Wanted

# What recordings are called in a folder, the first of them that is there is taken; and what names
# end in.
_NAMES = ("trace.dat", "perf.data", "ftrace.txt")
_SUFFIXES = (".dat", ".data", ".txt")
_COMMON = ("trace", "perf", "ftrace")
# perf record --kcore makes a folder of what is else a file (tools/perf/util/data.c): the recording
# in it, and beside it the kernel's symbols of that moment.
_PERF_FOLDER, _PERF_FILE, _KCORE = "perf.data", "data", "kcore_dir"
_PARQUET = b"PAR1"
_READ = 1 << 20
_LOOK = 1 << 18  #: bytes of a recording that a first look is at


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording: the file, and the folder whose other contents are its own.

    Attributes:
        name: what its trace set is called.
        file: the recording itself; may be compressed with zstd or gzip.
        folder: what it lies in; None if that may belong to others.
        others: names of the recordings it may belong to.
        tables: the tables, one an event, that are the recording together; then ``file`` is one of
            these, or what lies beside them.
    """

    name: str
    file: Path
    folder: Path | None = None
    others: tuple[str, ...] = ()
    tables: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are the recording."""
        return self.tables or (self.file,)

    @property
    def beside(self) -> list[Path]:
        """The folders in which files may lie that belong to the recording, the nearest first."""
        inside = self.file.parent
        if _is_perf_folder(inside):
            return [inside / _KCORE, self.folder or inside.resolve().parent]
        return [self.folder or inside]


def find_recording(path: Path) -> Recording:
    """The recording at ``path``, a file or a folder with one.

    Raises:
        InputError: there is none.
    """
    perf_folder = _is_perf_folder(path)
    if path.is_file() or perf_folder:
        plain = _without(path.name, PACKED_SUFFIXES)
        name = _without(plain, _SUFFIXES)
        if name in _COMMON:  # what a recorder calls every recording: its folder tells more
            name = path.resolve().parent.name
        elif name == path.name:  # without a suffix: a folder of that name could not lie beside it
            name += "-trace-set"
        file = path / _PERF_FILE if perf_folder else path
        if _in_folder(path.parent) == file or not other_recordings(path):
            return Recording(name, file, path.parent)
        return Recording(name, file, None, tuple(other_recordings(path)))
    if not path.exists():
        raise InputError(f"{path}: no such recording")
    if not path.is_dir():
        raise InputError(f"{path}: not a regular file; name a recording, or a folder with one")
    found = _in_folder(path)
    if found is not None:
        return Recording(path.resolve().name, found, path)
    if is_trace_set(path):
        raise InputError(f"{path}: a trace set, imported already; allocsim replay takes it")
    if tables := tuple(tables_in(path).values()):
        return Recording(path.resolve().name, tables[0], path, tables=tables)
    raise InputError(f"{path}: no recording in this folder (it has no {', '.join(_NAMES)})")


def _in_folder(folder: Path) -> Path | None:
    """The recording that a folder stands for; None: there is none of such a name."""
    names = (name + suffix for name in _NAMES for suffix in ("", *PACKED_SUFFIXES))
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None and _is_perf_folder(folder / _PERF_FOLDER):
        return folder / _PERF_FOLDER / _PERF_FILE
    return file


def _is_perf_folder(path: Path) -> bool:
    """Whether a folder is what perf record --kcore made."""
    file = path / _PERF_FILE
    return file.is_file() and _read_start(file).startswith(tuple(PERF_MAGIC))


def _without(name: str, suffixes: tuple[str, ...]) -> str:
    """A file's name without the suffix it has of ``suffixes``."""
    return next((name.removesuffix(s) for s in suffixes if name.endswith(s)), name)


def import_recording(  # noqa: PLR0913 - of what, to where, and how
    source: Path,
    parent: Path,
    *,
    force: bool = False,
    instance: str | None = None,
    from_common_start: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> Path:
    """Import a recording into a trace set of its name in the folder ``parent``.

    The trace set is written aside and put in place when it is complete.

    Args:
        source: a recording, or a folder with one.
        parent: where to put the trace set; made if it is not there.
        force: replace a trace set of that name.
        instance: the trace instance to read; None: the only one with kmem events.
        from_common_start: leave out what is earlier than the first event of the CPU that begins
            last; CPUs that were idle begin with the recording.
        progress: told the part that is done, 0 to 1.

    Returns:
        The trace set's folder.

    Raises:
        InputError: the recording cannot be read; says where it is damaged.
        OutputError: the trace set is there already, or cannot be written.
    """
    recording = find_recording(source)
    target = parent / recording.name
    with made_aside(target, force=force) as aside, _contents(recording.file, aside) as data:
        since = None
        fresh = partial(_reader, recording, data, aside, instance)
        look = _look(recording)
        if from_common_start:
            since = common_start(fresh(), *look)
        reader = _ready(fresh, look)
        _write(recording, reader, data, aside, progress, since)
    return target


@contextmanager
def straight(
    source: Path, wanted: Wanted, instance: str | None = None
) -> Iterator[tuple[str, Conversion, Callable[[], None]]]:
    """Some of a recording, to be read once and kept nowhere.

    Args:
        source: a recording, or a folder with one.
        wanted: what of it.
        instance: as of import_recording.

    Yields:
        What its trace set would be called, its conversion, and what to call after each window so
        that no more of the file is held than that.

    Raises:
        InputError: the recording cannot be read; says where it is damaged.
    """
    recording = find_recording(source)
    with (
        scratch() as folder,
        _contents(recording.file, folder) as data,
        ThreadPoolExecutor(1) as pool,
    ):
        look = _look(recording)
        reader = _ready(partial(_reader, recording, data, folder, instance), look)
        symbols_read = pool.submit(lambda: reader.symbols(look[0]))
        conversion = Conversion(reader, symbols_read, None, _frames(recording), wanted)
        yield recording.name, conversion, partial(let_go, data, HELD)


def _look(recording: Recording) -> tuple[Callable[[], memoryview], int]:
    """Where a recording's kallsyms are, and how much of it is read at once."""
    return lambda: _beside(recording, "kallsyms"), WINDOW_BYTES


def _ready(fresh: Callable[[], Reader], look: tuple[Callable[[], memoryview], int]) -> Reader:
    """A reader that gives page frames, whatever its events have of them."""
    reader = fresh()
    if struct_pages.has_pointers(reader.types):
        struct_pages.use(reader.types, struct_pages.find(fresh(), *look))
    return reader


def first_look(source: Path) -> tuple[set[str], set[str]] | None:
    """The events that a recording may have, and some that it has, without reading it all.

    Args:
        source: a recording, or a folder with one.

    Returns:
        Names of the events that it describes, and of those among its first; None for text, which
        describes none.

    Raises:
        InputError: there is none, or it is damaged there.
    """
    recording = find_recording(source)
    with (
        scratch() as folder,
        _contents(recording.file, folder) as data,
    ):
        if not bytes(data[:16]).startswith((MAGIC, *PERF_MAGIC)):
            return None
        reader = _reader(recording, data, folder, None)
        names = [kept.event.name for kept in reader.types.kept]
        seen: set[str] = set()
        for stream in islice(reader.streams(_LOOK), 1):
            slots = distinct(stream.slot[stream.inside]).tolist()
            seen |= {names[slot] for slot in slots if slot < len(names)}
        return set(names), seen


@contextmanager
def _contents(file: Path, scratch: Path) -> Iterator[memoryview]:
    """The bytes of a file, decompressed if it is compressed.

    Raises:
        InputError: it cannot be read.
    """
    plain = file
    head = _read_start(file)
    for magic, algorithm in PACKED.items():
        if head.startswith(magic):
            plain = scratch / "recording"
            _decompress(file, algorithm, plain)
    if not _read_start(plain):
        raise InputError(f"{file}: the file is empty")
    with mapped(plain) as data:
        yield data


def _read_start(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(16)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({_reason(error)})") from None


def _decompress(file: Path, algorithm: str, target: Path) -> None:
    with pa.input_stream(str(file), compression=algorithm) as source, target.open("wb") as out:
        while piece := _next_piece(source, file):
            out.write(piece)


def _next_piece(source: pa.NativeFile, file: Path) -> bytes:
    try:
        return bytes(source.read(_READ))
    except OSError as error:
        raise InputError(f"{file}: the compressed data is damaged ({_reason(error)})") from None


def _write(  # noqa: PLR0913 - what, of what, to where
    recording: Recording,
    reader: Reader,
    data: memoryview,
    aside: Path,
    progress: Callable[[float], None],
    since: int | None,
) -> None:
    folder = aside / recording.name
    folder.mkdir()
    with ThreadPoolExecutor(2) as pool, TraceSetWriter(folder) as writer:
        # Both take as long as reading the first windows: at the same time.
        symbols_read = pool.submit(lambda: reader.symbols(lambda: _beside(recording, "kallsyms")))
        digest = pool.submit(_digest, recording, data)
        conversion = Conversion(reader, symbols_read, since, _frames(recording))
        for rows, columns in prefetch(conversion.windows()):
            writer.add(rows, columns)
            progress(reader.progress)
            let_go(data, HELD)
        symbols = _symbols(conversion)
        names = [file.name for file in recording.files]
        found = describe(conversion, symbols, names, digest.result())
        taken = _take_along(recording, folder, found["kernel_release"])
        meta = {
            "name": recording.name,
            **found,
            "snapshots": taken.snapshots,
            "beside": {"taken": taken.names, "missed": taken.missed},
        }
        stacks = Stacks(conversion.stacks.start, conversion.stacks.address)
        writer.close(meta, stacks, symbols)


def _digest(recording: Recording, data: memoryview) -> str:
    """The digest of a recording: of its bytes, or of those of all its tables, by their names."""
    found = hashlib.sha256()
    for table in recording.tables:
        with table.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    if recording.tables:
        return found.hexdigest()
    for at in range(0, len(data), HELD):
        found.update(data[at : at + HELD])
        let_go(data, HELD)
    return found.hexdigest()


def _symbols(conversion: Conversion) -> Symbols:
    """The symbols of every call site and stack address."""
    used = [conversion.gatherer.call_sites.values, conversion.stacks.address]
    return conversion.symbols.resolve(distinct(np.concatenate(used)))


def _reader(recording: Recording, data: memoryview, scratch: Path, instance: str | None) -> Reader:
    """The reader of the recording's format, which its first bytes tell."""
    # A reader is imported where its format is found: all of them take longer than a small file.
    path = str(recording.file)
    if recording.tables or bytes(data[: len(_PARQUET)]) == _PARQUET:
        if not recording.tables:
            raise InputError(f"{path}: a Parquet file; name the folder that has a table an event")
        from pipeline.ingest.event_tables.reader import EventTablesReader

        uname = bytes(_beside(recording, "uname")).decode("utf-8", "replace")
        return EventTablesReader(recording.file.parent, uname)
    if bytes(data[: len(MAGIC)]) != MAGIC:
        if instance is not None:
            raise UsageError(f"{path}: only a trace.dat has trace instances; leave out --instance")
        from pipeline.ingest.perf_data.container import is_perf_data

        if is_perf_data(data):
            from pipeline.ingest.perf_data.reader import PerfReader

            return PerfReader(path, data, scratch)
        uname = bytes(_beside(recording, "uname")).decode("utf-8", "replace")
        if (text := _text_reader(path, data, uname)) is not None:
            return text
    return TraceDatReader(path, data, instance)


def _text_reader(path: str, data: memoryview, uname: str) -> Reader | None:
    """The reader of the tool that printed a text; None if it is none of those that are read."""
    from pipeline.ingest.ftrace_text.reader import ftrace_text, has_tracer, is_ftrace_text
    from pipeline.ingest.perf_script_text.reader import is_perf_script, perf_script
    from pipeline.ingest.trace_cmd_text.reader import is_trace_cmd_text, trace_cmd_text

    # What tracefs prints is told by the least: last, but where it says itself what it is.
    if not has_tracer(data):
        if is_trace_cmd_text(data):
            return trace_cmd_text(path, data, uname)
        if is_perf_script(data):
            return perf_script(path, data, uname)
    return ftrace_text(path, data, uname) if is_ftrace_text(data) else None


def _frames(recording: Recording) -> int:
    """Page frames that the machine is believed to have: more than most only by its zoneinfo."""
    text = bytes(_beside(recording, f"{FOLDERS[0]}/zoneinfo")).decode("utf-8", "replace")
    ends = [BELIEVED_PFN]
    for zone in re.split(r"^Node ", text, flags=re.MULTILINE):
        spanned, start = (
            re.search(rf"^\s+{key}\s+(\d+)$", zone, re.MULTILINE)
            for key in ("spanned", "start_pfn:")
        )
        if spanned and start:
            ends.append(sum(number(found[1], most=MAX_PFN) or 0 for found in (spanned, start)))
    return max(ends)


def _beside(recording: Recording, name: str) -> memoryview:
    """What a file beside the recording holds; empty if it is not there."""
    found = (contents(folder, name) for folder in recording.beside)
    return memoryview(next((text for text in found if text), b""))


def _take_along(recording: Recording, folder: Path, release: str | None) -> Taken:
    """Copy into the trace set what lies beside the recording, where that is plainly its own."""
    if recording.folder is None:
        first, *more = recording.others
        others = f"{first} and {len(more)} more" if more else first
        return nothing_taken(f"other recordings lie there too ({others})")
    return take_along(recording.folder, folder, release)


def _reason(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split())
