"""What a comparison says first, in sentences: by what the differences do, not by their size.

To operations on reference counts, to memory, to list locks. Each sentence has the numbers of both
sides, what they are divided by, and what the data say of the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.compare.comparison import SMALLEST, ChangeVerdict, movers
from reports.compare.quantity import BRIEF, CACHES, SITES
from reports.compare.wording import interval, letter, number, percent, valued
from reports.render import wording

if TYPE_CHECKING:
    from reports.compare.comparison import Change, Compared, Comparison

UNIT = "per 1,000 objects"  #: of most rows
_PART = 0.1  #: of the change of all: an item that makes less of it is not named
_NAMED = 2  #: items, or rows, named in a sentence
_SAID = {
    ChangeVerdict.DIFFERS: "differs",
    ChangeVerdict.CHANCE: "p is at most 5 %, but not after correction",
    ChangeVerdict.NONE: "within the noise",
    ChangeVerdict.FEW: "too few to test",
    ChangeVerdict.UNTESTED: "not tested",
    ChangeVerdict.REPEATS: "not enough repeats to test",
    ChangeVerdict.FROZEN: "by rule",
    ChangeVerdict.ASSUMED: "assumed on a side",
}


def told(comparison: Comparison, side: int) -> list[str]:
    """The sentences on a side against the baseline."""
    if all(row.changes[side].verdict is ChangeVerdict.SAME for row in comparison.rows):  # type: ignore[union-attr]
        return [f"Every row is exactly the same: {wording.plural(len(comparison.rows), 'row')}."]
    locked = [row for row in comparison.rows if _is(row, "own_locked")]
    return [
        *_frozen(comparison, side),
        *(_row(comparison, side, row, "Locked instructions on page counts") for row in locked),
        *_kinds(comparison, side),
        *_memory(comparison, side),
        *_rest(comparison, side),
    ]


def brief_rows(comparison: Comparison) -> list[tuple[str, Compared]]:
    """The rows of the brief table, and what they are called in it."""
    found = []
    for wanted in BRIEF:
        found += [
            (wanted.name, row) for row in comparison.rows if _is(row, wanted.part, wanted.item)
        ]
    return found


def item_change(comparison: Comparison, side: int, item: str) -> str:
    """What has become of an item's objects, in brackets; nothing where they are as they were."""
    changes = comparison.identity.changes[side] if comparison.identity else {}
    return f" ({changes[item]})" if item in changes else ""


def _is(row: Compared, part: str, item: str = "") -> bool:
    quantity = row.quantity
    return quantity.part == part and quantity.whole != "seconds" and row.item == item


def _numbers(comparison: Comparison, side: int, row: Compared) -> str:
    return f"{valued(row.values[comparison.baseline])} -> {valued(row.values[side])}"


def _verdict(change: Change) -> str:
    """A change, and what the data say of it."""
    if change.verdict is ChangeVerdict.SAME:
        return "exactly the same"
    between = interval(change)
    of = (
        f" of {between.replace(' .. ', ' to ')}"
        if change.verdict is ChangeVerdict.NONE and between
        else ""
    )
    return f"{percent(change.change)}, {_SAID[change.verdict]}{of}"


def _row(comparison: Comparison, side: int, row: Compared, name: str) -> str:
    change = row.changes[side]
    said = f" ({_verdict(change)})" if change else ""
    return f"{name}: {_numbers(comparison, side, row)} {row.quantity.unit}{said}."


