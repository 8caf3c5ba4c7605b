-- What a comparison asks of what recorded runs are priced with.

-- measure descriptor_bytes, optional: struct page takes the same share of memory everywhere
SELECT scheme AS item, moment - 1 AS slice, sum(bytes) AS value FROM descriptor_overhead
WHERE run = $recorded AND moment > 0 AND scheme <> 'struct-page' AND part <> 'unknown' GROUP BY ALL
-- measure memory_bytes, optional: for each scheme, so that its bytes are a share of that
SELECT schemes.name AS item, unnest(range((last_ts - first_ts) // slice_ns + 1)) AS slice,
    pages * page_size AS value
FROM schemes JOIN machines USING (run) JOIN runs USING (run) JOIN traces USING (trace_id)
WHERE run = $recorded AND schemes.name <> 'struct-page'
-- measure descriptor_ops, total, optional
SELECT schemes.name AS item, NULL AS slice,
    sum(allocs + frees + own_allocs + own_frees) AS value
FROM scheme_descriptors JOIN schemes USING (run, scheme)
WHERE run = $recorded GROUP BY ALL
-- measure est_ns_low, total, optional, ranged: of as few and as many operations as are assumed
SELECT '' AS item, NULL AS slice, sum(est_ns_low) AS value,
    if(sum(ops_low) = sum(ops_high), value, sum(est_ns_low)) AS low,
    if(sum(ops_low) = sum(ops_high), value, sum(est_ns_high)) AS high
FROM op_costs WHERE run = $recorded AND policy = $own HAVING sum(est_ns_low) > 0
-- measure est_ns_high, total, optional, ranged
SELECT '' AS item, NULL AS slice, sum(est_ns_high) AS value,
    if(sum(ops_low) = sum(ops_high), value, sum(est_ns_low)) AS low,
    if(sum(ops_low) = sum(ops_high), value, sum(est_ns_high)) AS high
FROM op_costs WHERE run = $recorded AND policy = $own HAVING sum(est_ns_high) > 0
