"""What a command may write over, and how: by every kind of thing that can lie under a name."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli.typer_app import typer_app
from pipeline.errors import OutputError
from pipeline.export.protobuf import message
from pipeline.outputs import (
    COMPARISON,
    COSTS,
    CSV,
    FOLDED,
    HTML,
    PARQUET,
    PDF,
    PERFETTO,
    SPEC,
    SPEEDSCOPE,
    OutputKind,
    claimed,
)
from reports.render.document import Report
from reports.render.html import to_html
from tests.conftest import ROOT

TEXT = COMPARISON["text"]
GOLDEN = ROOT / "tests" / "reports" / "golden"

#: Of each kind of output, what allocsim itself writes.
OWN = {
    PDF: b"%PDF-1.7\n\xff\xff\0",
    HTML: to_html(Report("a title", "a footer", [])).encode(),
    TEXT: (GOLDEN / "compare.txt").read_bytes(),
    COMPARISON["markdown"]: (GOLDEN / "compare.md").read_bytes(),
    COMPARISON["json"]: (GOLDEN / "compare.json").read_bytes(),
    COSTS: (ROOT / "allocsim" / "refcount" / "costs" / "arm64.toml").read_bytes(),
    PERFETTO: message({1: message({13: 1, 10: 1})}) + b"\n\x02\x40\0",
    SPEEDSCOPE: b'{"$schema": "https://www.speedscope.app/file-format-schema.json", "shared": {}}',
    FOLDED: b"main;kmalloc_noprof;kmalloc-64 4096\n(call site alone);do_exit;task_struct 1\n",
    PARQUET: b"PAR1" + bytes(1 << 24) + b"allocsim.rows_of" + bytes(40) + b"PAR1",
    CSV: b'"run","trace"\n1,"mixed"\n',
    SPEC: next((ROOT / "traces" / "specs").glob("*.toml")).read_bytes(),
}
#: What is nobody's output.
FOREIGN = {
    "source": b"#include <linux/mm.h>\n\nint main(void)\n{\n}\n",
    "toml": b'[project]\nname = "mine"\n',
    "json": b'{"name": "mine"}\n',
    "markdown": b"# Mine against time\0",
    "restructured": b"Mine\n====\n",
    "trace.dat": b"\x17\x08\x44tracing6\0",
    "perf.data": b"PERFILE2" + bytes(96),
    "parquet": b"PAR1" + bytes(40),
    "latin-1": b"caf\xe9\n",
    "elf": b"\x7fELF" + bytes(60),
    "line": b"x\n",
}
KINDS = sorted(OWN, key=lambda kind: kind.name)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "results.duckdb"
    duckdb.connect(path).close()
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_of_its_own_kind_is_replaced_when_told_and_no_other(
    tmp_path: Path, database: Path, kind: OutputKind
) -> None:
    target = tmp_path / "target"
    others = {own.name: content for own, content in OWN.items() if own != kind}
    for content in (*FOREIGN.values(), *others.values(), database.read_bytes()):
        target.write_bytes(content)
        for force in (False, True):
            with pytest.raises(
                OutputError, match=f"/target: exists and is not {kind.name}; choose"
            ):
                claimed(target, kind, force=force)
        assert target.read_bytes() == content
    for content in (OWN[kind], b""):
        target.write_bytes(content)
        with pytest.raises(OutputError, match="/target: already there; --force replaces it"):
            claimed(target, kind, force=False)
        assert target.read_bytes() == content
        claimed(target, kind, force=True).write(b"new")
        assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["results.duckdb", "target"]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFDIR, "is a folder"),
        (stat.S_IFIFO, "is a FIFO; name a file with -o; a stream is written with -o -"),
        (stat.S_IFSOCK, "is a socket"),
        (stat.S_IFCHR, "is a device"),
        (stat.S_IFBLK, "is a device"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path: Path, mode: int, said: str) -> None:
    target = tmp_path / "target"
    try:
        target.mkdir() if mode == stat.S_IFDIR else os.mknod(target, mode | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    for force in (False, True):
        with pytest.raises(OutputError, match=f"/target: {said}"):
            claimed(target, TEXT, force=force)
    assert stat.S_IFMT(target.lstat().st_mode) == mode


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_not_written_through(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "own").write_bytes(OWN[TEXT])
    (tmp_path / "target").symlink_to(tmp_path / "own")
    for force in (False, True):
        with pytest.raises(OutputError, match="/target: is a symbolic link; name a file"):
            claimed(tmp_path / "target", TEXT, force=force)
    assert names(tmp_path) == (["own", "target"] if there else ["target"])


def test_names_planted_beside_it_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    for name in (".target.part", ".target.new", ".allocsim-guessed.part"):
        (tmp_path / name).symlink_to(precious)
    before = names(tmp_path)
    with pytest.raises(OutputError, match="/target: cannot be written: File exists"):
        claimed(tmp_path / "target", TEXT, force=False).write(b"new")
    monkeypatch.undo()
    claimed(tmp_path / "target", TEXT, force=False).write(b"new")
    assert precious.read_text() == "precious"
    assert names(tmp_path) == sorted([*before, "target"])


def test_what_comes_while_a_command_works_is_not_replaced(tmp_path: Path, database: Path) -> None:
    target = tmp_path / "target"
    outputs = [claimed(target, TEXT, force=force) for force in (False, True)]
    target.write_bytes(database.read_bytes())
    for output in outputs:
        with pytest.raises(OutputError, match="exists and is not a comparison as text"):
            output.write(b"new")
    target.write_bytes(OWN[TEXT])
    with pytest.raises(OutputError, match="already there"):
        outputs[0].write(b"new")
    target.unlink()
    target.symlink_to(database)
    with pytest.raises(OutputError, match="is a symbolic link"):
        outputs[1].write(b"new")
    assert names(tmp_path) == ["results.duckdb", "target"]


def test_a_file_system_without_links_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    output = claimed(tmp_path / "target", TEXT, force=False)
    output.write(b"new")
    with pytest.raises(OutputError, match="exists and is not"):
        output.write(b"newer")
    assert (tmp_path / "target").read_bytes() == b"new"
    assert names(tmp_path) == ["target"]


def test_a_folder_is_made_and_the_umask_respected(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        claimed(tmp_path / "a" / "b" / "target", TEXT, force=False).write(b"new")
    finally:
        os.umask(before)
    assert names(tmp_path / "a" / "b") == ["target"]
    assert stat.S_IMODE((tmp_path / "a" / "b" / "target").stat().st_mode) == 0o640


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file/target", "file/a/target", "n" * 300):
        with pytest.raises(OutputError, match=f"{name}: cannot be written: "):
            claimed(tmp_path / name, TEXT, force=False)


FULL = """
import resource, sys
from pathlib import Path
from typer.testing import CliRunner

