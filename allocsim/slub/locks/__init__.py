"""Locks of the allocators: who goes to them, how long they are held, who waits (R7.3, R7.4)."""
