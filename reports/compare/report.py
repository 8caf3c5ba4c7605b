"""A comparison as a report: what it says in sections of worded blocks, for every layout."""

from __future__ import annotations

from itertools import count
from math import ceil, isfinite

from reports.compare import figures as difference_figures
from reports.compare import statistics, story
from reports.compare.comparable import Weight
from reports.compare.comparison import MEANINGS, Comparison, movers
from reports.compare.identity import Why
from reports.compare.quantity import GROUPS, KNOWN, MOVERS
from reports.compare.statistics import DRAWS, LEVEL, MEDIAN_DRAWS
from reports.compare.tables import (
    means_table,
    sides_table,
    tables,
    without_same,
    worth_showing,
)
from reports.compare.wording import letter
from reports.render import wording
from reports.render.document import (
    Answer,
    Block,
    Bullets,
    Heading,
    Mono,
    Report,
    Section,
    Table,
    TableColumn,
    Text,
)

SHOWN = 15  #: rows of a list of top movers
_PAIRED = (
    "Caches are paired by what is in them (inferred): a cache with the same names on both sides, "
    "by /sys/kernel/slab; else what one function allocates from caches with a name in common, as "
    "many objects as can be; else what functions of one side alone allocate from such caches. Of "
    "slabs and of the model's counters there are rows only for caches that hold the same objects "
    "on every side."
)
_WEIGHED = {
    Weight.MUST: "FORCED, must be alike and is not: ",
    Weight.SHOULD: "Warning: ",
    Weight.NOTE: "Note: ",
}


def report(comparison: Comparison, version: str, *, narrow: bool = False) -> Report:
    """What a comparison says.

    Args:
        comparison: the comparison.
        version: of allocsim, for the footer.
        narrow: for 80 columns of plain text: fewer columns, no figures.
    """
    base = comparison.sides[comparison.baseline].label
    labels = [comparison.sides[side].label for side in comparison.others]
    # Of a simulation of the baseline's own recording the settings say enough.
    others = [label.removeprefix(base) if label != base else label for label in labels]
    title = f"{wording.shortened(wording.listed(others), 50)} against {wording.shortened(base, 40)}"
    sections = [
        Section(title, noise(comparison), _first_pages(comparison, narrow=narrow)),
        Section("Every quantity", "Sides as on the first page", _detail(comparison, narrow=narrow)),
        Section(
            "What moved",
            "Caches and call sites that differ, by what they do to memory and list locks",
            _all_movers(comparison, narrow=narrow),
        ),
        Section(
            "How it was compared",
            "What the marks mean and how they were found",
            _method(comparison),
        ),
    ]
    return Report(title=title, footer=f"allocsim {version}: {title}", sections=sections)


def noise(comparison: Comparison) -> str:
    """One line on what the noise is, for the head."""
    if all(comparison.paired(side) for side in comparison.others):
        return "One recording on all sides: the interval is how the change varies within it"
    if all(len(side.runs) == 1 for side in comparison.sides):
        return "One recording a side: noise is the variation within each run, not from run to run"
    return "Repeats: noise is the variation between recordings of a side"


def _first_pages(comparison: Comparison, *, narrow: bool) -> list[Block]:
    blocks: list[Block] = [_answer(comparison), sides_table(comparison, narrow=narrow)]
    items = [
        before + each.text
        for weight, before in _WEIGHED.items()
        for each in comparison.remarks
        if each.weight is weight
    ]
    if items:
        blocks.append(Bullets(items))
    none = "There are no rows of the model: not every side has a simulated run."
    blocks += [Text(modelled(comparison) or none), *_objects(comparison)]
    if few := _few_repeats(comparison):
        blocks.append(Text(few))
    headline = worth_showing(comparison, [row for row in comparison.rows if row.quantity.headline])
    kept, left_out = without_same(comparison, headline, "What matters most")
    if kept:
        blocks += tables(comparison, kept, "What matters most", narrow=narrow)
    blocks += left_out
    if not narrow:
        blocks += difference_figures.pictures(comparison)
    return blocks


