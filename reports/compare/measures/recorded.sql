-- What a comparison asks of recorded runs: item, slice of time and value, by name.

-- measure objects: what rows are divided by
SELECT '' AS item, slice, sum(objects) AS value FROM compared_births WHERE matched AND counted GROUP BY ALL
-- measure seconds
SELECT '' AS item, unnest(range(0, (last_ts - first_ts) // slice_ns + 1)) AS slice,
    slice_ns / 1e9 AS value
FROM runs WHERE run = $recorded
-- measure one, total
SELECT '' AS item, NULL AS slice, 1 AS value
-- measure frozen, total: kinds of page without a count under the policy of the recorded kernel
SELECT DISTINCT page_kind AS item, NULL AS slice, 1 AS value
FROM policies JOIN policy_ops USING (run, policy)
WHERE run = $recorded AND policies.name = $own AND frozen

-- measure own_locked, optional, ranged
SELECT page_kind AS item, slice, sum(locked_ops) AS value, sum(locked_ops_low) AS low,
    sum(locked_ops_high) AS high
FROM timeline WHERE run = $recorded AND policy = $own GROUP BY ALL
-- measure own_plain, optional
SELECT page_kind AS item, slice, sum(plain_ops) AS value
FROM timeline WHERE run = $recorded AND policy = $own GROUP BY ALL
-- measure own_ops, optional, ranged
SELECT page_kind AS item, slice, sum(plain_ops + locked_ops) AS value,
    sum(plain_ops + locked_ops_low) AS low, sum(plain_ops + locked_ops_high) AS high
FROM timeline WHERE run = $recorded AND policy = $own GROUP BY ALL
-- measure policy_locked, ranged
SELECT policy AS item, slice, sum(locked_ops) AS value, sum(locked_ops_low) AS low,
    sum(locked_ops_high) AS high
FROM timeline WHERE run = $recorded GROUP BY ALL
-- measure recorded_locked
SELECT coalesce(page_kind, '(no page)') AS item, (ts - first_ts) // slice_ns AS slice,
    sum(locked_ops) AS value
FROM page_events JOIN runs USING (run)
WHERE run = $recorded AND event BETWEEN 'page_ref_set'::event AND 'page_ref_unfreeze'::event
GROUP BY ALL
-- measure recorded_plain
SELECT coalesce(page_kind, '(no page)') AS item, (ts - first_ts) // slice_ns AS slice,
    sum(plain_ops) AS value
FROM page_events JOIN runs USING (run)
WHERE run = $recorded AND event BETWEEN 'page_ref_set'::event AND 'page_ref_unfreeze'::event
GROUP BY ALL

-- measure page_allocs
SELECT page_kind AS item, slice, sum(page_allocs) AS value
FROM internal.samples WHERE run = $recorded GROUP BY ALL
-- measure page_frees
SELECT page_kind AS item, slice, sum(page_frees) AS value
FROM internal.samples WHERE run = $recorded GROUP BY ALL
-- measure page_requests, total
SELECT '' AS item, NULL AS slice, sum(page_allocs + page_frees) AS value
FROM internal.samples WHERE run = $recorded
-- measure page_events
SELECT event::text AS item, (ts - first_ts) // slice_ns AS slice, count(*) AS value
FROM page_events JOIN runs USING (run)
WHERE run = $recorded AND event IN (
    'mm_page_alloc_zone_locked', 'mm_page_pcpu_drain', 'mm_page_free_batched',
    'mm_page_alloc_extfrag'
) GROUP BY ALL

-- measure allocs
SELECT item, slice, sum(objects) AS value FROM compared_births WHERE matched AND counted GROUP BY ALL
-- measure bytes_given
SELECT item, slice, sum(objects * bytes_alloc) AS value FROM compared_births WHERE matched GROUP BY ALL
-- measure bytes_unasked
SELECT item, slice, sum(objects * (bytes_alloc - bytes_req)) AS value
FROM compared_births WHERE matched GROUP BY ALL
-- measure known_frees
SELECT item, slice, sum(objects) AS value FROM compared_deaths WHERE item IS NOT NULL AND matched GROUP BY ALL
-- measure remote_frees
SELECT item, slice, coalesce(sum(objects) FILTER (remote), 0) AS value
FROM compared_deaths WHERE item IS NOT NULL AND matched GROUP BY ALL
-- measure site_allocs
SELECT function AS item, slice, sum(objects) AS value FROM compared_births WHERE matched GROUP BY ALL

-- measure slabs
SELECT '' AS item, born AS slice, sum(blocks) AS value
FROM compared_pages WHERE slab AND allocated GROUP BY ALL
-- measure slab_pages
SELECT '' AS item, born AS slice, sum(blocks * size) AS value
FROM compared_pages WHERE slab AND allocated GROUP BY ALL
-- measure slabs_freed
SELECT '' AS item, slice, sum(blocks) AS value FROM compared_pages WHERE slab AND freed GROUP BY ALL
-- measure cache_slabs
SELECT item, born AS slice, sum(blocks) AS value
FROM compared_pages WHERE slab AND allocated AND item IS NOT NULL GROUP BY ALL
-- measure cache_slab_pages
SELECT item, born AS slice, sum(blocks * size) AS value
FROM compared_pages WHERE slab AND allocated AND item IS NOT NULL GROUP BY ALL

-- measure object_lives
SELECT life_band(bin) AS item, slice, sum(objects) AS value
FROM compared_deaths WHERE bin IS NOT NULL AND matched GROUP BY ALL
-- measure page_lives
SELECT life_band(bin) AS item, slice, sum(blocks) AS value
FROM compared_pages WHERE bin IS NOT NULL GROUP BY ALL
-- measure object_bins, binned
SELECT '' AS item, slice, bin, sum(objects) AS value
FROM compared_deaths WHERE bin IS NOT NULL AND matched GROUP BY ALL
-- measure page_bins, binned
SELECT '' AS item, slice, bin, sum(blocks) AS value
FROM compared_pages WHERE bin IS NOT NULL GROUP BY ALL
-- measure cache_bins, binned
SELECT item, slice, bin, sum(objects) AS value
FROM compared_deaths WHERE bin IS NOT NULL AND item IS NOT NULL AND matched GROUP BY ALL
-- measure object_life_50, total
FROM life_quantile('compared_object_lives', 0.5, false)
-- measure object_life_90, total
FROM life_quantile('compared_object_lives', 0.9, false)
-- measure object_life_99, total
FROM life_quantile('compared_object_lives', 0.99, false)
-- measure page_life_50, total
FROM life_quantile('compared_page_lives', 0.5, false)
-- measure page_life_90, total
FROM life_quantile('compared_page_lives', 0.9, false)
-- measure page_life_99, total
FROM life_quantile('compared_page_lives', 0.99, false)
-- measure cache_life_50, total
FROM life_quantile('compared_object_lives', 0.5, true)
