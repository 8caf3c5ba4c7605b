"""Two or more sides compared: what differs, and by more than its noise."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocsim import __version__
from pipeline.api.database import none_open
from pipeline.api.results import PathLike, Results
from pipeline.api.runs import RECORDED, SIMULATED
from pipeline.errors import InputError, UsageError
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.sides import opened_sides
from reports.compare.comparable import Weight, early

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from reports.compare.comparable import Remark
    from reports.compare.comparison import Comparison
    from reports.render.document import Report

#: Where runs are looked for that are named without a file, if no other file is said.
DEFAULT_DB = Path("out/results.duckdb")


class ComparisonResult:
    """What a comparison came to. It is whole: no database is open any more.

    Args:
        comparison: all of it, as reports.compare has it.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        #: Names of the sides, in the order in which they were given.
        self.sides: tuple[str, ...] = tuple(side.label for side in comparison.sides)
        #: What must or should be alike in the sides and is not, a sentence each.
        self.remarks: tuple[str, ...] = tuple(remark.text for remark in comparison.remarks)

    def __repr__(self) -> str:
        return f"<allocsim.ComparisonResult {' | '.join(self.sides)}>"

    def text(self, *, brief: bool = False) -> str:
        """The comparison in 80 columns, for a mail.

        Args:
            brief: two sides in 40 lines: sentences, a table, how it was measured.
        """
        from reports.render.text import to_text

        return to_text(self.document(brief=brief, narrow=True))

    def json(self) -> str:
        """The whole comparison, as the command writes it with --format json."""
        from reports.compare.json import to_json

        return to_json(self._comparison, __version__)

    def document(self, *, brief: bool = False, narrow: bool = False) -> Report:
        """The comparison as a document, to be laid out as text, Markdown, HTML or PDF.

        Args:
            brief: as text() has it.
            narrow: fewer columns and no figures, for plain text.
        """
        from reports.compare import brief as screen
        from reports.compare.report import report

        if brief:
            brief_is_for_two(len(self.sides))
            return screen.brief(self._comparison, __version__)
        return report(self._comparison, __version__, narrow=narrow)

    @property
    def rows(self) -> pl.LazyFrame:
        """A row for each quantity, item and side: its value, and its change from the baseline.

        ``low`` and ``high`` are the ends of the 95 % interval, or of the range where the value is
        assumed; ``known`` says how the quantity is known; ``verdict`` is the mark that
        docs/comparing.md explains. The baseline has no change.
        """
        import polars as pl

        content = json.loads(self.json())
        return pl.LazyFrame(list(_rows(content)), schema=_COLUMNS, infer_schema_length=None)

    def _repr_html_(self) -> str:
        """What notebooks show of it."""
        from html import escape

        return f"<pre>{escape(self.text(brief=len(self.sides) == 2))}</pre>"


_NUMBERS = ("change", "low", "high", "p", "q", "effect")
_COLUMNS = {
    **dict.fromkeys(("group", "quantity", "item", "unit", "known", "side"), str),
    **dict.fromkeys(("value", "low", "high"), float),
    "assumed": bool,
    "change": float,
    **{f"change_{name}": float for name in _NUMBERS[1:]},
    "verdict": str,
}


def _rows(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in content["rows"]:
        about = {name: row[name] for name in ("group", "quantity", "item", "unit", "known")}
        for side in row["sides"]:
            change = side["against_baseline"] or {}
            yield {
                **about,
                "side": side["label"],
                **{name: side[name] for name in ("value", "low", "high", "assumed")},
                "change": change.get("change"),
                **{f"change_{name}": change.get(name) for name in _NUMBERS[1:]},
                "verdict": change.get("verdict"),
            }


def compare(  # noqa: PLR0913 - as the command has them
    *sides: PathLike | Results,
    db: PathLike = DEFAULT_DB,
    baseline: PathLike | Results | None = None,
    placement: str = SIMULATED,
    policies: Sequence[PathLike] = (),
    incomparable: bool = False,
    progress: Progress | None = None,
) -> ComparisonResult:
    """Compare runs, trace sets or results files: what differs by more than its noise.

    Args:
        sides: two or more, each a trace set, a recording, results, or a text as the command takes
            it: "FILE:RUN", "TRACE@sheaf.capacity=60", repeats of one side separated by commas.
        db: where runs and traces are looked for that are named without a file.
        baseline: what the others are compared with, one of the sides; None: the first.
        placement: "simulated": also what the model does with each side's requests; "recorded": only
            what the kernels did.
        policies: for what is replayed on the way, as replay has them.
        incomparable: compare what should not be compared, and say so.
        progress: told how far it is, as the command shows it.

    Raises:
        InputError: sides that cannot be compared, such as recordings of different events; a trace
            that cannot be read.
        UsageError: a name that stands for nothing.
        StoreError: a database that cannot be used.
    """
    if placement not in (RECORDED, SIMULATED):
        raise UsageError(f"placement {placement!r}: say {SIMULATED} or {RECORDED}")
    names = [_name(side) for side in sides]
    at = baseline_of(names, None if baseline is None else _name(baseline))
    priced_with = find_policies([os.fspath(policy) for policy in policies])
    with (
        none_open([Path(db), *_files(names)]),
        opened_sides(
            names,
            Path(db),
            priced_with,
            progress or Progress(),
            simulated=placement == SIMULATED,
            check=lambda heads: _refuse(early(heads), anyway=incomparable),
        ) as opened,
    ):
        # What takes long to import waits until the sides may be compared.
        from reports.compare.measure_runs import checked
        from reports.compare.measure_runs import compare as compared

        remarks = checked(opened)
        _refuse(remarks, anyway=incomparable)
        return ComparisonResult(compared(opened, at, remarks))


def baseline_of(sides: Sequence[str], wanted: str | None) -> int:
    """Number of the side that the others are compared with.

    Raises:
        UsageError: it is none of them, or there are not two.
    """
    if len(sides) < 2:
        raise UsageError("compare: needs two sides or more")
    if wanted is None:
        return 0
    if wanted not in sides:
        raise UsageError(f"--baseline {wanted}: not one of the sides {', '.join(sides)}")
    return list(sides).index(wanted)


def brief_is_for_two(sides: int) -> None:
    """Raise a UsageError if there are more."""
    if sides > 2:
        raise UsageError(f"--brief: is for two sides; there are {sides}")


def _name(side: PathLike | Results) -> str:
    return os.fspath(side.path if isinstance(side, Results) else side)


def _files(names: Sequence[str]) -> Iterator[Path]:
    """What may be the results files of sides: all of each part, or what is before its colon."""
    for part in (part.strip() for name in names for part in name.split(",")):
        for text in (part, part.rpartition(":")[0]):
            if text and Path(text).is_file():
                yield Path(text)


def _refuse(remarks: Sequence[Remark], *, anyway: bool) -> None:
    reasons = [remark.text for remark in remarks if remark.weight is Weight.MUST]
    if reasons and not anyway:
        raise InputError(
            f"not comparable: {'; '.join(reasons)} (--incomparable compares all the same)"
        )
