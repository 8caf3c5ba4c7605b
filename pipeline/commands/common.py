"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DB = Path("out/results.duckdb")

DB = Annotated[Path, typer.Option("--db", metavar="FILE", help="Results database.")]
