"""What the machine held before the first event, from snapshots and first touches."""
