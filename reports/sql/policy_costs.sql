-- policy_costs: one row is one kind of page under one policy of one run: what its life costs.
--
-- policy_ops with the three stages side by side; a stage without a row costs nothing.
--
-- Columns:
--   run           Replay of one trace.
--   policy        Number of the policy (policies.policy).
--   page_kind     Code of the kind (page_kinds.page_kind).
--   alloc_plain   Plain stores per mm_page_alloc.
--   alloc_locked  Locked instructions per mm_page_alloc.
--   use_plain     Plain stores per life, in use, where no page_ref events tell.
--   use_locked    Locked instructions per life, in use, where no page_ref events tell.
--   free_plain    Plain stores per mm_page_free.
--   free_locked   Locked instructions per mm_page_free.
select
    run,
    policy,
    page_kind,
    coalesce(sum(plain_ops) filter (stage = 'alloc'), 0)::bigint as alloc_plain,
    coalesce(sum(locked_ops) filter (stage = 'alloc'), 0)::bigint as alloc_locked,
    coalesce(sum(plain_ops) filter (stage = 'use'), 0)::bigint as use_plain,
    coalesce(sum(locked_ops) filter (stage = 'use'), 0)::bigint as use_locked,
    coalesce(sum(plain_ops) filter (stage = 'free'), 0)::bigint as free_plain,
    coalesce(sum(locked_ops) filter (stage = 'free'), 0)::bigint as free_locked
from policy_ops
group by run, policy, page_kind
