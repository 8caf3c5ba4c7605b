"""Waste by source directory, as a tree: which subsystems are given more than they ask for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Bars,
    Block,
    Cell,
    Chart,
    Heading,
    Mono,
    Table,
    TableColumn,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_TOP = 24  #: directories in the figure
_ROWS = 12  #: of the table
UNKNOWN = "not known"


def tree(waste: Mapping[str, int]) -> list[tuple[str, int]]:
    """Directories with what they and those below them waste, each before those below it.

    A directory that has nothing but one below it has no row of its own. Of directories beside one
    another those that waste most come first.

    Args:
        waste: bytes of each directory alone.
    """
    whole: Counter[str] = Counter()
    below: dict[str, set[str]] = {}
    for path, bytes_ in waste.items():
        parts = path.split("/")
        for depth in range(len(parts)):
            here = "/".join(parts[: depth + 1])
            whole[here] += bytes_
            below.setdefault("/".join(parts[:depth]), set()).add(here)
    found: list[tuple[str, int]] = []

    def add(here: str) -> None:
        inner = below.get(here, set())
        if here and (here in waste or len(inner) > 1):
            found.append((here, whole[here]))
        for path in sorted(inner, key=lambda path: (-whole[path], path)):
            add(path)

    add("")
    return found


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """The tree of a recorded run; nothing where no object was allocated, or no place is known."""
    rows = queries.rows(connection, "FROM waste_by_directory WHERE run = $run", run=run)
    if not any(row["directory"] for row in rows):
        return []
    [about] = queries.rows(connection, "SELECT places FROM runs WHERE run = $run", run=run)
    names = [row["directory"] or UNKNOWN for row in rows]
    every = tree(dict(zip(names, (row["waste_bytes"] for row in rows), strict=True)))
    stays = dict(tree(dict(zip(names, (row["live_waste_bytes"] for row in rows), strict=True))))
    shown = [path for path, _ in sorted(every, key=lambda each: -each[1])[:_TOP]]
    waste = {path: bytes_ for path, bytes_ in every if path in shown}

    def in_kib(bytes_: Mapping[str, int]) -> list[float]:
        return [bytes_[path] / 1024 for path in waste]

    given = sum(row["bytes_alloc"] for row in rows)
    known = sum(row["bytes_alloc"] for row in rows if row["directory"])
    less = wording.plural(len(every) - len(waste), "directory", "directories")
    also = f" Left out: {less} with less." if len(every) > len(waste) else ""
    mark = "●" if all(row["place_how"] == "observed" for row in rows) else "◐"
    return [
        Heading("Waste by source directory"),
        Text(
            f"Bytes given beyond those asked for, by where in the kernel’s sources objects are "
            f"allocated: {wording.percent(100 * known / given)} of {wording.kib(given)} KiB given "
            f"are from call sites whose directory is known ({about['places']})."
        ),
        Chart(
            "Waste of objects allocated in the recording: of all, and of those that live at its "
            "end, which stays. A row has the directories below it in it." + also,
            [
                Bars(list(waste), {"waste": in_kib(waste)}, f"KiB wasted, all objects {mark}"),
                Bars(list(waste), {"waste": in_kib(stays)}, "KiB wasted that stay ◐"),
            ],
            beside=2,
            view="waste_by_directory",
        ),
        _table(rows, mark),
    ]


def _table(rows: Sequence[Row], mark: str) -> Table:
    """The directories that waste most, each alone."""
    shown = rows[:_ROWS]
    cells: list[list[Cell]] = [
        [
            Mono(row["directory"] or UNKNOWN),
            wording.count(row["sites"]),
            wording.count(row["allocs"]),
            wording.kib(row["bytes_alloc"]),
            wording.kib(row["waste_bytes"]),
            wording.percent(row["waste_pct"]),
            wording.kib(row["live_waste_bytes"]),
        ]
        for row in shown
    ]
    more = wording.plural(len(rows) - len(shown), "directory", "directories")
    return Table(
        f"The {wording.plural(len(shown), 'directory', 'directories')} that waste most, without "
        "those below them. Stays: of objects that no free was seen of."
        + (f" {more} have less." if len(rows) > len(shown) else ""),
        (
            TableColumn("directory", numeric=False),
            TableColumn(f"sites {mark}", minor=True),
            TableColumn(f"objects {mark}"),
            TableColumn(f"KiB given {mark}"),
            TableColumn(f"wasted {mark}"),
            TableColumn(f"of given {mark}", minor=True),
            TableColumn("stays ◐"),
        ),
        cells,
        "waste_by_directory",
    )