def _objects(comparison: Comparison) -> list[Block]:
    """What rows are divided by, what has become of objects, and which are in no row."""
    counts = wording.listed([f"{each:,}" for each in comparison.objects])
    blocks: list[Block] = [
        Text(
            f"Objects that rows are divided by: {counts} allocations, that every side traces alike."
        )
    ]
    identity = comparison.identity
    if identity is None:
        return blocks
    for side in comparison.others:
        items = [f"{item}: {change}" for item, change in identity.changes[side].items()]
        if items:
            pair = f"{letter(side)} against {letter(comparison.baseline)}"
            blocks += [Text(f"Objects with another size or cache, {pair}."), Bullets(items)]
    reasons = []
    for why in Why:
        told = [
            f"{each.name} ({' and '.join(f'{count:,}' for count in each.objects)})"
            for each in identity.left_out
            if each.why is why
        ]
        more = [f"{len(told) - SHOWN} more"] if len(told) > SHOWN else []
        if told:
            reasons.append(f"{why.value}: {'; '.join([*told[:SHOWN], *more])}")
    if reasons:
        text = "In no row by cache or call site, with the allocations of each side."
        blocks += [Text(text), Bullets(reasons)]
    return blocks


def modelled(comparison: Comparison) -> str:
    """Which rows are of the model; nothing if there are none."""
    rows = [run.row for side in comparison.sides for run in side.runs]
    models = sorted({row["profile"] for row in rows if row["placement"] == "simulated"})
    if not models:
        return ""
    return (
        "Rows that begin with 'model' are of what the model of "
        f"{' or '.join(models)} does with each side's requests."
    )


def _answer(comparison: Comparison) -> Answer:
    if comparison.nothing_differs:
        text = f"Every row is exactly the same on every side: {len(comparison.rows)} rows."
    else:
        base = letter(comparison.baseline)
        text = " ".join(
            f"{letter(side)} against {base}: {' '.join(story.told(comparison, side))}"
            for side in comparison.others
        )
    return Answer(
        text,
        f"After correction for {wording.plural(comparison.tested, 'test')} at the "
        f"{100 * LEVEL:.0f} % level (Benjamini-Hochberg). {noise(comparison)}.",
    )


def _few_repeats(comparison: Comparison) -> str:
    """Said outright where there are repeats and still no test, or one that can hardly tell."""
    told = []
    base = len(comparison.sides[comparison.baseline].runs)
    for side in comparison.others:
        repeats = len(comparison.sides[side].runs)
        least = statistics.least_p(base, repeats)
        if base == repeats == 1:
            continue
        given = f"with {base} of {letter(comparison.baseline)} and {repeats} of {letter(side)}"
        needed = ceil(least * comparison.tested / LEVEL)
        if least > LEVEL:
            told.append(
                f"Not enough repeats: {given} a rank test cannot give p below {least:.2g}. "
                "Four a side are the least that can."
            )
        elif needed > 1:
            enough = next(
                n for n in count(base) if statistics.least_p(n, n) * comparison.tested <= LEVEL
            )
            told.append(
                f"Few repeats: {given} p cannot be below {least:.2g}, so that after correction for "
                f"{comparison.tested} tests a row is marked * only where {needed} rows reach it; "
                f"with {enough} a side a single one could be."
            )
    return " ".join(told)


def _detail(comparison: Comparison, *, narrow: bool) -> list[Block]:
    blocks: list[Block] = []
    for group in GROUPS:
        if group in MOVERS:
            continue
        of_group = [row for row in comparison.rows if row.quantity.group == group]
        rows, left_out = without_same(comparison, of_group, group)
        if narrow:
            counted = worth_showing(comparison, rows)
            if len(counted) < len(rows):
                left = wording.plural(len(rows) - len(counted), "row")
                left_out.append(Text(f"{group}: {left} with fewer than 10 counted left out."))
            rows = counted
        if rows:
            blocks += tables(comparison, rows, group, narrow=narrow)
        blocks += left_out
    return blocks + means_table(comparison)


