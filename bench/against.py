"""What a kernel developer would use today, and allocsim, for the same question, in turn.

    python bench/against.py [RUNS]

The question: who allocates how many objects and bytes, by call site. Of a trace.dat
(7.3-churn-4cpu) `trace-cmd report` writes text, and polars or DuckDB take it apart by a regular
expression; of a perf.data (6.12-perf-mixed) `perf kmem stat` answers. allocsim answers it as
`stat`, once of the recording and once of its trace set, and as `import` and `replay` (recorded
placement), which answer much more. Every figure is of whole processes, what the interpreter and
its modules take to load included.

No row for a replay in C: a small one would leave out what makes the replay's cost (which kernel,
whose slabs, page lists, settings), and be fast for that.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from import_speed import plain
from measure import Run, in_turn, machine, median, run_once

from tests.conftest import RECORDINGS, ROOT

_LINE = r"(kmalloc|kmem_cache_alloc):.*call_site=(\S+).*bytes_req=(\d+) bytes_alloc=(\d+)"
POLARS = f"""
import sys, polars as pl
lines = pl.scan_csv(sys.argv[1], has_header=False, separator="\\x01", quote_char=None,
                    new_columns=["line"], schema={{"line": pl.String}}, truncate_ragged_lines=True)
found = pl.col("line").str.extract_groups(r"{_LINE}").alias("f")
rows = lines.select(found).unnest("f").filter(pl.col("1").is_not_null())
print(rows.group_by("2").agg(pl.len(), pl.col("4").cast(pl.Int64).sum()).collect().height)
"""
DUCKDB = f"""
import sys, duckdb
print(duckdb.sql(f'''
    WITH lines AS (SELECT regexp_extract(line, '{_LINE}', ['kind', 'site', 'req', 'got']) AS f
                   FROM read_csv('{{sys.argv[1]}}', columns={{{{'line': 'VARCHAR'}}}}, header=false,
                                 delim='\\x01', quote='', escape='', auto_detect=false))
    SELECT count(*) FROM (SELECT f.site, count(*), sum(f.got::BIGINT) FROM lines
                          WHERE f.kind <> '' GROUP BY ALL)''').fetchall())
"""  # noqa: S608 - its own program


def shell(*steps: str) -> list[str]:
    """Commands as one process whose time is that of all."""
    return ["/bin/sh", "-ec", "\n".join(steps)]


def main(runs: int) -> None:
    """Measure, and print a table for each kind of recording."""
    os.chdir(ROOT)
    print(f"median of {runs} runs in turn; {machine()}")
    allocsim = f"{sys.executable} -m pipeline"
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, rival in (("7.3-churn-4cpu", "trace-cmd"), ("6.12-perf-mixed", "perf")):
            _, file = plain(RECORDINGS / name, scratch)
            text, made, db = (scratch / each for each in ("text", "made", "db"))
            trace = made / file.parent.name
            # The trace set that a row asks.
            run_once(shell(f"{allocsim} import --force -o {made} {file.parent}"))
            commands = {
                "allocsim stat, of the recording": shell(f"{allocsim} stat --slab {file.parent}"),
                "allocsim stat, of its trace set": shell(f"{allocsim} stat --slab {trace}"),
                "allocsim import and replay": shell(
                    f"rm -rf {db} {scratch}/anew",
                    f"{allocsim} import -o {scratch}/anew {file.parent}",
                    f"{allocsim} replay --placement recorded --db {db} {scratch}/anew/*",
                ),
            }
            if rival == "perf" and shutil.which("perf"):
                said = f"perf kmem -f -i {file} --slab --caller stat"
                commands = {said.replace(str(file), "FILE"): shell(said), **commands}
            elif rival == "trace-cmd" and shutil.which("trace-cmd"):
                for how, code in (("polars", POLARS), ("DuckDB", DUCKDB)):
                    (scratch / f"by_{how}.py").write_text(code)
                    commands = {
                        f"trace-cmd report > text, {how} over it": shell(
                            f"trace-cmd report {file} > {text}",
                            f"{sys.executable} {scratch}/by_{how}.py {text}",
                        ),
                        **commands,
                    }
            else:
                print(f"{rival} is not on this machine: its row is missing")
            show(name, in_turn(commands, runs))


def show(name: str, results: dict[str, list[Run]]) -> None:
    """Print a row a command: time, and how many times that of the first it is."""
    print(f"\n{name:40} {'CPU s':>8} {'wall s':>8} {'MiB':>6} {'times the first (CPU)':>22}")
    first = None
    for command, measured in results.items():
        cpu, wall, peak = (median(measured, each) for each in ("cpu_s", "wall_s", "peak_mib"))
        first = first or cpu
        print(f"{command:40} {cpu:8.2f} {wall:8.2f} {peak:6.0f} {cpu / first:22.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 3)
