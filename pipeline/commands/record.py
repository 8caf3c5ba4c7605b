"""allocsim record: record a workload, with what the kernel says of its memory around it."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.declared import Argument, Option
from pipeline.errors import AllocsimError

_SHELL = "/bin/sh"
_KB = 100_000  #: of each CPU's ring buffer


def record(
    command: Annotated[
        list[str], Argument(metavar="COMMAND", help="What to record, with its arguments.")
    ],
    output: Annotated[
        Path,
        Option(
            "--output", "-o", metavar="FOLDER", help="Where to put the recording, a new folder."
        ),
    ] = Path("recording"),
    buffer: Annotated[
        int, Option("--buffer", "-b", min=1, metavar="KB", help="Ring buffer of each CPU.")
    ] = _KB,
    clock: Annotated[
        str, Option("--clock", "-C", metavar="CLOCK", help="Clock of the events.")
    ] = "global",
    event: Annotated[
        list[str] | None,
        Option(
            "--event",
            "-e",
            metavar="EVENT",
            help="Record this too, as trace-cmd names events; page_ref: of a kernel that has them."
            " May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        Option(
            "--dry-run",
            help="Say what would be done, and print the script instead of running it. Like all"
            " options it stands before COMMAND; what is behind that is the command's own.",
        ),
    ] = False,
) -> None:
    """Record the kmem events of a command, with snapshots of /proc and /sys before and behind it.

    What will be done is said first. It takes root and trace-cmd, and zstd for copies of
    /proc/kpageflags; tracing that is going on ends. A shell script does it, which needs no file of
    allocsim: --dry-run prints it, to be copied to another machine. The exit code is the command's.
    """
    arguments = ["-o", str(output), "-b", str(buffer), "-C", clock]
    arguments += [word for name in event or () for word in ("-e", name)]
    sys.stderr.write(_plan(command, output, buffer, clock, event or []))
    script = (files("pipeline.commands") / "record.sh").read_text("utf-8")
    if dry_run:
        called = shlex.join(["sh", "record.sh", *arguments, "--", *command])
        sys.stderr.write(f"Nothing was done. It would be, as root:\n  {called}\n")
        sys.stdout.write(script)
        return
    sys.stderr.flush()
    try:
        # In place of this process, whose memory would be in the recording.
        os.execv(  # noqa: S606 - the script has no other shell than this
            _SHELL, [_SHELL, "-c", script, "record.sh", *arguments, "--", *command]
        )
    except OSError as error:
        raise AllocsimError(f"{_SHELL}: cannot be run: {error.strerror}") from error


def _plan(command: list[str], output: Path, buffer: int, clock: str, events: list[str]) -> str:
    """What will be done, a line each."""
    cpus = os.cpu_count() or 1
    more = "".join(f", {name}" for name in events)
    return f"""This is what allocsim record does, as root:
  make the folder {output}, with copies of /proc/iomem, cmdline and cpuinfo
  mount tracefs, if it is not
  end with an error if something is being traced already
  trace-cmd reset: ring buffers are emptied
  give each of {cpus} CPUs a ring buffer of {buffer:,} KB, {cpus * buffer // 1000:,} MB in all
  copy uptime, slabinfo, buddyinfo, pagetypeinfo, zoneinfo, vmstat, meminfo,
    allocinfo, kpageflags and kpagecount of /proc, the attributes of
    /sys/kernel/slab, and page_owner of debugfs: those that there are
  probe what has no tracepoint, where this kernel lets it: __kfree_rcu_sheaf,
    rcu_free_sheaf, kmem_cache_prefill_sheaf, _refill_sheaf and _return_sheaf,
    kmem_cache_free_bulk, kmem_cache_alloc_bulk; as events of a group allocsim
  record kmem (mm_page_alloc with stacks), the probes{more}
    by the clock {clock}, while this runs:
    {shlex.join(command)}
  copy the same once more and what the probes missed, write {output}/trace.dat,
    and reset the tracer
"""
