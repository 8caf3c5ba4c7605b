"""Imports run down: who may know whom, read from the code, TYPE_CHECKING imports included.

One door leads up, and only from outside: allocsim/__init__.py offers what pipeline.api has, loaded
by name when it is asked for; allocsim/__main__.py begins the command through it.

And one class name is one thing, so that a name met in one room says what it is in any other.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import allocsim
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Top folders, and those that each may import beside itself.
TOPS = {"allocsim": (), "reports": (), "pipeline": ("allocsim", "reports")}
#: The rooms of each, from the ground up: a room imports itself and those before it.
ROOMS = {
    "allocsim": (
        "tables",
        "toml_data",
        "trace",
        "page_alloc",
        "kernels",
        "slub",
        "recording",
        "initial_state",
        "refcount",
        "memdesc",
        "simulated_window",
        "simulation",
        "__main__",
    ),
    "reports": ("views", "rules", "render", "queries", "sections", "console", "compare"),
    "pipeline": (
        "errors",
        "terminal",
        "processes",
        "outputs",
        "untrusted",
        "calibration",
        "trace_set",
        "ingest",
        "source_places",
        "store",
        "replay",
        "synth",
        "fitting",
        "validation",
        "stat",
        "api",
        "export",
        "commands",
        "cli",
        "docs",
        "__main__",
    ),
}
#: Readers know what they share, and nothing of one another.
READERS = (
    *("trace_dat", "perf_data", "ftrace_text", "trace_cmd_text", "perf_script_text"),
    "event_tables",
)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {
    module_name(path.relative_to(ROOT).as_posix()): path
    for top in TOPS
    for path in sorted((ROOT / top).rglob("*.py"))
}


def imported(module: str) -> Iterator[str]:
    """Our modules that a module imports, wherever the import stands."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in names]
        else:
            continue
        yield from (name for name in names if name in MODULES and name != module)


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    """Modules, each with those it imports; every file is parsed once."""
    return {module: set(imported(module)) for module in MODULES}


def room(module: str) -> tuple[str, str]:
    """Top folder and room; the package itself, which has the version, is a room with no name."""
    top, _, rest = module.partition(".")
    return top, rest.partition(".")[0]


def test_every_room_is_known() -> None:
    for module in MODULES:
        top, name = room(module)
        assert not name or name in ROOMS[top], f"{module}: say in ROOMS where {name} stands"


def may_import(module: str, target: str) -> bool:
    top, name = room(module)
    other, below = room(target)
    if other != top:
        return other in TOPS[top]
    order = ROOMS[top]
    return not (name and below) or order.index(below) <= order.index(name)


def test_imports_run_down(edges: dict[str, set[str]]) -> None:
    wrong = [
        f"{module} imports {target}"
        for module, targets in edges.items()
        for target in sorted(targets)
        if not may_import(module, target)
    ]
    assert wrong == []


def test_the_front_door_is_the_only_way_up() -> None:
    """Modules loaded by name are seen by no import statement; only the door does that."""
    loads = {
        module
        for module, path in MODULES.items()
        if module.startswith(("allocsim", "reports"))
        and re.search(r"import_module|__import__", path.read_text("utf-8"))
    }
    assert loads == {"allocsim"}
    assert set(allocsim.OFFERED.values()) <= MODULES.keys()


def test_the_front_door_offers_what_type_checkers_see() -> None:
    stub = ast.parse((ROOT / "allocsim" / "__init__.pyi").read_text("utf-8"))
    seen = {
        alias.asname: node.module
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert seen == allocsim.OFFERED
    for name in allocsim.OFFERED:
        assert getattr(allocsim, name).__name__ == name
        assert name in dir(allocsim)


def test_who_imports_rooms_of_the_model_does_not_go_through_the_front_door(
    edges: dict[str, set[str]],
) -> None:
    """Of the package itself the rooms take the version alone."""
    for module, path in MODULES.items():
        if "allocsim" in edges[module]:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == "allocsim":
                    names = {alias.name for alias in node.names}
                    assert not names & allocsim.OFFERED.keys(), module


def test_nothing_goes_in_a_circle(edges: dict[str, set[str]]) -> None:
    graphlib.TopologicalSorter(edges).prepare()


def test_readers_do_not_know_one_another(edges: dict[str, set[str]]) -> None:
    for module, targets in edges.items():
        for reader in READERS:
            if module.startswith(f"pipeline.ingest.{reader}."):
                others = tuple(f"pipeline.ingest.{each}" for each in READERS if each != reader)
                assert not [target for target in targets if target.startswith(others)], module


def test_a_door_leads_to_few_rooms() -> None:
    """At most 12 entries in allocsim/, 20 in any other folder of code."""
    for folder in {path.parent for path in MODULES.values()}:
        entries = [each.name for each in folder.iterdir() if not each.name.startswith("__")]
        entries = [name for name in entries if name != "py.typed"]  # a mark, nothing to find there
        most = 12 if folder.name == "allocsim" else 20
        assert len(entries) <= most, f"{folder.relative_to(ROOT)}: {len(entries)} entries"


def test_a_class_name_is_one_thing() -> None:
    named = Counter(
        name
        for path in MODULES.values()
        for name in re.findall(r"^class (\w+)", path.read_text("utf-8"), re.MULTILINE)
    )
    assert [name for name, times in named.items() if times > 1] == []
