"""The numbers of the model that a user may set: keys, ranges, and how they are given.

A key is a setting's; behind it a cache, or a pattern of caches; behind that the moment from which
it holds: ``sheaf.capacity``, ``sheaf.capacity.kmalloc-*``, ``sheaf.capacity.maple_node@2.5s``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from allocsim.kernels.kmalloc_partitions import COUNTS
from allocsim.kernels.profile import DEFAULT, PROFILES
from allocsim.kernels.release import Generation
from allocsim.page_alloc.nodes import MOST_NODES
from allocsim.page_alloc.zones import MAX_PAGE_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocsim.kernels.profile import Profile

KERNEL = "kernel"  #: the setting that picks the profile
PARTITIONS = "kmalloc.partitions"  #: the one that gives kmalloc's caches copies (R3.52)
PARTITION_SEED = "kmalloc.seed"  #: and the one that says which call sites share one
#: Where the rules of a generation stand.
_RULES = {
    Generation.CPU_SLABS: "R3.30 - R3.40",
    Generation.SHEAVES_ASKED: "R3.45",
    Generation.SHEAVES: "R3.10 - R3.22",
}


class SettingError(ValueError):
    """A setting that does not exist or a value out of its range; the message names both."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A number the user may set.

    Args:
        key: its name.
        low, high: its range.
        per_cache: a cache's name may follow the key, or a pattern with ``*`` and ``?``.
        at_a_moment: it may change while the trace goes on (R3.27).
        doc: what it is.
        generations: those of SLUB that have such a number.
        choices: words that stand for its values, where it takes no others.
    """

    key: str
    low: int
    high: int
    doc: str
    per_cache: bool = False
    at_a_moment: bool = False
    generations: tuple[Generation, ...] = tuple(Generation)
    choices: tuple[tuple[str, int], ...] = ()

    @property
    def kernels(self) -> tuple[str, ...]:
        """The modelled kernels that have such a number, oldest first."""
        return kernels_of(self.generations)


def kernels_of(generations: Iterable[Generation]) -> tuple[str, ...]:
    """The modelled kernels of some generations of SLUB, oldest first."""
    wanted = set(generations)
    return tuple(each.word for each in PROFILES if each.slub.generation in wanted)


_WHOSE = ", ".join(
    f"{generation.value} ({rules}) in {' and '.join(kernels_of([generation]))}"
    for generation, rules in _RULES.items()
)

_DIGITS = 18  #: of a value, at most: what the database has room for
_SHEAVES = (Generation.SHEAVES_ASKED, Generation.SHEAVES)
SETTINGS = (
    Setting(
        KERNEL,
        min(each.code for each in PROFILES),
        max(each.code for each in PROFILES),
        f"Whose allocators: {_WHOSE}.",
        choices=tuple((each.word, each.code) for each in PROFILES),
    ),
    Setting(
        "cpus", 1, 8192, "CPUs present (R3.4, R4.12); events keep theirs, taking turns on fewer."
    ),
    Setting(
        "sheaf.capacity",
        0,
        1020,
        "Objects in a sheaf; 0: no sheaves.",
        per_cache=True,
        at_a_moment=True,
        generations=_SHEAVES,
    ),
    Setting("sheaf.flush_batch", 1, 1020, "PCS_BATCH_MAX (R3.24).", generations=_SHEAVES),
    Setting(
        "barn.full_sheaves",
        0,
        1 << 20,
        "MAX_FULL_SHEAVES (R3.9): full sheaves a barn takes.",
        per_cache=True,
        at_a_moment=True,
        generations=_SHEAVES,
    ),
    Setting(
        "barn.empty_sheaves",
        0,
        1 << 20,
        "MAX_EMPTY_SHEAVES (R3.9): empty sheaves a barn takes of kfree_rcu (R3.20).",
        per_cache=True,
        at_a_moment=True,
        generations=_SHEAVES,
    ),
    Setting(
        "slab.cpu_partial",
        0,
        1 << 20,
        "Objects wanted on a CPU's partial list (R3.30).",
        per_cache=True,
        generations=(Generation.CPU_SLABS, Generation.SHEAVES_ASKED),
    ),
    Setting("slab.order", 0, MAX_PAGE_ORDER, "Order of a slab.", per_cache=True),
    Setting("slab.max_order", 0, MAX_PAGE_ORDER, "slab_max_order= (R3.4)."),
    Setting(
        "min_partial",
        0,
        1 << 20,
        "Slabs kept on the partial list.",
        per_cache=True,
        at_a_moment=True,
    ),
    Setting("freelist.seed", 0, 1 << 62, "Of R3.6's order; 0: ascending."),
    Setting(
        PARTITIONS,
        min(count for _, count in COUNTS),
        max(count for _, count in COUNTS),
        "Caches of each kmalloc-N that call sites are spread over (R3.51, R3.52);"
        " sites: one for each call site, a proposal.",
        choices=COUNTS,
    ),
    Setting(
        PARTITION_SEED,
        0,
        1 << 31,
        "Which call sites share one of these: a draw as at a boot (R3.52).",
    ),
    Setting("pcp.batch", 1, 1 << 16, "Pages a refill starts with (R4.11)."),
    Setting(
        "pcp.own_blocks", 0, 1, "1: a CPU's lists own page blocks; a proposal, no kernel's (R4.34)."
    ),
    Setting("pcp.scale_max", 0, 6, "CONFIG_PCP_BATCH_SCALE_MAX (R4.5)."),
    Setting("pcp.high_min", 1, 1 << 30, "Least limit of a CPU (R4.12)."),
    Setting("pcp.high_max", 1, 1 << 30, "Largest limit of a CPU (R4.12)."),
    Setting(
        "watermarks.min",
        0,
        1 << 40,
        "Pages, all zones together; low and high follow as from min_free_kbytes.",
    ),
    Setting("watermarks.low", 0, 1 << 40, "Pages, all zones together."),
    Setting("watermarks.high", 0, 1 << 40, "Pages, all zones together."),
    Setting("nodes", 1, MOST_NODES, "Memory nodes, of equal size (R3.25, R4.35)."),
    Setting("node.memory", 1, MOST_NODES, "Nodes that have memory: the first ones (R3.26)."),
    Setting(
        "cpu.node",
        0,
        1,
        "Which node a CPU is on: neighbours share one (blocks), or they take turns (turns).",
        choices=(("blocks", 0), ("turns", 1)),
    ),
)
_SETTING = {setting.key: setting for setting in SETTINGS}


def shown(settings: Mapping[str, int]) -> dict[str, int | str]:
    """Settings as a user gives them: where a number stands for a word, the word."""
    found: dict[str, int | str] = dict(settings)
    for key, value in settings.items():
        words = {number: word for word, number in _split(key)[0].choices if not word.isdecimal()}
        found[key] = words.get(value, value)
    return found


def kernel_profile(settings: Mapping[str, int]) -> Profile:
    """The profile that settings pick, with its numbers as they are.

    Raises:
        SettingError: there is no such kernel.
    """
    code = settings.get(KERNEL, DEFAULT.code)
    for profile in PROFILES:
        if profile.code == code:
            return profile
    codes = ", ".join(f"{each.code} for {each.word}" for each in PROFILES)
    raise SettingError(f"setting {KERNEL}={code}: must be one of {codes}")


def check_settings(settings: Mapping[str, int], caches: Iterable[str]) -> None:
    """Check every key and value.

    Raises:
        SettingError: as cache_shapes says.
    """
    names = list(caches)
    generation = kernel_profile(settings).slub.generation
    for key, value in settings.items():
        setting, cache = _split(key)
        if generation not in setting.generations:
            have = setting.kernels
            verb = "kernels {} have" if len(have) > 1 else "kernel {} has"
            raise SettingError(
                f"setting {key}: {verb.format(' and '.join(have))} it, not the one that is "
                f"modelled; set {KERNEL}={' or '.join(have)} too"
            )
        if generation is Generation.SHEAVES_ASKED and moments({key: value}):
            raise SettingError(
                f"setting {key}: sheaves above cpu slabs do not change at a moment; set "
                f"{KERNEL}={' or '.join(kernels_of([Generation.SHEAVES]))} too"
            )
        if cache is not None and not any(_is_for(cache, name) for name in names):
            raise SettingError(
                f"setting {key}: the trace has no cache {cache}{_near(cache, names)}"
            )
        if not setting.low <= value <= setting.high:
            raise SettingError(_beyond(setting, key, value))


def value_for(settings: Mapping[str, int], key: str, cache: str) -> int | None:
    """What is set of a cache: of its name, else of the longest pattern that fits it, else of all.

    Args:
        settings: those that hold (:func:`at_moment`).
        key: of a setting that may be of a cache.
        cache: its name.

    Returns:
        None where nothing is.
    """
    if f"{key}.{cache}" in settings:
        return settings[f"{key}.{cache}"]
    patterns = [each.removeprefix(f"{key}.") for each in settings if each.startswith(f"{key}.")]
    fitting = [each for each in patterns if _is_for(each, cache)]
    if fitting:
        return settings[f"{key}.{max(fitting, key=lambda each: (len(each), each))}"]
    return settings.get(key)


def _is_for(pattern: str, cache: str) -> bool:
    """Whether a cache is the one that is named, or fits a pattern."""
    if not set(pattern) & set("*?"):
        return pattern == cache
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, cache, re.DOTALL) is not None


def moments(settings: Mapping[str, int]) -> list[int]:
    """The moments at which settings change, in ns after the first event, in order."""
    found = {_moment_of(key)[1] for key in settings}
    return sorted(each for each in found if each is not None)


def at_moment(settings: Mapping[str, int], moment: int = -1) -> dict[str, int]:
    """The settings that hold from a moment on; without one, from the start on.

    Of one key the latest that has come holds. What has none yet is as at the start.
    """
    since: dict[str, int] = {}
    held: dict[str, int] = {}
    for key, value in settings.items():
        base, begins = _moment_of(key)
        begins = -1 if begins is None else begins
        if begins <= moment and begins >= since.get(base, -1):
            since[base], held[base] = begins, value
    return held


def _moment_of(key: str) -> tuple[str, int | None]:
    """A key without its moment, and that in ns after the first event; None where it has none."""
    base, at, moment = key.rpartition("@")
    if not at:
        return key, None
    number = moment.removesuffix("s")
    if number == moment or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", number):
        raise SettingError(
            f"setting {key}: {moment!r} is no moment: seconds after the trace's first event, "
            "as 2.5s"
        )
    return base, int(Decimal(number) * 10**9)


def _with_moment(key: str, text: str) -> str:
    """A key whose moment, if it has one, is spelled in one way."""
    base, moment = _moment_of(key)
    if moment is None:
        return key
    if "@" in base:
        raise SettingError(f"setting {text!r}: two moments")
    seconds, rest = divmod(moment, 10**9)
    return f"{base}@{seconds}{f'.{rest:09}'.rstrip('0') if rest else ''}s"


def parse_setting(text: str) -> tuple[str, int]:
    """``KEY=VALUE`` as (key, value); the key exists, the value is a whole number or its word.

    ``KEY=VALUE@MOMENT`` is the same as ``KEY@MOMENT=VALUE``.

    Raises:
        SettingError: it is not of that form, or the key does not exist.
    """
    key, equals, value = text.partition("=")
    value, at, moment = value.partition("@")
    key = _with_moment(f"{key}{at}{moment}", text)
    choices = dict(_SETTING[key].choices) if key in _SETTING else {}
    if choices:
        if value not in choices:
            raise SettingError(f"setting {text!r}: must be one of {', '.join(choices)}")
        return key, choices[value]
    if not equals or not re.fullmatch(r"-?[0-9]+", value):
        raise SettingError(f"setting {text!r}: must be KEY=VALUE with a whole number as value")
    setting, _ = _split(key)
    if len(value) > _DIGITS:
        raise SettingError(_beyond(setting, key, value))
    return key, int(value)


def _beyond(setting: Setting, key: str, value: int | str) -> str:
    return f"setting {key}={value}: out of range, {setting.low} to {setting.high}"


def check_key(key: str) -> None:
    """Check that there is such a setting.

    Raises:
        SettingError: there is none.
    """
    _split(key)


def _split(key: str) -> tuple[Setting, str | None]:
    """The setting a key belongs to, and the cache that follows it, if one does."""
    whole, (key, moment) = key, _moment_of(key)
    setting, cache = _split_start(key)
    if moment is not None and not setting.at_a_moment:
        changing = ", ".join(each.key for each in SETTINGS if each.at_a_moment)
        raise SettingError(
            f"setting {whole}: holds from the start of the trace on; at a moment can change: "
            f"{changing}"
        )
    return setting, cache


def _split_start(key: str) -> tuple[Setting, str | None]:
    """The same of a key without a moment."""
    if key in _SETTING:
        return _SETTING[key], None
    for setting in SETTINGS:
        cache = key.removeprefix(f"{setting.key}.")
        if setting.per_cache and cache not in (key, ""):
            return setting, cache
    known = [s.key for s in SETTINGS] + [f"{s.key}.<cache>" for s in SETTINGS if s.per_cache]
    raise SettingError(f"setting {key}: no such key{_near(key, known)}; keys: {', '.join(known)}")


def _near(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=3)
    return f" (did you mean {', '.join(near)}?)" if near else ""
