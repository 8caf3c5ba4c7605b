-- What the measures of one run are taken from: temporary tables, made anew for each run. $recorded is
-- the recorded run, $run the simulated one made from it, or the recorded one again.
--
-- compared_origins and compared_slabs are there before: what the objects of each origin and the slabs
-- of each cache are in this comparison.
--
-- None has a row an event, but for the lives, of which the quantiles are exact: a recording may be
-- larger than the memory.

-- Which of the CPU's own sheaves served a request hangs on what lay in them long before.
CREATE OR REPLACE TEMP MACRO served_by(path) AS if(
    path IN ('main_hit', 'main_push', 'spare_swap', 'install_empty'), 'own sheaves', path
);

-- Whether the CPU's own sheaves, or its own slab, could not serve a request alone.
CREATE OR REPLACE TEMP MACRO not_alone(served) AS regexp_matches(
    served,
    '^(refill|flush|barn|slow|cpu_partial|cpu_slab_refill|node_partial|new_slab|free_frozen|slab_)'
);

-- Lives in bins of their logarithm, 20 to a decade of ns up to 1000 s, and in bands.
CREATE OR REPLACE TEMP MACRO life_bin(lived) AS
    least(floor(20 * log10(greatest(lived, 1))), 239)::int;
CREATE OR REPLACE TEMP MACRO life_band(bin) AS CASE
    WHEN bin < 60 THEN '< 1 us' WHEN bin < 80 THEN '1 - 10 us'
    WHEN bin < 100 THEN '10 - 100 us' WHEN bin < 120 THEN '100 us - 1 ms'
    WHEN bin < 140 THEN '1 - 10 ms' WHEN bin < 160 THEN '10 - 100 ms'
    WHEN bin < 180 THEN '100 ms - 1 s' ELSE '1 s or more' END;

-- Of the requests of objects, by what they have in common: origin is that of the allocation, -1 where
-- it was not seen. windows.sql fills these.
CREATE OR REPLACE TEMP TABLE compared_requests (
    way TEXT, slice BIGINT, origin INT, bin INT, remote BOOL, objects BIGINT
);
CREATE OR REPLACE TEMP TABLE compared_lives (origin INT, lived BIGINT);
CREATE OR REPLACE TEMP TABLE compared_paths (
    path TEXT, way TEXT, slice BIGINT, origin INT, requests BIGINT
);
CREATE OR REPLACE TEMP TABLE compared_alive (seq BIGINT, origin INT, cpu SMALLINT);

-- Objects allocated in the recording.
CREATE OR REPLACE TEMP VIEW compared_births AS
SELECT slice, bytes_req, bytes_alloc, item, function, matched, counted, objects
FROM compared_requests
JOIN compared_origins USING (origin)
JOIN internal.object_origins USING (origin)
WHERE way = 'alloc';

-- Objects freed; where their allocation was not seen, without an item.
CREATE OR REPLACE TEMP VIEW compared_deaths AS
SELECT slice, bin, remote, item, matched, objects
FROM compared_requests
JOIN compared_origins USING (origin)
WHERE way = 'free';

-- Lives of pages, by what they have in common.
CREATE OR REPLACE TEMP TABLE compared_pages AS
SELECT
    (alloc_ts - first_ts) // slice_ns AS born, (free_ts - first_ts) // slice_ns AS slice,
    if(free_ts >= alloc_ts, life_bin(free_ts - alloc_ts), NULL) AS bin,
    alloc_seq IS NOT NULL AS allocated, free_seq IS NOT NULL AS freed,
    1 << "order" AS size, page_kind = 'slab' AS slab, item, count(*) AS blocks
FROM pages
JOIN runs USING (run)
LEFT JOIN compared_slabs USING (run, cache)
WHERE run = $recorded
GROUP BY ALL;

-- The length of life, ns, that a part of the lives is no longer than, as quantile_disc has it, of all
-- or of each item. That holds every life there is; here lives are counted in bins of a hundredth of
-- their length first, and only those of the bin that the quantile is in are ranked.
CREATE OR REPLACE TEMP VIEW compared_object_lives AS
SELECT item, lived FROM compared_lives JOIN compared_origins USING (origin) WHERE matched;
CREATE OR REPLACE TEMP TABLE compared_page_lives AS
SELECT '' AS item, free_ts - alloc_ts AS lived
FROM pages WHERE run = $recorded AND free_ts >= alloc_ts;
CREATE OR REPLACE TEMP MACRO life_quantile(lives, part, by_item) AS TABLE
    WITH every_life AS (
        SELECT if(by_item, item, '') AS of_item, lived, floor(100 * ln(1 + lived)) AS bin
        FROM query_table(lives) WHERE of_item IS NOT NULL
    ), binned AS (
        SELECT of_item, bin, count(*) AS here FROM every_life GROUP BY ALL
    ), ranked AS (
        SELECT *, sum(here) OVER (PARTITION BY of_item) AS every,
            greatest(every - floor(every - part * every), 1) - 1 AS place,
            sum(here) OVER (PARTITION BY of_item ORDER BY bin) - here AS below
        FROM binned QUALIFY place BETWEEN below AND below + here - 1
    ), found AS (
        SELECT of_item, lived, place, below, count(*) AS here
        FROM every_life JOIN ranked USING (of_item, bin) GROUP BY ALL
    ), placed AS (
        SELECT *, below + sum(here) OVER (PARTITION BY of_item ORDER BY lived) AS upto FROM found
    )
    SELECT of_item AS item, NULL AS slice, min(lived) / 1000 AS value
    FROM placed WHERE upto > place GROUP BY ALL;

-- Requests of objects and of pages as the model served them; spare_swap serves both ways.
CREATE OR REPLACE TEMP VIEW compared_placed AS
SELECT
    slice, layer, item, coalesce(asked.way, paths.way) AS way, served_by(asked.path) AS served, requests
FROM compared_paths AS asked
JOIN paths ON asked.path = paths.path::text
LEFT JOIN compared_origins USING (origin)
WHERE origin IS NULL OR matched;

-- Slabs of the model; objects' events make and free them.
CREATE OR REPLACE TEMP TABLE compared_model_slabs AS
SELECT
    (born.ts - first_ts) // slice_ns AS born, (gone.ts - first_ts) // slice_ns AS gone,
    1 << "order" AS size, item
FROM placed_slabs AS slabs
JOIN runs USING (run)
LEFT JOIN compared_slabs USING (run, cache)
LEFT JOIN internal.object_facts AS born ON born.run = $recorded AND born.seq = slabs.alloc_seq
LEFT JOIN internal.object_facts AS gone ON gone.run = $recorded AND gone.seq = slabs.free_seq
WHERE slabs.run = $run
