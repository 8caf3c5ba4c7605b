"""Measuring costs on this machine, where it has a compiler; and every way in which that fails."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from allocsim.refcount.costs import MEASURED_PLACES, OPERATIONS, parse_costs
from pipeline.calibration import CalibrationError, calibrate, cpu_pairs, parse_output
from pipeline.cli.typer_app import typer_app

if TYPE_CHECKING:
    from pathlib import Path

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def _machine(root: Path, domains: list[str], siblings: list[str]) -> Path:
    for cpu, (domain, of_core) in enumerate(zip(domains, siblings, strict=True)):
        for index, shared in (("index0", of_core), ("index3", domain)):
            folder = root / f"cpu{cpu}" / "cache" / index
            folder.mkdir(parents=True)
            (folder / "shared_cpu_list").write_text(shared + "\n")
        (root / f"cpu{cpu}" / "topology").mkdir()
        (root / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(of_core + "\n")
    return root


def test_cpus_are_paired_by_what_cache_they_share(tmp_path: Path) -> None:
    # Two cores of two threads behind one cache, two more behind another.
    domains = ["0-1,4-5", "0-1,4-5", "2-3,6-7", "2-3,6-7"] * 2
    root = _machine(tmp_path, domains, ["0,4", "1,5", "2,6", "3,7"] * 2)
    assert cpu_pairs(root, list(range(8))) == {"near": (0, 1), "remote": (0, 7)}
    assert cpu_pairs(root, [0, 4]) == {"near": (0, 4)}  # only the other thread of the core
    assert cpu_pairs(root, [1, 2]) == {"remote": (1, 2)}
    assert cpu_pairs(root, [3]) == {"own": (3, -1)}
    assert cpu_pairs(tmp_path / "none", [0, 1]) == {"near": (0, 1)}


@pytest.mark.slow
@needs_compiler
def test_a_table_is_measured_that_a_replay_can_take(tmp_path: Path) -> None:
    out = tmp_path / "costs.toml"
    result = CliRunner().invoke(typer_app(), ["cost", "calibrate", "-o", str(out)])
    assert result.exit_code == 0, result.output
    table = parse_costs(out.read_text("utf-8"), str(out))
    assert set(table.ranges) == {(op, place) for op in OPERATIONS for place in MEASURED_PLACES}
    for operation in OPERATIONS:
        own = table.ranges[operation, "own"]
        assert own.known == "measured"
        assert "batches" in own.source
        # No such operation takes less than a tenth of a cycle at 10 GHz, or a microsecond.
        assert 0.01 < own.low <= own.high < 1000
        assert table.ranges[operation, "near"].low >= own.low
    assert [path.name for path in tmp_path.iterdir()] == ["costs.toml"]


def test_without_a_compiler_one_line_says_what_serves() -> None:
    with pytest.raises(
        CalibrationError, match=r"nonesuch: not found; nothing was measured, the sh"
    ):
        calibrate("nonesuch")
    with pytest.raises(CalibrationError, match=r"false: failed: exit code 1; nothing was measured"):
        calibrate("false")


def test_what_a_program_prints_is_read_or_refused() -> None:
    ticks, samples = parse_output("tsc 2.5\nxadd own 1.0 1.5 2.0 9.0 201\n")
    assert ticks == 2.5
    sample = samples["xadd", "own"]
    assert (sample.least, sample.median, sample.high, sample.most) == (1.0, 1.5, 2.0, 9.0)
    for bad in ("xadd own 1.0", "tsc", "tsc fast", "xadd own a b c d e", "\n"):
        with pytest.raises(CalibrationError, match="the program printed"):
            parse_output(bad)
