"""The reference pages under docs/, made from the schema, the views and the command line.

Also reports/rules.toml, the titles of docs/rules.md.

``python -m pipeline.docs`` writes them anew; a test says when they are out of date. Their examples
are pages of their own, docs/examples; with ``--examples`` these and the texts of docs/ with console
blocks are run first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from typer.main import get_command

from allocsim.kernels.profile import DEFAULT, PROFILES
from allocsim.kernels.settings import SETTINGS
from pipeline.cli.typer_app import typer_app
from pipeline.docs.man import man_page
from pipeline.docs.rulebook import titles_file
from pipeline.processes.scratch import scratch
from pipeline.store.empty import all_views
from pipeline.store.schema import SCHEMA_VERSION, TABLES
from pipeline.store.schema.enums import ENUMS
from pipeline.store.schema.table import StoreTable, duckdb_type, stored_doc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

    from allocsim.kernels.settings import Setting
    from reports.views import View

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TITLES = DOCS.parent / "reports" / "rules.toml"
EXAMPLES = DOCS / "examples"
FOLDERS = ("commands", "views")  #: hold reference pages only

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
_SHELL = 'allocsim() { "$PYTHON" -m pipeline "$@"; }\n'
_MADE = "<!-- Made from the code by: make docs -->\n\n"
_ENDS = """\
Results go to stdout, progress and errors to stderr. The exit code is 0 if all went well, 1 for
bad input and where hazards or validate find something, 2 for bad usage, 130 after Ctrl-C.
"""


def pages() -> dict[str, str]:
    """Every reference page: its path below docs/, and its text.

    A page for the tables, one for the settings, and one for each command and for each view, with an
    index of its folder; and the manual page of all commands.
    """
    return {
        "schema.md": _schema_page(),
        "settings.md": _settings_page(),
        "commands/README.md": _commands_index(),
        **{_page_of(name): _command_page(name, command) for name, command in _commands()},
        "views/README.md": _views_index(),
        **{f"views/{about.name}.md": _view_page(about) for about in all_views()},
        "allocsim.1": _man_page(),
    }


def _schema_page() -> str:
    intro = f"""# The tables of a results database

Schema version {SCHEMA_VERSION}. `allocsim replay` fills these tables; most questions are answered
more easily by the [views](views/README.md). Times are ns on the recording's clock, addresses are
UBIGINT, and what is not known is NULL.

Tables that only views and allocsim itself read are in the schema `internal`, so that `show tables`
has the others. What stands here of each table and column, and on their pages of the views, is a
COMMENT in the database too: `from duckdb_columns() select column_name, comment where table_name =
'runs'`.

DuckDB 1.2 and later read the file, with all views; only the rows of [recorded](views/recorded.md)
are `allocsim sql`'s alone. It is of storage version 1.2, which costs nothing that can be measured:
the traces 6.12p-net-gt and 7.2p-hackbench-gt take 22.8 and 19.1 MB, to the byte what they take in
the newest version, and replaying them 3.8 and 3.3 s of CPU as against 3.7 and 3.3 (medians of
three). In version 1.0 they would take 24.9 and 21.2 MB, and views do not work in what else could
read it.

