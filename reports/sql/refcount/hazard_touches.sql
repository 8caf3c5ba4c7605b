-- hazard_touches: one row is one touch of the count of a page whose kind one policy freezes, in one run.
--
-- Only recordings with page_ref events have rows. A kind is looked at if the policy's form of it has
-- no count at all. Where the recorded kernel counts the kind, the first set and the last drop of a
-- page are its own; every other operation is a reference that its holder would have taken from zero
-- to one, and given back by freeing the page (H3, H5, H6). Where the recorded kernel has frozen the
-- kind, any operation is one (H2). A touch is a reference taken and what was done until the next
-- one was taken. From 6.14 on get_page and put_page leave slab and large kmalloc pages alone and
-- fire no event (H4): such callers are not seen here.
--
-- Outcomes: a frozen page's count was taken to zero, which frees the page ('freed'), or changed
-- ('touched'); a counted page was referenced, which breaks once it is frozen ('predicted'); it was
-- referenced by a get-unless-zero, which a frozen page refuses ('would be refused'); a page's count
-- was zero and the get-unless-zero was refused ('scanner'). The last two are harmless.
--
-- Columns:
--   run           Replay of one trace.
--   trace         Name of the trace set.
--   policy        Policy that freezes the page.
--   rule          Rule that is broken, or would be: H2, H3, H5 or H6, with its title.
--   outcome       freed, touched, predicted, would be refused or scanner, as said above.
--   breaks        The policy does not go with what the caller did.
--   page          Handle of the page's life (pages.page).
--   page_kind     Whose page.
--   cache         Slab page: the cache; NULL: not slab, or not known.
--   caller        Function that allocated it; NULL: no stack was recorded.
--   taker         Function that touched the count; NULL: no stack was recorded.
--   frames        Its stack, from outermost to innermost, joined by ';', without the tracer's own.
--   age_ns        [ns] From the page's allocation to the touch; NULL: it is older than the recording.
--   life_pct      [%] The same of its life, from allocation to free; NULL: not all of it is recorded.
--   operations    Operations on the count of which it consists.
--   freed_held    Frees of objects on the page while such a reference was held.
--   live_objects  Objects that were live on the page when its count was taken to zero.
--   first_seq     Row of its first event (events.seq).
with frozen as (
    select
        run,
        policy,
        page_kind
    from policy_ops
    group by run, policy, page_kind
    having bool_and(frozen) and sum(plain_ops + locked_ops) = 0
),

-- What the recorded kernel does with a kind is what it did with most lives it began.
kinds as (
    select
        run,
        page_kind,
        2 * count(*) filter (births > 0) < count(*) as is_frozen
    from reference_lives
    where begun and (run, page_kind) in (select (run, page_kind) from frozen)
    group by run, page_kind
),

operations as (
    select
        events.run,
        events.seq,
        events.ts,
        events.page,
        events.stack,
        kinds.is_frozen,
        events.event = 'page_ref_mod_unless' as tries,
        tries and events.ret = 0 as refused,
        events.event in ('page_ref_mod', 'page_ref_mod_and_return', 'page_ref_mod_unless')
        and events.val > 0 as takes,
        coalesce(
            events.event in ('page_ref_mod_and_test', 'page_ref_freeze') and events.ret != 0
            or events.event = 'page_ref_mod_and_return' and events.ret = 0,
            false
        ) as to_zero,
        events.event = 'page_ref_set'
        and events.val = 1
        and row_number() over (of_page order by events.seq) = 1 as is_birth,
        to_zero and row_number() over (of_page order by events.seq desc) = 1 as is_end
    from page_events as events
    inner join reference_lives as lives using (run, page)
    inner join kinds on lives.run = kinds.run and lives.page_kind = kinds.page_kind
    -- Comparing with a bare string would go by the alphabet.
    where events.event between 'page_ref_set'::event and 'page_ref_unfreeze'::event
    window of_page as (partition by events.run, events.page, events.pfn)
),

-- Refused tries stand alone; of the others, each belongs to the last reference taken before it.
numbered as (
    select
        *,
        case
            when refused then -seq
            else
                count(*) filter (takes and not refused) over (
                    partition by run, page order by seq rows unbounded preceding
                )
        end as turn
    from operations
    where is_frozen or not (is_birth or is_end)
),

touches as (
    select
        run,
        page,
        is_frozen,
        turn,
        min(seq) as first_seq,
        arg_min(ts, seq) as first_ts,
        arg_min_null(stack, seq) as stack,
        bool_and(refused) as refused,
        arg_min(tries, seq) as tries,
        count(*) as operations,
        min(seq) filter (not takes) as dropped_seq,
        min(seq) filter (to_zero) as zero_seq
    from numbered
    group by run, page, is_frozen, turn
),

-- Objects on the page: freed while the reference was held, and live when the count was zero.
objects as (
    select
        touches.run,
        touches.page,
        touches.turn,
        count(*) filter (
            events.event in ('kfree', 'kmem_cache_free')
            and events.seq > touches.first_seq
            and events.seq < coalesce(touches.dropped_seq, pages.free_seq, events.seq + 1)
        ) as freed_held,
        greatest(
            count(*) filter (
                events.event in ('kmalloc', 'kmem_cache_alloc')
                and events.seq < touches.zero_seq
            )
            - count(*) filter (
                events.event in ('kfree', 'kmem_cache_free')
                and events.seq < touches.zero_seq
            ),
            0
        ) as live_objects
    from touches
    inner join pages using (run, page)
    inner join object_events as events using (run, page)
    where not touches.refused
    group by touches.run, touches.page, touches.turn
),

judged as (
    select
        touches.*,
        lives.page_kind,
        lives.cache,
        lives.caller,
        touches.first_ts - pages.alloc_ts as age_ns,
        case when lives.whole then pages.free_ts - pages.alloc_ts end as life_ns,
        case
            when touches.refused then 'scanner'
            when touches.is_frozen and touches.zero_seq is not null then 'freed'
            when touches.is_frozen then 'touched'
            when touches.tries then 'would be refused'
            else 'predicted'
        end as outcome,
        coalesce(objects.freed_held, 0) as freed_held,
        case when touches.is_frozen then coalesce(objects.live_objects, 0) else 0 end as live_objects
    from touches
    inner join reference_lives as lives using (run, page)
    inner join pages using (run, page)
    left join objects using (run, page, turn)
)

select
    judged.run,
    traces.trace,
    policies.name as policy,
    case
        when judged.is_frozen then 'H2 Frozen page touched'
        when judged.page_kind = 'page_table' then 'H5 Page table touched'
        when judged.page_kind in ('vmalloc', 'kernel_stack') then 'H6 Page of vmalloc touched'
        else 'H3 Counted page touched'
    end as rule,
    judged.outcome,
    judged.outcome not in ('scanner', 'would be refused') as breaks,
    judged.page,
    judged.page_kind,
    judged.cache,
    judged.caller,
    stacks.caller as taker,
    stacks.frames,
    judged.age_ns,
    100 * judged.age_ns / nullif(judged.life_ns, 0) as life_pct,
    judged.operations,
    judged.freed_held,
    judged.live_objects,
    judged.first_seq
from judged
inner join frozen on judged.run = frozen.run and judged.page_kind = frozen.page_kind
inner join policies on frozen.run = policies.run and frozen.policy = policies.policy
left join stacks on judged.run = stacks.run and judged.stack = stacks.stack
inner join runs on judged.run = runs.run
inner join traces using (trace_id)
