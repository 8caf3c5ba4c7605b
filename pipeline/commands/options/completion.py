"""What a shell offers at the TAB key behind options that take names: the shipped ones, with a word.

Files are offered by the shell itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

Offered = Iterator[tuple[str, str]]  #: names, and what each is

_ASKED = "_ALLOCSIM_COMPLETE"  #: in the environment where a shell asks, by typer's scripts


def asked() -> bool:
    """Whether it is a shell that asks.

    What shells are told stands in one line each; typer would wrap it at the terminal's width.
    """
    if _ASKED not in os.environ:
        return False
    os.environ["COLUMNS"] = "10000"
    return True


def policies(incomplete: str) -> Offered:
    """Shipped refcount policies."""
    from allocsim.refcount.policies import shipped_policies

    yield from _begin(incomplete, {name: each.doc for name, each in shipped_policies().items()})


def schemes(incomplete: str) -> Offered:
    """Shipped schemes of page descriptors."""
    from allocsim.memdesc.schemes import shipped_schemes

    yield from _begin(incomplete, {name: each.doc for name, each in shipped_schemes().items()})


def costs(incomplete: str) -> Offered:
    """Shipped tables of costs."""
    from allocsim.refcount.costs import shipped_costs

    yield from _begin(incomplete, {name: each.doc for name, each in shipped_costs().items()})


def settings(incomplete: str) -> Offered:
    """Keys of settings, up to the =."""
    from allocsim.kernels.settings import SETTINGS

    yield from _begin(incomplete, {f"{each.key}=": each.doc for each in SETTINGS})


def specs(incomplete: str) -> Offered:
    """Shipped specs of synthetic traces."""
    from pipeline.synth.spec.patterns import shipped_specs

    yield from _begin(incomplete, dict.fromkeys(shipped_specs(), "shipped spec"))


def _begin(incomplete: str, about: dict[str, str]) -> Offered:
    for name, doc in about.items():
        if name.startswith(incomplete):
            yield name, " ".join(doc.split()).partition(". ")[0]
