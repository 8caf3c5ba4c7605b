-- obj_ext_vectors: one row is one cache of one run under one scheme for the vectors that say whom
-- objects are charged to (slabobj_ext): how many its slabs get, where these lie and what they take.
--
-- Schemes: 'kmalloc' is that of 6.12 to 6.19, each vector a kmalloc of its own (R3.53, R3.54); 'in
-- slab' that of 7.1 on, which puts it into what the slab has left behind its objects, or into what
-- pads each of them, and asks kmalloc where neither has room (R3.55). Both are told of the same
-- slabs, those made in the run: as recorded (observed) or as the model made them (inferred). A vector
-- has 8 bytes for each object, that of CONFIG_MEMCG alone (assumed), or 16 where the recording has a
-- snapshot of allocinfo, so CONFIG_MEM_ALLOC_PROFILING too (observed). Slabs of a cache with
-- SLAB_ACCOUNT have it when they are made; all others with the first object that is charged, and that
-- it was is known at most: whose task is in the root cgroup is charged nothing, which no event says.
-- So kmallocs are from what is certain to what can be. Of a recording that shows the root's cgroup
-- and another one being made, charges begin with that one, and slabs older than it, or than the
-- recording, count with their first charge; of any other they are assumed to have begun before it,
-- and older slabs are left out. Runs of kernels without memory cgroups have no rows: nothing says
-- what is charged; sweeps have none either, for their slabs are not stored.
--
-- A cache has SLAB_ACCOUNT (observed) where its folder in sysfs says so or an object was accounted
-- without being asked for so, and has not where one was not; else by its size class (inferred), or it
-- is taken to have none (assumed), which makes savings a minimum. What pads an object is the
-- recorded kernel's (sysfs); without a snapshot no vector lies there (assumed). A free pointer that
-- RCU or a constructor keeps out of the object is taken to lie behind it (assumed). Left out: what
-- kmallocs of vectors do to slabs of kmalloc, vectors for allocation profiling itself (of more slabs,
-- while it is on), charges of objects without an event, and all of objects of unknown cache.
--
-- Columns:
--   run                Recorded or simulated run.
--   trace              Name of the trace set.
--   placement          Whose slabs: as recorded, or simulated.
--   settings           Simulated: what the user set (JSON).
--   cache              Name of the cache.
--   scheme             'kmalloc' or 'in slab'.
--   account            The cache has SLAB_ACCOUNT.
--   account_how        How that is known.
--   charges_how        How it is known since when objects are charged: observed or assumed.
--   charged_objects    Allocations of its objects that are charged, at most.
--   charged_bytes      [bytes] What is charged for them: slot and 8 bytes each.
--   slabs              Its slabs that are told of.
--   objects            Objects in one of them, at most.
--   vector_bytes       [bytes] Of the vector of such a slab.
--   leftover           Vectors behind the objects of their slab.
--   in_objects         Vectors in what pads the objects.
--   kmallocs_low       Vectors that are kmallocs, at least: those made with their slab.
--   kmallocs_high      The same, at most: with those made for a charge.
--   kmalloc_bytes_low  [bytes] Slots of these kmallocs, at least.
--   kmalloc_bytes_high [bytes] The same, at most.
--   held_bytes_low     [bytes] Of them, of slabs that are there at the end, at least.
--   held_bytes_high    [bytes] The same, at most.
--   saved_kmallocs     kmallocs that the scheme does without: vectors inside their slab.
--   saved_bytes        [bytes] Slots of these kmallocs.
--   fits_pct           [%] Of slabs that have their vector when they are made, those that have it inside.
--   recorded_kmallocs  Vectors that the recorded kernel kmalloc'd, by its own scheme (observed; for which cache, by the task's next allocation: inferred); NULL: simulated, or it shows none.
--   recorded_bytes     [bytes] Slots of these.
with asks as (
    select
        origins.run,
        origins.origin,
        origins.cache,
        origins.bytes_alloc,
        origins.accounted,
        origins.asks_charge,
        coalesce(origins.asks_charge, false) or coalesce(origins.accounted, false) as charged,
        coalesce(regexp_matches(sites.symbol, '^mem_cgroup_(css_)?alloc(\.|$)'), false) as of_cgroup,
        coalesce(starts_with(sites.symbol, 'alloc_slab_obj_exts'), false) as of_vector
    from internal.object_origins as origins
    left join call_sites as sites using (run, call_site)
    where origins.event in ('kmalloc', 'kmem_cache_alloc')
),

