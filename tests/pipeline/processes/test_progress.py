"""Progress is for who watches: bars on a terminal, not a byte anywhere else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bars

from pipeline.processes.progress import Progress, shown

if TYPE_CHECKING:
    import pytest


def test_nothing_is_shown_where_nobody_watches(capfd: pytest.CaptureFixture[str]) -> None:
    with shown() as progress:
        done = progress.step("import")
        done(0.5)
        done(1.0)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_is_shown_each_step_and_its_part() -> None:
    out = io.StringIO()
    with Bars(console=Console(file=out, force_terminal=True, width=80)) as bars:
        progress = Progress(bars)
        progress.step("import")(1.0)
        progress.step("replay")(0.25)
        assert [(task.description, task.percentage) for task in bars.tasks] == [
            ("import", 100.0),
            ("replay", 25.0),
        ]
    assert "replay" in out.getvalue()


def test_bars_go_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with shown() as progress:
        progress.step("replay")(1.0)
    out, err = capsys.readouterr()
    assert out == ""
    assert "replay" in err
