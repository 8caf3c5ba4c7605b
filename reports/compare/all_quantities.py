"""What a comparison compares: all quantities, in the order in which they are shown.

A new one is a row here (or in the modules it is put together from), a row of measures if nothing
counts it yet, and nothing else.
"""

from __future__ import annotations

from reports.compare.model_quantities import MODEL_QUANTITIES
from reports.compare.priced_quantities import PRICED_QUANTITIES
from reports.compare.quantity import GROUPS, LIVES
from reports.compare.recorded_quantities import RECORDED_QUANTITIES

QUANTITIES = tuple(
    sorted(
        (*RECORDED_QUANTITIES, *PRICED_QUANTITIES, *MODEL_QUANTITIES),
        key=lambda quantity: GROUPS.index(quantity.group),
    )
)
#: Lifetimes that are shown as whole distributions: what of, and the binned measure.
DISTRIBUTIONS = {f"{LIVES} of objects": "object_bins", f"{LIVES} of pages": "page_bins"}