from pipeline.cli.typer_app import typer_app
from pipeline.errors import OutputError
from pipeline.outputs import COMPARISON, claimed

output = claimed(Path(sys.argv[1]), COMPARISON["text"], force=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    output.write(bytes(2000))
except OutputError as error:
    print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(OWN[TEXT])
    done = subprocess.run(
        [sys.executable, "-c", FULL, target], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == (f"{target}: cannot be written: File too large\n", "")
    assert target.read_bytes() == OWN[TEXT]
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_a_stream_is_written_as_a_stream(name: str, capfdbinary: pytest.CaptureFixture) -> None:
    output = claimed(Path(name), PDF, force=False)
    assert output.is_stream
    sys.stdout.write("before\n")
    output.write(b"%PDF\xff")
    sys.stdout.write("behind\n")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"before\n%PDF\xffbehind\n"


def test_a_stream_on_a_full_device_is_one_line() -> None:
    script = (
        "from pathlib import Path; from pipeline.outputs import PDF, claimed\n"
        "claimed(Path('-'), PDF, force=False).write(bytes(1 << 20))"
    )
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
        )
    assert b"OutputError: standard output: cannot be written: No space left" in done.stderr


COMMANDS = [
    ["report", "--db", "nosuch", "--force", "-f", "text", "-o"],
    ["compare", "nosuch", "neither", "-f", "text", "--force", "-o"],
    ["fit", "nosuch", "--force", "-o"],
    ["cost", "calibrate", "--cc", "nosuch", "--force", "-o"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_command_looks_before_it_works(
    tmp_path: Path, database: Path, arguments: list[str]
) -> None:
    before = database.read_bytes()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(database)
    for name, said in (
        (database.name, "exists and is not"),
        ("fifo", "is a FIFO"),
        ("link", "is a symbolic link"),
        (".", "is a folder"),
    ):
        result = CliRunner().invoke(typer_app(), [*arguments, str(tmp_path / name)])
        assert isinstance(result.exception, OutputError)
        assert said in str(result.exception)
    assert database.read_bytes() == before
    assert names(tmp_path) == ["fifo", "link", "results.duckdb"]


@given(
    st.sampled_from(KINDS),
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)),
    st.booleans(),
)
def test_nothing_else_is_ever_replaced(kind: OutputKind, content: bytes, force: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "target"
        target.write_bytes(content)
        if force and (not content or kind.is_one(content)):
            claimed(target, kind, force=force).write(b"new")
            assert target.read_bytes() == b"new"
        else:
            with pytest.raises(OutputError):
                claimed(target, kind, force=force)
            assert target.read_bytes() == content
        assert names(Path(folder)) == ["target"]
