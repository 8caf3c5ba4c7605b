"""Reading a unit, which anybody may have made: nothing in it is believed before it is checked."""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline.errors import InputError
from pipeline.store.arrow import arrow_type
from pipeline.store.schema import SCHEMA_VERSION
from pipeline.store.schema.enums import enum_of
from pipeline.store.units.unit import RUN_TABLES, TRACE_COLUMNS, UNIT_FILE, RunUnit
from pipeline.store.units.writing import kept
from pipeline.trace_set.meta import check_meta
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import MOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from pipeline.store.schema.table import StoreTable

_LONGEST = 1 << 27  # bytes of unit.json: that of a trace set's meta.json, escaped once more
_ROWS = 1 << 18  # read at once
_OPENED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TYPES = {"str": str, "f8": float}


@dataclass(frozen=True, slots=True)
class KeptUnit:
    """A unit in its folder.

    Args:
        path: the folder.
        unit: which run it is.
        topology: where the CPUs of its machine are: rows of ``cpu_topology`` without the trace.
        turn: which trace of its command it is of, and which run of that trace.
        rows: how many each table has; tables without any are not there.
    """

    path: Path
    unit: RunUnit
    topology: list[list[int | None]]
    turn: tuple[int, int]
    rows: Mapping[str, int]

    def batches(self, table: StoreTable) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows of one of its tables.

        Raises:
            InputError: the file is damaged or of other columns, there or when it is iterated.
        """
        path = self.path / f"{table.name}.parquet"
        names = [column.name for column in kept(table) if enum_of(column)]
        schema = pa.schema([(column.name, _type_of(column)) for column in kept(table)])

        def read() -> Iterator[pa.RecordBatch]:
            with _damage(path), _opened(path) as file:
                source = parquet.ParquetFile(file, read_dictionary=names)
                _check_columns(path, source.schema_arrow, schema)
                if source.metadata.num_rows != self.rows[table.name]:
                    raise InputError(
                        f"{path}: {source.metadata.num_rows} rows, and {UNIT_FILE} says"
                        f" {self.rows[table.name]}; remove {self.path} and run its command again"
                    )
                for batch in source.iter_batches(_ROWS):
                    batch.validate(full=True)
                    yield pa.record_batch(batch.columns, schema=schema)

        return schema, read()


def _type_of(column: Any) -> pa.DataType:  # noqa: ANN401 - a column of the schema
    """The type a column of a unit is read as: names of an ENUM with a number each."""
    return pa.dictionary(pa.int32(), pa.string()) if enum_of(column) else arrow_type(column)


def _check_columns(path: Path, found: pa.Schema, wanted: pa.Schema) -> None:
    if found.names != wanted.names or found.types != wanted.types:
        raise InputError(
            f"{path}: not the columns of this table; it was not written by this version of allocsim"
        )


def kept_unit(path: Path) -> KeptUnit:
    """The unit in a folder, once all that can be known without its rows has been checked.

    Raises:
        InputError: it is none, of another schema version, or not what its name says; a file is
            missing, or of somebody else.
    """
    try:
        return _checked(path)
    except OSError as error:
        name = error.filename or path
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None


def _checked(path: Path) -> KeptUnit:
    for folder in (path.parent, path):
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise InputError(f"{folder}: not a folder of a unit; links are not followed")
    about = _about(path / UNIT_FILE)
    if about.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: of schema version {about.get('schema_version')!r:.20} (written by allocsim"
            f" {about.get('allocsim_version')!r:.20}), this allocsim knows version"
            f" {SCHEMA_VERSION}; run its command again"
        )
    unit = KeptUnit(
        path,
        RunUnit(
            _trace(path, about),
            _text(path, about, "settings"),
            _text(path, about, "made_with"),
            _text(path, about, "of_made_with"),
            version=_text(path, about, "allocsim_version") or "",
        ),
        _numbers(path, about.get("topology"), 3),
        _turn(path, about),
        _rows(path, about),
    )
    if not _is_named(unit):
        raise InputError(f"{path}: holds another run than its name says; it is left out")
    there = {entry.name for entry in path.iterdir()}
    files = {UNIT_FILE, *(f"{table}.parquet" for table in unit.rows)}
    if there != files:
        [name, *_] = sorted(there ^ files)
        what = "is missing" if name in files else "is no part of a unit"
        raise InputError(f"{path / name}: {what}; remove {path} and run its command again")
    return unit


def _is_named(unit: KeptUnit) -> bool:
    try:
        return f"{unit.path.parent.name}/{unit.path.name}" == unit.unit.name
    except (ValueError, AttributeError, RecursionError):  # its settings are no JSON of settings
        return False


def _about(path: Path) -> dict[str, Any]:
    with _opened(path) as file:
        text = file.read(_LONGEST + 1)
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")  # noqa: TRY301 - said as all that is wrong with it
        about = json.loads(text)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise InputError(f"{path}: not the description of a unit")
    return about


def _trace(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The row of ``traces``."""
    trace = about.get("trace")
    if not isinstance(trace, dict) or trace.keys() != {each.name for each in TRACE_COLUMNS}:
        raise _wrong(path, "trace")
    for column in TRACE_COLUMNS:
        value, kind = trace[column.name], _TYPES.get(column.dtype, int)
        if value is None:
            continue
        if type(value) is not kind or (kind is int and not _fits(value, column.dtype)):
            raise _wrong(path, f"trace.{column.name}")
    try:
        meta = json.loads(trace["meta"])
    except (TypeError, ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise _wrong(path, "trace.meta")
    check_meta(path / UNIT_FILE, meta)
    return trace


def _fits(value: object, dtype: str) -> bool:
    limits = np.iinfo(dtype)
    return isinstance(value, int) and int(limits.min) <= value <= int(limits.max)


def _text(path: Path, about: dict[str, Any], name: str) -> str | None:
    value = about.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(path, name)
    return value


def _numbers(path: Path, rows: object, columns: int) -> list[list[int | None]]:
    if not isinstance(rows, list) or len(rows) > CPUS:
        raise _wrong(path, "topology")
    for row in rows:
        if not isinstance(row, list) or len(row) != columns:
            raise _wrong(path, "topology")
        if not all(each is None or (type(each) is int and 0 <= each < 1 << 15) for each in row):
            raise _wrong(path, "topology")
    return rows


def _turn(path: Path, about: dict[str, Any]) -> tuple[int, int]:
    turn = about.get("turn")
    if not isinstance(turn, list) or len(turn) != 2 or any(type(each) is not int for each in turn):
        raise _wrong(path, "turn")
    return turn[0], turn[1]


def _rows(path: Path, about: dict[str, Any]) -> dict[str, int]:
    rows = about.get("rows")
    if not isinstance(rows, dict) or not rows.keys() <= RUN_TABLES.keys() or rows.get("runs") != 1:
        raise _wrong(path, "rows")
    if not all(isinstance(count, int) and 0 < count <= MOST for count in rows.values()):
        raise _wrong(path, "rows")
    return rows


def _wrong(path: Path, what: str) -> InputError:
    return InputError(f"{path / UNIT_FILE}: {what} is not as allocsim writes it; run it again")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file; a link is not followed."""
    try:
        opened = os.open(path, _OPENED)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError(f"{path}: not a regular file")
        yield file


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What Arrow says of a damaged file as one line of ours."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or ["damaged"])[0]
        raise InputError(f"{path}: damaged ({first[:120]}); run its command again") from None
