-- count_readers: one row is one function of the recorded kernel that reads the count of pages of one
-- kind in one run, takes references on them or maps them to user space.
--
-- Reading fires no event: these functions were found in the kernel's sources (allocsim.refcount.count_readers), and
-- would have to change, or to be shown not to matter, before the pages could do without a count.
-- What they do: 'reads' decides by the value of the count; 'takes' takes references; 'drops' ends a
-- page's life by dropping one; 'maps' maps pages to user space, where get_user_pages can take more;
-- 'isolates' takes a reference to take the page away from its user; 'freezes' takes the count to zero
-- if it has the value expected. 'scans' meets pages of every kind and passes by those without a
-- count: it stands in nobody's way, and its page_kind is NULL. Only kinds met in the run have rows.
-- Of folios one reader of each sort is named.
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   page_kind        Whose pages; NULL: pages of every kind.
--   does             What it does to them, as said above.
--   kernel_function  Its name.
--   source           file:function of the kernel whose sources were read, and its version.
--   doc              What it does, in a few words.
--   by_source        Verdict on the kind by the sources alone (verdicts.verdict).
with met as (
    select distinct
        run,
        page_kind
    from pages
)

select
    readers.run,
    traces.trace,
    met.page_kind,
    readers.does,
    readers.kernel_function,
    readers.source,
    readers.doc,
    sources.verdict as by_source
from kind_readers as readers
inner join runs using (run)
inner join traces using (trace_id)
left join met on readers.run = met.run and readers.page_kind = met.page_kind
left join source_verdicts as sources
    on
        met.run = sources.run
        and met.page_kind = sources.page_kind
        and sources.caller is null
where readers.page_kind is null or met.page_kind is not null
order by
    readers.run,
    met.page_kind nulls last,
    readers.does,
    readers.source
