"""What the savings of policies count on, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from allocsim.refcount.freezability import Verdict
from reports.sections.caveats import caveats
from tests.reports.conftest import FROZEN

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

POLICIES = {"refcounted": {}, "less": {"slab": FROZEN}, "more": {"slab": FROZEN, "anon": FROZEN}}
#: Two whole lives of slab pages, one of them referenced twice; one of anon.
LIVES = (
    ("slab", "observed", 0, True, 1, 4),
    ("slab", "observed", 0, True, 1, 0),
    ("anon", "observed", None, True, 1, 2),
)
ONCE = (
    "less and more: savings on slab pages count on changes to 1 function, of all architectures, "
    "that read their count, take references or map them (view count_readers)."
)
AGAINST = "more: by the kernel’s sources anon pages need their count."


def _run(
    connection: duckdb.DuckDBPyConnection, add_run: Callable[..., None], slab: Verdict
) -> None:
    by_source = {"slab": slab, "anon": Verdict.NEEDED}
    add_run(connection, 1, "trace", lives=LIVES, policies=POLICIES, by_source=by_source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slab", "says"),
    [
        (Verdict.ONCE, [ONCE, AGAINST]),
        (Verdict.FREEZABLE, [AGAINST]),
        (
            Verdict.UNSEEN,
            [
                "less: by the kernel’s sources slab pages are not known to do without it.",
                AGAINST,
                "more: by the kernel’s sources slab pages are not known to do without it.",
            ],
        ),
    ],
)
def test_each_saving_says_what_it_counts_on(
    empty: duckdb.DuckDBPyConnection,
    add_run: Callable[..., None],
    slab: Verdict,
    says: list[str],
) -> None:
    _run(empty, add_run, slab)
    assert caveats(empty, [1]) == says


def test_what_a_later_kernel_froze_needs_no_word(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    _run(empty, add_run, Verdict.ONCE)
    empty.execute(
        "UPDATE source_verdicts SET frozen_later = true"
        " WHERE verdict = 'freezable once readers change'"
    )
    assert caveats(empty, [1]) == [AGAINST]


def test_a_price_is_told_with_what_the_recording_says_of_it(
    empty: duckdb.DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    _run(empty, add_run, Verdict.ONCE)
    empty.execute(
        "UPDATE source_verdicts SET price = 'it costs'"
        " WHERE verdict = 'freezable once readers change'"
    )
    assert caveats(empty, [1])[-1] == (
        "slab: it costs. Shared pages would be copied: 2 references in 2 whole lives here ●."
    )
    empty.execute("UPDATE pages SET ref_locked = NULL")
    assert caveats(empty, [1])[-1] == (
        "slab: it costs. Shared pages would be copied: how many, this recording does not say."
    )
