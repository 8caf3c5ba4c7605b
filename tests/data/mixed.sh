#!/bin/sh
# files that come and go, processes, pipes and sockets; by a shell and busybox alone
dir=$(mktemp -d) # on tmpfs
many() { # empty files of side $1, made by the shell itself
    n=0
    while [ $n -lt $2 ]; do
        : > $dir/$1.$n
        n=$((n + 1))
    done
}
for round in 1 2; do
    many a 250 & many b 250 &
    wait
    rm -f $dir/a.* & rm -f $dir/b.* &
    wait
done
mkfifo $dir/gate
for sleeper in 1 2 3 4 5 6 7 8 9 10; do # processes that live at one time
    (read -r line < $dir/gate) &
done
echo go > $dir/gate
kill $(jobs -p) 2> /dev/null
wait
seq 2000 | tr 0-9 a-j | sort | wc -c > $dir/sum
nc -l -p 5000 > /dev/null &
usleep 300000
dd if=/dev/zero bs=4k count=64 2> /dev/null | nc 127.0.0.1 5000 &
usleep 700000
kill $(jobs -p) 2> /dev/null
wait
for reader in 1 2 3; do # the iterator of this file is a large kmalloc
    exec 3< /sys/kernel/tracing/trace
    exec 3<&-
done
echo 2 > /proc/sys/vm/nr_hugepages
echo 0 > /proc/sys/vm/nr_hugepages
rm -rf $dir
