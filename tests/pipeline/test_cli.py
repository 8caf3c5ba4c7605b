"""The command line: what it prints where, its exit codes, and how quickly it is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

import pipeline.api.runs
from allocsim import __version__
from pipeline.cli import main
from pipeline.cli.typer_app import typer_app
from pipeline.store.adding import writing
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = list(get_command(typer_app()).commands)  # type: ignore[attr-defined] # a group has commands
HEAVY = {"numpy", "pyarrow", "polars", "duckdb", "matplotlib", "typst", "rich", "typer", "pydantic"}


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line: exit code, stdout, stderr."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["allocsim", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        return int(end.value.code or 0), out.out, out.err

    return call


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("db") / "results.duckdb"
    with writing(path) as connection:
        connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash'), (1, 7, 'kworker/0:1, x')")
    return path


def allocsim(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipeline", *map(str, args)]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def test_help_lists_the_commands(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert all(name in out for name in COMMANDS)
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.partition("Commands:")[2], "a sentence is cut"
    assert {"import", "replay", "sql", "report", "info"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run: Callable[..., tuple[int, str, str]], name: str) -> None:
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert f"allocsim {name}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("--version") == (0, f"allocsim {__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "Missing command (see allocsim --help)"),
        (["replya"], "No such command 'replya'. Did you mean 'replay'? (see allocsim --help)"),
        (["sql", "from x", "--file", "y"], "give either statements or --file, not both"),
        (["sql", "from x", "--fromat", "csv"], "No such option: --fromat"),
        (["sql", "from x", "--format", "xml"], "'xml' is not one of 'table', 'markdown', 'csv'"),
        (["replay"], "Missing argument 'TRACE'"),
        (["replay", "x", "--policy", "linux-7.22"], "did you mean linux-7.2?"),
        (["info", "a", "b"], "unexpected extra argument"),
        (["compare", "T", f"T@pcp.batch=1{'0' * 18}"], "0: out of range, "),
        (["report", "-o", "x.odt"], "not known, but those of .txt .md .json .pdf .html; say"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    run: Callable[..., tuple[int, str, str]], args: list[str], says: str
) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("allocsim: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sql", "from x", "--db", "{tmp}/none"], "no results database there"),
        (["sql", "from x", "--db", "{tmp}/text"], "not a results database"),
        (["replay", "{tmp}/none"], "no such trace set or recording"),
        (["replay", "{tmp}"], "no recording in this folder"),
        (["info", "{tmp}/none"], "no such trace set or recording"),
        (["info", "{tmp}/text"], "{tmp}/text"),
        (["report", "--db", "{tmp}/none", "-o", "{tmp}/r.pdf"], "no results database there"),
        (["import", "{tmp}/none"], "no such recording"),
        (["import", "/dev/null"], "/dev/null: not a regular file; name a recording"),
        (
            ["import", f"{ROOT}/traces/7.2p-net-gt"],
            "a trace set, imported already; allocsim replay",
        ),
        (["import", "{tmp}/text", "-o", "{tmp}/text"], "a file, where a folder is needed"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, args: list[str], says: str
) -> None:
    (tmp_path / "text").write_text("no database, and no recording either\n")
    code, out, err = run(*(arg.format(tmp=tmp_path) for arg in args))
    assert (code, out) == (1, "")
    assert err.startswith("allocsim: ")
    assert says.format(tmp=tmp_path) in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_sql_writes_a_table(run: Callable[..., tuple[int, str, str]], db: Path) -> None:
    query = "select pid, comm, 1/3 as third, null as nothing from tasks order by pid"
    code, out, err = run("sql", query, "--db", db)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "pid  comm                         third  nothing",
        "---  --------------  ------------------  -------",
        "  7  kworker/0:1, x  0.3333333333333333",
        " 42  bash            0.3333333333333333",
    ]


def test_sql_writes_csv(run: Callable[..., tuple[int, str, str]], db: Path) -> None:
    code, out, _ = run("sql", "from tasks order by pid", "--db", db, "--format", "csv")
    assert (code, out) == (0, 'run,pid,comm\n1,7,"kworker/0:1, x"\n1,42,bash\n')


def test_sql_writes_json(run: Callable[..., tuple[int, str, str]], db: Path) -> None:
    query = "select *, [1, null] as list, 18446744073709551615::ubigint as big from tasks"
    code, out, _ = run("sql", query, "--db", db, "-f", "json")
    assert code == 0
    assert json.loads(out)[0] == {
        "run": 1,
        "pid": 42,
        "comm": "bash",
        "list": [1, None],
        "big": "0xffffffffffffffff",
    }


@pytest.mark.slow
def test_sql_takes_statements_from_a_file_and_from_standard_input(
    run: Callable[..., tuple[int, str, str]], db: Path, tmp_path: Path
) -> None:
    comment = "-- of the tasks;\nselect count(*) as n from tasks"
    expected = (0, "n\n2\n", "")
    assert run("sql", comment, "--db", db, "--format", "csv") == expected
    (tmp_path / "x.sql").write_text(comment)
    assert run("sql", "--db", db, "--file", tmp_path / "x.sql", "--format", "csv") == expected
    piped = subprocess.run(
        allocsim("sql", "--db", db, "--format", "csv"),
        input=f"{comment};".encode(),
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert (piped.returncode, piped.stdout.decode(), piped.stderr.decode()) == expected
    code, out, err = run("sql", "--db", db, "--file", tmp_path / "none.sql")
    assert (code, out) == (1, "")
    assert err.endswith("none.sql: cannot be read: No such file or directory\n")
    (tmp_path / "x.sql").write_bytes(b"select '\xff'")
    assert run("sql", "--db", db, "--file", tmp_path / "x.sql")[0] == 2


def test_wrong_sql_is_bad_usage(run: Callable[..., tuple[int, str, str]], db: Path) -> None:
    code, out, err = run("sql", "from polcy_summary", "--db", db)
    assert (code, out) == (2, "")
    assert 'Did you mean "policy_summary"' in err
    assert err.count("\n") == 1


def test_an_error_behind_the_first_rows_is_one_line(
    run: Callable[..., tuple[int, str, str]], db: Path
) -> None:
    query = "select if(range < 150_000, 1, error('no more')) from range(200_000)"
    code, _, err = run("sql", query, "--db", db, "--format", "csv")
    assert (code, err) == (2, "allocsim: Invalid Input Error: no more\n")


def test_an_interrupt_is_one_line(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.api.runs, "replay_all", interrupted)
    assert run("replay", tmp_path) == (130, "", "allocsim: interrupted\n")


def test_a_reader_that_goes_away_is_no_error(db: Path) -> None:
    query = "select range, 'much text, so that no buffer holds it' from range(100_000)"
    with subprocess.Popen(
        allocsim("sql", query, "--db", db, "--format", "csv"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"range,")
        process.stdout.close()
        assert process.stderr.read() == b""


IMPORTED = """
import sys
sys.argv = ["allocsim", *sys.argv[1:]]
from pipeline.cli import main
try:
    main()
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("args", "allowed"),
    [
        (["--version"], set()),
        (["replay"], {"typer", "pydantic"}),
        (["import", "/nonexistent"], {"numpy", "pyarrow"}),
        (["sql", "from x", "--db", "/nonexistent"], {"numpy", "duckdb"}),
    ],
)
def test_a_command_loads_only_what_it_needs(args: list[str], allowed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *args],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    assert HEAVY & set(done.stderr.split()) <= allowed
