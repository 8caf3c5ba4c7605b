"""Plain command lines are read as typer reads them, by the same declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer import TyperException
from typer.main import get_command

from pipeline.cli import quick
from pipeline.cli.typer_app import for_typer, typer_app
from pipeline.errors import UsageError
from pipeline.store.waiting import wait_up_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINES = [
    "import a",
    "import a b -o c --force",
    "import --force -oc a --instance x --from-common-start",
    "import -- -a --force",
    "info a -f json",
    "info a --format=text",
    "info a --format=xml",
    "info a -fjson",
    "info a b",
    "info",
    "replay",
    "replay a --set x=1 --set y=2 --policy p --placement recorded --wait 1.5",
    "replay a --set=x=1 --from +1.5 --to 3 --cpu 0-1 --pid 4 --cache a,b --again",
    "replay a --placement",
    "replay a --wait nan",
    "replay a --wait -1",
    "replay a --agai",
    "stat a -n 0 --live --slab -s bytes",
    "stat a -n -1",
    "stat a -n x",
    "stat a -n 1_0",
    "sql",
    "sql --timeout 5 x --memory 1GiB --file -",
    "sql --timeout 0 x",
    "sql x -f arrow --trace a --trace b",
    "record -o x make -j --dry-run",
    "record --buffer 10 -e a -e b -- make -o y",
    "record -b 0 make",
    "record xargs -- rm --dry-run",
    "record -- xargs -- rm",
    "sweep a --vary sheaf.capacity=4,60 --jobs 2",
    "sweep a --jobs 0",
    "compare a b --brief -f text -f json -o x",
    "synth",
    "synth a --events 10 --rate 0.5 --seed 9223372036854775807",
    "synth a --events 99999999999999",
    "fit a -o -",
    "validate a --every",
    "hazards a",
    "report",
    "sql -- x",
    "cost calibrate --cc gcc -o -",
    "cost",
    "export csv cache_summary --run 3",
    "export folded --weight nothing",
    "export",
    "export csv",
    "replya",
    "--help",
    "import a --help",
]


@pytest.fixture(autouse=True)
def no_patience() -> Iterator[None]:
    """What --wait says holds for the process."""
    yield
    wait_up_to(0)


def by_typer(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[..., None], dict[str, Any]] | None:
    """The function that typer calls, and with what; None: it does not."""
    called: list[tuple[Callable[..., None], dict[str, Any]]] = []

    def noting(function: Callable[..., None]) -> Callable[..., None]:
        run = for_typer(function)

        def note(**options: object) -> None:
            called.append((function, options))

        note.__annotations__ = run.__annotations__
        note.__signature__ = run.__signature__  # type: ignore[attr-defined] # it has one
        return note

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.cli.typer_app.for_typer", noting)
        try:
            get_command(typer_app())(words, prog_name="allocsim", standalone_mode=False)
        except (TyperException, UsageError):
            return None
    return called[0] if called else None


@pytest.mark.parametrize("line", LINES)
def test_plain_words_mean_what_typer_takes_them_for(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = by_typer(line.split(), monkeypatch)
    try:
        call: Any = quick.plain_call(line.split())
    except UsageError:
        call = None
    if call is None:
        return  # typer is asked
    assert (call.func, call.keywords) == wanted
    assert wanted is not None
    for name, value in call.keywords.items():  # an enum's member equals its text
        assert isinstance(value, int) or type(value) is type(wanted[1][name]), name


def test_what_is_typed_every_day_is_plain() -> None:
    for line in ("import a b -o c --force", "info a", "replay a --set x=1", "stat a --live"):
        assert quick.plain_call(line.split()) is not None, line
