"""The rows of a run that say what the sources of its kernel allow, and who reads the count."""

from __future__ import annotations

from typing import Any

from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.count_readers import ANY, KERNELS, kernel_read, shipped_readers
from allocsim.refcount.freezability import Verdict


def source_verdict_rows(version: tuple[int, int]) -> list[dict[str, Any]]:
    """Rows of ``source_verdicts``: one for each kind, and for each caller that differs from its.

    Args:
        version: (major, minor) of the recorded kernel.
    """
    kernel = kernel_read(version)
    later = KERNELS[KERNELS.index(kernel) + 1 :]
    known = shipped_readers()
    rows = []
    for code, name in enumerate(KIND_NAMES):
        kind = known.kinds[name]
        verdict = kind.verdict(kernel)
        frozen_later = verdict != Verdict.FROZEN and any(
            kind.verdict(other) == Verdict.FROZEN for other in later
        )
        rows.append(
            {
                "page_kind": code,
                "caller": None,
                "verdict": int(verdict),
                "kernel": kernel,
                "frozen_later": frozen_later,
                "doc": kind.doc,
                "price": kind.price or None,
            }
        )
    return rows + [
        {
            "page_kind": KIND_NAMES.index(caller.kind),
            "caller": function,
            "verdict": int(caller.verdict),
            "kernel": kernel,
            "frozen_later": False,
            "doc": caller.what,
            "price": None,
        }
        for caller in known.callers
        if caller.cited(kernel)
        for function in caller.functions
    ]


def kind_reader_rows(version: tuple[int, int]) -> list[dict[str, Any]]:
    """Rows of ``kind_readers``, kind by kind; those of every kind last.

    Args:
        version: (major, minor) of the recorded kernel.
    """
    kernel = kernel_read(version)
    codes = {name: code for code, name in enumerate(KIND_NAMES)}
    return [
        {
            "page_kind": codes.get(kind),
            "does": reader.does,
            "kernel_function": citation.function,
            "source": f"{citation.file}:{citation.function} ({kernel})",
            "doc": reader.what,
        }
        for kind in (*KIND_NAMES, ANY)
        for reader in shipped_readers().readers
        if kind in reader.kinds
        for citation in reader.cited(kernel)
    ]
