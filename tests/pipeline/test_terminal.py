"""What is printed: names cannot act on the terminal, and a stream that is full is one line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.errors import OutputError
from pipeline.terminal import complain, printable, printing
from tests.conftest import ROOT

TRACE = ROOT / "traces" / "7.2p-hackbench-gt"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("one\ttwo\nthree", "one\ttwo\nthree"),
        ("back\r\x08\x7f", r"back\r\x08\x7f"),
        ("\x9b31m", r"\x9b31m"),  # a control sequence in one character
        ("\u202eleft\u2066", r"\u202eleft\u2066"),  # turns what follows around
        ("é – 日本", "é – 日本"),
        ("\udcff", r"\udcff"),  # a byte of a name that is not UTF-8
    ],
)
def test_names_do_not_act_on_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_an_error_is_one_line_and_not_a_long_one(capsys: pytest.CaptureFixture[str]) -> None:
    complain("x\ny\x1b[0m" + "z" * 5000)
    said = capsys.readouterr().err
    assert said.startswith("allocsim: x y\\x1b[0mzzz")
    assert said.count("\n") == 1
    assert len(said) < 1100


class _Full(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(28, os.strerror(28))


def test_a_full_stream_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    full = io.TextIOWrapper(io.BufferedWriter(_Full()), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", full)
    said = "standard output: cannot be written: No space left on device"
    with pytest.raises(OutputError, match=said), printing():
        sys.stdout.write("x" * 100_000)
    monkeypatch.undo()
    with suppress(OSError):  # what it still holds goes nowhere
        full.close()


def test_letters_that_the_locale_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    with printing():
        sys.stdout.write("é\x1b\n")
    assert out.getvalue() == b"\\xe9\\x1b\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("stdout", ["full", "closed"])
def test_the_command_without_a_stdout_that_works(stdout: str) -> None:
    run = subprocess.run(
        [
            *("sh", "-c", f'exec "$@" {">/dev/full" if stdout == "full" else ">&-"}', "sh"),
            *(sys.executable, "-m", "pipeline", "info", str(TRACE)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    said = "allocsim: standard output: cannot be written: No space left on device\n"
    assert (run.returncode, run.stderr) == ((1, said) if stdout == "full" else (0, ""))


def test_an_error_that_is_not_of_the_stream_is_left_as_it_is() -> None:
    with pytest.raises(OSError, match=r"^no room$"), printing():
        raise OSError("no room")
