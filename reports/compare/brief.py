"""A comparison of two sides in one screen: what differs, a table, and how it was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.compare import story
from reports.compare.comparison import MEANINGS, ChangeVerdict
from reports.compare.identity import Why
from reports.compare.report import modelled, noise
from reports.compare.tables import brief_table
from reports.compare.wording import letter
from reports.render import wording
from reports.render.document import Answer, Block, Report, Section, Text
from reports.render.text import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.compare.comparison import Compared, Comparison

LINES = 40  #: of what is shown, of 80 columns
_SHARE = 0.001  #: of all allocations: what is left out of less is not told
_FROZEN = 2  #: rows of kinds of page that one side has frozen
_NAME = 40  #: characters of a name from which on it is cut


def brief(comparison: Comparison, version: str) -> Report:
    """What a comparison of two sides says in at most LINES lines of text.

    Args:
        comparison: the comparison; of its other sides the first is told.
        version: of allocsim.
    """
    comparison = _cut(comparison)
    told = story.told(comparison, comparison.others[0])
    for kept in range(len(told), 0, -1):
        report = _of(comparison, told, kept, version)
        if len(to_text(report).splitlines()) <= LINES:
            break
    return report


def _cut(comparison: Comparison) -> Comparison:
    """The comparison with long names of its items cut: of its lines there are LINES."""
    rows = tuple(replace(row, item=wording.shortened(row.item, _NAME)) for row in comparison.rows)
    identity = comparison.identity
    if identity is not None:
        changes = [
            {
                wording.shortened(item, _NAME): wording.shortened(told, 2 * _NAME)
                for item, told in side.items()
            }
            for side in identity.changes
        ]
        identity = replace(identity, changes=changes)
    return replace(comparison, rows=rows, identity=identity)


def _of(comparison: Comparison, told: Sequence[str], kept: int, version: str) -> Report:
    base, side = comparison.baseline, comparison.others[0]
    labels = [wording.shortened(comparison.sides[at].label, _NAME) for at in (side, base)]
    title = f"{labels[0]} ({letter(side)}) against {labels[1]} ({letter(base)})"
    more = f" ({len(told) - kept} more without --brief.)" if kept < len(told) else ""
    tests = f"; {wording.plural(comparison.tested, 'test')}, corrected by Benjamini and Hochberg"
    blocks: list[Block] = [
        Answer(
            f"{' '.join(told[:kept])}{more}",
            f"{noise(comparison)}{tests * bool(comparison.tested)}.",
        )
    ]
    rows = [*story.brief_rows(comparison), *_frozen_rows(comparison, side)]
    if rows:
        caption = f"{story.UNIT[0].upper()}{story.UNIT[1:]}, if not said otherwise."
        blocks.append(brief_table(comparison, side, rows, caption))
    blocks.append(Text(_measured(comparison, side, version)))
    sides = "; ".join(_side(comparison, at) for at in (base, side))
    return Report(title, f"allocsim {version}: {title}", [Section(title, sides, blocks)])


def _side(comparison: Comparison, at: int) -> str:
    runs = comparison.sides[at].runs
    lost = sum(run.row["lost_events"] or 0 for run in runs)
    seconds = sum(run.row["last_ts"] - run.row["first_ts"] for run in runs) / 1e9
    kernel = wording.shortened(runs[0].row["kernel_release"], _NAME)
    recordings = f"{len(runs)} recordings, " if len(runs) > 1 else ""
    return (
        f"{letter(at)}: {recordings}{kernel}, {runs[0].row['cpus']} CPUs, "
        f"{sum(run.row['events'] for run in runs):,} events in {seconds:.3g} s, "
        f"{f'{lost:,}' if lost else 'none'} lost"
    )


def _frozen_rows(comparison: Comparison, side: int) -> list[tuple[str, Compared]]:
    return [
        (f"all ops on {row.item} pages", row)
        for row in comparison.rows
        if row.quantity.part == "own_ops"
        and (change := row.changes[side]) is not None
        and change.verdict is ChangeVerdict.FROZEN
    ][:_FROZEN]


def _measured(comparison: Comparison, side: int, version: str) -> str:
    """What rows are divided by, what is left out, and what the marks mean."""
    objects = wording.listed([f"{comparison.objects[at]:,}" for at in (comparison.baseline, side)])
    marks = (ChangeVerdict.DIFFERS, ChangeVerdict.CHANCE, ChangeVerdict.NONE, ChangeVerdict.FROZEN)
    means = "; ".join(f"{mark.value} {MEANINGS[mark].split(',')[0]}" for mark in marks)
    divisor = (
        f"Objects: {objects} allocations that both sides trace alike, paired by call site and "
        "cache."
    )
    marked = f"{means}. allocsim {version}."
    return " ".join(
        filter(None, (divisor, _left_out(comparison, side), modelled(comparison), marked))
    )


def _left_out(comparison: Comparison, side: int) -> str:
    """What share of the allocations is in no row, and why."""
    identity = comparison.identity
    if identity is None:
        return ""
    parts = []
    for why in Why:
        each = [at for at in identity.left_out if at.why is why]
        shares = [identity.share(at, why) for at in (comparison.baseline, side)]
        if not each or max(shares) < _SHARE:
            continue
        share = " and ".join(f"{100 * share:.2g} %" for share in shares)
        names = [wording.shortened(left.name, _NAME) for left in each[:2]]
        caches = f" ({wording.listed(names)})" if why is Why.UNTRACED else ""
        parts.append(f"{share} {why.value}{caches}")
    sides = wording.listed([letter(comparison.baseline), letter(side)])
    return f"Of all allocations of {sides}, in no row: {'; '.join(parts)}." if parts else ""
