"""Writing a Parquet file column by column, with codes where a column has few distinct values.

Why not pyarrow's writer: it takes a column's full-length values and spends most of an import's time
on finding out which are null and which repeat. An import knows both already. A column's codes, one
or two bytes each, are a data page of Parquet as they are (bit width 8 or 16).

Source: parquet-format 2.11, parquet.thrift, Encodings.md and LogicalTypes.md. One page a column
chunk; encodings PLAIN and RLE_DICTIONARY; zstd. BYTE_STREAM_SPLIT makes files 5 to 9 % smaller,
but DuckDB 1.x and fastparquet cannot read it of integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO
from zlib import crc32

import numpy as np
import pyarrow as pa

from pipeline.trace_set.thrift import Struct, varint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.tables import Array, Bools
    from pipeline.trace_set.column import Values

    Bytes = bytes | memoryview

_MAGIC = b"PAR1"
_BOOLEAN, _INT32, _INT64, _BYTE_ARRAY = 0, 1, 2, 6
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8
_ZSTD = 6
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_REQUIRED, _OPTIONAL = 0, 1
_UTF8, _FIRST_UNSIGNED, _FIRST_SIGNED = 0, 11, 15  # of ConvertedType; the widths follow in order
_LOGICAL_STRING, _LOGICAL_INTEGER = 1, 10


@dataclass(frozen=True, slots=True)
class ParquetColumn:
    """A column of the file.

    Args:
        name: the column's name.
        dtype: numpy dtype string, or ``str``.
        required: it has no nulls.
        bounds: each row group says its least and its greatest value; of numbers, required.
    """

    name: str
    dtype: str
    required: bool = False
    bounds: bool = False

    @property
    def physical(self) -> int:
        """The physical type it is stored as."""
        if self.dtype == "str":
            return _BYTE_ARRAY
        if self.dtype == "?":
            return _BOOLEAN
        return _INT64 if np.dtype(self.dtype).itemsize == 8 else _INT32

    def stored(self, values: Array) -> Array:
        """Values as the physical type holds them."""
        if self.physical == _INT64:
            return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        return values.astype("<i4" if values.dtype.kind == "i" else "<u4")

    def schema(self) -> Struct:
        """The column's SchemaElement."""
        element = Struct().i32(1, self.physical).i32(3, _REQUIRED if self.required else _OPTIONAL)
        element.text(4, self.name)
        if self.dtype == "str":
            return element.i32(6, _UTF8).struct(10, Struct().struct(_LOGICAL_STRING, Struct()))
        if self.dtype == "?":
            return element
        kind = np.dtype(self.dtype)
        bits = 8 * kind.itemsize
        first = _FIRST_SIGNED if kind.kind == "i" else _FIRST_UNSIGNED
        integer = Struct().i8(1, bits).boolean(2, kind.kind == "i")
        element.i32(6, first + bits.bit_length() - 4)
        return element.struct(10, Struct().struct(_LOGICAL_INTEGER, integer))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A column chunk that has been written: its ColumnMetaData."""

    meta: Struct
    offset: int
    packed: int
    plain: int


@dataclass(slots=True)
class _RowGroup:
    rows: int
    chunks: dict[str, _Chunk] = field(default_factory=dict)


class ParquetWriter:
    """Writes one file. Columns not given for a row group are null in it.

    A column need not be known when the file is begun: which columns the file has is said at the
    end, and a column that came late is null in the row groups before.

    Args:
        file: where to write; written from its present place on.
        sorted_by: the column the rows are sorted by, ascending; must be required.
    """

    def __init__(self, file: BinaryIO, sorted_by: str | None = None) -> None:
        self._file = file
        self._sorted_by = sorted_by
        self._codec = pa.Codec("zstd", compression_level=1)
        self._at = 0
        self._groups: list[_RowGroup] = []
        self._columns: dict[str, ParquetColumn] = {}
        self._put(_MAGIC)

    def row_group(
        self, rows: int, columns: Sequence[ParquetColumn], values: Mapping[str, Values]
    ) -> None:
        """Write ``rows`` rows, the values of every column among ``columns``.

        Raises:
            OSError: the file cannot be written.
        """
        group = _RowGroup(rows)
        self._groups.append(group)
        for column in columns:
            self._columns[column.name] = column
            chunk = self._chunk(column, rows, values[column.name])
            if column.bounds and rows:
                least, most = (column.stored(end).tobytes() for end in _ends(values[column.name]))
                chunk.meta.struct(12, Struct().i64(3, 0).binary(5, most).binary(6, least))
            group.chunks[column.name] = chunk

    def close(self, columns: Sequence[ParquetColumn], metadata: Mapping[str, str]) -> None:
        """Finish the file, which has the columns ``columns`` in this order; keep it open.

        Raises:
            OSError: the file cannot be written.
        """
        for group in self._groups:
            for column in columns:
                if column.name not in group.chunks:
                    group.chunks[column.name] = self._nulls(column, group.rows)
        root = Struct().text(4, "schema").i32(5, len(columns))
        names = [column.name for column in columns]
        footer = Struct().i32(1, 2)
        footer.structs(2, [root, *(column.schema() for column in columns)])
        footer.i64(3, sum(group.rows for group in self._groups))
        footer.structs(4, [self._group(group, names) for group in self._groups])
        footer.structs(5, [Struct().text(1, key).text(2, text) for key, text in metadata.items()])
        footer.text(6, "allocsim")
        # How min and max compare: by the type (TypeDefinedOrder), for every column.
        footer.structs(7, [Struct().struct(1, Struct()) for _ in columns])
        body = footer.encode()
        self._put(body + len(body).to_bytes(4, "little") + _MAGIC)

    def _put(self, data: bytes | pa.Buffer) -> int:
        at = self._at
        self._file.write(data)
        self._at += len(data)
        return at

    def _group(self, group: _RowGroup, names: list[str]) -> Struct:
        chunks = [group.chunks[name] for name in names]
        out = Struct()
        out.structs(1, [Struct().i64(2, chunk.offset).struct(3, chunk.meta) for chunk in chunks])
        out.i64(2, sum(chunk.plain for chunk in chunks)).i64(3, group.rows)
        if self._sorted_by is not None:
            place = names.index(self._sorted_by)
            order = Struct().i32(1, place).boolean(2, False).boolean(3, False)
            out.structs(4, [order])
        out.i64(5, chunks[0].offset if chunks else 0)
        return out.i64(6, sum(chunk.packed for chunk in chunks))

    def _nulls(self, column: ParquetColumn, rows: int) -> _Chunk:
        return self._store(column, rows, [_levels(rows, np.zeros(rows, np.bool_))])

    def _chunk(self, column: ParquetColumn, rows: int, values: Values) -> _Chunk:
        levels = b"" if column.required else _levels(rows, values.valid)
        if values.dictionary is not None:
            page = [levels, *_codes(values)]
            return self._store(column, rows, page, _RLE_DICTIONARY, values.dictionary)
        if column.physical == _BOOLEAN:
            bits = np.packbits(values.values, bitorder="little")
            return self._store(column, rows, [levels, bits.data])
        return self._store(column, rows, [levels, column.stored(values.values).data])

    def _store(
        self,
        column: ParquetColumn,
        rows: int,
        page: list[Bytes],
        encoding: int = _PLAIN,
        dictionary: Array | Sequence[str] | None = None,
    ) -> _Chunk:
        """Write a column chunk: the page of its dictionary, if it has one, and that of its data."""
        begin, plain = self._at, 0
        if dictionary is not None:
            kind = Struct().i32(1, len(dictionary)).i32(2, _PLAIN)
            words = [
                _plain_texts(dictionary)
                if column.physical == _BYTE_ARRAY
                else column.stored(np.asarray(dictionary)).data
            ]
            plain += self._page(_DICTIONARY_PAGE, words, (7, kind))
        place = self._at
        head = Struct().i32(1, rows).i32(2, encoding).i32(3, _RLE).i32(4, _RLE)
        plain += self._page(_DATA_PAGE, page, (5, head))
        meta = Struct().i32(1, column.physical)
        meta.i32s(2, [_RLE, encoding] if dictionary is None else [_RLE, _PLAIN, encoding])
        meta.texts(3, [column.name]).i32(4, _ZSTD).i64(5, rows)
        meta.i64(6, plain).i64(7, self._at - begin).i64(9, place)
        if dictionary is not None:
            meta.i64(11, begin)
        return _Chunk(meta, begin, self._at - begin, plain)

    def _page(self, kind: int, parts: list[Bytes], header: tuple[int, Struct]) -> int:
        """Write a page; returns its bytes before compression, with its header."""
        parts = [part for part in parts if len(part)]
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        size = memoryview(body).nbytes
        packed = self._codec.compress(body)
        # Of what is written, as gzip has it; a signed number. Without it a flipped bit would be
        # another address, another time, and nobody would know.
        checksum = (crc32(packed) ^ 1 << 31) - (1 << 31)
        head = Struct().i32(1, kind).i32(2, size).i32(3, packed.size).i32(4, checksum)
        encoded = head.struct(*header).encode()
        self._put(encoded)
        self._put(packed)
        return len(encoded) + size


def _levels(rows: int, valid: Bools | None) -> bytes:
    """Which rows have a value: definition levels of one bit."""
    if valid is None:
        runs = varint(rows << 1) + b"\1"
    elif not valid.any():
        runs = varint(rows << 1) + b"\0"
    else:
        bits = np.packbits(valid, bitorder="little").tobytes()
        runs = varint(len(bits) << 1 | 1) + bits
    return len(runs).to_bytes(4, "little") + runs


def _codes(values: Values) -> list[Bytes]:
    """Codes as one bit-packed run of 8, 16 or 32 bits a code."""
    size = len(values.dictionary) if values.dictionary is not None else 0
    dtype = np.dtype("u1" if size <= 1 << 8 else "<u2" if size <= 1 << 16 else "<u4")
    codes = values.values.astype(dtype, copy=False)
    groups = (len(codes) + 7) // 8
    head = bytes([8 * dtype.itemsize]) + varint(groups << 1 | 1)
    return [head, codes.data, bytes((8 * groups - len(codes)) * dtype.itemsize)]


def _ends(values: Values) -> tuple[Array, Array]:
    """The least and the greatest value, an array of one each."""
    numbers = values.values
    if values.dictionary is not None:
        numbers = np.asarray(values.dictionary)[np.flatnonzero(np.bincount(numbers))]
    return numbers.min(keepdims=True), numbers.max(keepdims=True)


def _plain_texts(texts: Array | Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
