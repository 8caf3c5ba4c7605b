"""One call of a probed function that hands over many objects becomes a record for each (T19).

The records of the elements lie where the call's does; what differs is how much further the pointer
is to be read (Stream.shift).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.raw.probes import POINTER

if TYPE_CHECKING:
    from allocsim.tables import Int64
    from pipeline.ingest.raw.probes import ProbeFormat, Probes
    from pipeline.ingest.stream import Chains, Stream

_MOST = np.uint64(1 << 20)  # objects of a call


def spread(stream: Stream, probes: Probes) -> Stream:
    """The stream with a record for each object that a probe's shows, none for a call in vain.

    The objects of the window's calls are counted in ``probes``.
    """
    times = np.ones(len(stream.slot), np.int64)
    element = np.zeros(len(times), np.bool_)
    for slot, probe in probes.slots.items():
        record = np.flatnonzero(stream.slot == slot)
        times[record] = _objects(stream, record, probe, probes)
        element[record] = True
    if not element.any():
        return stream
    source = np.repeat(np.arange(len(times)), times)
    begin = np.cumsum(times) - times
    nth = np.arange(len(source)) - begin[source]
    return replace(
        stream,
        offset=stream.offset[source],
        size=stream.size[source],
        ts=stream.ts[source],
        cpu=stream.cpu[source],
        slot=stream.slot[source],
        head=stream.head[source],
        inside=stream.inside[source],
        in_time=None if stream.in_time is None else _in_time(stream.in_time, times, begin),
        chains=None if stream.chains is None else _chains(stream.chains, times, begin),
        shift=POINTER * nth * element[source],
    )


def _in_time(in_time: Int64, times: Int64, begin: Int64) -> Int64:
    of_each = times[in_time]
    first = np.repeat(np.cumsum(of_each) - of_each, of_each)
    return np.repeat(begin[in_time], of_each) + np.arange(len(first)) - first


def _chains(chains: Chains, times: Int64, begin: Int64) -> Chains:
    """The stack of a call is that of its first object."""
    kept = chains.only(times > 0)
    return replace(kept, record=begin[times > 0][kept.record])


def _objects(stream: Stream, record: Int64, probe: ProbeFormat, probes: Probes) -> Int64:
    """How many objects each of some records of a probe shows."""
    at = stream.offset[record]
    count = np.ones(len(record), np.int64)
    if probe.nr is not None:
        # A damaged number is that of a call with more objects than there is room for.
        count = np.minimum(stream.gather(probe.nr, at), _MOST).astype(np.int64)
    if probe.done is not None:
        count[stream.gather(probe.done, at) == 0] = 0
    inside = stream.inside[record]
    if probe.first == 0:
        probes.calls += int(count[inside].sum())
    count = np.clip(count - probe.first, 0, probe.most)
    probes.shown[probe.probe] += int(count[inside].sum())
    return count
