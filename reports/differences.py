"""A comparison as a report: what it says in sections of worded blocks, for every layout."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from reports import difference_figures, statistics, wording
from reports.change_wording import chance, interval, letter, number, percent
from reports.comparable import Weight
from reports.comparison import MEANINGS, Compared, Comparison, Verdict, movers
from reports.document import (
    Answer,
    Block,
    Bullets,
    Cell,
    Column,
    Heading,
    Mono,
    Report,
    Section,
    Strong,
    Table,
    Text,
)
from reports.quantities import MOVERS, QUANTITIES
from reports.statistics import DRAWS, LEVEL, MEDIAN_DRAWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHOWN = 15  #: rows of a list of top movers
_SILENT = (Verdict.FEW, Verdict.UNTESTED)


def report(comparison: Comparison, version: str, *, narrow: bool = False) -> Report:
    """What a comparison says.

    Args:
        comparison: the comparison.
        version: of allocsim, for the footer.
        narrow: for 80 columns of plain text: fewer columns, no figures.
    """
    labels = [side.label for side in comparison.sides]
    base = labels[comparison.baseline]
    others = wording.listed([labels[side] for side in comparison.others])
    title = f"{wording.shortened(others, 40)} against {wording.shortened(base, 40)}"
    sections = [
        Section(title, _noise(comparison), _first_pages(comparison, narrow=narrow)),
        Section("Every quantity", "Sides as on the first page", _detail(comparison, narrow=narrow)),
        Section(
            "Top movers",
            "Caches and call sites that differ, the largest supported change first",
            _all_movers(comparison, narrow=narrow),
        ),
        Section("How it was compared", "What the marks mean and how they were found", _method()),
    ]
    return Report(title=title, footer=f"allocsim {version}: {title}", sections=sections)


def _noise(comparison: Comparison) -> str:
    """One line on what the noise is, for the head."""
    if all(len(side.runs) == 1 for side in comparison.sides):
        return "One recording a side: noise is the variation within each run, not from run to run"
    return "Repeats: noise is the variation between recordings of a side"


def _first_pages(comparison: Comparison, *, narrow: bool) -> list[Block]:
    blocks: list[Block] = [_answer(comparison), _sides(comparison, narrow=narrow)]
    for weight, before in (
        (Weight.MUST, "FORCED, must be alike and is not: "),
        (Weight.SHOULD, "Warning: "),
        (Weight.NOTE, "Note: "),
    ):
        items = [before + each.text for each in comparison.remarks if each.weight is weight]
        if items:
            blocks.append(Bullets(items))
    if few := _few_repeats(comparison):
        blocks.append(Text(few))
    headline = [row for row in comparison.rows if row.quantity.headline]
    blocks += [
        _table(
            comparison,
            side,
            [row for row in headline if not _silent(row, side)],
            f"{letter(side)} against {letter(comparison.baseline)}: what matters most.",
            narrow=narrow,
        )
        for side in comparison.others
    ]
    if not narrow:
        blocks += difference_figures.pictures(comparison)
    return blocks


def _answer(comparison: Comparison) -> Answer:
    told = []
    for side in comparison.others:
        changes = [(row, row.changes[side]) for row in comparison.rows]
        tested = [(row, change) for row, change in changes if change and isfinite(change.p)]
        differ = [row for row, change in tested if change.verdict is Verdict.DIFFERS]
        name = f"{letter(side)} against {letter(comparison.baseline)}"
        if all(change and change.verdict is Verdict.SAME for _, change in changes):
            told.append(f"{name}: every row is exactly the same.")
            continue
        told.append(f"{name}: {len(differ)} of {len(tested)} tested rows differ.")
        leading = [row for row in differ if row.quantity.headline]
        told += [
            f"{row.name[0].upper()}{row.name[1:]}: {percent(change.change)}."
            for row in leading[:4]
            if (change := row.changes[side])
        ]
    return Answer(
        " ".join(told),
        f"After correction for {wording.plural(comparison.tested, 'test')} at the "
        f"{100 * LEVEL:.0f} % level (Benjamini-Hochberg). {_noise(comparison)}.",
    )


def _few_repeats(comparison: Comparison) -> str:
    """Said outright where there are repeats and still no test."""
    told = []
    base = len(comparison.sides[comparison.baseline].runs)
    for side in comparison.others:
        repeats = len(comparison.sides[side].runs)
        least = statistics.least_p(base, repeats)
        if base == repeats == 1 or least <= LEVEL:
            continue
        told.append(
            f"Not enough repeats: with {base} of {letter(comparison.baseline)} and {repeats} of "
            f"{letter(side)} a rank test cannot give p below {least:.2g}. Four a side are the "
            "least that can."
        )
    return " ".join(told)


def _sides(comparison: Comparison, *, narrow: bool) -> Table:
    rows: list[list[Cell]] = []
    for at, side in enumerate(comparison.sides):
        first = side.runs[0].row
        events = sum(run.row["events"] for run in side.runs)
        lost = sum((run.row["lost_events"] or 0) for run in side.runs)
        seconds = sum((run.row["last_ts"] - run.row["first_ts"]) / 1e9 for run in side.runs)
        rows.append(
            [
                f"{letter(at)}{' (baseline)' if at == comparison.baseline and not narrow else ''}",
                Mono(wording.shortened(side.label, 26 if narrow else 40)),
                wording.shortened(first["kernel_release"], 16 if narrow else 30),
                str(first["cpus"]),
                str(len(side.runs)),
                f"{events:,}",
                f"{lost:,}",
                f"{seconds:.3g}",
            ]
        )
    titles = ("", "side", "kernel", "CPUs", "n", "events", "lost", "s")
    return Table(
        f"What is compared; {letter(comparison.baseline)} is the baseline. n: recordings of the "
        "side; s: their length in seconds, together.",
        tuple(
            Column(title, numeric=at > 2, share=int(title == "side"))
            for at, title in enumerate(titles)
        ),
        rows,
    )


def _silent(row: Compared, side: int) -> bool:
    change = row.changes[side]
    return change is None or change.verdict in _SILENT


def _table(
    comparison: Comparison, side: int, rows: Sequence[Compared], caption: str, *, narrow: bool
) -> Table:
    """Rows with the baseline, the side, the change, its interval and the verdict."""
    base = comparison.baseline
    lines: list[list[Cell]] = []
    for row in rows:
        change = row.changes[side]
        if change is None:
            continue
        differs = change.verdict is Verdict.DIFFERS
        lines.append(
            [
                row.name if narrow else wording.shortened(row.name, 44),
                *([] if narrow else [row.quantity.unit]),
                number(row.values[base].value),
                number(row.values[side].value),
                Strong(percent(change.change)) if differs else percent(change.change),
                interval(change),
                *([] if narrow else [chance(change.p)]),
                change.verdict.value,
            ]
        )
    columns = [
        Column("", numeric=False, share=1),
        *([] if narrow else [Column("unit", numeric=False)]),
        Column(letter(base)),
        Column(letter(side)),
        Column("change"),
        Column("95 % interval"),
        *([] if narrow else [Column("p")]),
        Column("", numeric=False),
    ]
    return Table(caption, tuple(columns), lines)


def _detail(comparison: Comparison, *, narrow: bool) -> list[Block]:
    blocks: list[Block] = []
    for side in comparison.others:
        pair = f"{letter(side)} against {letter(comparison.baseline)}"
        for group in _ordered(row.quantity.group for row in comparison.rows):
            if group in MOVERS:
                continue
            rows = [row for row in comparison.rows if row.quantity.group == group]
            if not narrow:
                blocks.append(_table(comparison, side, rows, f"{group}. {pair}.", narrow=False))
                continue
            kept = [row for row in rows if row.changes[side] and not _left_out(row, side)]
            for unit in _ordered(row.quantity.unit for row in kept):
                of_unit = [row for row in kept if row.quantity.unit == unit]
                caption = f"{group}, {unit}. {pair}."
                blocks.append(_table(comparison, side, of_unit, caption, narrow=True))
            if len(kept) < len(rows):
                left = wording.plural(len(rows) - len(kept), "row")
                blocks.append(Text(f"{group}: {left} with fewer than 10 counted left out."))
    blocks += _means(comparison)
    return blocks


def _left_out(row: Compared, side: int) -> bool:
    change = row.changes[side]
    return change is not None and change.verdict is Verdict.FEW


def _ordered(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _means(comparison: Comparison) -> list[Block]:
    if not comparison.means:
        return []
    rows: list[list[Cell]] = [
        [
            f"{mean.quantity.group}: {mean.quantity.name.rstrip(',:')} {mean.quantity.unit}",
            f"{letter(mean.side)}/{letter(comparison.baseline)}",
            number(mean.ratio),
            str(mean.items),
            str(mean.left_out),
        ]
        for mean in comparison.means
    ]
    return [
        Table(
            "Geometric mean of the ratio over the items of a quantity, each counting alike, and "
            "not tested. Left out: items that a side has none of, or too few.",
            (
                Column("", numeric=False, share=1),
                Column("", numeric=False),
                Column("mean"),
                Column("items"),
                Column("left out"),
            ),
            rows,
        )
    ]


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
            if not found:
                blocks.append(
                    Text(
                        f"{group}, {pair}: none of {wording.plural(tested, 'tested row')} differs."
                    )
                )
                continue
            more = f" The first {SHOWN} of {len(found)}." if len(found) > SHOWN else ""
            caption = f"{group}, {pair}: {len(found)} of {tested} tested rows differ.{more}"
            if not narrow:
                blocks.append(_table(comparison, side, found[:SHOWN], caption, narrow=False))
                continue
            for unit in _ordered(row.quantity.unit for row in found[:SHOWN]):
                of_unit = [row for row in found[:SHOWN] if row.quantity.unit == unit]
                table = _table(comparison, side, of_unit, f"{caption} {unit}.", narrow=True)
                blocks.append(table)
    return blocks


def _method() -> list[Block]:
    return [
        Bullets([f"{verdict.value}  {meaning}" for verdict, meaning in MEANINGS.items()]),
        Text(
            f"One recording a side: standard errors from {DRAWS:,} draws of a circular block "
            "bootstrap over time slices (120 a run), the change on the logarithm by Student's t "
            "with as many degrees of freedom as there are blocks. This is variation within a run. "
            "How much another run of the same thing would differ it cannot say. Simulations of one "
            "and the same recording share its variation: between these the intervals are too wide."
        ),
        Text(
            "Several recordings a side: medians; intervals from "
            f"{MEDIAN_DRAWS:,} bootstrap draws of the ratio of medians; p by the Mann-Whitney "
            "rank test, exact without ties."
        ),
        Text(
            "Correction for many rows: Benjamini-Hochberg over all tested rows of the "
            "comparison, so that of the rows marked * about 5 % are expected to be wrong."
        ),
        Text(
            "Events divided by are those that allocate or free an object or pages. Own policy: "
            "what the recorded kernel does to reference counts, by its version; recorded: what "
            "page_ref events say. Functions are told apart by name, without _noprof."
        ),
        Heading("What the quantities are"),
        Bullets(
            _ordered(
                f"{quantity.group}: {quantity.name.rstrip(',:')} ({quantity.unit}). {quantity.doc}"
                for quantity in QUANTITIES
            )
        ),
    ]