-- The root's cgroup is made by the first task of all.
online as (
    select
        facts.run,
        case when bool_or(pid = 0) then min(seq) filter (where pid != 0) end as seq
    from internal.object_facts as facts
    inner join asks using (origin)
    where asks.of_cgroup
    group by facts.run
),

by_events as (
    select
        run,
        cache,
        bool_or(accounted and not asks_charge) as has,
        bool_or(not accounted) as lacks
    from asks
    group by run, cache
),

accounts as (
    select
        caches.run,
        caches.cache,
        case
            when starts_with(names.merged, ':') then contains(split_part(names.merged, '-', 1), 'A')
            when by_events.has then true
            when by_events.lacks then false
        end as seen,
        coalesce(seen, starts_with(caches.name, 'kmalloc-cg-')) as account,
        case
            when seen is not null then 'observed'
            when starts_with(caches.name, 'kmalloc-') then 'inferred'
            else 'assumed'
        end as account_how
    from caches
    left join kernel_caches as names using (run, name)
    left join by_events using (run, cache)
    where caches.run in (select run from asks where accounted)
),

-- What pads an object of a cache that cannot be merged (R3.55), where no debugging uses it.
padding as (
    select distinct on (run, name)
        run,
        name,
        case
            when starts_with(name, ':') or regexp_matches(flags, '[PZU]') then 0
            else slab_size - (object_size + 7) // 8 * 8 - 8 * free_pointer_behind::integer
        end as bytes
    from kernel_slabs
    order by run, name, moment
),

slabs as (
    select
        pages.run,
        pages.run as of_run,
        page_caches.cache,
        pages.page as slab,
        pages."order",
        pages.alloc_seq,
        pages.free_ts is null as held
    from pages
    inner join page_caches using (run, page)
    union all
    select
        placed.run,
        runs.of_run,
        placed.cache,
        placed.slab,
        placed."order",
        placed.alloc_seq,
        placed.free_seq is null as held
    from placed_slabs as placed
    inner join runs using (run)
),

charged as (
    select
        facts.run,
        facts.page as slab,
        facts.seq,
        facts.run as of_run
    from internal.object_facts as facts
    inner join asks using (origin)
    where asks.charged and facts.page is not null
    union all
    select
        placed.run,
        placed.slab,
        placed.seq,
        runs.of_run
    from placed_events as placed
    inner join runs using (run)
    inner join internal.object_facts as facts
        on runs.of_run = facts.run and placed.seq = facts.seq
    inner join asks using (origin)
    where asks.charged and placed.slab is not null
),

charges as (
    select
        charged.run,
        charged.slab,
        count(*) as allocs
    from charged
    left join online on charged.of_run = online.run
    where charged.seq >= coalesce(online.seq, 0)
    group by charged.run, charged.slab
),

