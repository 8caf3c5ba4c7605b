"""Reading a trace set: the folder an import makes of a recording.

``events.parquet`` has one row an event, sorted by time; ``stacks.parquet`` one row a frame of each
distinct kernel stack; ``symbols.parquet`` one row a distinct code address; ``meta.json`` what is
known of the recording. The columns are those of allocsim.trace.events.EVENT_COLUMNS.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from allocsim.trace.events import EVENT_COLUMNS, Column
from pipeline.errors import InputError
from pipeline.trace_set.meta import read_meta
from pipeline.trace_set.parts import (
    CPUS,
    SCHEMA_VERSION,
    SNAPSHOTS,
    STACK_COLUMNS,
    SYMBOL_COLUMNS,
    Stacks,
    Symbols,
    event_limits,
    is_trace_set,
)
from pipeline.trace_set.side_files import counters_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from allocsim.tables import Array, Bools, Int32, UInt8

__all__ = ["SCHEMA_VERSION", "Stacks", "Symbols", "TraceSet", "Window", "is_trace_set"]

_MOST_ROWS = 1 << 20  # of a row group: all of one is held
_MOST_BYTES = 1 << 29  # of its values
_MOST_OF_TABLE = 1 << 23  # rows of stacks.parquet and symbols.parquet: all are held
_MOST_EMPTY = 16  # steps between numbers of stacks: those of no frames are not there
_EARLIEST = int(np.iinfo(np.int64).min)

Window = dict[str, "Array"]


@dataclass
class TraceSet:
    """A trace set, opened for reading.

    Attributes:
        path: the folder.
        meta: what meta.json says.
        columns: the columns events.parquet has, in its order.
        names: of each text column, the text of each code; filled as windows are read, and
            complete once all windows have been.
        recording: what it was imported of, where that was on the way and it is thrown away.
    """

    path: Path
    meta: dict[str, Any]
    columns: tuple[Column, ...]
    names: dict[str, list[str]] = field(default_factory=dict)
    recording: Path | None = None
    _complete: set[str] = field(default_factory=set, init=False, repr=False)

    @classmethod
    def open(cls, path: Path | str) -> TraceSet:
        """Open the trace set in the folder ``path``.

        Raises:
            InputError: it is not a trace set, or one of another schema; says which columns are
                missing and which were found. Or all its events are gone.
        """
        folder = Path(path)
        meta = read_meta(folder)
        trace = cls(folder, meta, _known_columns(folder / "events.parquet", EVENT_COLUMNS))
        events = meta.get("events")  # not checked yet (meta.check_meta)
        counts = events.values() if isinstance(events, dict) else ()
        said = sum(count for count in counts if isinstance(count, int))
        if said and not trace.rows:
            raise trace._damaged(f"it has no events, and meta.json says {said}")
        return trace

    @cached_property
    def rows(self) -> int:
        """Number of events."""
        return int(_metadata(self.file("events.parquet")).num_rows)

    def snapshot(self, name: str, when: str = "before") -> Path:
        """Where a snapshot's file lies, if the trace set has it.

        Args:
            name: the file: ``zoneinfo``, ``sysfs_slab.txt``, ...
            when: ``before`` the recording or ``after`` it.
        """
        return self.file(SNAPSHOTS, when, name)

    def snapshot_text(self, name: str, when: str = "before") -> str | None:
        """What a snapshot's file says; None where the trace set has it not."""
        return counters_text(self.snapshot(name, when))

    def file(self, *names: str) -> Path:
        """Where a file of the trace set lies, if it has it.

        Raises:
            InputError: it is a link to another place.
        """
        path = self.path.joinpath(*names)
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise InputError(f"{path}: a link out of the trace set, which is not followed")
        return path

    def windows(
        self, rows: int = 1 << 20, columns: Collection[str] | None = None
    ) -> Iterator[Window]:
        """The events in time order, ``rows`` at a time (the last window may have fewer).

        Args:
            rows: events of a window.
            columns: which columns to read, as far as the trace set has them; all by default.

        Yields:
            One array a column, all of the same length, by column name, with the dtypes of
            EVENT_COLUMNS; i4 codes into ``names`` for text columns. Nulls are 0 (False), and -1
            for text and for ``stack``.

        Raises:
            InputError: the file is damaged.
        """
        path = self.file("events.parquet")
        texts = [column.name for column in self.columns if column.dtype == "str"]
        with _reading(path), _open(path, texts) as file:
            wanted = [c for c in self.columns if columns is None or c.name in columns]
            since = self.meta.get("first_ts", _EARLIEST)
            for batch in _batches(file, [column.name for column in wanted], rows):
                window = {column.name: self._array(batch, column) for column in wanted}
                since = self._check(window, since)
                yield window

    def _check(self, window: Window, since: int) -> int:
        """Refuse what no recording can hold; returns the time of the window's last event.

        Args:
            window: the events.
            since: time of the event before them.
        """
        limits = {
            "stack": (-1, len(self.stacks) - 1),
            "cpu": (0, self.meta.get("cpus", CPUS) - 1),
            **event_limits(self.meta.get("page_size", 0)),
        }
        for name, (least, most) in limits.items():
            if name in window and len(window[name]):
                low, high = int(window[name].min()), int(window[name].max())
                if low < least or high > most:
                    wrong = low if low < least else high
                    raise self._damaged(f"{name} {wrong} is out of range, {least} to {most}")
        ts = window.get("ts")
        if ts is None or not len(ts):
            return since
        if ts[0] < since or np.any(ts[1:] < ts[:-1]):
            raise self._damaged("events are not in order of time")
        last: int = self.meta.get("last_ts", int(ts[-1]))
        if ts[-1] > last:
            raise self._damaged(f"an event at {ts[-1]} is later than the last, at {last}")
        return int(ts[-1])

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self.path / 'events.parquet'}: damaged: {why}")

    def _array(self, batch: pa.Table, column: Column) -> Array:
        if column.required:
            _no_nulls(self.file("events.parquet"), column.name, batch.column(column.name))
        chunks = batch.column(column.name).chunks
        if column.dtype == "str":
            parts = [self._codes(chunk, column.name) for chunk in chunks]
            return np.concatenate(parts) if len(parts) != 1 else parts[0]
        dtype = np.dtype(column.dtype)
        parts = [_filled(chunk, -1 if column.name == "stack" else 0) for chunk in chunks]
        whole = np.concatenate(parts) if len(parts) != 1 else parts[0]
        return whole.astype(dtype, copy=False)

    def _codes(self, chunk: pa.DictionaryArray, name: str) -> Int32:
        """A chunk's codes in ``names``: every row group has a dictionary of its own."""
        known = self.names.setdefault(name, [])
        place = {text: code for code, text in enumerate(known)}
        words = chunk.dictionary.to_pylist()
        code_of = np.array([place.setdefault(word, len(place)) for word in words] + [-1], np.int32)
        if name in self._complete and len(place) > len(known):
            raise InputError(
                f"{self.path / 'events.parquet'}: {name} is not dictionary-coded throughout"
            )
        known.extend(list(place)[len(known) :])
        return code_of.take(_filled(chunk.indices, -1))

    def text(self, column: str) -> list[str]:
        """Every text of a text column, by code, before any window is read.

        The codes are those that windows will give; empty where the trace set lacks the column.

        Raises:
            InputError: the file is damaged.
        """
        if column not in {known.name for known in self.columns}:
            return []
        if column in self._complete:
            return list(self.names.get(column, ()))
        path = self.file("events.parquet")
        with _reading(path), _open(path, [column]) as file:
            for group in range(file.num_row_groups):
                # The dictionary of a row group has all its texts: one row is enough to see it.
                for some in islice(file.iter_batches(1, row_groups=[group], columns=[column]), 1):
                    self._codes(some.column(0), column)
        self._complete.add(column)
        return list(self.names.get(column, ()))

    @cached_property
    def stacks(self) -> Stacks:
        """Every distinct kernel stack of the trace set."""
        table = _read(self.file("stacks.parquet"), STACK_COLUMNS)
        stack = table.column("stack").to_numpy()
        step = np.diff(stack.astype(np.int64), prepend=-1)
        if len(stack) and (step.min() < 0 or step.max() > _MOST_EMPTY):
            raise InputError(
                f"{self.path / 'stacks.parquet'}: damaged: stacks are not numbered from 0 on"
            )
        count = int(stack[-1]) + 1 if len(stack) else 0
        start = np.searchsorted(stack, np.arange(count + 1, dtype=np.int64))
        return Stacks(start.astype(np.int64), table.column("address").to_numpy())

    @cached_property
    def symbols(self) -> Symbols:
        """Every call site and stack address, with its symbol where one is known."""
        path = self.file("symbols.parquet")
        table = _read(path, SYMBOL_COLUMNS)
        with _reading(path):
            return Symbols(
                table.column("address").to_numpy(),
                table.column("symbol").to_pylist(),
                table.column("offset").to_numpy(),
                table.column("module").to_pylist(),
            )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of a Parquet file that is absent or damaged, as one line of ours."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why})") from None


