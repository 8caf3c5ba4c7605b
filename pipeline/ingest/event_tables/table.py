"""One table: the columns of an event, batch by batch, laid out as records."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from allocsim.trace.events import EVENT_COLUMN, Event
from pipeline.errors import InputError
from pipeline.ingest.formats import Field
from pipeline.ingest.raw import laid_out
from pipeline.ingest.raw.laid_out import Laid
from pipeline.trace_set.parts import CPUS, PIDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocsim.tables import Array, Int64, UInt8

#: What the columns that every event has are called: by trace-dump, and in LISA's Python.
TIMES = ("common_ts", "Time", "__timestamp")
CPU = ("common_cpu", "__cpu")
PID = ("common_pid", "__pid")
COMM = "__comm"
_FLAGS = "common_flags"
_CALLER = "caller"
_BATCH = 1 << 16
_MOST_ROWS, _MOST_BYTES = 1 << 22, 1 << 30  # of a row group; trace-dump writes 2^20 rows
_LONGEST_TEXT = 255  # bytes; names of caches and zones are less
_LATEST = 1 << 61
_NS = 1_000_000_000
_NO_FRAMES = np.zeros(0, np.uint64)


@dataclass(slots=True)
class EventTable:
    """A table of an event.

    Args:
        path: the file.
        number: the common_type that its records get.
        event: the event; None: of stacks.

    Attributes:
        rows: rows that it has.
        columns: where the columns of EVENT_COLUMNS lie in its records.
        ignored: its fields that the schema has no column for.
        has_flags: whether it has common_flags.
        comms: the last name of each task, where the rows have names.
        incomplete: rows that lack a value, which are left out.
    """

    path: Path
    number: int
    event: Event | None
    rows: int = 0
    columns: dict[str, Field] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    has_flags: bool = False
    comms: dict[str, str] = field(default_factory=dict)
    incomplete: int = 0
    _names: dict[str, str] = field(default_factory=dict)  # of the file's column, by ours
    _texts: list[str] = field(default_factory=list)
    _fixed: int = 8

    def __post_init__(self) -> None:
        with _reading(self.path):
            metadata = parquet.read_metadata(self.path)
            schema = metadata.schema.to_arrow_schema()
        self.rows = metadata.num_rows
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if group.num_rows > _MOST_ROWS or group.total_byte_size > _MOST_BYTES:
                raise InputError(
                    f"{self.path}: a row group of {group.num_rows} rows, {group.total_byte_size} "
                    f"bytes is not read; write it with {_MOST_ROWS} rows at most"
                )
        kinds = dict(zip(schema.names, schema.types, strict=True))
        for what, names in (("time", TIMES), ("CPU", CPU)):
            if not any(name in kinds for name in names):
                raise InputError(
                    f"{self.path}: no column has the {what} ({' or '.join(names)}); found "
                    f"{', '.join(schema.names)[:200]}"
                )
        self._names = {
            key: next((name for name in names if name in kinds), "")
            for key, names in (("ts", TIMES), ("cpu", CPU), ("pid", PID), ("flags", (_FLAGS,)))
        }
        self._names["comm"] = COMM if COMM in kinds else ""
        self.has_flags = bool(self._names["flags"])
        if self.event is None:
            kind = kinds.get(_CALLER)
            if kind is not None and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
                self._names[_CALLER] = _CALLER
        else:
            self._lay_out(self.event, kinds)

    def _lay_out(self, event: Event, kinds: dict[str, pa.DataType]) -> None:
        taken = set(self._names.values())
        for name, kind in kinds.items():
            column = event.renamed.get(name, name)
            known = column in event.columns and column not in self.columns
            if known and _is_text(kind) == (EVENT_COLUMN[column].dtype == "str"):
                if _is_text(kind):
                    where = Field(name, self._fixed, 4, signed=False, kind="data_loc")
                    self._texts.append(column)
                elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
                    where = Field(name, self._fixed, 8, pa.types.is_signed_integer(kind))
                else:
                    self.ignored.append(name)
                    continue
                self.columns[column] = where
                self._fixed += 8
            elif name not in taken and not name.startswith("common_"):
                self.ignored.append(name)

    def laid(self) -> Iterator[Laid]:
        """The records of one batch of rows after the other, in order of time.

        Raises:
            InputError: the file is damaged, or its rows are not in order of time.
        """
        names = [name for name in self._names.values() if name]
        names += [where.name for where in self.columns.values()]
        last = -(1 << 62)
        with _reading(self.path):
            file = parquet.ParquetFile(self.path)
            for batch in file.iter_batches(_BATCH, columns=names):
                rows = self._complete(batch)
                if not rows.num_rows:
                    continue
                ts = self._times(rows.column(self._names["ts"]))
                if ts[0] < last or np.any(ts[1:] < ts[:-1]):
                    raise InputError(
                        f"{self.path}: its rows are not in order of time; sort them by "
                        f"{self._names['ts']}"
                    )
                last = int(ts[-1])
                cpu = self._bounded(rows, "cpu", CPUS - 1).astype(np.int16)
                body, size = self._records(rows)
                offset = np.cumsum(size) - size
                yield Laid(ts, cpu, offset, size.astype(np.int32), body)

    def _complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that lack no value: trace-dump has null where it could not read a field."""
        lacking = np.zeros(batch.num_rows, np.bool_)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if column.null_count and name != self._names["comm"]:
                lacking |= column.is_null().to_numpy(zero_copy_only=False)
        self.incomplete += int(lacking.sum())
        return batch.filter(pa.array(~lacking)) if lacking.any() else batch

    def _times(self, column: pa.Array) -> Int64:
        """ns: trace-dump counts them; LISA's Time is a duration, or seconds."""
        kind = column.type
        if pa.types.is_floating(kind):
            seconds = column.to_numpy(zero_copy_only=False)
            fine = np.isfinite(seconds) & (np.abs(seconds) < _LATEST // _NS)
            ts = np.round(np.where(fine, seconds, 0) * _NS).astype(np.int64)
            good = bool(fine.all())
        elif pa.types.is_duration(kind) or pa.types.is_timestamp(kind):
            scale = {"s": _NS, "ms": 10**6, "us": 1000, "ns": 1}[kind.unit]
            raw = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
            good = bool((np.abs(raw) < _LATEST // scale).all())
            ts = np.where(np.abs(raw) < _LATEST // scale, raw, 0) * scale
        elif pa.types.is_integer(kind):
            raw = column.to_numpy(zero_copy_only=False)
            good = bool((raw >= 0).all()) and bool((raw < _LATEST).all())
            ts = raw.astype(np.int64)
        else:
            raise InputError(f"{self.path}: {self._names['ts']} is {kind}, no time")
        if not good:
            raise InputError(f"{self.path}: a time in {self._names['ts']} cannot be")
        return ts

    def _bounded(self, rows: pa.RecordBatch, key: str, most: int) -> Int64:
        name = self._names[key]
        if not name:
            return np.zeros(rows.num_rows, np.int64)
        column = rows.column(name)
        if not pa.types.is_integer(column.type):
            raise InputError(f"{self.path}: {name} is {column.type}, no number")
        values = column.to_numpy(zero_copy_only=False)
        if values.min() < 0 or values.max() > most:
            wrong = int(values.min()) if values.min() < 0 else int(values.max())
            raise InputError(f"{self.path}: {name} is {wrong}, which cannot be (0 to {most})")
        found: Int64 = values.astype(np.int64)
        return found

    def _records(self, rows: pa.RecordBatch) -> tuple[UInt8, Int64]:
        """The records of some rows, one after the other, and the bytes of each."""
        pid, flags = self._bounded(rows, "pid", PIDS), self._bounded(rows, "flags", 255)
        self._name_tasks(rows, pid)
        if self.event is None:
            head = laid_out.heads(self.number, flags, pid, 8)
            if _CALLER not in self._names:
                return laid_out.stacks(head, np.zeros(len(head), np.int64), _NO_FRAMES)
            lists = rows.column(_CALLER)
            frames = lists.flatten()
            if frames.null_count or not pa.types.is_integer(frames.type):
                raise InputError(f"{self.path}: caller is {lists.type}, no list of addresses")
            count = compute.list_value_length(lists).to_numpy(zero_copy_only=False)
            addresses = frames.to_numpy(zero_copy_only=False).astype(np.uint64)
            return laid_out.stacks(head, count.astype(np.int64), addresses)
        texts = {
            column: _words(rows.column(self.columns[column].name), self.path)
            for column in self._texts
        }
        room = sum(words.shape[1] for words in texts.values())
        body = laid_out.heads(self.number, flags, pid, -(-(self._fixed + room) // 8) * 8)
        at = self._fixed
        for column, where in self.columns.items():
            if column in texts:
                words = texts[column]
                length = (words != 0).sum(axis=1).astype(np.uint32)
                place = (length << np.uint32(16) | np.uint32(at)).astype("<u4")
                body[:, where.offset : where.offset + 4] = place[:, np.newaxis].view(np.uint8)
                body[:, at : at + words.shape[1]] = words
                at += words.shape[1]
                continue
            values = _words64(rows.column(where.name))
            body[:, where.offset : where.end] = values[:, np.newaxis].view(np.uint8)
        return body.ravel(), np.full(len(body), body.shape[1])

    def _name_tasks(self, rows: pa.RecordBatch, pid: Int64) -> None:
        if self._names["comm"]:
            pids, back = np.unique(pid[::-1], return_index=True)
            names = rows.column(COMM).take(pa.array(len(pid) - 1 - back)).to_pylist()
            for task, name in zip(pids.tolist(), names, strict=True):
                if isinstance(name, str) and name.isprintable():
                    self.comms[str(task)] = name[:_LONGEST_TEXT]


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(value)
        or pa.types.is_large_string(value)
        or pa.types.is_string_view(value)
    )


def _words64(column: pa.Array) -> Array:
    """Numbers as 64 bits, a sign carried on."""
    values: Array = column.to_numpy(zero_copy_only=False)
    return values.astype("<i8" if values.dtype.kind == "i" else "<u8")


def _words(column: pa.Array, path: Path) -> UInt8:
    """Texts, a row of bytes each, zeros behind."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    known = [text.encode()[:_LONGEST_TEXT] for text in coded.dictionary.to_pylist() if text]
    if any(b"\0" in text for text in known):
        raise InputError(f"{path}: a text has a zero byte in it")
    texts = [(text or "").encode()[:_LONGEST_TEXT] for text in coded.dictionary.to_pylist()]
    width = max([1, *map(len, texts)])
    table = np.zeros((len(texts), width), np.uint8)
    for row, text in enumerate(texts):
        table[row, : len(text)] = np.frombuffer(text, np.uint8)
    codes: Array = coded.indices.to_numpy(zero_copy_only=False)
    return table[codes]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of a Parquet file that is damaged, as one line of ours."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why[:300]})") from None
