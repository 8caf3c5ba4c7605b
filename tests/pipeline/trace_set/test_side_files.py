"""Files beside events: what is no regular file is as none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.trace_set.side_files import side_text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_or_a_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("text")
    names = ("folder", "pipe", "nothing", "file")
    assert [side_text(tmp_path / name) for name in names] == [None, None, None, "text"]