Where a column's type is one of the ENUMs below, its values are those names: `where event =
'kmalloc'`. They sort in the order in which they stand here. To compare them by that order, say the
type of the other side too (`event >= 'page_ref_set'::event`): with a bare string DuckDB compares
texts.
"""
    enums = "## ENUM types\n\n" + _markdown(
        ("type", "what it says", "values, in order"),
        [
            (f"`{enum.name}`", enum.doc, ", ".join(f"`{name}`" for name in enum.codes.values()))
            for enum in ENUMS
        ],
    )
    return _MADE + "\n".join([intro, enums, *map(_table_section, TABLES)])


def _table_section(table: StoreTable) -> str:
    key = f" Key: {', '.join(table.key)}." if table.key else ""
    rows = [
        (f"`{column.name}`", duckdb_type(column), column.unit, stored_doc(column))
        for column in table.columns
    ]
    return f"## {table.sql_name}\n\nA row is {table.row}.{key}\n\n" + _markdown(
        ("column", "type", "unit", "what it is"), rows
    )


def _settings_page() -> str:
    intro = f"""# The settings of the simulated placement

`--set KEY=VALUE` of [replay](commands/replay.md) and [sweep](commands/sweep.md), `--vary
KEY=VALUE,VALUE` of sweep. What is not set is as /proc and /sys of the recorded machine had it,
where the recording has their snapshots, else as the rules of the modelled kernel compute it: of
{DEFAULT.word}, unless `kernel` says another. A run with a setting is a what-if, and says so, but
for `kernel` where it is the recorded one's. With other `cpus`, events keep their CPU; those on CPUs
that are not there take turns on the others.

`CACHE` is a cache's name or a pattern of names with `*` and `?` (`sheaf.capacity.kmalloc-*`): a
name wins over a pattern, a longer pattern over a shorter one, each over the setting of all caches.
`@MOMENT`, in seconds after the trace's first event, is when a value begins to hold:
`sheaf.capacity.maple_node=60@2.5s`, or `sheaf.capacity@2.5s=28,60` to vary. No released kernel can
change sheaves while it runs: such a run is a what-if of a proposal (R3.27), and its
figures are no kernel's.

"""
    rows = [
        (
            f"`{setting.key}`"
            + f", `{setting.key}.CACHE`" * setting.per_cache
            + ", each `@MOMENT`" * setting.at_a_moment,
            ", ".join(word for word, _ in setting.choices) or f"{setting.low} to {setting.high}",
            setting.doc + _only(setting),
        )
        for setting in SETTINGS
    ]
    return _MADE + intro + _markdown(("key", "range", "what it is"), rows)


def _only(setting: Setting) -> str:
    """Which kernels have such a number, where not all of them have."""
    if len(setting.kernels) == len(PROFILES):
        return ""
    return f" Of {' and '.join(setting.kernels)} only."


def _views_index() -> str:
    intro = """# The views of a results database

Ask them with `allocsim sql "from policy_summary"`. The tables below them are on
[a page of their own](../schema.md).

"""
    rows = [(f"[{about.name}]({about.name}.md)", _row(about)) for about in all_views()]
    return _MADE + intro + _markdown(("view", "a row"), rows)


def _view_page(about: View) -> str:
    notes = f"{about.notes}\n\n" if about.notes else ""
    rows = [(f"`{column}`", unit, doc) for column, unit, doc in about.columns]
    return (
        f"{_MADE}# {about.name}\n\nA row: {_row(about)}\n\n{notes}"
        + _markdown(("column", "unit", "what it is"), rows)
        + f"\n## Definition\n\n```sql\n{about.query}\n```\n\n[All views](README.md)\n"
    )


def _row(about: View) -> str:
    return about.row.removeprefix("one row is ")


def _commands() -> list[tuple[str, TyperCommand]]:
    """Every command by its name; those of a group by the group's name and theirs."""
    found: list[tuple[str, TyperCommand]] = []
    for name, command in cast("TyperGroup", get_command(typer_app())).commands.items():
        members = getattr(command, "commands", None)
        for below, member in members.items() if members else [("", command)]:
            found.append((f"{name} {below}".strip(), cast("TyperCommand", member)))
    return found


def _page_of(command: str) -> str:
    return f"commands/{command.replace(' ', '-')}.md"


def _commands_index() -> str:
    intro = f"# The commands\n\n{_ENDS}\n"
    rows = [
        (f"[allocsim {name}]({_page_of(name).partition('/')[2]})", _help(command)[0])
        for name, command in _commands()
    ]
    return _MADE + intro + _markdown(("command", "what it does"), rows)


def _command_page(name: str, command: TyperCommand) -> str:
    rows = [
        (f"`{spelled}`", f"`{default}`" if default else "", doc)
        for spelled, default, doc in _params(command)
    ]
    about = "\n".join(_help(command))
    return (
        f"{_MADE}# allocsim {name}\n\n{about}\n\n    {_usage(name, command)}\n\n"
        + _markdown(("argument or option", "default", "what it is"), rows)
        + _example(name)
        + "\n[All commands](README.md)\n"
    )


def _man_page() -> str:
    return man_page(
        cast("TyperGroup", get_command(typer_app())).help or "",
        _ENDS,
        [
            (_usage(name, command), sentence, "\n".join(more), _params(command))
            for name, command in _commands()
            for sentence, *more in [_help(command)]
        ],
    )


def _usage(name: str, command: TyperCommand) -> str:
    params = [cast("TyperArgument | TyperOption", param) for param in command.params]
    arguments = [_spelled(param) for param in params if param.param_type_name == "argument"]
    return " ".join(["allocsim", name, "[OPTIONS]", *arguments])


def _params(command: TyperCommand) -> list[tuple[str, str, str]]:
    """Its arguments and options: how each is spelled, its default, and what it is."""
    params = [cast("TyperArgument | TyperOption", param) for param in command.params]
    return [(_spelled(param), _default(param), param.help or "") for param in params]


def _example(command: str) -> str:
    """What a command prints, and what the columns are."""
    path = EXAMPLES / f"{command.replace(' ', '-')}.md"
    return f"\n{path.read_text('utf-8')}" if path.is_file() else ""


def with_console_blocks() -> list[Path]:
    """The pages whose commands a reader can run."""
    texts = ("comparing.md", "questions.md", "walk.md")
    return [*sorted(EXAMPLES.glob("*.md")), *(DOCS / name for name in texts)]


def _help(command: TyperCommand) -> list[str]:
    """What a command says of itself, line by line; the first is the sentence that sums it up."""
    return [line.strip() for line in (command.help or "").splitlines()]


def _spelled(param: TyperArgument | TyperOption) -> str:
    if param.param_type_name == "argument":
        return f"{param.metavar or param.name}{'...' if param.nargs == -1 else ''}"
    return " ".join(filter(None, [", ".join(param.opts), param.metavar]))


def _default(param: TyperArgument | TyperOption) -> str:
    return "" if param.default in {None, False} else f"{param.default}"


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells).replace("|  |", "| |")


def answered(text: str, folder: Path) -> str:
    """A page whose console blocks hold what their commands print.

    Commands are run in a shell, those of all blocks one after the other; errors and exit codes
    that they end with are theirs to show. ``traces`` are the shipped trace sets.

    Args:
        text: the page, Markdown. In a block lines that begin with ``$`` are commands.
        folder: where they are run; empty.
    """
    (folder / "traces").symlink_to(ROOT / "traces")
    return _BLOCK.sub(lambda block: f"```console\n{_run(block[1], folder)}```", text)


def commands(text: str) -> list[str]:
    """The commands of a page's console blocks."""
    return [command for block in _BLOCK.findall(text) for command in _COMMAND.findall(block)]


def _run(block: str, folder: Path) -> str:
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    parts = []
    for command in _COMMAND.findall(block):
        done = subprocess.run(  # noqa: S603 - the docs' own commands
            ["/bin/sh", "-c", _SHELL + command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
        parts.append(f"$ {command}\n{done.stdout}")
    return "".join(parts)


def main() -> None:
    """Write the pages and the rules' titles, and remove pages of what is gone."""
    for example in with_console_blocks() if "--examples" in sys.argv else []:
        with scratch() as place:
            example.write_text(answered(example.read_text("utf-8"), place), "utf-8")
    TITLES.write_text(titles_file(), "utf-8")
    texts = pages()
    for name, text in texts.items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for folder in FOLDERS:
        for path in (DOCS / folder).glob("*.md"):
            if f"{folder}/{path.name}" not in texts:
                path.unlink()
