"""Values as TOML has them."""

from __future__ import annotations


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
