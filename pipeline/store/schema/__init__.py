"""The tables of a results database, as data: the star of runs, their facts and their dimensions.

Everything that speaks of tables is made from this package: the DDL, the Arrow schema of what is
loaded, the check of a database that is opened, and the reference page.

Conventions: time is ``ts`` in ns; sizes and counts are BIGINT (DuckDB raises when unsigned
values are subtracted below zero); codes are small and signed; only addresses are UBIGINT. What
is not known is NULL, where the model's arrays hold the sentinel -1.

A module a layer; a new table stands in the module of its layer and in TABLES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.trace.events import Column
from pipeline.store.schema.costs import COST_OPS, COST_TABLES, OP_PLACES
from pipeline.store.schema.descriptors import (
    DESCRIPTOR_SLABS,
    LIVE_BLOCKS,
    MACHINES,
    SCHEME_DESCRIPTORS,
    SCHEME_SIZES,
    SCHEMES,
)
from pipeline.store.schema.dimensions import (
    CALL_LEVELS,
    COUNTERS,
    PAGE_KINDS,
    PATHS,
    POLICIES,
    POLICY_OPS,
    POLICY_STEPS,
    VERDICTS,
)
from pipeline.store.schema.enums import ENUMS
from pipeline.store.schema.freezing import KIND_READERS, SOURCE_VERDICTS
from pipeline.store.schema.placed import (
    CACHE_COUNTERS,
    FREE_BLOCKS,
    PLACED_CACHES,
    PLACED_EVENTS,
    PLACED_SLABS,
    ZONE_COUNTERS,
    ZONES,
)
from pipeline.store.schema.recorded import (
    CACHES,
    CALL_SITES,
    KERNEL_STEPS,
    OBJECT_FACTS,
    OBJECT_ORIGINS,
    OBJECT_STACKS,
    PAGE_EVENTS,
    PAGES,
    PREFILLED_OBJECTS,
    SAMPLES,
    STACKS,
    STEP_SAMPLES,
    TASKS,
    UNFREED_OBJECTS,
)
from pipeline.store.schema.runs import QUALITY_COUNTS, RUNS, TRACE_CPUS, TRACES, VALIDATION
from pipeline.store.schema.table import (
    StoreTable,
    ddl,
    duckdb_type,
    from_loaded,
    loaded_type,
    stored_doc,
)

if TYPE_CHECKING:
    import duckdb

SCHEMA_VERSION = 11

SCHEMA = StoreTable(
    "store_schema",
    "the version of this schema; one row",
    (
        Column("version", "i4", "", "Version of the schema the database was made with."),
        Column("allocsim_version", "str", "", "Version of allocsim that made it."),
    ),
    (),
)

TABLES: tuple[StoreTable, ...] = (
    SCHEMA,
    RUNS,
    TRACES,
    TRACE_CPUS,
    OBJECT_FACTS,
    OBJECT_ORIGINS,
    OBJECT_STACKS,
    UNFREED_OBJECTS,
    PREFILLED_OBJECTS,
    PAGE_EVENTS,
    PAGES,
    SAMPLES,
    KERNEL_STEPS,
    STEP_SAMPLES,
    CACHES,
    CALL_SITES,
    STACKS,
    TASKS,
    POLICIES,
    POLICY_OPS,
    POLICY_STEPS,
    SOURCE_VERDICTS,
    KIND_READERS,
    QUALITY_COUNTS,
    VALIDATION,
    PAGE_KINDS,
    CALL_LEVELS,
    VERDICTS,
    PATHS,
    COUNTERS,
    PLACED_EVENTS,
    PLACED_SLABS,
    PLACED_CACHES,
    CACHE_COUNTERS,
    ZONES,
    ZONE_COUNTERS,
    FREE_BLOCKS,
    MACHINES,
    LIVE_BLOCKS,
    SCHEMES,
    SCHEME_SIZES,
    SCHEME_DESCRIPTORS,
    DESCRIPTOR_SLABS,
    COST_TABLES,
    COST_OPS,
    OP_PLACES,
)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the types and the tables, empty."""
    for statement in (*(enum.ddl for enum in ENUMS), *map(ddl, TABLES)):
        connection.execute(statement)


__all__ = [
    "CACHES",
    "CACHE_COUNTERS",
    "CALL_LEVELS",
    "CALL_SITES",
    "COST_OPS",
    "COST_TABLES",
    "COUNTERS",
    "DESCRIPTOR_SLABS",
    "ENUMS",
    "FREE_BLOCKS",
    "KERNEL_STEPS",
    "KIND_READERS",
    "LIVE_BLOCKS",
    "MACHINES",
    "OBJECT_FACTS",
    "OBJECT_ORIGINS",
    "OBJECT_STACKS",
    "OP_PLACES",
    "PAGES",
    "PAGE_EVENTS",
    "PAGE_KINDS",
    "PATHS",
    "PLACED_CACHES",
    "PLACED_EVENTS",
    "PLACED_SLABS",
    "POLICIES",
    "POLICY_OPS",
    "POLICY_STEPS",
    "PREFILLED_OBJECTS",
    "QUALITY_COUNTS",
    "RUNS",
    "SAMPLES",
    "SCHEMA_VERSION",
    "SCHEMES",
    "SCHEME_DESCRIPTORS",
    "SCHEME_SIZES",
    "SOURCE_VERDICTS",
    "STACKS",
    "STEP_SAMPLES",
    "TABLES",
    "TASKS",
    "TRACES",
    "TRACE_CPUS",
    "UNFREED_OBJECTS",
    "VALIDATION",
    "VERDICTS",
    "ZONES",
    "ZONE_COUNTERS",
    "StoreTable",
    "create_tables",
    "ddl",
    "duckdb_type",
    "from_loaded",
    "loaded_type",
    "stored_doc",
]
