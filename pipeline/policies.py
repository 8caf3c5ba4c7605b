"""The refcount policies a replay is asked for: shipped ones by name, the user's own by path."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from allocsim.policies import Policy, PolicyError, parse_policy, shipped_policies
from pipeline.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE = "refcounted"  #: what the views measure every saving against


def find_policies(wanted: Sequence[str]) -> list[Policy]:
    """The policies asked for, the baseline first; all shipped ones where none is.

    Args:
        wanted: names of shipped policies, or paths of TOML files.

    Raises:
        UsageError: a name that is not known, or one that two policies have.
        InputError: a file that cannot be read, or is no policy.
    """
    shipped = shipped_policies()
    found = {BASELINE: shipped[BASELINE]}
    for name in wanted or shipped:
        policy = shipped.get(name) or _from_file(name)
        if found.setdefault(policy.name, policy) is not policy:
            raise UsageError(f"--policy {name}: there is another policy named {policy.name}")
        if policy.name in shipped and policy is not shipped[policy.name]:
            raise UsageError(f"--policy {name}: a shipped policy is named {policy.name}; rename it")
    return list(found.values())


def _from_file(name: str) -> Policy:
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        near = get_close_matches(name, shipped_policies(), n=1)
        hint = f"did you mean {near[0]}?" if near else "a file's name ends in .toml;"
        known = ", ".join(shipped_policies())
        raise UsageError(f"--policy {name}: not known; {hint} shipped are: {known}")
    try:
        return parse_policy(path.read_text("utf-8"), name)
    except UnicodeDecodeError:
        raise InputError(f"{name}: not a text file") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    except PolicyError as error:
        raise InputError(str(error)) from error
