"""Estimation: the tables of a paper from the pair panel, with every standard error the design may call for.

In: a pair-year frame (``pair_id``, ``year``, ``city_i``, ``city_j``, the model's columns). Out: `Estimate` values and
tables in a journal's layout. Needs the extra ``estimate``: ``pip install "lightpanel[estimate]"``.

pyfixest estimates fixed-effects models and one endogenous regressor, linearmodels several; what neither has is here:
dyadic-robust variances, the rank statistic for several regressors, Anderson-Rubin sets.
"""

from __future__ import annotations

from gis.estimate.curve import (
    plot_curve,
    plot_years,
    specification_curve,
    year_coefficients,
)
from gis.estimate.fit import estimate, estimate_all
from gis.estimate.models import CONTROLS, Model, model_from_formula, named_models
from gis.estimate.results import Estimate, frames_from_estimates
from gis.estimate.spread import Spread, instrument_spread
from gis.estimate.tables import table_html, table_latex, table_markdown

__all__ = [
    "CONTROLS",
    "Estimate",
    "Model",
    "Spread",
    "estimate",
    "estimate_all",
    "frames_from_estimates",
    "instrument_spread",
    "model_from_formula",
    "named_models",
    "plot_curve",
    "plot_years",
    "specification_curve",
    "table_html",
    "table_latex",
    "table_markdown",
    "year_coefficients",
]
