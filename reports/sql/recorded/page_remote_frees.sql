-- page_remote_frees: one row is one pair of CPUs and one function that allocates pages of one kind, in
-- one recorded run: who frees whose pages.
--
-- Of page lives whose allocation and free were both seen. A page that another CPU frees goes to that
-- CPU's lists, whose drain then takes zone->lock (mm/page_alloc.c:free_frozen_page_commit, 7.2).
-- A block that was split and freed in parts counts by its last part.
--
-- Columns:
--   run        Recorded run.
--   trace      Name of the trace set.
--   page_kind  Whose pages.
--   caller     Function that allocated them; NULL: no stack was recorded.
--   alloc_cpu  CPU that allocated.
--   free_cpu   CPU that freed.
--   distance   How far they are apart (view cpu_distances).
--   blocks     Blocks of pages, of whatever order.
--   pages      [pages] Base pages of these.
--   share_pct  [%] Of these pages, of all of this kind and caller whose both ends were seen.
with pairs as (
    select
        run,
        page_kind,
        stack,
        alloc_cpu,
        free_cpu,
        count(*) as blocks,
        sum(1::bigint << "order")::bigint as pages
    from pages
    where alloc_cpu is not null and free_cpu is not null
    group by run, page_kind, stack, alloc_cpu, free_cpu
),

named as (
    select
        pairs.run,
        pairs.page_kind,
        stacks.caller,
        pairs.alloc_cpu,
        pairs.free_cpu,
        sum(pairs.blocks)::bigint as blocks,
        sum(pairs.pages)::bigint as pages
    from pairs
    left join stacks using (run, stack)
    group by pairs.run, pairs.page_kind, stacks.caller, pairs.alloc_cpu, pairs.free_cpu
)

select
    named.run,
    traces.trace,
    named.page_kind,
    named.caller,
    named.alloc_cpu,
    named.free_cpu,
    cpu_distances.distance,
    named.blocks,
    named.pages,
    100 * named.pages
    / sum(named.pages) over (partition by named.run, named.page_kind, named.caller) as share_pct
from named
inner join runs using (run)
inner join traces using (trace_id)
left join cpu_distances using (trace_id, alloc_cpu, free_cpu)
order by named.run, named.page_kind, named.caller, named.alloc_cpu, named.free_cpu
