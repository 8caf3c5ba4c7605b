"""SLUB of 6.12: a slab and a partial list on each CPU."""
