"""Reading a trace set: the folder an import makes of a recording.

``events.parquet`` has one row an event, sorted by time; ``stacks.parquet`` one row a frame of each
distinct kernel stack; ``symbols.parquet`` one row a distinct code address; ``meta.json`` what is
known of the recording. The columns are those of allocsim.events.EVENT_COLUMNS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from allocsim.events import EVENT_COLUMN, EVENT_COLUMNS, Column
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy.typing as npt

SCHEMA_VERSION = 1

Window = dict[str, "npt.NDArray[Any]"]


@dataclass(frozen=True, slots=True)
class Stacks:
    """Every distinct kernel stack.

    Attributes:
        start: i8, length stacks + 1: stack ``s`` is ``address[start[s]:start[s + 1]]``.
        address: u8, the frames' addresses, innermost first.
    """

    start: npt.NDArray[np.int64]
    address: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.start) - 1

    def frames(self, stack: int) -> npt.NDArray[np.uint64]:
        """The addresses of one stack, innermost first."""
        return self.address[self.start[stack] : self.start[stack + 1]]


@dataclass(frozen=True, slots=True)
class Symbols:
    """Code addresses and the symbols they lie in.

    Attributes:
        address: u8, ascending: every call site and stack address of the trace set.
        symbol: the symbol an address lies in; None where no symbol is known.
        offset: i8, bytes from the symbol's beginning; 0 where no symbol is known.
        module: the module the symbol belongs to; None for the kernel itself.
    """

    address: npt.NDArray[np.uint64]
    symbol: list[str | None]
    offset: npt.NDArray[np.int64]
    module: list[str | None]

    def name(self, address: int) -> str | None:
        """The symbol ``address`` lies in; None where it is not known."""
        at = int(np.searchsorted(self.address, np.uint64(address)))
        if at == len(self.address) or int(self.address[at]) != address:
            return None
        return self.symbol[at]


@dataclass
class TraceSet:
    """A trace set, opened for reading.

    Attributes:
        path: the folder.
        meta: what meta.json says.
        columns: the columns events.parquet has, in its order.
        names: of each text column, the text of each code; filled as windows are read, and
            complete once all windows have been.
    """

    path: Path
    meta: dict[str, Any]
    columns: tuple[Column, ...]
    names: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | str) -> TraceSet:
        """Open the trace set in the folder ``path``.

        Raises:
            InputError: it is not a trace set, or one of another schema; says which columns are
                missing and which were found.
        """
        folder = Path(path)
        meta = read_meta(folder)
        found = _schema(folder / "events.parquet")
        return cls(folder, meta, _known_columns(folder / "events.parquet", found))

    @property
    def rows(self) -> int:
        """Number of events."""
        return int(_metadata(self.path / "events.parquet").num_rows)

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
        path = self.path / "events.parquet"
        texts = [column.name for column in self.columns if column.dtype == "str"]
        try:
            with parquet.ParquetFile(path, read_dictionary=texts) as file:
                wanted = [c for c in self.columns if columns is None or c.name in columns]
                for batch in _batches(file, [column.name for column in wanted], rows):
                    yield {column.name: self._array(batch, column) for column in wanted}
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read ({_one_line(error)})") from None

    def _array(self, batch: pa.Table, column: Column) -> npt.NDArray[Any]:
        chunks = batch.column(column.name).chunks
        if column.dtype == "str":
            parts = [self._codes(chunk, column.name) for chunk in chunks]
            return np.concatenate(parts) if len(parts) != 1 else parts[0]
        dtype = np.dtype(column.dtype)
        filler = -1 if column.name == "stack" else False if dtype.kind == "b" else 0
        parts = [
            (chunk.fill_null(filler) if chunk.null_count else chunk).to_numpy(zero_copy_only=False)
            for chunk in chunks
        ]
        whole = np.concatenate(parts) if len(parts) != 1 else parts[0]
        return whole.astype(dtype, copy=False)

    def _codes(self, chunk: pa.DictionaryArray, name: str) -> npt.NDArray[np.int32]:
        """A chunk's codes in ``names``: every row group has a dictionary of its own."""
        known = self.names.setdefault(name, [])
        place = {text: code for code, text in enumerate(known)}
        words = chunk.dictionary.to_pylist()
        code_of = np.array([place.setdefault(word, len(place)) for word in words] + [-1], np.int32)
        known.extend(list(place)[len(known) :])
        codes: npt.NDArray[np.int32] = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return code_of.take(codes)

    def text(self, column: str) -> list[str]:
        """Every text of a text column, by code, before any window is read.

        The codes are those that windows will give; empty where the trace set lacks the column.
        """
        if column in {known.name for known in self.columns}:
            path = self.path / "events.parquet"
            with parquet.ParquetFile(path, read_dictionary=[column]) as file:
                for group in range(file.num_row_groups):
                    for chunk in file.read_row_group(group, columns=[column]).column(0).chunks:
                        self._codes(chunk, column)
        return list(self.names.get(column, []))

    @cached_property
    def stacks(self) -> Stacks:
        """Every distinct kernel stack of the trace set."""
        table = _read(self.path / "stacks.parquet", ("stack", "depth", "address"))
        stack = table.column("stack").to_numpy()
        count = int(stack[-1]) + 1 if len(stack) else 0
        start = np.searchsorted(stack, np.arange(count + 1, dtype=np.int64))
        return Stacks(start.astype(np.int64), table.column("address").to_numpy())

    @cached_property
    def symbols(self) -> Symbols:
        """Every call site and stack address, with its symbol where one is known."""
        table = _read(self.path / "symbols.parquet", ("address", "symbol", "offset", "module"))
        return Symbols(
            table.column("address").to_numpy(),
            table.column("symbol").to_pylist(),
            table.column("offset").to_numpy(),
            table.column("module").to_pylist(),
        )