each as (
    select
        slabs.run,
        slabs.of_run,
        slabs.cache,
        slabs.held,
        accounts.account,
        accounts.account_how,
        case when online.seq is null then 'assumed' else 'observed' end as charges_how,
        caches.object_size as slot,
        traces.page_size << slabs."order" as slab_bytes,
        least(slab_bytes // slot, 32767) as objects,
        coalesce(profiled.bytes, 8) as ext,
        ext * objects as vector_bytes,
        accounts.account and slabs.alloc_seq >= coalesce(online.seq, 0) as early,
        coalesce(charges.allocs, 0) as charged_objects,
        (objects * slot + ext - 1) // ext * ext + vector_bytes <= slab_bytes as behind,
        coalesce(padding.bytes >= ext, false) as padded,
        -- R3.1: 96 and 192 beside the powers of two.
        case
            when vector_bytes between 65 and 96 then 96
            when vector_bytes between 129 and 192 then 192
            else 1 << ceil(log2(vector_bytes))::bigint
        end as class_bytes
    from slabs
    inner join runs using (run)
    inner join traces using (trace_id)
    inner join accounts on slabs.of_run = accounts.run and slabs.cache = accounts.cache
    inner join caches on slabs.run = caches.run and slabs.cache = caches.cache
    left join kernel_caches as names on slabs.of_run = names.run and caches.name = names.name
    left join padding on names.run = padding.run and names.merged = padding.name
    left join online on slabs.of_run = online.run
    left join (select distinct run, 16 as bytes from allocinfo) as profiled
        on slabs.of_run = profiled.run
    left join charges on slabs.run = charges.run and slabs.slab = charges.slab
    where slabs.alloc_seq is not null or online.seq is not null
),

placed as (
    select
        each.*,
        schemes.scheme,
        case
            when early and scheme = 'in slab' and behind then 'leftover'
            when early and scheme = 'in slab' and padded then 'in objects'
            when early then 'with slab'
            when charged_objects > 0 then 'for a charge'
        end as place
    from each
    cross join (values ('kmalloc'), ('in slab')) as schemes (scheme)
),

-- The event of a vector comes before that of the object that wanted it (R3.54).
vectors as (
    select
        facts.run,
        asks.of_vector,
        asks.bytes_alloc,
        first_value(case when not asks.of_vector then coalesce(asks.cache, -1) end ignore nulls) over (
            partition by facts.run, facts.cpu, facts.pid
            order by facts.seq
            rows between current row and unbounded following
        ) as cache
    from internal.object_facts as facts
    inner join asks using (origin)
    where asks.of_vector or asks.charged
),

recorded as (
    select
        run,
        cache,
        count(*) as kmallocs,
        sum(bytes_alloc)::bigint as bytes
    from vectors
    where of_vector
    group by run, cache
)

select
    placed.run,
    any_value(traces.trace) as trace,
    any_value(runs.placement) as placement,
    any_value(runs.settings) as settings,
    any_value(caches.name) as cache,
    placed.scheme,
    any_value(placed.account) as account,
    any_value(placed.account_how)::how as account_how,
    any_value(placed.charges_how)::how as charges_how,
    sum(placed.charged_objects)::bigint as charged_objects,
    sum(placed.charged_objects * (placed.slot + 8))::bigint as charged_bytes,
    count(*) as slabs,
    max(placed.objects) as objects,
    max(placed.vector_bytes) as vector_bytes,
    count(*) filter (where place = 'leftover') as leftover,
    count(*) filter (where place = 'in objects') as in_objects,
    count(*) filter (where place = 'with slab') as kmallocs_low,
    count(*) filter (where place in ('with slab', 'for a charge')) as kmallocs_high,
    coalesce(sum(class_bytes) filter (where place = 'with slab'), 0)::bigint as kmalloc_bytes_low,
    coalesce(sum(class_bytes) filter (where place in ('with slab', 'for a charge')), 0)::bigint
        as kmalloc_bytes_high,
    coalesce(sum(class_bytes) filter (where held and place = 'with slab'), 0)::bigint
        as held_bytes_low,
    coalesce(
        sum(class_bytes) filter (where held and place in ('with slab', 'for a charge')), 0
    )::bigint as held_bytes_high,
    count(*) filter (where place in ('leftover', 'in objects')) as saved_kmallocs,
    coalesce(sum(class_bytes) filter (where place in ('leftover', 'in objects')), 0)::bigint
        as saved_bytes,
    100 * saved_kmallocs / nullif(count(*) filter (where early), 0) as fits_pct,
    case
        when placed.run in (select run from recorded)
            then coalesce(any_value(recorded.kmallocs), 0)
    end as recorded_kmallocs,
    case
        when placed.run in (select run from recorded)
            then coalesce(any_value(recorded.bytes), 0)
    end as recorded_bytes
from placed
inner join runs using (run)
inner join traces using (trace_id)
inner join caches on placed.run = caches.run and placed.cache = caches.cache
left join recorded on placed.run = recorded.run and placed.cache = recorded.cache
group by placed.run, placed.cache, placed.scheme
having bool_or(placed.place is not null)
order by placed.run, placed.scheme desc, kmalloc_bytes_high desc, cache
