-- page_caches: one row is one slab page life of one run whose cache is known.
--
-- The cache is that of the life itself, known by the name or the size of an object on it, or that of
-- the objects on it whose own cache follows from another life of theirs or of their call site.
--
-- Columns:
--   run    Replay of one trace.
--   page   Handle of the life (pages.page).
--   cache  Its cache (caches.cache).
with slabs as (
    select
        run,
        page,
        cache
    from pages
    where page_kind = 'slab'
)

select
    run,
    page,
    cache
from slabs
where cache is not null
union all
select
    objects.run,
    objects.page,
    min(objects.cache) as cache
from object_events as objects
inner join slabs using (run, page)
where slabs.cache is null and objects.cache is not null
group by objects.run, objects.page
