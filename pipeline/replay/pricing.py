"""Policies, schemes and cost tables: shipped ones by name, the user's own by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from allocsim.kernels.release import kernel_of
from allocsim.memdesc.schemes import parse_scheme, shipped_schemes
from allocsim.refcount.costs import parse_costs, shipped_costs
from allocsim.refcount.policies import KERNELS, Policy, parse_policy, shipped_policies
from allocsim.toml_data.table import DataFileError, did_you_mean
from pipeline.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from allocsim.kernels.release import Kernel
    from allocsim.memdesc.schemes import Scheme
    from allocsim.refcount.costs import CostTable

BASELINE = "refcounted"  #: what the views measure every saving against
#: Where none is asked for: with the recorded kernel's own, what was and what is to come.
DEFAULTS = (BASELINE, "linux-6.12", "linux-7.2", "frozen-page-tables", "everything-freezable")
TODAY = "struct-page"  #: what the views measure every scheme against

_T = TypeVar("_T", "Policy", "Scheme", "CostTable")


@dataclass(frozen=True, slots=True)
class Pricing:
    """What a recorded run is priced with besides policies.

    Args:
        schemes: of page descriptors.
        costs: what operations take; None: the shipped table for the recorded machine.
    """

    schemes: Sequence[Scheme]
    costs: CostTable | None = None


def shipped_pricing() -> Pricing:
    """Everything that comes with allocsim."""
    return Pricing(find_schemes([]))


def find_policies(wanted: Sequence[str]) -> list[Policy]:
    """The policies asked for, the baseline first; DEFAULTS where none is.

    Args:
        wanted: names of shipped policies, or paths of TOML files.

    Raises:
        UsageError: a name that is not known, or one that two policies have.
        InputError: a file that cannot be read, or is no policy.
    """
    return _found("--policy", wanted or DEFAULTS, shipped_policies(), BASELINE, parse_policy)


def own_policy(release: str | None) -> str:
    """The policy that is a recorded kernel's own, in words; empty where it is not known.

    Args:
        release: uname -r, as far as it is known.
    """
    try:
        kernel = kernel_of(release or "")
    except ValueError:
        return ""
    return f"{kernel.policy}; {kernel.policy_note}" if kernel.policy_note else kernel.policy


def with_own(policies: Sequence[Policy], kernel: Kernel) -> list[Policy]:
    """Policies with the recorded kernel's own among them, in the order of kernels.

    Args:
        policies: those asked for.
        kernel: the recorded kernel.
    """
    own = shipped_policies()[kernel.policy]
    if own in policies:
        return list(policies)
    newer = KERNELS[KERNELS.index(own.name) + 1 :]
    names = [policy.name for policy in policies]
    at = next((names.index(name) for name in newer if name in names), None)
    if at is None:
        at = max((n + 1 for n, name in enumerate(names) if name in (BASELINE, *KERNELS)), default=0)
    return [*policies[:at], own, *policies[at:]]


def find_schemes(wanted: Sequence[str]) -> list[Scheme]:
    """The schemes of page descriptors asked for, today's first; all shipped ones where none is.

    Args:
        wanted: names of shipped schemes, or paths of TOML files.

    Raises:
        UsageError: a name that is not known, or one that two schemes have.
        InputError: a file that cannot be read, or is no scheme.
    """
    return _found("--scheme", wanted, shipped_schemes(), TODAY, parse_scheme)


def find_costs(wanted: str | None) -> CostTable | None:
    """The table of costs asked for; None where none is: the recorded machine decides.

    Args:
        wanted: name of a shipped table, or path of a TOML file.

    Raises:
        UsageError: a name that is not known.
        InputError: a file that cannot be read, or is no table of costs.
    """
    if wanted is None:
        return None
    return shipped_costs().get(wanted) or from_file("--costs", wanted, shipped_costs(), parse_costs)


def _found(
    option: str,
    wanted: Sequence[str],
    shipped: Mapping[str, _T],
    first: str,
    parse: Callable[[str, str], _T],
) -> list[_T]:
    what = option.removeprefix("--")
    found = {first: shipped[first]}
    for name in wanted or shipped:
        item = shipped.get(name) or from_file(option, name, shipped, parse)
        if found.setdefault(item.name, item) is not item:
            raise UsageError(f"{option} {name}: there is another {what} named {item.name}")
        if item.name in shipped and item is not shipped[item.name]:
            raise UsageError(f"{option} {name}: a shipped {what} is named {item.name}; rename it")
    return list(found.values())


def from_file(
    option: str, name: str, shipped: Mapping[str, _T], parse: Callable[[str, str], _T]
) -> _T:
    """What a file of the user's holds.

    Args:
        option: the option that names it, for messages.
        name: its path.
        shipped: what could have been meant by a name.
        parse: reads its text; told the file's name.

    Raises:
        UsageError: there is no such file, and it does not look like one.
        InputError: it cannot be read, or holds something else.
    """
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        hint = did_you_mean(name, shipped) or "a file's name ends in .toml; "
        raise UsageError(f"{option} {name}: not known; {hint}shipped are: {', '.join(shipped)}")
    try:
        return parse(path.read_text("utf-8"), name)
    except UnicodeDecodeError:
        raise InputError(f"{name}: not a text file") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    except DataFileError as error:
        raise InputError(str(error)) from error
