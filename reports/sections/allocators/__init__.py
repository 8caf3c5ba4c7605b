"""Who allocates: caches, functions, call sites, source directories."""
