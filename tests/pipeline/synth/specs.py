"""A spec with a little of everything, for tests."""

from __future__ import annotations

MIXED = """
name = "mixed"
doc = "A little of everything."
cpus = 4
memory = "1 GiB"
events = 60_000

[[cache]]
name = "dentry"
size = 192
flags = ["reclaimable"]

[[cache]]
name = "inode"
size = 640
flags = ["reclaimable", "account"]

[[phase]]
name = "up"
length = "5 ms"
rate = 3

[[phase]]
name = "down"
length = "5 ms"

[[work]]
name = "files"
arrival = { kind = "poisson", rate = 200_000 }
allocate = [{ cache = "dentry" }, { cache = "inode" }, { kmalloc = 100 }]
lifetime = [
    { kind = "exponential", mean = "1 ms", share = 8 },
    { kind = "phase-end" },
    { kind = "lognormal", median = "1 ms", sigma = 1.5 },
]
free = { remote = 0.2, order = "lifo" }

[[work]]
name = "bench"
cpus = [0, 2]
arrival = { kind = "closed", hold = "1 us", think = "500 us" }
allocate = [{ kmalloc = 256, count = 100 }]
lifetime = { kind = "batch" }
free = { order = "shuffled" }

[[work]]
name = "pages"
phases = ["down"]
arrival = { kind = "bursts", rate = 50_000, size = 10 }
pick = "one"
allocate = [
    { pages = "anon", weight = 5 },
    { pages = "page-cache", order = 2 },
    { kmalloc = 20_000 },
    { pages = "page-table" },
]
lifetime = [
    { kind = "quantiles", values = ["0 ns", "1 ms", "5 ms"] },
    { kind = "forever", share = 0.01 },
]

[[work]]
name = "rcu"
arrival = { kind = "poisson", rate = 20_000 }
allocate = [{ kmalloc = 64, type = "cg" }]
lifetime = { kind = "fixed", after = "10 us" }
free = { grace = "5 ms" }
"""