def _frozen(comparison: Comparison, side: int) -> list[str]:
    """The operations that one side alone does, since the other has frozen such pages."""
    sentences = []
    base = comparison.baseline
    for counts, freezes in ((base, side), (side, base)):
        rows = [
            row
            for row in comparison.rows
            if (change := row.changes[side]) is not None
            and change.verdict is ChangeVerdict.FROZEN
            and row.values[counts].value
        ]
        every = [row for row in rows if row.quantity.part == "own_ops"]
        if not every:
            continue
        ops, locked = (
            sum(row.values[counts].value for row in rows if row.quantity.part == part)
            for part in ("own_ops", "own_locked")
        )
        whole = [row.values[counts].value for row in comparison.rows if _is(row, "own_locked")]
        share = (
            f", {100 * locked / whole[0]:.2g} % of all its locked ones"
            if whole and whole[0]
            else ""
        )
        kinds = wording.kinds(row.item for row in every)
        sentences.append(
            f"By rule {letter(freezes)} freezes {kinds} pages: it does none of the {number(ops)} "
            f"operations {UNIT} that {letter(counts)} does on their counts ({number(locked)} of "
            f"them locked{share})."
        )
    return sentences


def _kinds(comparison: Comparison, side: int) -> list[str]:
    """Kinds of page whose locked instructions differ."""
    rows = [
        (change.effect, row)
        for row in comparison.rows
        if row.quantity.kinds
        and row.quantity.effect
        and (change := row.changes[side]) is not None
        and change.verdict is ChangeVerdict.DIFFERS
        and change.effect >= SMALLEST
    ]
    rows.sort(key=lambda each: (-each[0], each[1].name))
    return [
        _row(comparison, side, row, f"Of these, on {wording.kinds([row.item])} pages")
        for _, row in rows[:_NAMED]
    ]


def _memory(comparison: Comparison, side: int) -> list[str]:
    """What an allocation is given, and which objects make the difference."""
    base = comparison.baseline
    given = [row for row in comparison.rows if _is(row, "bytes_given") and not row.quantity.items]
    if (
        not given
        or (change := given[0].changes[side]) is None
        or change.verdict is ChangeVerdict.SAME
    ):
        return []
    whole = given[0].values[side].value - given[0].values[base].value
    sentence = _row(comparison, side, given[0], "Slot of an allocation, on average")
    parts = sorted(
        (
            ((row.values[side].value - row.values[base].value) / row.quantity.scale, row.item)
            for row in comparison.rows
            if row.quantity.part == "bytes_given" and row.quantity.items
        ),
        key=lambda part: (-abs(part[0]), part[1]),
    )
    named = [part for part in parts[:_NAMED] if whole and abs(part[0]) >= _PART * abs(whole)]
    if named and change.verdict in {ChangeVerdict.DIFFERS, ChangeVerdict.CHANCE}:
        each = [
            f"{item} makes {_signed(size)}{item_change(comparison, side, item)}"
            for size, item in named
        ]
        sentence = (
            f"{sentence[:-1]}; of the {_signed(whole)}, {wording.listed(each)}. This is not memory "
            "in use, which depends on how long objects live."
        )
    return [sentence]


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{number(abs(value))}"


def _rest(comparison: Comparison, side: int) -> list[str]:
    """Of the brief table's other rows those that differ, then caches and call sites that do."""
    names = {"own_locked", "own_plain", "bytes_given"}
    rows = [(name, row) for name, row in brief_rows(comparison) if row.quantity.part not in names]
    differ = [
        _row(comparison, side, row, f"{name[0].upper()}{name[1:].split(',')[0]}")
        for name, row in rows
        if (change := row.changes[side]) is not None and change.verdict is ChangeVerdict.DIFFERS
    ]
    moved = [
        row
        for group in (CACHES, SITES)
        for row in movers(comparison, side, group)
        if row.quantity.effect and row.quantity.part not in {"bytes_given", "allocs"}
    ]
    differ += [
        _row(comparison, side, row, row.name[0].upper() + row.name[1:]) for row in moved[:_NAMED]
    ]
    noise = [
        name.split(",")[0]
        for name, row in rows
        if (change := row.changes[side]) is not None
        and change.verdict in {ChangeVerdict.NONE, ChangeVerdict.CHANCE}
    ]
    if noise:
        differ.append(f"No difference beyond the noise: {wording.listed(noise)}.")
    return differ
