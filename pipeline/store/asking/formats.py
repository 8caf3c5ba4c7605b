"""How an answer is written: as text, in which addresses are hexadecimal, or for programs.

UBIGINT is the type of addresses, and of nothing else that a table or view has; what a statement
makes of one (min, + 16) is still of it. Text has them as the kernel prints them, 0xffff...; in
Parquet and Arrow they are whole numbers.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from reports.render.rows import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from duckdb.sqltypes import DuckDBPyType

    from pipeline.store.query import Answered

    Timed = Callable[[Iterator[Any]], Iterable[Any]]
    Write = Callable[[Any, Timed, BinaryIO], None]

BINARY = ("parquet", "arrow")  #: for programs alone; one answer a file
BATCH_ROWS = 1 << 16  #: of these, and rows of a row group


def writer(name: str) -> Write:
    """What writes an answer in a format; whatever it takes is loaded by now.

    Returns:
        A function of what a statement gives - batches of Arrow's for BINARY, else an Answered -,
        of what iterates over what is still to be made of it, and of where it goes.
    """
    if name in BINARY:
        return partial(import_module("pipeline.store.asking.arrow_file").write, name)
    return partial(_write_text, name)


def _write_text(name: str, answer: Answered, timed: Timed, out: BinaryIO) -> None:
    text = TextIOWrapper(out, encoding="utf-8", newline="\n")
    try:
        WRITERS[name](answer.names, _with_addresses(answer.types, timed(answer.rows)), text)
        text.flush()
    finally:
        text.detach()


def _with_addresses(
    types: list[DuckDBPyType], rows: Iterable[tuple[Any, ...]]
) -> Iterable[tuple[Any, ...]]:
    """Rows in which addresses are text."""
    of = [_shown(kind) for kind in types]
    if not any(of):
        return rows
    return (
        tuple(show(value) if show else value for value, show in zip(row, of, strict=True))
        for row in rows
    )


def _shown(kind: DuckDBPyType) -> Callable[[Any], Any] | None:
    """What makes text of the addresses in the values of a type; None where there are none."""
    if kind.id == "ubigint":
        return lambda value: value if value is None else hex(value)
    if kind.id in ("list", "array"):
        each = _shown(_parts(kind)["child"])
        return each and (lambda values: values and [each(value) for value in values])
    if kind.id == "struct":
        of = {name: show for name, child in _parts(kind).items() if (show := _shown(child))}
        return (lambda value: value and _replaced(value, of)) if of else None
    return None


def _parts(kind: DuckDBPyType) -> dict[str, DuckDBPyType]:
    return {name: part for name, part in kind.children if isinstance(part, type(kind))}


def _replaced(value: dict[str, Any], of: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {name: of[name](each) if name in of else each for name, each in value.items()}
