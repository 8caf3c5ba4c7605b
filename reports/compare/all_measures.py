"""All that a comparison asks of a results database: measures by name."""

from __future__ import annotations

from reports.compare.model_measures import MODEL_MEASURES
from reports.compare.priced_measures import PRICED_MEASURES
from reports.compare.recorded_measures import RECORDED_MEASURES

MEASURES = (*RECORDED_MEASURES, *PRICED_MEASURES, *MODEL_MEASURES)
BY_NAME = {measure.name: measure for measure in MEASURES}
