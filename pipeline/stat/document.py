"""What was totalled as text, JSON or CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.stat import rows as table_rows
from pipeline.stat.labels import NOT_KNOWN
from pipeline.stat.rows import LIVE, sorted_rows
from pipeline.stat.summary import page_lines, perf_totals, slab_lines, summary
from pipeline.stat.tables import FRAG, PAGE, SLAB, fragmentation
from reports.console.stat import TotalsTable, TotalsText
from reports.render.wording import count, duration, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.tables import Int64
    from pipeline.stat.asked import WantedTables
    from pipeline.stat.labels import Labels
    from pipeline.stat.run import Stat
    from pipeline.stat.tables import StatTable

_TITLES = {SLAB: "Objects (kmalloc and slab caches)", PAGE: "Page blocks"}
_HEADS = {
    "allocations": "allocations",
    "bytes_alloc": "bytes given",
    "per": "each",
    "bytes_req": "asked for",
    "pingpong": "ping-pong",
    "frag": "frag %",
    "live": "live",
    "live_bytes_alloc": "live bytes",
}
_SHOWN = {
    (SLAB, False): ("allocations", "bytes_alloc", "per", "pingpong", "frag", "live_bytes_alloc"),
    (SLAB, True): ("allocations", "bytes_alloc", "per", "bytes_req", "frag"),
    (PAGE, False): ("allocations", "bytes_alloc", "live", "live_bytes_alloc"),
    (PAGE, True): ("allocations", "bytes_alloc"),
}
_OF_STACKS = {"site", "directory", "stack"}  # keys of pages that take one
_ORDERS = 11  # of the matrix: those that kernels with pages of 4 KiB have


def csv_rows(stat: Stat, asked: WantedTables) -> tuple[list[str], Iterator[tuple[object, ...]]]:
    """Columns and rows of the one table that was asked for."""
    [table] = stat.tables.values()
    rows = _rows(table, asked)
    return table_rows.columns(table), table_rows.records(table, rows, stat.labels)


def as_json(stat: Stat, asked: WantedTables) -> str:
    """All tables with their totals."""
    facts = stat.facts
    made: dict[str, Any] = {
        "trace": stat.name,
        "kernel_release": facts["kernel_release"],
        "ts_unit": facts["ts_unit"],
        "first_ts": facts["first_ts"],
        "selection": stat.selection.words() or None,
        "live": asked.live,
    }
    for layer, table in stat.tables.items():
        names = table_rows.columns(table)
        found = table_rows.records(table, _rows(table, asked), stat.labels)
        made[layer] = {
            "by": list(table.by),
            "totals": summary(stat, layer),
            "rows": [dict(zip(names, row, strict=True)) for row in found],
        }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def as_text(stat: Stat, asked: WantedTables) -> TotalsText:
    """What a person reads."""
    tables = [_text_table(stat, table, asked) for table in stat.tables.values()]
    alone = stat.matrix if SLAB not in stat.tables else None
    matrix = [] if alone is None else _matrix(alone, stat.labels, live=asked.live)
    notes = [*_inferred(stat), *_without_stacks(stat), *_without_repeats(stat)]
    return TotalsText(_head(stat, asked), tables, matrix, notes)


def _rows(table: StatTable, asked: WantedTables) -> Int64:
    rows = sorted_rows(table, asked.sort, live=asked.live)
    return rows[: asked.lines] if asked.lines else rows


def _head(stat: Stat, asked: WantedTables) -> list[str]:
    facts = stat.facts
    length = facts["last_ts"] - facts["first_ts"]
    lasted = duration(length) if facts["ts_unit"] == "ns" else f"{count(length)} {facts['ts_unit']}"
    lost = sum(facts["lost"]["per_cpu"].values())
    said = [f"{stat.name}: kernel {facts['kernel_release'] or 'not known'}, {lasted}"]
    if lost:
        said[0] += f", {plural(lost, 'event')} lost"
    if stat.selection:
        said.append(
            f"Counted are events {stat.selection.words()}. What they mean follows from all."
        )
    return [*said, asked.left_out] if asked.left_out else said


def _text_table(stat: Stat, table: StatTable, asked: WantedTables) -> TotalsTable:
    every = sorted_rows(table, asked.sort, live=asked.live)
    rows = every[: asked.lines] if asked.lines else every
    keys = [_texts(stat, table, name, rows) for name in table.by]
    known = [bool(set(texts) - {"–"}) or len(table.by) == 1 for texts in keys]
    shown = _SHOWN[table.layer, asked.live]
    numbers = [_cells(table, name, rows, live=asked.live) for name in shown]
    lines = slab_lines(stat) if table.layer == SLAB else page_lines(stat)
    left = every[len(rows) :]
    return TotalsTable(
        _TITLES[table.layer],
        [(line.name, line.count, line.size, line.note) for line in lines],
        [name for name, is_known in zip(table.by, known, strict=True) if is_known],
        [_heads(name, live=asked.live) for name in shown],
        [
            (
                [texts[at] for texts, is_known in zip(keys, known, strict=True) if is_known],
                [cells[at] for cells in numbers],
            )
            for at in range(len(rows))
        ],
        _below(table, left, live=asked.live) if len(left) else "",
    )


def _texts(stat: Stat, table: StatTable, name: str, rows: Int64) -> list[str]:
    texts = [
        stat.labels.text(name, table.layer, value) for value in table.keys[name][rows].tolist()
    ]
    if name == "gfp":  # the flags that have no name of their own are told by their place
        texts = [(text or "").replace("|__GFP_", "|") for text in texts]
    return [text or "–" for text in texts]


def _cells(table: StatTable, name: str, rows: Int64, *, live: bool) -> list[str]:
    figures = {
        each: table.figures[LIVE.get(each, each) if live else each][rows] for each in table.figures
    }
    if name == FRAG.name:
        share = fragmentation(figures["bytes_req"], figures["bytes_alloc"])
        return [f"{value:.3f}" for value in share.tolist()]
    if name == "per":
        each = figures["bytes_alloc"] // np.maximum(figures["allocations"], 1)
        return list(map(count, each.tolist()))
    return list(map(count, figures[name].tolist()))


def _heads(name: str, *, live: bool) -> str:
    return _HEADS[LIVE["allocations"] if live and name == "allocations" else name]


def _below(table: StatTable, left: Int64, *, live: bool) -> str:
    name = LIVE["bytes_alloc"] if live else "bytes_alloc"
    size = int(table.figures[name][left].sum())
    return f"{plural(len(left), 'row')} more, of {plural(size, 'byte')} (-n 0 prints all)"


def _matrix(table: StatTable, labels: Labels, *, live: bool) -> list[list[str]]:
    """Allocations by order and migratetype, as perf kmem prints them, under their right names."""
    keys, numbers = table.keys, table.figures["live" if live else "allocations"]
    kinds = np.unique(np.concatenate([keys["migratetype"], [0, 1, 2]])).tolist()
    orders = range(max(_ORDERS, int(keys["order"].max(initial=0)) + 1))
    found = dict(
        zip(
            zip(keys["order"].tolist(), keys["migratetype"].tolist(), strict=True),
            numbers.tolist(),
            strict=True,
        )
    )
    heads = ["order", *(labels.text("migratetype", PAGE, kind) or "" for kind in kinds)]
    cells = [
        [
            str(order),
            *(count(found[order, kind]) if found.get((order, kind)) else "." for kind in kinds),
        ]
        for order in orders
    ]
    return [heads, *cells]


def _inferred(stat: Stat) -> list[str]:
    """What rows stand for that no event says."""
    keys = {name for table in stat.tables.values() for name in table.by}
    said = []
    if "directory" in keys:
        said.append(f"directory: inferred, {stat.labels.directories_by}.")
    if "cache" in keys or stat.selection.caches:
        said.append("cache: as a replay of all events finds it.")
    return said


def _without_stacks(stat: Stat) -> list[str]:
    """That call sites of pages are not known, where there are none."""
    if PAGE not in stat.tables or not _OF_STACKS & {*stat.tables[PAGE].by}:
        return []
    table = stat.tables[PAGE]
    if not len(table) or any(
        (table.keys[name] != NOT_KNOWN).any() for name in table.by if name in _OF_STACKS
    ):
        return []
    return ["No stacks after mm_page_alloc: who allocates pages is not known (docs/recording.md)."]


def _without_repeats(stat: Stat) -> list[str]:
    """What perf kmem totals, where that is more."""
    if SLAB not in stat.tables:
        return []
    table = stat.tables[SLAB]
    if not (table.total("repeats") or table.total("freed_again")):
        return []
    perf = {name: count(value) for name, value in perf_totals(stat).items()}
    said = (
        f"perf kmem's totals: {perf['allocations']} allocations, {perf['bytes_req']} bytes "
        f"requested, {perf['bytes_alloc']} allocated, {perf['bytes_freed']} freed, "
        f"{perf['pingpong']} ping-pongs. It counts the second events of large kmallocs (T3); and "
        "frees of what was not allocated since its last free (T6), as given back once more and as "
        "ping-pongs."
    )
    return [said]
