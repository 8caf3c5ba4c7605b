"""What a comparison compares of what recorded runs are priced with, as data."""

from __future__ import annotations

from reports.compare.quantity import COSTS, DESCRIPTORS, PER_EVENTS, Quantity
from reports.compare.recorded_measures import EVENTS, SECONDS

PRICED_QUANTITIES = (
    Quantity(
        DESCRIPTORS,
        "descriptors:",
        "descriptor_bytes",
        "memory_bytes",
        "% of memory",
        "What page descriptors take under a scheme, without what is not known, on average.",
        "estimated",
        scale=100,
        items=True,
        own_whole=True,
        counted=False,
        state=True,
        headline=True,
    ),
    Quantity(
        DESCRIPTORS,
        "descriptor operations:",
        "descriptor_ops",
        SECONDS,
        "per second",
        "Allocations and frees of descriptors that a scheme adds.",
        "estimated",
        items=True,
        counted=False,
    ),
    Quantity(
        COSTS,
        "time, at least",
        "est_ns_low",
        EVENTS,
        f"ns {PER_EVENTS}",
        "What the operations of the recorded kernel's policy take at least, by the table of costs.",
        "estimated",
        scale=1000,
        counted=False,
    ),
    Quantity(
        COSTS,
        "time, at most",
        "est_ns_high",
        EVENTS,
        f"ns {PER_EVENTS}",
        "What they take at most.",
        "estimated",
        scale=1000,
        counted=False,
    ),
)