def _open(path: Path, texts: list[str]) -> parquet.ParquetFile:
    return parquet.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True)


def _metadata(path: Path) -> parquet.FileMetaData:
    with _reading(path):
        return parquet.read_metadata(path)


def _known_columns(path: Path, wanted: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of those wanted that a file has, whose sizes and types are believed."""
    metadata = _metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for group in groups:
        if group.num_rows > _MOST_ROWS or group.total_byte_size > _MOST_BYTES:
            raise InputError(
                f"{path}: a row group of {group.num_rows} rows, {group.total_byte_size} bytes is "
                f"not read; write it with {_MOST_ROWS} rows at most"
            )
    found = metadata.schema.to_arrow_schema()
    twice = sorted({name for name in found.names if found.names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: not of a trace set: has {', '.join(twice)} more than once")
    missing = [c.name for c in wanted if c.required and c.name not in found.names]
    if missing:
        raise InputError(
            f"{path}: not of a trace set: missing {', '.join(missing)}; "
            f"found {', '.join(found.names)}"
        )
    known = tuple(column for column in wanted if column.name in found.names)
    for column in known:
        if not _fits(column, found.field(column.name).type):
            raise InputError(
                f"{path}: column {column.name} is {found.field(column.name).type}, "
                f"should be {column.dtype}"
            )
    return known


def _fits(column: Column, kind: pa.DataType) -> bool:
    if column.dtype == "str":
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(value) or pa.types.is_large_string(value))
    if column.dtype == "?":
        return bool(pa.types.is_boolean(kind))
    return bool(kind == pa.from_numpy_dtype(np.dtype(column.dtype)))


def _read(path: Path, columns: tuple[Column, ...]) -> pa.Table:
    """All of a small table; only texts in it can be null."""
    _known_columns(path, columns)
    rows = _metadata(path).num_rows
    if rows > _MOST_OF_TABLE:
        raise InputError(f"{path}: {rows} rows are not believed, {_MOST_OF_TABLE} are the most")
    # Not parquet.read_table, which loads all that reads datasets first: 35 ms.
    with _reading(path), _open(path, []) as file:
        table = file.read([column.name for column in columns]).combine_chunks()
    for column in columns:
        if column.dtype != "str":
            _no_nulls(path, column.name, table.column(column.name))
    return table


def _filled(chunk: pa.Array, filler: int) -> Array:
    """The values of a chunk, with ``filler`` for nulls; False where they are bits.

    Not by pyarrow's fill_null, which loads all of its functions first: 25 ms.
    """
    if not chunk.null_count:
        plain: Array = chunk.to_numpy(zero_copy_only=False)
        return plain
    valid, data = (np.frombuffer(buffer, np.uint8) for buffer in chunk.buffers())
    if pa.types.is_boolean(chunk.type):
        return _bits(valid, chunk) & _bits(data, chunk)
    dtype = np.dtype(chunk.type.to_pandas_dtype())
    begin, end = chunk.offset, chunk.offset + len(chunk)
    values: Array = data[begin * dtype.itemsize : end * dtype.itemsize].view(dtype)
    return np.where(_bits(valid, chunk), values, dtype.type(filler))


def _bits(bitmap: UInt8, chunk: pa.Array) -> Bools:
    """The bits of a bitmap that are of a chunk's values."""
    byte, bit = divmod(chunk.offset, 8)
    bits = np.unpackbits(bitmap[byte:], count=bit + len(chunk), bitorder="little")
    return bits[bit:].view(np.bool_)


def _no_nulls(path: Path, name: str, values: pa.ChunkedArray) -> None:
    if values.null_count:
        raise InputError(f"{path}: damaged: {values.null_count} rows without {name}")


def _batches(file: parquet.ParquetFile, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Tables of ``rows`` rows, one row group or a little more held at a time."""
    held: list[pa.Table] = []
    count = 0
    for group in range(file.num_row_groups):
        held.append(file.read_row_group(group, columns=columns, use_threads=True))
        count += held[-1].num_rows
        while count >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(held)
