"""What a comparison asks of what recorded runs are priced with, as data: a question a measure."""

from __future__ import annotations

from reports.compare.measure import Measure

# Struct page takes the same share of memory everywhere.
_OVERHEAD = """
    SELECT scheme AS item, moment - 1 AS slice, sum(bytes) AS value FROM descriptor_overhead
    WHERE run = $recorded AND moment > 0 AND scheme <> 'struct-page' AND {parts} GROUP BY ALL
"""
_NEEDS = ("descriptor_overhead", "scheme_descriptors", "schemes")
# Least and most by the table of costs, of as few and as many operations as are assumed.
_OWN_COSTS = """
    SELECT '' AS item, NULL AS slice, sum({value}) AS value,
        if(sum(ops_low) = sum(ops_high), value, sum(est_ns_low)) AS low,
        if(sum(ops_low) = sum(ops_high), value, sum(est_ns_high)) AS high
    FROM op_costs
    WHERE run = $recorded AND policy = $own HAVING sum({value}) > 0
"""

PRICED_MEASURES = (
    Measure(
        "descriptor_bytes",
        _OVERHEAD.format(parts="part <> 'unknown'"),
        needs=_NEEDS,
        optional=True,
    ),
    Measure(
        "memory_bytes",
        # For each scheme the machine's memory, so that its bytes are a share of that.
        """
        SELECT schemes.name AS item, unnest(range((last_ts - first_ts) // slice_ns + 1)) AS slice,
            pages * page_size AS value
        FROM schemes JOIN machines USING (run) JOIN runs USING (run) JOIN traces USING (trace_id)
        WHERE run = $recorded AND schemes.name <> 'struct-page'
        """,
        needs=("machines", "schemes"),
        optional=True,
    ),
    Measure(
        "descriptor_ops",
        """
        SELECT schemes.name AS item, NULL AS slice,
            sum(allocs + frees + own_allocs + own_frees) AS value
        FROM scheme_descriptors JOIN schemes USING (run, scheme)
        WHERE run = $recorded GROUP BY ALL
        """,
        needs=_NEEDS,
        sliced=False,
        optional=True,
    ),
    Measure(
        "est_ns_low",
        _OWN_COSTS.format(value="est_ns_low"),
        needs=("op_costs",),
        sliced=False,
        optional=True,
        ranged=True,
    ),
    Measure(
        "est_ns_high",
        _OWN_COSTS.format(value="est_ns_high"),
        needs=("op_costs",),
        sliced=False,
        optional=True,
        ranged=True,
    ),
)
