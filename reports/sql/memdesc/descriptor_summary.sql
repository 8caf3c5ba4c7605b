-- descriptor_summary: one row is one scheme of page descriptors of one run: what it takes at the
-- peak, on average and at the end of the recording, against struct page.
--
-- Peak and mean are over all moments of the recording, not over samples. The model's SLUB has the
-- descriptors' slabs; the unknown part, which may come on top, is that at the end.
--
-- Columns:
--   run                Replay of one trace.
--   trace              Name of the trace set.
--   scheme             Name of the scheme.
--   word_bytes         [bytes] What every page frame has.
--   memory_bytes       [bytes] Memory of the machine.
--   start_bytes        [bytes] What the scheme takes when the recording begins.
--   mean_bytes         [bytes] On average over time.
--   peak_bytes         [bytes] At most.
--   end_bytes          [bytes] When the recording ends.
--   end_high_bytes     [bytes] Then at most, with all that is unknown.
--   mean_pct           [%] mean_bytes of the machine's memory.
--   peak_pct           [%] peak_bytes, likewise.
--   end_pct            [%] end_bytes, likewise.
--   end_high_pct       [%] end_high_bytes, likewise.
--   saved_bytes        [bytes] What struct-page takes at the end, less end_bytes.
--   saved_low_bytes    [bytes] The same, less end_high_bytes: saved at least.
--   saved_pct          [%] saved_bytes of the machine's memory.
--   descriptors        Descriptors live at the end, those of descriptors' slabs among them.
--   allocs             Descriptors allocated in the recording.
--   frees              Descriptors freed in the recording.
--   added_per_second   Allocations and frees of descriptors per second of the recording.
--   fast_pct           [%] Of these, those that the CPU's own sheaves would serve.
--   slab_pages         [pages] Pages of the descriptors' slabs at the end.
with ends as (
    select
        run,
        scheme as name,
        sum(bytes) filter (part <> 'unknown' and moment = 0)::bigint as start_bytes,
        sum(bytes) filter (part = 'word' and moment > 0)::double / count(*) filter (
            part = 'word' and moment > 0
        ) as mean_word,
        max(bytes) filter (part = 'word')::bigint as peak_word,
        (sum(bytes) filter (part <> 'unknown' and last_one))::bigint as end_bytes,
        (sum(bytes) filter (part = 'unknown' and last_one))::bigint as unknown_bytes
    from (
        select
            *,
            moment = max(moment) over (partition by run) as last_one
        from descriptor_overhead
    )
    group by run, scheme
),

caches as (
    select
        run,
        scheme,
        sum(allocs + own_allocs)::bigint as allocs,
        sum(frees + own_frees)::bigint as frees,
        sum(fast)::bigint as fast
    from scheme_descriptors
    group by run, scheme
),

held as (
    select
        run,
        scheme,
        arg_max(objects, moment) as objects,
        arg_max(pages, moment) as pages
    from (
        select
            run,
            scheme,
            moment,
            sum(objects)::bigint as objects,
            sum(pages)::bigint as pages
        from internal.descriptor_slabs
        group by run, scheme, moment
    )
    group by run, scheme
),

totals as (
    select
        ends.run,
        schemes.scheme,
        schemes.name,
        schemes.word_bytes,
        traces.trace,
        traces.page_size,
        machines.pages * traces.page_size as memory_bytes,
        ends.start_bytes,
        ends.mean_word + schemes.mean_slab_pages * traces.page_size as mean_bytes,
        ends.peak_word + schemes.peak_slab_pages * traces.page_size as peak_bytes,
        ends.end_bytes,
        ends.end_bytes + ends.unknown_bytes as end_high_bytes,
        coalesce(caches.allocs, 0) as allocs,
        coalesce(caches.frees, 0) as frees,
        coalesce(caches.fast, 0) as fast,
        coalesce(held.objects, 0) as descriptors,
        coalesce(held.pages, 0) as slab_pages,
        (runs.last_ts - runs.first_ts) / 1e9 as seconds
    from ends
    inner join schemes using (run, name)
    inner join machines using (run)
    inner join runs using (run)
    inner join traces using (trace_id)
    left join caches on ends.run = caches.run and schemes.scheme = caches.scheme
    left join held on ends.run = held.run and schemes.scheme = held.scheme
)

select
    totals.run,
    totals.trace,
    totals.name as scheme,
    totals.word_bytes,
    totals.memory_bytes,
    totals.start_bytes,
    totals.mean_bytes,
    totals.peak_bytes,
    totals.end_bytes,
    totals.end_high_bytes,
    100 * totals.mean_bytes / nullif(totals.memory_bytes, 0) as mean_pct,
    100 * totals.peak_bytes / nullif(totals.memory_bytes, 0) as peak_pct,
    100 * totals.end_bytes / nullif(totals.memory_bytes, 0) as end_pct,
    100 * totals.end_high_bytes / nullif(totals.memory_bytes, 0) as end_high_pct,
    today.end_bytes - totals.end_bytes as saved_bytes,
    today.end_bytes - totals.end_high_bytes as saved_low_bytes,
    100 * (today.end_bytes - totals.end_bytes) / nullif(totals.memory_bytes, 0) as saved_pct,
    totals.descriptors,
    totals.allocs,
    totals.frees,
    (totals.allocs + totals.frees) / nullif(totals.seconds, 0) as added_per_second,
    100 * totals.fast / nullif(totals.allocs + totals.frees, 0) as fast_pct,
    totals.slab_pages
from totals
inner join totals as today on totals.run = today.run and today.name = 'struct-page'
order by totals.run, totals.scheme
