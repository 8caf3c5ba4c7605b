-- hazards: one row is one caller that touched the count of pages of one kind and cache that one
-- policy freezes, in one run.
--
-- What a touch is, and what the outcomes are, stands at hazard_touches, whose sums these are.
--
-- Columns:
--   run           Replay of one trace.
--   trace         Name of the trace set.
--   policy        Policy that freezes the pages.
--   rule          Rule that is broken, or would be: H2, H3, H5 or H6, with its title.
--   outcome       freed, touched, predicted, would be refused or scanner, as said above.
--   breaks        The policy does not go with what the caller did.
--   page_kind     Whose pages.
--   cache         Slab pages: the cache; NULL: not slab, or not known.
--   caller        Function that allocated them; NULL: no stack was recorded.
--   taker         Function that touched the count; NULL: no stack was recorded.
--   frames        Its stack, from outermost to innermost, joined by ';', without the tracer's own.
--   touches       How often.
--   operations    Operations on the count of which these consist.
--   lives         Page lives in which it did.
--   freed_held    Frees of objects on these pages while such a reference was held.
--   live_objects  Objects that were live on the pages when their count was taken to zero.
--   first_seq     Row of the first such event (events.seq).
select
    run,
    trace,
    policy,
    rule,
    outcome,
    breaks,
    page_kind,
    cache,
    caller,
    taker,
    frames,
    count(*) as touches,
    sum(operations)::bigint as operations,
    count(distinct page) as lives,
    sum(freed_held)::bigint as freed_held,
    sum(live_objects)::bigint as live_objects,
    min(first_seq) as first_seq
from hazard_touches
group by run, trace, policy, rule, outcome, breaks, page_kind, cache, caller, taker, frames
order by run, policy, breaks desc, touches desc, page_kind, cache, caller, taker, first_seq
