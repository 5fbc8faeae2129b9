"""Every model by its name: how it is fitted, and how its points are left out one at a time.

In: control points and a name. Out: a ``Transform``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.historical.control_points import ControlPoints
from gis.historical.projection_search import FAMILIES, PREFIX, fit_projection, leave_out_projection
from gis.historical.projective import fit_projective, leave_out_projective
from gis.historical.splines import fit_spline, leave_out_spline
from gis.historical.transforms import (
    LeftOut,
    Transform,
    fit_crs,
    fit_polynomial,
    fit_similarity,
    leave_out_linear,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Model:
    """What is known about a model before it meets points."""

    name: str
    """As `fit` takes it."""
    title: str
    """For readers."""
    fit: Callable[..., Transform]
    """(points, name, crs, weights) -> Transform."""
    leave_out: Callable[..., LeftOut]
    """(points, transform) -> LeftOut."""
    takes_start: bool = False
    """Whether the fit is a search that can begin at an earlier result."""


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("similarity", "shift, turn, one scale", fit_similarity, leave_out_linear),
        Model("affine", "affine (polynomial 1)", fit_polynomial, leave_out_linear),
        Model("poly2", "polynomial 2", fit_polynomial, leave_out_linear),
        Model("poly3", "polynomial 3", fit_polynomial, leave_out_linear),
        Model("projective", "projective", fit_projective, leave_out_projective, True),
        Model("tps", "thin-plate spline, exact", fit_spline, leave_out_spline),
        Model("tps_smooth", "thin-plate spline, smoothed", fit_spline, leave_out_spline, True),
        *(
            Model(PREFIX + name, f"{family.title} + affine", fit_projection, leave_out_projection, True)
            for name, family in FAMILIES.items()
        ),
    )
}
"""Model by name, in the order in which equals are ranked: fewer assumptions about the sheet come later."""


def model_named(name: str) -> Model:
    """Find a model by its name.

    Raises
    ------
    OptionInvalid
        There is none; names the nearest one.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.4)
        mend = f"did you mean {near[0]}?" if near else f"one of {', '.join(MODELS)}, or auto"
        raise OptionInvalid(f"no model {name!r}", mend=mend)
    return MODELS[name]


def fit(
    points: ControlPoints,
    model: str,
    *,
    crs: Any = None,
    weights: ArrayLike | None = None,
    start: Transform | None = None,
) -> Transform:
    """Fit one model to the points that are used (enabled, ``train``).

    Parameters
    ----------
    model : a name of `MODELS`
    crs : projected CRS to fit in; default ESRI:102027 in East Asia, elsewhere one centred on the points
    weights : (n of all points,) >= 0, optional
        Multiplicities, for bootstraps: a point of weight 0 is left out.
    start : Transform of the same model, optional
        Where a search begins, instead of from several places; a smoothed spline takes its smoothing over.

    Raises
    ------
    OptionInvalid
        No such model, or weights that are not one number >= 0 per point.
    ControlPointsInvalid
        Too few points, or the model is not determined by them.
    """
    chosen = model_named(model)
    used = points.used()
    weight = np.ones(len(used))
    if weights is not None:
        given = np.asarray(weights, np.float64).reshape(-1)
        if given.size != len(points) or not (given >= 0).all():
            raise OptionInvalid(
                f"{given.size} weights for {len(points)} points, smallest {given.min(initial=np.inf):g}",
                mend="give one weight of 0 or more for every point, used or not",
            )
        weight = given[points.is_used]
        used, weight = used.take(weight > 0), weight[weight > 0]
    projected = fit_crs(used, crs)
    if chosen.takes_start and start is not None and start.model == model:
        return chosen.fit(used, model, projected, weight, start)
    return chosen.fit(used, model, projected, weight)


def leave_one_out(points: ControlPoints, transform: Transform) -> LeftOut:
    """Predict every used point from the other used points; in the order of ``points.used()``."""
    return model_named(transform.model).leave_out(points.used(), transform)
