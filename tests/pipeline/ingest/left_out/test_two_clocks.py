"""Two clocks in one recording: found where there are, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyarrow import parquet

from allocsim.trace.events import Ev
from pipeline.ingest.left_out.two_clocks import Behind, ClockCheck
from pipeline.trace_set.column import Values
from reports.console.trace import trace_text
from tests.conftest import ROOT
from tests.pipeline.ingest.ftrace_text.test_reader import KFREE, KMALLOC, PAGE, imported, line

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SECOND = 10**9
Use = tuple[int, int, Ev, int]  # time, CPU, event, address or page


def found(uses: list[Use], window: int = 100) -> list[Behind]:
    """What is found in allocations and frees, given in windows."""
    check = ClockCheck()
    uses = sorted(uses, key=lambda use: use[0])
    for at in range(0, len(uses), window):
        ts, cpu, event, key = (np.array(part) for part in zip(*uses[at : at + window], strict=True))
        pages = np.isin(event, (Ev.MM_PAGE_ALLOC, Ev.MM_PAGE_FREE))
        check.window(
            {
                "ts": Values(ts.astype(np.int64)),
                "cpu": Values(cpu.astype(np.int16)),
                "event": Values(event.astype(np.uint8)),
                "ptr": Values(key[~pages].astype(np.uint64), ~pages),
                "pfn": Values(key[pages].astype(np.int64), pages),
            }
        )
    return check.behind()


def passed_on(cpu_of_free: int, count: int = 200, *, pages: bool = False) -> list[Use]:
    """What CPU 0 allocates another frees milliseconds later; each address is used anew."""
    dice = np.random.default_rng(1)
    alloc, free = (Ev.MM_PAGE_ALLOC, Ev.MM_PAGE_FREE) if pages else (Ev.KMALLOC, Ev.KFREE)
    uses: list[Use] = []
    for number in range(count):
        key = 0x1000 + 64 * (number % 50)
        at = SECOND + 100_000_000 * (number // 50) + 1_000_000 * (number % 50)
        uses += [
            (at, 0, alloc, key),
            (at + int(dice.integers(1_000, 4_000_000)), cpu_of_free, free, key),
        ]
    return uses


def moved(uses: list[Use], cpu: int, by: int) -> list[Use]:
    return [(ts - by if of == cpu else ts, of, event, key) for ts, of, event, key in uses]


@pytest.mark.parametrize("by", [SECOND // 50, SECOND, 1000 * SECOND])
@pytest.mark.parametrize("pages", [False, True])
def test_finds_by_how_much_a_cpu_is_behind(by: int, *, pages: bool) -> None:
    uses = passed_on(1, pages=pages)
    assert found(uses) == []
    [pair] = found(moved(uses, 1, by))
    assert (pair.cpu, pair.of, pair.after) == (1, 0, 0)
    # No closer than things live.
    assert abs(pair.by - by) < 4_000_000
    assert found(moved(uses, 1, -by)) == []


def test_finds_those_of_several_cpus_that_are_behind() -> None:
    uses = passed_on(1)
    for cpu in (2, 3):
        uses += [(ts, of, ev, key + 4096 * cpu) for ts, of, ev, key in passed_on(cpu)]
    late = moved(moved(uses, 2, SECOND), 3, SECOND)
    assert [(pair.cpu, pair.of) for pair in found(late)] == [(2, 0), (3, 0)]


def test_frees_of_what_came_before_the_recording_are_no_second_clock() -> None:
    dice = np.random.default_rng(2)
    uses: list[Use] = []
    for key in range(0x1000, 0x1000 + 64 * 300, 64):
        freed = int(dice.integers(0, 5 * SECOND))
        anew = int(dice.integers(freed, 10 * SECOND))
        uses += [(freed, 1, Ev.KFREE, key), (anew, 0, Ev.KMALLOC, key)]
    uses.append((10 * SECOND, 1, Ev.KFREE, 8))
    assert found(uses) == []


def test_few_frees_say_nothing() -> None:
    assert found(moved(passed_on(1, 20), 1, SECOND)) == []
    assert found(passed_on(0)) == []
    assert ClockCheck().behind() == []


def test_import_and_info_say_it(tmp_path: Path) -> None:
    def text(by: float) -> str:
        return "".join(
            line(KMALLOC.replace("010000a0", f"{0x01000000 + 64 * n:08x}"), 9 + n / 100, 0)
            + line(KFREE.replace("010000a0", f"{0x01000000 + 64 * n:08x}"), 9.002 - by + n / 100, 1)
            for n in range(60)
        )

    assert "two_clocks" not in imported(text(0), tmp_path).meta
    meta = imported(text(5), tmp_path).meta
    says = meta["two_clocks"]["says"]
    assert says.startswith("two clocks: the times of CPU 1 are about 5 s behind those of CPU 0: ")
    assert meta["lacks"][0] == says
    assert says in " ".join(trace_text(meta).split())  # it is wrapped
    assert meta["two_clocks"]["pairs"][0]["before"] == 60
    assert len(imported(text(5) + line(PAGE), tmp_path).meta["two_clocks"]["pairs"]) == 1


def recorded(trace: str) -> dict[str, npt.NDArray[np.int64]]:
    """Times, CPUs, events and addresses of a shipped trace set; 0 where there is no address."""
    names = ["ts", "cpu", "event", "ptr", "pfn"]
    table = parquet.read_table(ROOT / "traces" / trace / "events.parquet", columns=names)
    return {
        name: np.asarray(table.column(name).combine_chunks().fill_null(0)).astype(np.uint64)
        for name in names
    }


def checked(events: dict[str, npt.NDArray[np.int64]], cpu: int, by: int) -> list[Behind]:
    ts = events["ts"].astype(np.int64) - np.where(events["cpu"] == cpu, by, 0)
    order = np.argsort(ts, kind="stable")
    check = ClockCheck()
    for at in range(0, len(order), 50_000):
        rows = order[at : at + 50_000]
        check.window(
            {
                "ts": Values(ts[rows]),
                "cpu": Values(events["cpu"][rows].astype(np.int16)),
                "event": Values(events["event"][rows].astype(np.uint8)),
                "ptr": Values(events["ptr"][rows]),
                "pfn": Values(events["pfn"][rows].astype(np.int64)),
            }
        )
    return check.behind()


@pytest.mark.parametrize(
    "trace",
    ["6.12-tmpfsfiles", "6.12p-hackbench-gt", "7.2p-net-gt", "7.3-tmpfsfiles", "7.2n-numa-huge"],
)
def test_recordings_have_one_clock(trace: str) -> None:
    assert checked(recorded(trace), 0, 0) == []


@pytest.mark.parametrize("trace", ["6.12p-hackbench-gt", "7.2p-net-gt"])
@pytest.mark.parametrize("cpu", [0, 1])
def test_a_recording_of_two_clocks_is_known(trace: str, cpu: int) -> None:
    for by in (SECOND, 100 * SECOND):
        [pair] = checked(recorded(trace), cpu, by)
        assert (pair.cpu, pair.of) == (cpu, 1 - cpu)
        assert abs(pair.by - by) < SECOND // 100
        assert pair.after < pair.before // 4
