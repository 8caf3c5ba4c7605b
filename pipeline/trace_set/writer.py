"""Writing a trace set: the folder that pipeline.trace_set reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from allocsim.trace.events import EVENT_COLUMNS
from pipeline.trace_set.column import Values, join
from pipeline.trace_set.dictionary_coding import Coder
from pipeline.trace_set.parquet_writer import ParquetColumn, ParquetWriter
from pipeline.trace_set.parts import (
    SCHEMA_VERSION,
    STACK_COLUMNS,
    SYMBOL_COLUMNS,
    Stacks,
    Symbols,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from allocsim.trace.events import Column

# A row group has at least this many rows; it is what a reader must hold.
_MIN_ROWS = 1 << 17
_SORTED_BY = "ts"
# What a reader leaves row groups out by.
_BOUNDS = ("ts", "cpu", "event")
_COLUMNS = {
    c.name: ParquetColumn(c.name, c.dtype, c.required, c.name in _BOUNDS) for c in EVENT_COLUMNS
}


class TraceSetWriter:
    """Writes a trace set into an existing, empty folder, window by window.

    A context: what is left open is closed at its end, however that comes.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / "events.parquet").open("wb")
        self._writer = ParquetWriter(self._file, sorted_by=_SORTED_BY)
        self._coder = Coder()
        self._held: list[tuple[int, Mapping[str, Values]]] = []
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: int, columns: Mapping[str, Values]) -> None:
        """Write the next events: ``rows`` of them, columns by name; a missing one is null.

        Raises:
            OSError: the folder cannot be written to.
        """
        if rows:
            self._held.append((rows, columns))
        if sum(held for held, _ in self._held) >= _MIN_ROWS:
            self._flush()

    def close(self, meta: Mapping[str, Any], stacks: Stacks, symbols: Symbols) -> None:
        """Write what is left, and all that is not events.

        Args:
            meta: the contents of meta.json, without the schema version.
            stacks: every stack that the column ``stack`` counts.
            symbols: every address in the column ``call_site`` and in ``stacks``.

        Raises:
            OSError: the folder cannot be written to.
        """
        if self._held:
            self._flush()
        columns = [_COLUMNS[c.name] for c in EVENT_COLUMNS if c.required or c.name in self._seen]
        self._writer.close(columns, _said(meta))
        self._file.close()
        self._write_stacks(stacks)
        self._write_symbols(symbols)
        text = json.dumps({"schema_version": SCHEMA_VERSION, **meta}, indent=1)
        (self._folder / "meta.json").write_text(text + "\n", "utf-8")

    def _flush(self) -> None:
        rows = sum(held for held, _ in self._held)
        names = {name for _, columns in self._held for name in columns}
        self._seen |= names
        values = {}
        for name in names:
            parts = [(held, columns.get(name)) for held, columns in self._held]
            whole = parts[0][1] if len(parts) == 1 else None
            values[name] = whole if whole is not None else join(parts)
            if name != _SORTED_BY:  # nearly every time is another
                values[name] = self._coder.coded(name, values[name])
        self._held.clear()
        self._writer.row_group(rows, [_COLUMNS[name] for name in sorted(names)], values)

    def _write_stacks(self, stacks: Stacks) -> None:
        depth = np.diff(stacks.start)
        number = np.repeat(np.arange(len(depth), dtype=np.int32), depth)
        below = np.arange(len(number)) - np.repeat(stacks.start[:-1], depth)
        values = {
            "stack": Values(number),
            "depth": Values(below.astype(np.int16)),
            "address": Values(stacks.address),
        }
        self._write_table("stacks.parquet", STACK_COLUMNS, values, len(number))

    def _write_symbols(self, symbols: Symbols) -> None:
        values = {
            "address": Values(symbols.address),
            "symbol": _texts(symbols.symbol),
            "offset": Values(symbols.offset),
            "module": _texts(symbols.module),
        }
        self._write_table("symbols.parquet", SYMBOL_COLUMNS, values, len(symbols.address))

    def _write_table(
        self,
        name: str,
        known: tuple[Column, ...],
        values: Mapping[str, Values],
        rows: int,
    ) -> None:
        columns = [ParquetColumn(c.name, c.dtype, c.dtype != "str") for c in known]
        with (self._folder / name).open("wb") as file:
            writer = ParquetWriter(file)
            if rows:
                writer.row_group(rows, columns, values)
            writer.close(columns, {})


def _said(meta: Mapping[str, Any]) -> dict[str, str]:
    """What events.parquet says of itself, for whoever has it without meta.json."""
    known = {
        "kernel_release": meta.get("kernel_release"),
        "clock": meta.get("clock"),
        "ts_unit": meta.get("ts_unit"),
        "trace_id": meta.get("source", {}).get("sha256"),
    }
    said = {f"allocsim.{key}": value for key, value in known.items() if value}
    return {"allocsim.schema_version": str(SCHEMA_VERSION), **said}


def _texts(texts: list[str | None]) -> Values:
    valid = np.array([text is not None for text in texts], np.bool_)
    code: dict[str, int] = {}
    codes = [code.setdefault(text, len(code)) for text in texts if text is not None]
    return Values(np.array(codes, np.int32), valid, list(code))
