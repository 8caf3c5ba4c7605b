-- What follows one stretch of a recording after the other, as the tables of tables.sql want it: events
-- $begin to $last. $recorded and $run are as there.
--
-- A free is counted with what allocated the object, often long before. A join of all frees with all
-- allocations holds a table of either half; here what is alive goes along from stretch to stretch.

INSERT INTO compared_alive
SELECT seq, origin, cpu
FROM internal.object_facts JOIN internal.object_origins AS origins USING (origin)
WHERE object_facts.run = $recorded AND seq BETWEEN $begin AND $last
    AND event IN ('kmalloc', 'kmem_cache_alloc');

-- The requests of objects of the stretch; dead is what a free ends.
CREATE OR REPLACE TEMP TABLE compared_stretch AS
SELECT
    seq, (ts - first_ts) // slice_ns AS slice, 'alloc' AS way, object_facts.origin,
    NULL::bigint AS lived, NULL::bool AS remote, NULL::bigint AS dead
FROM internal.object_facts JOIN compared_origins USING (origin) JOIN runs USING (run)
WHERE object_facts.run = $recorded AND seq BETWEEN $begin AND $last
UNION ALL
SELECT
    gone.seq, (gone.ts - first_ts) // slice_ns, 'free', coalesce(born.origin, -1),
    gone.lifetime, gone.cpu <> born.cpu, gone.object
FROM internal.object_facts AS gone
JOIN internal.object_origins AS origins USING (origin)
JOIN runs ON runs.run = gone.run
LEFT JOIN compared_alive AS born ON born.seq = gone.object
WHERE gone.run = $recorded AND gone.seq BETWEEN $begin AND $last
    AND event IN ('kfree', 'kmem_cache_free');

INSERT INTO compared_requests
SELECT way, slice, origin, if(lived >= 0, life_bin(lived), NULL) AS bin, remote, count(*)
FROM compared_stretch GROUP BY ALL;

INSERT INTO compared_lives SELECT origin, lived FROM compared_stretch WHERE lived >= 0;

INSERT INTO compared_paths
SELECT path::text, way, slice, origin, requests FROM (
    SELECT path, way, slice, origin, count(*) AS requests
    FROM placed_events
    JOIN (
        SELECT seq, way, slice, origin FROM compared_stretch
        UNION ALL
        SELECT seq, NULL, (ts - first_ts) // slice_ns, NULL
        FROM page_events JOIN runs USING (run)
        WHERE run = $recorded AND seq BETWEEN $begin AND $last
    ) USING (seq)
    WHERE run = $run AND seq BETWEEN $begin AND $last GROUP BY ALL
);

CREATE OR REPLACE TEMP TABLE compared_alive AS
FROM compared_alive ANTI JOIN (SELECT dead AS seq FROM compared_stretch) USING (seq)
