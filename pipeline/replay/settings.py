"""The model's settings as the user gives them: KEY=VALUE, and KEY=VALUE,VALUE,... to be varied."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from allocsim.kernels.kmalloc_partitions import copies_in, copy_name, is_normal
from allocsim.kernels.profile import DEFAULT
from allocsim.kernels.release import GFP_BITS, kernel_at
from allocsim.kernels.settings import (
    KERNEL,
    PARTITIONS,
    SettingError,
    check_key,
    check_settings,
    kernel_profile,
    moments,
    parse_setting,
)
from allocsim.kernels.slub_rules import PAGE_SIZE
from allocsim.recording.cache_names import Caches
from pipeline.errors import InputError, UsageError
from pipeline.store.dimensions import functions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.trace_set.reader import TraceSet

Settings = dict[str, int]
AS_IT_IS = "default"  #: a value of what is varied

_MOST_COMBINATIONS = 10_000


def parse_settings(given: Sequence[str]) -> Settings:
    """``KEY=VALUE`` texts as settings.

    Raises:
        UsageError: not of that form, a key that does not exist or is given twice.
    """
    settings: Settings = {}
    for text in given:
        key, value = _parsed(text)
        if key in settings:
            raise UsageError(f"setting {key} is given twice")
        settings[key] = value
    return settings


def combinations(vary: Sequence[str], fixed: Mapping[str, int]) -> list[Settings]:
    """Every combination of ``KEY=VALUE,VALUE,...`` texts, with the fixed settings in each.

    Before them stand the fixed settings alone, under which what is varied is as the kernel has it:
    what the value ``default`` says too.

    Raises:
        UsageError: as parse_settings; also a value given twice, or too many combinations.
    """
    axes: dict[str, list[int | None]] = {}
    for text in vary:
        key, _, values = text.partition("=")
        numbers = [_varied(key, value) for value in values.split(",")]
        if key in axes or key in fixed:
            raise UsageError(f"setting {key} is given twice")
        if len(set(numbers)) < len(numbers):
            raise UsageError(f"setting {text!r}: a value is given twice")
        axes[key] = numbers
    count = prod(map(len, axes.values()))
    if count > _MOST_COMBINATIONS:
        raise UsageError(
            f"{count} combinations of {' and '.join(axes)}: no more than {_MOST_COMBINATIONS} are"
            " simulated at once"
        )
    every = product(*axes.values())
    chosen = [
        {key: value for key, value in zip(axes, values, strict=True) if value is not None}
        for values in every
    ]
    return distinct([{**fixed, **varied} for varied in ({}, *chosen)])


def distinct(combinations: Sequence[Settings]) -> list[Settings]:
    """Settings of which no two say the same; of two that do, the one that names the kernel."""
    default = {KERNEL: DEFAULT.code}
    found = {tuple(sorted((default | each).items())): each for each in combinations}
    return list(found.values())


def _varied(key: str, value: str) -> int | None:
    """One value of a setting that is varied; None: as the kernel has it."""
    try:
        if value == AS_IT_IS:
            check_key(key)
            return None
    except SettingError as error:
        raise UsageError(str(error)) from error
    return _parsed(f"{key}={value}")[1]


def _parsed(text: str) -> tuple[str, int]:
    try:
        return parse_setting(text)
    except SettingError as error:
        raise UsageError(str(error)) from error


def check_page_size(trace: TraceSet) -> None:
    """Refuse to simulate a machine whose pages are of another size than the model's.

    Slab orders, sheaf capacities, per-CPU page lists, pageblocks and zone watermarks all follow
    from the page size; the rules were read and validated for 4 KiB.

    Raises:
        InputError: it is such a machine.
    """
    if trace.meta["page_size"] != PAGE_SIZE:
        raise InputError(
            f"{trace.path}: pages of {trace.meta['page_size']} bytes; the simulated placement is "
            f"that of {PAGE_SIZE}-byte pages: replay it with --placement recorded"
        )


def span_ns(trace: TraceSet) -> tuple[int, int] | None:
    """Times of the first and the last event [ns]; None where the trace's clock counts others."""
    if trace.meta["ts_unit"] != "ns":
        return None
    return trace.meta["first_ts"], trace.meta["last_ts"]


def check_moments(settings: Mapping[str, int], span: tuple[int, int] | None) -> None:
    """Refuse changes that come when the trace has ended, or that cannot be placed in it.

    Raises:
        UsageError: there is one.
    """
    latest = max(moments(settings), default=-1)
    if latest < 0:
        return
    if span is None:
        raise UsageError("settings at a moment: the clock of this trace does not count ns")
    if latest > span[1] - span[0]:
        lasts = (span[1] - span[0]) / 1e9
        raise UsageError(
            f"a setting changes {latest / 1e9:g} s after the trace's first event; the trace lasts "
            f"{lasts:.3f} s"
        )


def recorded_copies(trace: TraceSet) -> int:
    """Caches of each normal kmalloc cache the recorded kernel has (R3.51).

    By slabinfo or sysfs; 1 without them, as no event tells that there are copies.
    """
    names = ("slabinfo", "sysfs_slab.txt")
    return max(copies_in(trace.snapshot_text(name) or "") for name in names)


def has_copies(settings: Mapping[str, int], trace: TraceSet) -> bool:
    """Whether a simulation of a trace with these settings has copies of kmalloc's caches."""
    return settings.get(PARTITIONS, recorded_copies(trace)) != 1


def check_for_trace(settings: Mapping[str, int], trace: TraceSet) -> None:
    """Check settings before anything is replayed: ranges, and names of caches.

    Caches that only a replay makes up (sizes at call sites) cannot be set.

    Raises:
        UsageError: a value out of range, or a cache the trace does not have.
        InputError: its machine has pages of another size than the model's.
    """
    check_page_size(trace)
    check_moments(settings, span_ns(trace))
    # All kmalloc types there are: which of them this kernel has does not matter here.
    names = Caches(
        trace.text("cache"), {}, GFP_BITS, functions(trace), trace.meta["page_size"]
    ).names
    copies = settings.get(PARTITIONS, recorded_copies(trace))
    word = kernel_at(kernel_profile(settings).version).kmalloc_copies
    names += [
        copy_name(name, number, word)
        for name in filter(is_normal, names)
        for number in range(1, copies)
    ]
    try:
        check_settings(settings, names)
    except SettingError as error:
        raise UsageError(str(error)) from error
