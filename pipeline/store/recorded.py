"""The view recorded: every column of the events as their trace set has them.

The results database has what the model says of the events, and of what was recorded what that needs
(the view events). All the rest is in the trace set still, where it was. In the file the view has
its columns and no rows; allocsim sql puts one of the same name before it that reads the trace sets
(pipeline.store.asking.trace_sets), for as long as a statement runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import Mt
from allocsim.trace.events import EVENT_COLUMNS, Column
from pipeline.store.schema.table import RUN, SEQ, duckdb_type, from_loaded, loaded_type, stored_doc
from reports.views import View

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class _Shown:
    """A column of the view.

    Args:
        column: its name, unit and sentence.
        type: its DuckDB type.
        read: what it is read as: SQL of a row of the trace set, and of one of ``table``.
        of: the column of the trace set that it is made of.
        table: a table whose rows that column names by run; empty where none is needed.
    """

    column: Column
    type: str
    read: str
    of: str
    table: str = ""

    @property
    def value(self) -> str:
        """SQL of its value, of what was read: names of an ENUM are codes there."""
        value = f'"{self.column.name}"'
        return value if self.type == "VARCHAR" else f"{from_loaded(self.column, value)}"


_NAMED = ": 'unmovable', 'movable', 'reclaimable', 'highatomic', or the number of another one."
_TEXTS: dict[str, _Shown] = {
    "call_site": _Shown(
        Column("symbol", "str", "", "Place that called the allocator, as function+0x1c."),
        "VARCHAR",
        "coalesce(call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),"
        " '0x' || lower(to_hex(rows.call_site)))",
        "call_site",
        "call_sites",
    ),
    "gfp_flags": _Shown(
        Column("gfp", "str", "", "Names of gfp_flags as the kernel prints them."),
        "VARCHAR",
        "gfp_names.names",
        "gfp_flags",
        "gfp_names",
    ),
    "stack": _Shown(
        Column("frames", "str", "", "Its functions from outermost to innermost, joined by ';'."),
        "VARCHAR",
        "stacks.frames",
        "stack",
        "stacks",
    ),
}


def _shown(column: Column) -> tuple[_Shown, ...]:
    """What the view has of a column of the trace set: itself, and a text where it is a number."""
    name = f'rows."{column.name}"'
    if column.name in ("migratetype", "fallback_migratetype"):
        told = Column(column.name, "str", "", column.doc.removesuffix(".") + _NAMED)
        names = ", ".join(f"'{kind.name.lower()}'" for kind in Mt)
        named = f"coalesce([{names}][{name} + 1], {name}::VARCHAR)"
        return (_Shown(told, "VARCHAR", named, column.name),)
    read = f"{name}::{loaded_type(column)}"
    shown = _Shown(column, duckdb_type(column), read, column.name)
    return (shown, *([_TEXTS[column.name]] if column.name in _TEXTS else []))


_COLUMNS: tuple[_Shown, ...] = (
    _Shown(RUN, duckdb_type(RUN), "", ""),
    _Shown(SEQ, duckdb_type(SEQ), "file_row_number", SEQ.name),
    *(shown for column in EVENT_COLUMNS for shown in _shown(column)),
)
#: Names of its columns, in lower case, as all are.
NAMES = tuple(shown.column.name for shown in _COLUMNS)

_ELSEWHERE = (
    "the rows of recorded are in the trace sets, which this file only names: ask with allocsim sql,"
    " and write just recorded"
)
_NOTES = """What an event does not have is NULL. Other tables of events are joined by (run, seq).

The rows are read from the trace set's events.parquet: in the folder where it was when it was
replayed (runs.trace_path), or in one that `allocsim sql --trace` names. Where it is in neither, or
was thrown away since a recording was imported on the way, a statement that asks for its rows says
so; those of other runs can be asked. It is `allocsim sql` that reads them: other programs find the
columns here, and no rows."""

RECORDED = View(
    name="recorded",
    row="one row is one recorded event of one run, with all that its trace set says of it.",
    notes=_NOTES,
    columns=tuple(
        (shown.column.name, shown.column.unit, stored_doc(shown.column)) for shown in _COLUMNS
    ),
    query="SELECT\n"
    + ",\n".join(f'    NULL::{shown.type} AS "{shown.column.name}"' for shown in _COLUMNS)
    + f"\nFROM runs\nWHERE error('{_ELSEWHERE}') IS NULL",
)


def tables(wanted: Collection[str]) -> dict[str, str]:
    """The tables that columns of the view are read with, each with the column that names a row."""
    return {shown.table: shown.of for shown in _wanted(wanted) if shown.table}


def select_rows(path: str, run: int, wanted: Collection[str], there: Collection[str]) -> str:
    """The SELECT of the rows of a trace set, as temporary_view takes them.

    Args:
        path: its events.
        run: the run that it is of.
        wanted: names of columns of the view.
        there: the columns that it has, and ``seq``.
    """
    quoted = path.replace("'", "''")
    columns = [
        f'{shown.read} AS "{shown.column.name}"'
        for shown in _wanted(wanted)
        if shown.read and shown.of in there
    ]
    joins = "".join(
        f' LEFT JOIN {table} ON {table}.run = {run} AND {table}."{key}" = rows."{key}"'
        for table, key in tables(wanted).items()
        if key in there
    )
    file = f"read_parquet('{quoted}', file_row_number = true)"
    return f"SELECT {', '.join(columns)} FROM {file} AS rows{joins}"


def temporary_view(
    wanted: Collection[str], sources: Mapping[int, tuple[str, Collection[str]]]
) -> str:
    """The CREATE of the view that comes before the one in the file.

    Args:
        wanted: names of its columns, the key among them.
        sources: of each run what follows FROM, and the columns of the trace set that it has, and
            ``seq``; where it has no rows to give, none.
    """
    parts = []
    for run, (source, there) in sources.items():
        columns = [
            f'{_value(shown, run, there)}::{shown.type} AS "{shown.column.name}"'
            for shown in _wanted(wanted)
        ]
        parts.append(f"SELECT {', '.join(columns)} FROM {source}")
    return f"CREATE OR REPLACE TEMP VIEW recorded AS {' UNION ALL '.join(parts)}"


def _wanted(names: Collection[str]) -> list[_Shown]:
    return [shown for shown in _COLUMNS if shown.column.name in names]


def _value(shown: _Shown, run: int, there: Collection[str]) -> str:
    if shown.column is RUN:
        return str(run)
    return shown.value if shown.of in there else "NULL"
