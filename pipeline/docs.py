"""The reference pages under docs/, made from the schema, the views and the command line.

``python -m pipeline.docs`` writes them anew; a test says when they are out of date.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from typer.main import get_command

from pipeline.cli import app
from pipeline.store.schema import SCHEMA_VERSION, TABLES, Table, duckdb_type, stored_doc
from reports.views import VIEWS, view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

DOCS = Path(__file__).resolve().parent.parent / "docs"

_MADE = "<!-- Made from the code by: make docs -->\n\n"


def pages() -> dict[str, str]:
    """Every reference page: its path below docs/, and its text."""
    return {
        "schema.md": _schema_page(),
        "views.md": _views_page(),
        "commands.md": _commands_page(),
    }


def _schema_page() -> str:
    intro = f"""# The tables of a results database

Schema version {SCHEMA_VERSION}. `allocsim replay` fills these tables; most questions are answered
more easily by the [views](views.md). Times are ns on the recording's clock, addresses are
UBIGINT, and what is not known is NULL.
"""
    return _MADE + "\n".join([intro, *map(_table_section, TABLES)])


def _table_section(table: Table) -> str:
    key = f" Key: {', '.join(table.key)}." if table.key else ""
    rows = [
        (f"`{column.name}`", duckdb_type(column), column.unit, stored_doc(column))
        for column in table.columns
    ]
    return f"## {table.name}\n\nA row is {table.row}.{key}\n\n" + _markdown(
        ("column", "type", "unit", "what it is"), rows
    )


def _views_page() -> str:
    intro = """# The views of a results database

Ask them with `allocsim sql "from policy_summary"`. Their definitions are in `reports/sql/`; the
tables below them are on [a page of their own](schema.md).
"""
    return _MADE + "\n".join([intro, *map(_view_section, VIEWS)])


def _view_section(name: str) -> str:
    about = view(name)
    notes = f"{about.notes}\n\n" if about.notes else ""
    rows = [(f"`{column}`", unit, doc) for column, unit, doc in about.columns]
    return f"## {name}\n\nA row: {about.row.removeprefix('one row is ')}\n\n{notes}" + _markdown(
        ("column", "unit", "what it is"), rows
    )


def _commands_page() -> str:
    intro = """# The commands

Results go to stdout, progress and errors to stderr. The exit code is 0 if all went well, 1 for
bad input and where hazards or validate find something, 2 for bad usage, 130 after Ctrl-C.
"""
    group = cast("TyperGroup", get_command(app))
    sections = [
        _command_section(name, cast("TyperCommand", command))
        for name, command in group.commands.items()
    ]
    return _MADE + "\n".join([intro, *sections])


def _command_section(name: str, command: TyperCommand) -> str:
    params = [cast("TyperArgument | TyperOption", param) for param in command.params]
    arguments = [str(p.metavar or p.name) for p in params if p.param_type_name == "argument"]
    rows = [(f"`{_spelled(param)}`", _default(param), param.help or "") for param in params]
    about = "\n".join(line.strip() for line in (command.help or "").splitlines())
    usage = " ".join(["allocsim", name, "[OPTIONS]", *arguments])
    return f"## allocsim {name}\n\n{about}\n\n    {usage}\n\n" + _markdown(
        ("argument or option", "default", "what it is"), rows
    )


def _spelled(param: TyperArgument | TyperOption) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name)
    return " ".join(filter(None, [", ".join(param.opts), param.metavar]))


def _default(param: TyperArgument | TyperOption) -> str:
    return "" if param.default in {None, False} else f"`{param.default}`"


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells).replace("|  |", "| |")


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
