"""The reference pages are what the code says, and the code says something about everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from typer.main import get_command

from pipeline.cli.typer_app import typer_app
from pipeline.docs.pages import DOCS, FOLDERS, pages
from pipeline.store.schema import TABLES

if TYPE_CHECKING:
    from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

COMMANDS = cast("TyperGroup", get_command(typer_app())).commands


@pytest.mark.parametrize("name", pages())
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == pages()[name], "say make docs"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_page_of_a_folder_is_made_and_listed(folder: str) -> None:
    there = {f"{folder}/{path.name}" for path in (DOCS / folder).glob("*.md")}
    assert there == {name for name in pages() if name.startswith(f"{folder}/")}, "say make docs"
    index = pages()[f"{folder}/README.md"]
    for name in there - {f"{folder}/README.md"}:
        assert f"({name.removeprefix(f'{folder}/')})" in index


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = cast("TyperCommand", COMMANDS[name])
    assert command.help
    for param in command.params:
        assert cast("TyperArgument | TyperOption", param).help, f"{name} {param.name}"


def test_every_column_of_every_table_has_a_sentence() -> None:
    for table in TABLES:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names), table.name
        assert set(table.key) <= set(names), table.name
        for column in table.columns:
            assert column.doc.endswith("."), f"{table.name}.{column.name}"
