"""Memory descriptors: schemes, and the caches that the descriptors themselves come from."""