def _all_movers(comparison: Comparison, *, narrow: bool) -> list[Block]:
    blocks: list[Block] = []
    for side in comparison.others:
        for group in MOVERS:
            found = movers(comparison, side, group)
            tested = sum(
                row.quantity.group == group
                and (change := row.changes[side]) is not None
                and isfinite(change.p)
                for row in comparison.rows
            )
            pair = f"{letter(side)} against {letter(comparison.baseline)}"
            of = wording.plural(tested, "tested row")
            if not found:
                blocks.append(Text(f"{group}, {pair}: none of {of} differs."))
                continue
            more = f"; the first {SHOWN}" if len(found) > SHOWN else ""
            caption = f"{group}: {len(found)} of {of} differ{more}"
            blocks += tables(comparison, found[:SHOWN], caption, narrow=narrow, sides=[side])
    return blocks


def _method(comparison: Comparison) -> list[Block]:
    rows, _ = without_same(comparison, comparison.rows, "")
    shown = dict.fromkeys(row.quantity for row in rows)
    marks = dict.fromkeys(
        change.verdict for row in comparison.rows for change in row.changes if change is not None
    )
    return [
        Table(
            "The mark of each row.",
            (TableColumn("", numeric=False), TableColumn("", numeric=False, share=1)),
            [[Mono(mark.value), meaning] for mark, meaning in MEANINGS.items() if mark in marks],
        ),
        *(Text(text) for text in _tests(comparison)),
        Text(
            "Correction for many rows: Benjamini-Hochberg over all tested rows of the "
            "comparison, so that of the rows marked * about 5 % are expected to be wrong."
        ),
        Text(
            "Objects that rows are divided by: allocations that every side traces alike. Own "
            "policy: what the recorded kernel does to reference counts, by its version; recorded: "
            "what page_ref events say. Functions are distinguished by name, without _noprof and "
            "what compilers add. Lives: of what was allocated and freed in the recording."
        ),
        Text(_PAIRED),
        Heading("What the quantities are"),
        Bullets(
            [
                f"{quantity.group}: {quantity.name.rstrip(',:')} ({quantity.unit}). {quantity.doc} "
                f"[{quantity.known}]"
                for quantity in shown
            ]
        ),
        Text(
            " ".join(
                f"{name[0].upper()}{name[1:]}: {meaning}."
                for name, meaning in KNOWN.items()
                if any(quantity.known == name for quantity in shown)
            )
        ),
    ]


def _tests(comparison: Comparison) -> list[str]:
    """How the differences of this comparison were tested: one paragraph a kind of test."""
    paired = [comparison.paired(side) for side in comparison.others]
    one = [
        len(comparison.sides[side].runs) == len(comparison.sides[comparison.baseline].runs) == 1
        for side in comparison.others
    ]
    told = []
    if any(paired):
        told.append(
            f"One recording on both sides: {DRAWS:,} draws of a circular block bootstrap over its "
            "time slices (120 a run), the same slices of both sides; from their logarithms the "
            "error of the change, and Student's t with as many degrees of freedom as there are "
            "blocks. For this recording the change is exact; the interval is how it varies within."
        )
    if any(each and not same for each, same in zip(one, paired, strict=True)):
        told.append(
            f"One recording a side: standard errors from {DRAWS:,} draws of a circular block "
            "bootstrap over time slices (120 a run), the change on the logarithm by Student's t "
            "with as many degrees of freedom as there are blocks. This is variation within a run. "
            "How much another run of the same thing would differ it cannot say."
        )
    if not all(one):
        told.append(
            f"Several recordings a side: medians; intervals from {MEDIAN_DRAWS:,} bootstrap draws "
            "of the ratio of medians; p by the Mann-Whitney rank test, exact without ties."
        )
    return told
