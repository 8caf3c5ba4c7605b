"""The tables of ``allocsim stat``: who allocates how much, as perf kmem totals it."""
