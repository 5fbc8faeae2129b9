"""From a frame and a model to an `Estimate`: the one way through the package.

In: a pair-year frame and models. Out: `Estimate` values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from gis.estimate.design import Design, design_from_frame
from gis.estimate.fixed_effects import Fit, fit_pyfixest, need_libraries
from gis.estimate.inference import CLUSTERINGS, Clustering, degrees_of_freedom, n_clusters, standard_errors
from gis.estimate.instrumental import fit_linearmodels, hansen_j
from gis.estimate.jackknife import jackknife
from gis.estimate.models import Model
from gis.estimate.results import Equation, Estimate, Marginal, Strength
from gis.estimate.strength import (
    FirstStages,
    anderson_rubin_sets,
    effective_f,
    first_stages,
    rank_f,
    thresholds,
)
from gis.estimate.within import Within, within_from_design

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PERCENTILES = (10, 50, 90)
"""Of a moderator, where the effect of what it multiplies is reported (METHOD 6.5)."""

MANY_MISSING = 0.1
"""Share of rows that a column may take by being missing without a note; the waterfall counts them all."""

FEW_CITIES = 40
"""Below so many effective cities, city_two_way and dyadic intervals cover less than they say (docs/estimation.md)."""


def estimate(frame: pd.DataFrame, model: Model) -> Estimate:
    """Estimate one model on a pair panel.

    Parameters
    ----------
    frame : one row per pair and year with ``pair_id``, ``year``, ``city_i``, ``city_j`` and the model's columns.

    Returns
    -------
    Estimate
        Coefficients with standard errors by pair, by both cities and dyadic; the sample's waterfall; for 2SLS the
        first stages, the reduced form and the strength of the instruments.

    Raises
    ------
    LibraryMissing
        The extra ``estimate`` is not installed.
    TableInvalid
        The panel cannot carry the model: a column missing or not a number, no row left, one pair, no variation.
    OptionInvalid
        The model cannot be estimated: an instrument absorbed by the effects, not identified.

    Examples
    --------
    >>> from gis.estimate import estimate, model_from_formula
    >>> model = model_from_formula("net", "bal ~ ln_dkf_net + hsr + ts + ipp | pair_id + year")
    >>> estimate(panel, model).se("ln_dkf_net", "dyadic")  # doctest: +SKIP
    """
    need_libraries()
    design = design_from_frame(frame, model)
    within = within_from_design(design)
    fit = fit_pyfixest(design, within) if len(within.endog_terms) < 2 else fit_linearmodels(design, within)
    return estimate_from_fit(design, within, fit)


def estimate_all(frame: pd.DataFrame, models: Iterable[Model]) -> tuple[Estimate, ...]:
    """Estimate several models on one panel, in order."""
    return tuple(estimate(frame, model) for model in models)


def estimate_from_fit(design: Design, within: Within, fit: Fit) -> Estimate:
    """Everything that is reported beside the coefficients and sandwiches of a fit, whatever computed them."""
    left_out = jackknife(within.x, within.instruments if within.endog_terms else None, fit.residuals[:, None], design)
    degrees = degrees_of_freedom(design, left_out.effective_cities)
    covariances = fit.covariances | {"jackknife": left_out.covariance}
    main = _equation("main", design, within.terms, fit.coef, covariances, degrees)
    further, strength = _instrumental(design, within)
    carried = float(left_out.effective_cities[0])
    ssr, total = float(fit.residuals @ fit.residuals), design.y - design.y.mean()
    return Estimate(
        model=design.model,
        main=main,
        further=further,
        strength=strength,
        marginals=tuple(_marginals(design, main)),
        n=design.n,
        n_pairs=design.n_pairs,
        n_cities=design.n_cities,
        n_years=design.n_years,
        n_cities_effective=carried,
        n_singletons=design.n_singletons,
        r2=1 - ssr / float(total @ total),
        r2_within=1 - ssr / float(within.y @ within.y),
        waterfall=design.waterfall,
        notes=(*within.notes, *_missing(design), *_notes(main, carried)),
        rules=_rules(design, len(within.terms), carried),
        library=fit.library,
    )


def _equation(
    stage: str, design: Design, terms: tuple[str, ...], coef: Floats, covariances: dict[Clustering, Floats],
    degrees: dict[Clustering, Floats], outcome: str = "",
) -> Equation:  # fmt: skip
    """Undo the scaling of the columns."""
    factor = design.scales[outcome or design.model.outcome] / design.scale(terms)
    return Equation(
        stage,
        outcome or design.model.outcome,
        terms,
        coef * factor,
        {c: v * np.outer(factor, factor) for c, v in covariances.items()},
        degrees,
    )


def _instrumental(design: Design, within: Within) -> tuple[tuple[Equation, ...], Strength | None]:
    if not within.endog_terms:
        return (), None
    stages = first_stages(within, design)
    scale = design.scales[within.endog_terms[0]] / design.scales[design.model.outcome]
    sets = anderson_rubin_sets(stages)
    return _equations(design, within, stages), Strength(
        rank_f=rank_f(stages),
        effective_f=effective_f(stages),
        thresholds=thresholds(within.endog.shape[1], within.z.shape[1]),
        anderson_rubin={
            c: None if found is None else tuple((a / scale, b / scale) for a, b in found) for c, found in sets.items()
        },
        overid=hansen_j(design, within),
    )


def _equations(design: Design, within: Within, stages: FirstStages) -> tuple[Equation, ...]:
    found = []
    for k, outcome in enumerate((*within.endog_terms, design.model.outcome)):
        stage = "first_stage" if k < len(within.endog_terms) else "reduced_form"
        at = stages.equation(k)
        covariances = {c: v[at, at] for c, v in stages.covariances.items()}
        found.append(_equation(stage, design, stages.terms, stages.coef[:, k], covariances, stages.degrees, outcome))
    return tuple(found)


def _marginals(design: Design, main: Equation) -> list[Marginal]:
    """Effects of regressors that stand alone and in a product with one other column."""
    found = []
    for product in main.terms:
        parts = product.split(":")
        if len(parts) != 2:
            continue
        term, moderator = parts if parts[0] in main.terms else parts[::-1]
        if term not in main.terms or moderator not in design.columns:
            continue
        a, b = main.at(term), main.at(product)
        for percentile in PERCENTILES:
            value = float(np.percentile(design.columns[moderator], percentile)) * design.scales[moderator]
            weights = np.zeros(len(main.terms))
            weights[a], weights[b] = 1.0, value
            se = {
                c: float(standard_errors(np.atleast_2d(weights @ main.covariances[c] @ weights))[0])
                for c in CLUSTERINGS
            }
            effect = float(weights @ main.coef)
            degrees = {c: float(min(main.degrees[c][[a, b]])) for c in CLUSTERINGS}
            found.append(Marginal(term, moderator, percentile, value, effect, se, degrees))
    return found


def _missing(design: Design) -> list[str]:
    """What takes many rows of the sample by being missing."""
    steps = zip(design.waterfall, design.waterfall[1:], strict=False)
    return [
        f"{step.what} in {step.dropped} of {before.left} rows, which are left out"
        for before, step in steps
        if step.what.endswith(" missing") and step.dropped > MANY_MISSING * before.left
    ]


def _notes(main: Equation, carried: float) -> list[str]:
    notes = []
    if carried < FEW_CITIES:
        notes.append(
            f"{main.terms[0]} is carried by {carried:.0f} effective cities: intervals by city_two_way and dyadic cover "
            "less than they say with so few; see the jackknife's"
        )
    for clustering in CLUSTERINGS:
        unknown = [t for t, se in zip(main.terms, main.se(clustering), strict=True) if np.isnan(se)]
        why = "its variance is not positive"
        if np.isnan(main.covariances[clustering]).all():
            why = (
                "without one of its cities the model cannot be estimated"
                if clustering == "jackknife"
                else "one cluster"
            )
        if unknown:
            notes.append(f"no {clustering} standard error for {', '.join(unknown)}: {why}")
    return notes


def _rules(design: Design, k: int, carried: float) -> str:
    clusters = ", ".join(f"{c} {n_clusters(design, c)}" for c in CLUSTERINGS)
    return (
        f"G/(G-1) * (N-1)/(N-K), K = {k} regressors + {design.n_effects} effects "
        f"(effects nested in pairs are not counted); t with G-1; G: {clusters}; of the jackknife (G-1)/G alone, and t "
        f"with the effective cities of each coefficient - 1 ({carried:.1f} of the first)"
    )
