"""The numbers a user may set instead of the kernel's: their keys, ranges and meanings, as data."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_PAGE_ORDER = 10


class SettingError(ValueError):
    """A setting that does not exist or a value out of its range; the message names both."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A number the user may set: its key, its range, and whether a cache's name may follow."""

    key: str
    low: int
    high: int
    per_cache: bool
    doc: str


SETTINGS = (
    Setting("cpus", 1, 8192, per_cache=False, doc="CPUs present; decides slab orders (R3.4)."),
    Setting("sheaf.capacity", 0, 1020, per_cache=True, doc="Objects in a sheaf; 0: no sheaves."),
    Setting("slab.order", 0, MAX_PAGE_ORDER, per_cache=True, doc="Order of a slab."),
    Setting("min_partial", 0, 1 << 20, per_cache=True, doc="Slabs kept on the partial list."),
    Setting("freelist.seed", 0, 1 << 62, per_cache=False, doc="Of R3.6's order; 0: ascending."),
)
_SETTING = {setting.key: setting for setting in SETTINGS}


def check_settings(settings: Mapping[str, int], caches: Iterable[str]) -> None:
    """Check every key and value.

    Raises:
        SettingError: as cache_shapes says.
    """
    names = list(caches)
    for key, value in settings.items():
        setting, cache = _split(key)
        if cache is not None and cache not in names:
            raise SettingError(
                f"setting {key}: the trace has no cache {cache}{_near(cache, names)}"
            )
        if not setting.low <= value <= setting.high:
            raise SettingError(
                f"setting {key}={value}: out of range, {setting.low} to {setting.high}"
            )


def parse_setting(text: str) -> tuple[str, int]:
    """``KEY=VALUE`` as (key, value); the key exists, the value is a whole number.

    Raises:
        SettingError: it is not of that form, or the key does not exist.
    """
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise SettingError(f"setting {text!r}: must be KEY=VALUE with a whole number as value")
    _split(key)
    return key, int(value)


def _split(key: str) -> tuple[Setting, str | None]:
    """The setting a key belongs to, and the cache that follows it, if one does."""
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
