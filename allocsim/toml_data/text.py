"""The texts of shipped TOML files, and values as TOML has them."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def toml(value: object) -> str:
    """A value on one line; what is not printable in a text is a blank."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = "".join(c if c.isprintable() else " " for c in value)
        return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ",".join(map(toml, value)) + "]"
    return str(value)


def shipped_texts(package: str, folder: str, names: Iterable[str]) -> dict[str, str]:
    """The files NAME.toml in a folder of a package of allocsim's, by name."""
    files = resources.files(package) / folder
    return {name: (files / f"{name}.toml").read_text("utf-8") for name in names}
