"""Which live page block holds each page frame: runs of frames, carried from window to window."""

from __future__ import annotations

import numpy as np

from allocsim.tables import I8, Columns, concat, empty, merge_sorted, take

# What live frames have been through, as far as the next event on them needs to know.
REF_SEEN = 1  # a page_ref event
DROPPED = 2  # their last event took the count to zero
SET_BORN = 4  # their only event is the set that began their life

_EXTENT = {"start": "i8", "end": "i8", "page": "i8", "history": "i1"}


def within(runs: Columns, pfn: I8) -> I8:
    """Row of the run, of those with ``start`` and ``end``, that holds each frame; -1: none."""
    if not len(runs["start"]):
        return np.full(len(pfn), -1, np.int64)
    at = np.searchsorted(runs["start"], pfn, side="right") - 1
    return np.where((at >= 0) & (pfn < runs["end"][at]), at, -1)


class Extents:
    """Disjoint runs [start, end) of live frames of one life and one history, by start."""

    def __init__(self) -> None:
        self.table = empty(_EXTENT)

    def holding(self, pfn: I8) -> I8:
        """Row of the run that holds each frame (i8); -1: none."""
        return within(self.table, pfn)

    def page_of(self, pfn: I8) -> I8:
        """Handle of the life that holds each frame (i8); -1: none."""
        at = self.holding(pfn)
        held = at >= 0
        page = np.full(len(pfn), -1, np.int64)
        page[held] = self.table["page"][at[held]]
        return page

    def replace(self, touched: Columns, live: Columns) -> None:
        """Take out frames that had events in a window, put in those that live at its end.

        Args:
            touched: ``start`` and ``end`` of runs of frames, ascending and disjoint; each lies in
                one run of the table or in none.
            live: runs to put in, ascending, of the columns of the table.
        """
        inside = self.holding(touched["start"])
        hit = np.unique(inside[inside >= 0])
        rest = {name: np.delete(values, hit) for name, values in self.table.items()}
        fresh = concat([self._pieces(hit, take(touched, inside >= 0), inside[inside >= 0]), live])
        fresh = _joined(take(fresh, np.argsort(fresh["start"], kind="stable")))
        self.table = merge_sorted(rest, fresh, "start")

    def _pieces(self, hit: I8, cut: Columns, of: I8) -> Columns:
        """What is left of runs when others are cut out of them: before, between and behind."""
        next_start = np.append(cut["start"][1:], 0)
        last = np.append(of[1:] != of[:-1], np.ones(min(len(of), 1), bool))
        first = np.append(np.ones(min(len(of), 1), bool), of[1:] != of[:-1])
        start = np.concatenate([self.table["start"][hit], cut["end"]])
        end = np.concatenate(
            [cut["start"][first], np.where(last, self.table["end"][of], next_start)]
        )
        source = np.concatenate([hit, of])
        stays = start < end
        return {
            "start": start[stays],
            "end": end[stays],
            "page": self.table["page"][source[stays]],
            "history": self.table["history"][source[stays]],
        }


def _joined(runs: Columns) -> Columns:
    """Runs, ascending, with neighbours of one life and history made one."""
    if not len(runs["start"]):
        return runs
    begins = np.ones(len(runs["start"]), bool)
    begins[1:] = runs["start"][1:] != runs["end"][:-1]
    for name in ("page", "history"):
        values: I8 = runs[name]
        begins[1:] |= values[1:] != values[:-1]
    joined = take(runs, begins)
    joined["end"] = runs["end"][np.append(begins[1:], True)]
    return joined