def is_trace_set(path: Path) -> bool:
    """Whether the folder looks like a trace set (rather than a recording)."""
    return (path / "events.parquet").is_file() or (path / "meta.json").is_file()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_meta(folder: Path) -> dict[str, Any]:
    """What meta.json in the trace set ``folder`` says, of a schema version that can be read.

    Raises:
        InputError: there is none, or one of another schema version.
    """
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(f"{folder}: not a trace set (it has no meta.json)")
    try:
        meta = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_one_line(error)})") from None
    if not isinstance(meta, dict) or "schema_version" not in meta:
        raise InputError(f"{path}: not the meta.json of a trace set (it has no schema_version)")
    if meta["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {meta['schema_version']}, this allocsim reads version "
            f"{SCHEMA_VERSION}; import the recording again"
        )
    return meta


def _metadata(path: Path) -> parquet.FileMetaData:
    try:
        return parquet.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read ({_one_line(error)})") from None


def _schema(path: Path) -> pa.Schema:
    return _metadata(path).schema.to_arrow_schema()


def _known_columns(path: Path, found: pa.Schema) -> tuple[Column, ...]:
    """The schema's columns that the file has, checked."""
    missing = [c.name for c in EVENT_COLUMNS if c.required and c.name not in found.names]
    if missing:
        raise InputError(
            f"{path}: not the events of a trace set: missing {', '.join(missing)}; "
            f"found {', '.join(found.names)}"
        )
    for name in found.names:
        if name in EVENT_COLUMN and not _fits(EVENT_COLUMN[name], found.field(name).type):
            raise InputError(
                f"{path}: column {name} is {found.field(name).type}, "
                f"should be {EVENT_COLUMN[name].dtype}"
            )
    return tuple(column for column in EVENT_COLUMNS if column.name in found.names)


def _fits(column: Column, kind: pa.DataType) -> bool:
    if column.dtype == "str":
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(value) or pa.types.is_large_string(value))
    if column.dtype == "?":
        return bool(pa.types.is_boolean(kind))
    return bool(kind == pa.from_numpy_dtype(np.dtype(column.dtype)))


def _read(path: Path, columns: tuple[str, ...]) -> pa.Table:
    missing = [name for name in columns if name not in _schema(path).names]
    if missing:
        raise InputError(
            f"{path}: missing {', '.join(missing)}; found {', '.join(_schema(path).names)}"
        )
    try:
        return parquet.read_table(path, columns=list(columns)).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read ({_one_line(error)})") from None


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
