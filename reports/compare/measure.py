"""One question that a comparison asks of a results database."""

from __future__ import annotations

from dataclasses import dataclass

# Slice of a row with a time ``ts``, joined with its run.
SLICE = "(ts - first_ts) // slice_ns"
# Lifetimes are binned by their logarithm, to know how their quantiles vary from one stretch of a
# run to another; the quantiles themselves are exact.
BINS_PER_DECADE = 20
BINS = 12 * BINS_PER_DECADE  #: from 1 ns to 1000 s


@dataclass(frozen=True, slots=True)
class Measure:
    """One question to a results database; its answer is what was counted, of what, and when.

    Args:
        name: what quantities call it.
        sql: its rows (item, slice, value): what was counted of an item in a time slice of the run;
            slice is NULL where the database has only a total. $run is the run, $recorded the
            recorded run that a simulated one was made from (the run itself if it is recorded),
            $own the policy of the recorded kernel.
        needs: tables or views without which it is not asked.
        sliced: the rows say in which slice; False: slice is NULL.
        binned: rows have a column bin besides: BINS_PER_DECADE to a decade of nanoseconds.
        ranged: rows have columns low and high besides, between which value is assumed: equal to it
            where nothing is. measure() in measure_runs gives them as measures of their own.
        optional: a run that has no rows does not have the measure (it was not simulated, not priced
            with that policy, or what it takes was not stored); False: no rows mean none.
    """

    name: str
    sql: str
    needs: tuple[str, ...] = ()
    sliced: bool = True
    binned: bool = False
    optional: bool = False
    ranged: bool = False
