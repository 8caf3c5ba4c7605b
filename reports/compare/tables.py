"""Tables of a comparison: a row a quantity, a column a side, with change, interval and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.compare.comparison import Change, ChangeVerdict, Compared, Comparison
from reports.compare.wording import chance, interval, letter, number, percent, valued
from reports.render import wording
from reports.render.document import Block, Cell, Mono, Strong, Table, TableColumn, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIDES = 2  #: columns of sides beside the baseline's: more do not fit, and make another table
# A side's column in plain text: value, change and verdict, or their interval, above one another.
_VALUE, _CHANGE, _MARK = 8, 8, 4


def tables(
    comparison: Comparison,
    rows: Sequence[Compared],
    caption: str,
    *,
    narrow: bool,
    sides: Sequence[int] = (),
) -> list[Block]:
    """Rows as tables with the baseline and a column for every other side.

    Args:
        comparison: what the rows are of.
        rows: all of them are shown.
        caption: what is seen; the sides are added to it.
        narrow: for 80 columns. There, and where there are several sides, each unit has a table of
            its own, and p is left out.
        sides: numbers of the sides that are shown beside the baseline; none: all others.
    """
    found: list[Block] = []
    others = list(sides) or comparison.others
    for shown in (others[at : at + _SIDES] for at in range(0, len(others), _SIDES)):
        names = wording.listed([letter(side) for side in shown])
        pair = f"{names} against {letter(comparison.baseline)}"
        by_unit = narrow or len(shown) > 1
        for unit in _ordered(row.quantity.unit for row in rows) if by_unit else [""]:
            of_unit = [row for row in rows if unit in {"", row.quantity.unit}]
            what = f"{caption}{f', {unit}' if unit else ''}. {pair}."
            found.append(
                _several_narrow(comparison, shown, of_unit, what)
                if narrow and len(shown) > 1
                else _table(comparison, shown, of_unit, what, narrow=narrow)
            )
    return found


def _ordered(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _table(
    comparison: Comparison,
    sides: Sequence[int],
    rows: Sequence[Compared],
    caption: str,
    *,
    narrow: bool,
) -> Table:
    base = letter(comparison.baseline)
    wide = not narrow and len(sides) == 1  # room for the unit and for p
    columns = [
        TableColumn("", numeric=False, share=1),
        TableColumn(base),
    ]
    for side in sides:
        columns += [
            TableColumn(letter(side)),
            TableColumn("change" if len(sides) == 1 else f"{letter(side)}/{base}"),
            TableColumn("95 % interval"),
            *([TableColumn("p")] if wide else []),
            TableColumn("", numeric=False),
        ]
    if wide:  # last: on a phone the change is to be seen first
        columns.append(TableColumn("unit", numeric=False))
    lines: list[list[Cell]] = []
    for row in rows:
        line: list[Cell] = [
            row.name if narrow else wording.shortened(row.name, 44),
            valued(row.values[comparison.baseline]),
        ]
        for side in sides:
            change = _of(row, side)
            line += [
                valued(row.values[side]),
                _told(change),
                interval(change),
                *([chance(change.p)] if wide else []),
                Mono(change.verdict.value),
            ]
        if wide:
            line.append(row.quantity.unit)
        lines.append(line)
    return Table(caption, tuple(columns), lines)


def _of(row: Compared, side: int) -> Change:
    change = row.changes[side]
    if change is None:
        raise ValueError(f"side {side} is the baseline")
    return change


def _told(change: Change) -> Cell:
    text = percent(change.change)
    return Strong(text) if change.verdict in {ChangeVerdict.DIFFERS, ChangeVerdict.FROZEN} else text


def _several_narrow(
    comparison: Comparison, sides: Sequence[int], rows: Sequence[Compared], caption: str
) -> Table:
    """One column a side: value, change and verdict, and the interval below them."""
    columns = [
        TableColumn("", numeric=False, share=1),
        TableColumn(letter(comparison.baseline)),
        *(TableColumn(f"{letter(side)}{' ' * (_CHANGE + _MARK)}") for side in sides),
    ]
    lines: list[list[Cell]] = []
    for row in rows:
        changes = [_of(row, side) for side in sides]
        lines.append(
            [
                row.name,
                valued(row.values[comparison.baseline]),
                *(
                    f"{valued(row.values[side]):>{_VALUE}}{percent(change.change):>{_CHANGE}}"
                    f" {change.verdict.value:<{_MARK - 1}}"
                    for side, change in zip(sides, changes, strict=True)
                ),
            ]
        )
        intervals = [interval(change) for change in changes]
        if any(intervals):
            lines.append(["", "", *(f"{each}{' ' * _MARK}" for each in intervals)])
    return Table(caption, tuple(columns), lines)


def sides_table(comparison: Comparison, *, narrow: bool) -> Table:
    """What is compared: a row a side."""
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
            TableColumn(title, numeric=at > 2, share=int(title == "side"))
            for at, title in enumerate(titles)
        ),
        rows,
    )


def means_table(comparison: Comparison) -> list[Block]:
    """Geometric means over the items of each quantity that has several, and that changes."""
    changed = {row.quantity for row in without_same(comparison, comparison.rows, "")[0]}
    rows: list[list[Cell]] = [
        [
            f"{mean.quantity.group}: {mean.quantity.name.rstrip(',:')}",
            f"{letter(mean.side)}/{letter(comparison.baseline)}",
            number(mean.ratio),
            str(mean.items),
            str(mean.left_out),
        ]
        for mean in comparison.means
        if mean.quantity in changed
    ]
    if not rows:
        return []
    return [
        Table(
            "Geometric mean of the ratio over the items of a quantity, each counting alike, and "
            "not tested. Left out: items that a side has none of, or too few.",
            (
                TableColumn("", numeric=False, share=1),
                TableColumn("", numeric=False),
                TableColumn("mean"),
                TableColumn("items"),
                TableColumn("left out"),
            ),
            rows,
        )
    ]


def worth_showing(comparison: Comparison, rows: Sequence[Compared]) -> list[Compared]:
    """Rows that are not of too few counts on every side."""
    return [
        row
        for row in rows
        if any(_of(row, side).verdict is not ChangeVerdict.FEW for side in comparison.others)
    ]


def without_same(
    comparison: Comparison, rows: Sequence[Compared], what: str
) -> tuple[list[Compared], list[Block]]:
    """Rows without those that are exactly the same on every side, and how many these are.

    Where nothing differs anywhere all rows stay: that is what there is to show then.
    """
    changed = [
        row
        for row in rows
        if any(_of(row, side).verdict is not ChangeVerdict.SAME for side in comparison.others)
    ]
    if len(changed) == len(rows) or comparison.nothing_differs:
        return list(rows), []
    left = wording.plural(len(rows) - len(changed), "row")
    return changed, [Text(f"{what}: {left} exactly the same on every side left out.")]
