#!/bin/sh
# Record the kmem events of a command, with what the kernel says of its memory before and behind it.
# Needs root, trace-cmd and a mounted tracefs; zstd too for copies of /proc/kpageflags.
set -eu

usage() {
    cat >&2 <<'EOF'
usage: record.sh [-o FOLDER] [-b KB] [-C CLOCK] [-e EVENT]... COMMAND [ARGUMENT...]
  -o FOLDER  where to put the recording, a new folder (default: recording)
  -b KB      ring buffer of each CPU (default: 100000)
  -C CLOCK   clock of the events (default: global)
  -e EVENT   record this too, as trace-cmd names events (page_ref: a kernel that has them)
EOF
    exit 2
}

fail() {
    echo "record.sh: $*" >&2
    exit 1
}

# Counters of /proc, into the folder $1. What this kernel lacks is left out.
counters() {
    cat /proc/uptime > "$1/uptime"
    for name in slabinfo buddyinfo pagetypeinfo zoneinfo meminfo; do
        cat "/proc/$name" > "$1/$name" 2> /dev/null || rm -f "$1/$name"
    done
}

# Whose each page frame is, into the folder $1.
frames() {
    command -v zstd > /dev/null || return 0
    for name in kpageflags kpagecount; do
        if [ -r "/proc/$name" ]; then
            cat "/proc/$name" 2> /dev/null | zstd -q -3 -o "$1/$name.zst"
        fi
    done
}

# What each place in the source has allocated (CONFIG_MEM_ALLOC_PROFILING), into the folder $1.
tags() {
    cat /proc/allocinfo > "$1/allocinfo" 2> /dev/null || rm -f "$1/allocinfo"
}

# Who allocated each block of pages (booted with page_owner=on), into the folder $1.
owners() {
    command -v zstd > /dev/null || return 0
    owner=/sys/kernel/debug/page_owner
    if [ -r $owner ] && head -c 1 $owner > /dev/null 2>&1; then
        cat $owner | zstd -q -3 -o "$1/page_owner.zst"
    fi
}

# Functions of the allocators that have no tracepoint, as probes of the group allocsim. The probe
# grammar allows arrays of 64 at most: the first 16 objects of a call are one event, further ones
# have events of their own, up to 528, which are made only where a call has so many. What this
# kernel does not let be probed is left out. Where the fields of a cache lie is known for the
# kernels that were read (struct kmem_cache, struct slab_sheaf), of others by BTF.
probes() (
    [ -w $tracing/kprobe_events ] || exit 0
    free=kmem_cache_free_bulk alloc=kmem_cache_alloc_bulk_noprof
    cache='' size='' caller='' done='' sheaf=''
    if [ -e /sys/kernel/btf/vmlinux ]; then
        cache=' cache=s->name:string' size=' bytes_alloc=s->size:u32' done=' done=$retval'
    fi
    case $(uname -r) in
        7.[123].* | 7.[123]-*)
            cache=' cache=+0(+88($arg1)):string' size=' bytes_alloc=+24($arg1):u32'
            done=' done=$retval:u8' sheaf='cache=+0(+88(+16($arg1))):string nr=+24($arg1):u32' ;;
    esac
    [ "$(uname -m)" != x86_64 ] || caller=' caller=$stack0:x64'
    {
        [ ! "$sheaf" ] || echo "f:allocsim/rcu_free_sheaf rcu_free_sheaf $sheaf"
        echo "r64:allocsim/kfree_rcu_sheaf __kfree_rcu_sheaf$cache ptr=\$arg2:x64 done=\$retval:u8"
        echo "r64:allocsim/kmem_cache_prefill_sheaf kmem_cache_prefill_sheaf$cache" \
            "nr=\$arg3:u32 sheaf=\$retval:x64"
        echo "r64:allocsim/kmem_cache_refill_sheaf kmem_cache_refill_sheaf$cache" \
            "nr=\$arg4:u32 was=+0(\$arg3):x64"
        echo "p:allocsim/kmem_cache_return_sheaf kmem_cache_return_sheaf$cache sheaf=\$arg3:x64"
        for first in '' 16 80 144 208 272 336 400 464; do
            part=${first:+_from_$first} words=64 at="+$((8 * ${first:-0}))"
            [ "$first" ] || words=16
            echo "p:allocsim/kmem_cache_free_bulk$part $free$cache nr=\$arg2:u64$caller" \
                "ptrs=$at(\$arg3):x64[$words]"
            [ ! "$size" ] || echo "r64:allocsim/kmem_cache_alloc_bulk$part $alloc$cache$size" \
                "gfp=\$arg2:u32 nr=\$arg3:u64$done ptrs=$at(\$arg4):x64[$words]"
        done
    } | while read -r probe; do
        echo "$probe" >> $tracing/dynamic_events || # before 6.10 it was called without _noprof
            echo "${probe%%_noprof*}${probe#*_noprof}" >> $tracing/dynamic_events || true
    done 2> /dev/null
)

