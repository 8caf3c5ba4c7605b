-- policy_costs: one row is one kind of page under one policy of one run: what its life costs.
--
-- policy_ops with the three stages side by side; a stage without a row costs nothing. An
-- allocation of order k costs alloc_plain + 2^k x alloc_page_plain plain stores, and so on.
--
-- Where no page_ref events tell the use stage it is assumed: between use_locked_low and
-- use_locked_high a life, and between use_table_locked_low and use_table_locked_high for each page
-- table allocated in the run, whose entries take references on pages of this kind. use_locked and
-- use_table_locked are the middles, in whole instructions.
--
-- Columns:
--   run                    Replay of one trace.
--   policy                 Number of the policy (policies.policy).
--   page_kind              Whose pages.
--   alloc_plain            Plain stores per mm_page_alloc.
--   alloc_locked           Locked instructions per mm_page_alloc.
--   alloc_page_plain       Plain stores per base page allocated.
--   alloc_page_locked      Locked instructions per base page allocated.
--   use_counted            1 if recorded operations in use count; 0 if frozen, and without any.
--   use_plain              Plain stores per life, in use, where no page_ref events tell.
--   use_locked             Locked instructions per life, in use, likewise: middle of the range.
--   use_locked_low         The same, at least.
--   use_locked_high        The same, at most.
--   use_table_locked       In use, per page table allocated, likewise: middle of the range.
--   use_table_locked_low   The same, at least.
--   use_table_locked_high  The same, at most.
--   use_page_plain         Plain stores per base page, in use, where no page_ref events tell.
--   use_page_locked        Locked instructions per base page, in use, likewise.
--   free_plain             Plain stores per mm_page_free.
--   free_locked            Locked instructions per mm_page_free.
--   free_page_plain        Plain stores per base page freed.
--   free_page_locked       Locked instructions per base page freed.
with stages as (
    pivot policy_ops
    on stage in ('alloc', 'use', 'free')
    using
        coalesce(sum(plain_ops), 0)::bigint as plain,
        coalesce(sum(locked_ops), 0)::bigint as locked,
        coalesce(sum(plain_ops_per_page), 0)::bigint as page_plain,
        coalesce(sum(locked_ops_per_page), 0)::bigint as page_locked,
        coalesce(sum(coalesce(locked_ops_low, locked_ops)), 0)::bigint as locked_low,
        coalesce(sum(coalesce(locked_ops_high, locked_ops)), 0)::bigint as locked_high,
        coalesce(sum(locked_ops_per_table_low), 0)::bigint as table_locked_low,
        coalesce(sum(locked_ops_per_table_high), 0)::bigint as table_locked_high
    group by run, policy, page_kind
),

counted as (
    select
        run,
        policy,
        page_kind,
        (
            not coalesce(bool_or(frozen), false)
            or coalesce(
                sum(
                    plain_ops + coalesce(locked_ops_high, locked_ops)
                    + plain_ops_per_page + locked_ops_per_page
                )
                    filter (stage = 'use'),
                0
            ) > 0
        )::bigint as use_counted
    from policy_ops
    group by run, policy, page_kind
)

select
    run,
    policy,
    page_kind,
    alloc_plain,
    alloc_locked,
    alloc_page_plain,
    alloc_page_locked,
    use_counted,
    use_plain,
    use_locked,
    use_locked_low,
    use_locked_high,
    (use_table_locked_low + use_table_locked_high) // 2 as use_table_locked,
    use_table_locked_low,
    use_table_locked_high,
    use_page_plain,
    use_page_locked,
    free_plain,
    free_locked,
    free_page_plain,
    free_page_locked
from stages
inner join counted using (run, policy, page_kind)
