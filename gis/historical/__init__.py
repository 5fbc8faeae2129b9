"""From a scanned map to positions with honest errors: control points, transforms, accuracy.

In: control points (files of QGIS, ArcGIS, GDAL, IIIF or CSV) and a scan. Out: a ``Transform`` from the scan's pixels to
the ground with its ``Accuracy``; the warped scan, the residual map and the tables are written by `georeference`.

The values that everything downstream stands on:

``ControlPoints`` (frozen; the canonical table, METHOD 8.1; n points in the file's order)
    ``ids`` (n,) text · ``px``, ``py`` (n,) column to the right and row DOWN from the outer corner of the top left pixel
    [px], a pixel's centre is .5 · ``x``, ``y`` (n,) on the ground in ``crs`` · ``lon``, ``lat`` (n,) the same on WGS 84
    [degree] · ``enabled`` (n,) bool · ``role`` (n,) ``train`` or ``check`` · ``kind`` (n,) ``city``, ``coast`` or
    ``graticule`` · ``sigma_px`` (n,) NaN where unknown · ``note`` (n,) text.
    ``is_used`` (n,) bool: enabled and ``train``: these are fitted. ``take(index)`` and ``used()`` make smaller ones.

``Transform`` (frozen, can be pickled; every argument and result broadcasts like numpy's)
    ``to_map(px, py) -> (x, y)`` in ``crs``, a projected CRS · ``to_lonlat(px, py) -> (lon, lat)`` [degree, WGS 84] ·
    ``to_pixel(lon, lat) -> (px, py)``, the exact inverse · ``model`` its name · ``n_parameters`` (effective number for
    smoothed splines) · ``crs``.

``Accuracy`` (frozen; of one model on the points that were fitted, n of them)
    ``transform`` · ``model`` · ``rmse_km`` (QGIS's and ArcGIS's number; optimistic) · ``sigma_axis_km`` unbiased, per
    axis, NaN for an interpolating spline · ``loo_rmse_km`` leave-one-out · ``block_rmse_km`` leave-one-region-out ·
    ``ids``, ``lon``, ``lat`` (n,) of the points · ``residual_east_km``, ``residual_north_km``, ``loo_east_km``,
    ``loo_north_km`` (n,), fitted minus true · ``residual_km``, ``loo_km`` (n,) their lengths · ``leverage`` (n,) ·
    ``studentised`` (n,) · ``is_outlier`` (n,) bool · ``notes`` what to read beside the numbers.

``fit(points, model, *, crs=None, weights=None, start=None) -> Transform``
    Fits the points that are used. ``weights`` (n of all points) >= 0 are multiplicities, for bootstraps: 0 leaves a
    point out; the points themselves are never repeated. ``start`` a Transform of the same model to start from (speed).
``assess(points, model) -> Accuracy``, ``fit_all(points, models=MODELS) -> tuple[Accuracy, ...]``, best leave-one-out
    error first: ``fit_all(points)[0].transform`` is the model that ``--model auto`` takes.

Model names: ``similarity``, ``affine``, ``poly2``, ``poly3``, ``projective``, ``tps`` (exact), ``tps_smooth``, and the
unknown projection plus affine, by PROJ's names of the family: ``projection:bonne``, ``projection:eqdc``,
``projection:lcc``, ``projection:poly``, ``projection:sinu``, ``projection:merc``, ``projection:eqc``.
"""

from gis.historical.accuracy import Accuracy, assess, fit_all
from gis.historical.control_points import (
    ControlPoints,
    ControlPointsInvalid,
    ControlPointsUnreadable,
    control_points,
)
from gis.historical.diagnostics import Finding, diagnose
from gis.historical.formats import ScanFacts, read_control_points, write_control_points
from gis.historical.models import MODELS, fit, leave_one_out
from gis.historical.transforms import Transform

__all__ = [
    "Accuracy",
    "ControlPoints",
    "ControlPointsInvalid",
    "ControlPointsUnreadable",
    "Finding",
    "MODELS",
    "ScanFacts",
    "Transform",
    "assess",
    "control_points",
    "diagnose",
    "fit",
    "fit_all",
    "leave_one_out",
    "read_control_points",
    "write_control_points",
]