# The probes are made events of the recording, if there are any.
probes_on() {
    for event in $tracing/events/allocsim/*/; do
        [ -e "$event/enable" ] || continue
        case $event in *_from_*) first=${event##*_}; echo "nr > ${first%/}" > "$event/filter" ;; esac
        echo 1 > "$event/enable"
    done
}

# Every attribute of every slab cache, into the folder $1. A cache merged with another is a link.
caches() (
    cd /sys/kernel/slab 2> /dev/null || exit 0
    {
        grep -rs . . | sed 's|^\./\([^/]*\)/\([^:]*\):|\1 \2 |'
        find . -type l -exec sh -c 'for i; do echo "${i#./} -> $(readlink "$i")"; done' sh {} +
    } > "$1/sysfs_slab.txt"
)

folder=recording kb=100000 clock=global more=
while getopts o:b:C:e: option; do
    case $option in
        o) folder=$OPTARG ;;
        b) kb=$OPTARG ;;
        C) clock=$OPTARG ;;
        e) more="$more -e $OPTARG" ;;
        *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage

[ "$(id -u)" = 0 ] || fail "only root may trace the kernel"
command -v trace-cmd > /dev/null || fail "there is no trace-cmd"
tracing=/sys/kernel/tracing
[ -e $tracing/trace ] || mount -t tracefs tracefs $tracing || fail "$tracing cannot be mounted"
[ -d $tracing/events/kmem ] || fail "this kernel has no kmem events"
# Whose trace is on would lose it by the reset below. Files of tracefs have no size: they are read.
used=$(cat $tracing/current_tracer $tracing/set_event $tracing/dynamic_events 2> /dev/null) || true
[ "$used" = nop ] || fail "tracing is in use ($(echo $used)); end that first, by trace-cmd reset"
mkdir "$folder" || fail "$folder must be a new folder"
folder=$(cd "$folder" && pwd)

uname -a > "$folder/uname"
cat /proc/iomem > "$folder/iomem"
cat /proc/cmdline > "$folder/cmdline"
cat /proc/cpuinfo > "$folder/cpuinfo"

# The ring buffer is there before the first snapshot, so that its pages are in both.
# Of each snapshot the counters are taken nearest to the recording, for the kernel changes them all
# the time. The frames lie between the two vmstats, which say how many pages came and went.
trap 'trace-cmd reset > /dev/null 2>&1' EXIT
trace-cmd reset > /dev/null
probes
echo "$kb" > $tracing/buffer_size_kb || fail "a ring buffer of $kb KB a CPU cannot be had"
before=$folder/snapshots/before after=$folder/snapshots/after
mkdir -p "$before" "$after"
owners "$before"
caches "$before"
tags "$before"
cat /proc/vmstat > "$before/vmstat"
frames "$before"
counters "$before"

# shellcheck disable=SC2086  # one word an argument is meant
trace-cmd start -b "$kb" -C "$clock" -e kmem -e kmem:mm_page_alloc -R stacktrace $more > /dev/null
probes_on
trap : INT # ends the command, not the recording
status=0
"$@" || status=$?
echo 0 > $tracing/tracing_on # by this shell: no program begins or ends behind the command

counters "$after"
frames "$after"
cat /proc/vmstat > "$after/vmstat"
tags "$after"
caches "$after"
for cpu in $tracing/per_cpu/cpu*; do
    echo "${cpu##*/} $(tr '\n' ' ' < "$cpu/stats")"
done > "$folder/trace_stats"
cat $tracing/kprobe_profile > "$folder/probe_profile" 2> /dev/null || rm -f "$folder/probe_profile"
trace-cmd extract -o "$folder/trace.dat" > /dev/null
echo "record.sh: $folder is recorded; the command ended with $status"
lost=$(sed 's/.*entries: .* overrun: \([0-9]*\) commit.*/\1/' "$folder/trace_stats" | awk '{ n += $1 } END { print n + 0 }')
[ "$lost" = 0 ] || echo "record.sh: $lost events were lost: say a larger -b" >&2
exit $status
