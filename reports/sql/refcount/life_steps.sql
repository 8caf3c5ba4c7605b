-- life_steps: one row is the steps of one kind in the use of page lives of one run that are alike
-- (life_counts): steps that kernels do with different operations, as page_ref events show them.
--
-- Columns:
--   run        Replay of one trace.
--   page_kind  Whose pages.
--   kind_how   How the kind is known.
--   cache      Slab pages: the cache (caches.cache); NULL: not slab, or not known.
--   stack      Stack of the allocation (stacks.stack); NULL: none recorded.
--   step       The step (policy_steps.step).
--   steps      How many.
select
    steps.run,
    pages.page_kind,
    pages.kind_how,
    pages.cache,
    pages.stack,
    steps.step,
    count(*) as steps
from internal.kernel_steps as steps
inner join pages using (run, page)
group by steps.run, pages.page_kind, pages.kind_how, pages.cache, pages.stack, steps.step
