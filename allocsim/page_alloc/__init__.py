"""The page allocator: zones, buddy and per-CPU page lists, one request and windows of them."""
