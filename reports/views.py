"""The views of a results database: SQL files with a header that documents them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

    from duckdb import DuckDBPyConnection

#: In order of creation: a view stands behind those it reads.
VIEWS = (
    "object_events",
    "object_lives",
    "waste_by_directory",
    "events",
    "policy_costs",
    "op_costs",
    "life_counts",
    "life_steps",
    "life_costs",
    "page_kind_summary",
    "frozen_savings",
    "policy_summary",
    "policy_how_summary",
    "ended_lives",
    "lifetime_medians",
    "cache_summary",
    "sheaf_summary",
    "cache_policy_summary",
    "call_site_summary",
    "page_caller_summary",
    "allocinfo_by_function",
    "timeline",
    "page_caches",
    "reference_lives",
    "count_readers",
    "freezability",
    "reference_takers",
    "hazard_touches",
    "hazards",
    "refcount_depth",
    "placement_quality",
    "quality",
    "event_log",
    "placement_summary",
    "cache_counter_summary",
    "sheaf_tradeoff",
    "slab_placement_summary",
    "path_summary",
    "placements",
    "node_frees",
    "remote_frees",
    "cpu_distances",
    "page_remote_frees",
    "remote_frees_by_site",
    "extfrag_events",
    "failed_requests",
    "waste_by_site",
    "live_age",
    "temporaries",
    "peak",
    "huge_regions",
    "slabinfo",
    "kmalloc_memory",
    "kmalloc_sites",
    "obj_ext_vectors",
    "pageblocks",
    "free_memory",
    "slab_refcounts",
    "descriptor_overhead",
    "descriptor_summary",
    "descriptor_kinds",
    "descriptor_break_even",
    "lock_contention",
    "roadmap",
    "validation_summary",
)


@dataclass(frozen=True, slots=True)
class View:
    """One view, as its file in reports/sql says it.

    Args:
        name: the view's name.
        row: what one row is.
        notes: what else there is to know; empty if nothing.
        columns: name, unit ("" where there is none) and sentence of each column, in order.
        query: the SELECT.
    """

    name: str
    row: str
    notes: str
    columns: tuple[tuple[str, str, str], ...]
    query: str


def _column(line: str) -> tuple[str, str, str]:
    name, doc = line.split(maxsplit=1)
    unit = ""
    if doc.startswith("["):
        unit, doc = doc[1:].split("]", maxsplit=1)
    return name, unit, doc.strip()


@cache
def _texts() -> dict[str, Traversable]:
    """Every view's file, by the view's name; folders are for people."""
    return {
        text.name.removesuffix(".sql"): text
        for folder in (files("reports") / "sql").iterdir()
        for text in folder.iterdir()
    }


@cache
def view(name: str) -> View:
    """The view of this name, read from its file.

    The header is a comment: "name: what a row is", paragraphs of notes, then "Columns:" with a
    line for each.
    """
    lines = _texts()[name].read_text("utf-8").splitlines()
    size = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    header = [line.removeprefix("--").strip() for line in lines[:size]]
    at = header.index("Columns:")
    title, _, notes = "\n".join(header[:at]).strip().partition("\n\n")
    return View(
        name=name,
        row=title.replace("\n", " ").partition(": ")[2],
        notes=notes,
        columns=tuple(_column(line) for line in header[at + 1 :]),
        query="\n".join(lines[size:]).strip(),
    )


def create_views(connection: DuckDBPyConnection, more: Sequence[View] = ()) -> None:
    """Create the views and more, replacing those of another version; the tables must exist."""
    for each in (*map(view, VIEWS), *more):
        connection.execute(f"CREATE OR REPLACE VIEW {each.name} AS {each.query}")
