-- cpu_distances: one row is one pair of CPUs of the machine of one trace: how far apart they are.
--
-- By /proc/cpuinfo of the recorded machine (observed). CPUs of one package mostly share its last-level
-- cache and its node, which cpuinfo does not say.
--
-- Columns:
--   trace_id   Which trace (traces.trace_id).
--   alloc_cpu  One CPU.
--   free_cpu   The other, or the same.
--   distance   same CPU, same core, same package, other package; other CPU where it is not known.
with cpus as (
    select
        trace_id,
        unnest(range(cpus))::smallint as cpu
    from traces
),

placed as (
    select
        cpus.*,
        core,
        package
    from cpus
    left join cpu_topology using (trace_id, cpu)
)

select
    one.trace_id,
    one.cpu as alloc_cpu,
    other.cpu as free_cpu,
    case
        when one.cpu = other.cpu then 'same CPU'
        when one.package <> other.package then 'other package'
        when one.package = other.package and one.core = other.core then 'same core'
        when one.package = other.package then 'same package'
        else 'other CPU'
    end as distance
from placed as one
inner join placed as other using (trace_id)
