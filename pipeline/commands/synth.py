"""allocsim synth: make synthetic trace sets of specs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from pipeline.commands.options import completion
from pipeline.commands.options.common import FORCE
from pipeline.commands.options.declared import Argument, Option
from pipeline.errors import UsageError


def synth(
    specs: Annotated[
        list[str] | None,
        Argument(
            metavar="SPEC",
            autocompletion=completion.specs,
            help="Specs: TOML files, or names of shipped ones.",
        ),
    ] = None,
    output: Annotated[
        Path,
        Option("--output", "-o", metavar="DIR", help="Folder to put the trace sets into."),
    ] = Path(),
    list_: Annotated[bool, Option("--list", help="Show the shipped specs.")] = False,
    events: Annotated[
        int | None,
        Option(
            min=1,
            max=10**12,
            metavar="N",
            help="End with this event: the phases begin again until then.",
        ),
    ] = None,
    seed: Annotated[
        int | None, Option(min=0, max=(1 << 63) - 1, metavar="N", help="Another seed.")
    ] = None,
    cpus: Annotated[
        int | None,
        Option(
            min=1,
            max=1024,
            metavar="N",
            help="Another number of CPUs, each as busy as in the spec; memory and events grow"
            " along.",
        ),
    ] = None,
    memory: Annotated[
        str | None, Option(metavar="SIZE", help="Another size of memory, as in '64 GiB'.")
    ] = None,
    rate: Annotated[
        float | None,
        Option(
            min=0.001,
            max=1000,
            metavar="FACTOR",
            help="Times as many arrivals a second, and as many alive; lifetimes stay, and closed"
            " loops keep their pace.",
        ),
    ] = None,
    speed: Annotated[
        float | None,
        Option(
            min=0.001,
            max=1000,
            metavar="FACTOR",
            help="All times this many times shorter, lifetimes too; not the kernel's own: grace"
            " periods and the vmstat worker's second.",
        ),
    ] = None,
    name: Annotated[
        str | None, Option(metavar="NAME", help="Another name for the trace set.")
    ] = None,
    force: FORCE = False,
) -> None:
    """Make synthetic traces: what a spec describes, as a trace set in DIR, placed by the model.

    The same spec and seed give the same trace on every machine. Objects and pages lie where the
    model of SLUB 7.2 and of the page allocator puts them; meta.json says that it is synthetic.
    """
    from pipeline.processes.progress import shown
    from pipeline.synth.spec.changes import changed, parse_memory
    from pipeline.synth.spec.parse import parse_spec
    from pipeline.synth.spec.patterns import listing, read_spec
    from pipeline.synth.write import write_trace_set
    from pipeline.trace_set.meta import read_meta

    if list_:
        if specs:
            raise UsageError(f"--list shows the shipped specs; it takes no {specs[0]}")
        sys.stdout.write(listing())
        return
    if not specs:
        raise UsageError("name a spec; allocsim synth --list shows the shipped ones")
    if name is not None and len(specs) > 1:
        raise UsageError(f"--name {name}: one name for {len(specs)} specs; make them one by one")
    texts = [read_spec(spec) for spec in specs]
    bytes_ = None if memory is None else parse_memory(memory)
    given: dict[str, Any] = {
        "events": events,
        "seed": seed,
        "cpus": cpus,
        "memory": bytes_,
        "rate": rate,
        "speed": speed,
    }
    wanted = [
        changed(parse_spec(text, spec), **given, name=name)
        for text, spec in zip(texts, specs, strict=True)
    ]
    names = [spec.name for spec in wanted]
    for each in names:
        if names.count(each) > 1:
            raise UsageError(f"two specs are called {each}; make them in two folders")
    changes = {key: value for key, value in given.items() if value is not None}
    with shown() as progress:
        for spec, text in zip(wanted, texts, strict=True):
            made = write_trace_set(
                spec,
                text,
                output,
                force=force,
                changes=changes,
                advance=progress.step(spec.name),
            )
            meta = read_meta(made)
            total = sum(meta["events"].values())
            seconds = (meta["last_ts"] - meta["first_ts"]) / 10**9
            failed = meta["synth"]["failed_page_requests"]
            sys.stdout.write(
                f"{made}: {total} events, synthetic, {seconds:.3f} s on {spec.cpus} CPUs"
                + (f", {failed} page requests without memory" if failed else "")
                + "\n"
            )
