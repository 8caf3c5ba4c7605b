-- What a comparison asks of simulated runs. A run that was not simulated has none of these; a sweep
-- stores neither events nor slabs, so that its runs have those of counters and free blocks alone.

-- measure path_requests, optional
SELECT layer || ' ' || way || ', ' || served AS item, slice, sum(requests) AS value
FROM compared_placed GROUP BY ALL
-- measure path_ways, optional: of each path, taken or not, all requests of its layer and way
SELECT layer || ' ' || way || ', ' || served AS item, slice, value
FROM (SELECT DISTINCT layer, served_by(path) AS served FROM paths)
JOIN (
    SELECT layer, way, slice, sum(requests) AS value FROM compared_placed GROUP BY ALL
) USING (layer)
-- measure sheaf_moves, optional: what the CPU's own sheaves, or its own slab, could not serve
SELECT CASE WHEN served LIKE 'refill%' THEN 'sheaf refills'
        WHEN served LIKE 'flush%' THEN 'sheaf flushes'
        WHEN served LIKE 'barn%' THEN 'barn gets and puts'
        WHEN served LIKE 'cpu_partial%' THEN 'partial lists of CPUs'
        ELSE 'straight from or to a slab' END AS item,
    slice, sum(requests) AS value
FROM compared_placed WHERE layer = 'object' AND not_alone(served) GROUP BY ALL
-- measure cache_placed, optional
SELECT item, slice, sum(requests) AS value
FROM compared_placed WHERE layer = 'object' AND item IS NOT NULL GROUP BY ALL
-- measure cache_past_sheaves, optional
SELECT item, slice, sum(requests) AS value
FROM compared_placed WHERE layer = 'object' AND item IS NOT NULL AND not_alone(served) GROUP BY ALL
-- measure model_slabs, optional
SELECT '' AS item, born AS slice, count(*) AS value
FROM compared_model_slabs WHERE born IS NOT NULL GROUP BY ALL
-- measure model_slabs_freed, optional
SELECT '' AS item, gone AS slice, count(*) AS value
FROM compared_model_slabs WHERE gone IS NOT NULL GROUP BY ALL
-- measure cache_model_slabs, optional
SELECT item, born AS slice, count(*) AS value
FROM compared_model_slabs WHERE born IS NOT NULL AND item IS NOT NULL GROUP BY ALL
-- measure cache_model_pages, optional
SELECT item, born AS slice, sum(size) AS value
FROM compared_model_slabs WHERE born IS NOT NULL AND item IS NOT NULL GROUP BY ALL
-- measure cache_counters, total, optional: what the generation of SLUB does not keep is no zero
SELECT counters.name AS item, NULL AS slice, coalesce(sum(value) FILTER (item IS NOT NULL), 0) AS value
FROM runs JOIN counters USING (slub)
LEFT JOIN cache_counters USING (run, name)
LEFT JOIN compared_slabs USING (run, cache)
WHERE run = $run AND run IN (SELECT run FROM placed_caches)
GROUP BY ALL
-- measure zone_counters, total, optional
SELECT name AS item, NULL AS slice, sum(value) AS value
FROM zone_counters WHERE run = $run AND name <> 'pcp_pages' GROUP BY ALL
-- measure lock_visits, optional
SELECT lock AS item, slice, sum(visits) AS value
FROM internal.lock_waits WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
-- measure lock_met_low, optional
SELECT lock AS item, slice, sum(met_low) AS value
FROM internal.lock_waits WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
-- measure lock_met_high, optional
SELECT lock AS item, slice, sum(met_high) AS value
FROM internal.lock_waits WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
-- measure free_pages, optional
SELECT '' AS item, slice, sum(blocks << "order") AS value
FROM internal.free_blocks WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
-- measure unusable_pages, optional
SELECT 'for order ' || wanted AS item, slice,
    sum(CASE WHEN "order" < wanted THEN blocks << "order" ELSE 0 END) AS value
FROM internal.free_blocks, (SELECT unnest([3, 9]) AS wanted)
WHERE run = $run AND slice IS NOT NULL GROUP BY ALL
