"""What the doctor finds in polygons: rings, areas, datum, how units fit together, how finely they are drawn.

In: polygons of a layer, labels, the CRS. Out: findings, valid polygons, repairs, the datum's verdict, tables of
overlaps and gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.datum import DatumVerdict, datum_verdict
from gis.boundaries.fabric import Drawing, drawing, gaps
from gis.boundaries.findings import Findings
from gis.boundaries.geometry import (
    MAX_AREA_CHANGE,
    MAX_OVERLAP,
    Repair,
    geodesic_area_km2,
    overlaps,
    polygons_only,
    repair,
)
from gis.boundaries.intake import Intake, called
from gis.boundaries.units import some
from gis.crs import crs_from, transformer
from gis.errors import BoundaryInvalid, GeometryInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

COARSE_M = 2000.0
"""Median vertex spacing from which a drawing is called coarse: twice the cell of a 1-km raster [m]."""
STAIRS = 0.5
"""A lattice wider than this part of the vertex spacing makes staircases of the borders."""
TITLES = {"gcj02": "GCJ-02", "bd09": "BD-09"}


def polygons_of(intake: Intake, labels: Sequence[str], said: Findings) -> NDArray[Any]:
    """Take the polygons of a layer; points and lines are named and count as no area.

    Returns
    -------
    (n,) array of Polygon or MultiPolygon as they were drawn, empty where a row has none.
    """
    import shapely

    array = np.array(shapely.force_2d(intake.raw.geometry), dtype=object, copy=True)
    kinds = shapely.get_type_id(array)
    wrong = np.isin(kinds, (0, 1, 2, 4, 5)) & ~shapely.is_empty(array)  # points, lines, rings and several of them
    if wrong.any():
        units = [labels[k] for k in np.flatnonzero(wrong).tolist()]
        kind = array[int(wrong.argmax())].geom_type
        what = f"{len(units)} of {len(array)} rows are not polygons ({kind}): {some(units)}"
        said.add("geometry", "error", what, "give polygons; closed border lines become polygons in QGIS", units)
        array[wrong] = None
    for k in np.flatnonzero(kinds == 7).tolist():  # collections
        try:
            array[[k]], _ = polygons_only(array[[k]], [labels[k]])
        except BoundaryInvalid as error:
            said.add("geometry", "error", error.what, error.mend or "", [labels[k]])
            array[k] = None
    clean, _ = polygons_only(array, labels)
    return clean


def mended_rings(
    polygons: NDArray[Any], labels: Sequence[str], crs: CRS | None, said: Findings
) -> tuple[NDArray[Any], tuple[Repair, ...], tuple[Repair, ...], int]:
    """Mend what is invalid, each polygon by itself.

    A unit whose repair costs too much is mended all the same for the other examinations, so that it does not look like
    a gap among its neighbours.

    Returns
    -------
    Valid polygons; repairs within the limit of METHOD 2 rule 11; those beyond it; how many were valid as drawn.
    """
    import shapely

    valid = np.array(polygons, dtype=object, copy=True)
    bad = np.flatnonzero(~shapely.is_valid(polygons)).tolist()
    n_valid = len(polygons) - len(bad)
    if crs is None:
        valid[bad] = shapely.Polygon()
        if len(bad):
            what = f"{len(bad)} of {len(polygons)} polygons are invalid"
            units = [labels[k] for k in bad]
            said.add("geometry", "warning", what, "name the CRS: then the mending can be priced", units)
        return valid, (), (), n_valid
    done: list[Repair] = []
    costly: list[Repair] = []
    for k in bad:
        try:
            valid[[k]], one = repair(polygons[[k]], [labels[k]], crs)
            done += one
        except GeometryInvalid as error:
            valid[k] = shapely.Polygon()
            if not np.isfinite(shapely.get_coordinates(polygons[k])).all() or "antimeridian" in error.what:
                said.add("geometry", "error", error.what, error.mend or "", [labels[k]])
                continue
            valid[k], priced = _priced(polygons[k], labels[k], crs)
            costly.append(priced)
    _say_repairs(done, costly, len(polygons), n_valid, said)
    return valid, tuple(done), tuple(costly), n_valid


def _priced(polygon: Any, label: str, crs: CRS) -> tuple[Any, Repair]:
    """Mend a polygon whatever it costs, and say what."""
    import shapely

    made = np.array([shapely.make_valid(polygon, method="structure", keep_collapsed=False), None], dtype=object)
    (mended,), _ = polygons_only(made[:1], [label])
    before, after = (float(v) for v in geodesic_area_km2(np.array([polygon, mended], dtype=object), crs))
    change = abs(after - before) / max(before, after) if max(before, after) > 0 else 0.0
    return mended, Repair(label, str(shapely.is_valid_reason(polygon)), before, after, change)


def _say_repairs(done: list[Repair], costly: list[Repair], n: int, n_valid: int, said: Findings) -> None:
    if done:
        worst = max(done, key=lambda r: r.change_share)
        what = (
            f"{n - n_valid} of {n} polygons are invalid ({n_valid / n:.1%} valid); mending changes the area of "
            f"{len(done)} by at most {worst.change_share:.2g} of it ({worst.code})"
        )
        said.add("geometry", "warning", what, "a run mends them; --fix writes them mended", [r.code for r in done])
    if costly:
        rows = sorted(costly, key=lambda r: -r.change_share)
        changes = [
            f"{r.code} {r.area_before_km2:.2f} to {r.area_after_km2:.2f} km2 ({r.change_share:.1%})" for r in rows
        ]
        limit = f"{MAX_AREA_CHANGE:.1%}"
        what = f"mending {len(costly)} polygons would change their area by more than {limit}: {some(changes)}"
        said.add("geometry", "error", what, "redraw these rings, or leave the units out", [r.code for r in costly])


def examine_areas(area: NDArray[np.float64], labels: Sequence[str], said: Findings) -> None:
    """Name the rows without area; NaN is not known and not named."""
    empty = [labels[k] for k in np.flatnonzero(area <= 0).tolist()]
    if empty:
        what = f"{len(empty)} rows have no area: {some(empty)}"
        said.add("geometry", "warning", what, "they get no value; leave them out with exclude", empty)


def examine_datum(valid: NDArray[Any], area: NDArray[np.float64], crs: CRS, said: Findings) -> DatumVerdict | None:
    """Say which datum the coordinates are in; nothing of layers that have no unit of China's."""
    import shapely

    there = ~shapely.is_empty(valid)
    centre = shapely.get_coordinates(shapely.centroid(valid[there]))
    lon, lat = transformer(crs, crs_from("EPSG:4326")).transform(centre[:, 0], centre[:, 1])
    verdict = datum_verdict(lon, lat, area[there])
    if not verdict.n_matched:
        return None
    if not verdict.residual_m:
        what = f"the datum cannot be told: only {verdict.n_matched} units match a reference in place and area"
        said.add("datum", "info", what, "ask the source")
        return verdict
    told = (
        f"{verdict.n_matched} units lie {verdict.offset_m:.0f} m from their references in the median, slope on the "
        f"shift {verdict.slope:z.2f} ± {verdict.slope_error:.2f}, {verdict.agreement:.0%} of them agree"
    )
    if verdict.datum == "wgs84":
        said.add("datum", "info", f"the datum is WGS 84: {told}")
    elif verdict.datum == "unclear":
        mend = "ask the source; a constant shift points to another datum (Beijing 1954, Xi'an 1980)"
        said.add("datum", "warning", f"the datum cannot be told: {told}", mend)
    else:
        title, after = TITLES[verdict.datum], verdict.residual_m[verdict.datum]
        what = f"the coordinates are {title}, not {called(crs)}: {told}; {after:.0f} m once corrected"
        said.add("datum", "error", what, "--fix -o corrected.gpkg brings them to WGS 84")
    return verdict


def examine_fabric(
    valid: NDArray[Any], labels: Sequence[str], crs: CRS, said: Findings
) -> tuple[pd.DataFrame, pd.DataFrame, Drawing]:
    """Say where units overlap, where they leave gaps, and how finely they are drawn.

    Returns
    -------
    The table of `overlaps`, that of `gaps`, and the `Drawing`.
    """
    shared = overlaps(valid, labels, crs)
    _say_overlaps(shared, said)
    holes = gaps(valid, labels, crs)
    _say_gaps(holes, said)
    drawn = drawing(valid, labels, crs)
    if drawn.n_vertices:
        _say_drawing(drawn, len(valid), said)
    return shared, holes, drawn


def _say_overlaps(shared: pd.DataFrame, said: Findings) -> None:
    far = shared[shared["share_of_smaller"] > MAX_OVERLAP]
    small = shared[shared["share_of_smaller"] <= MAX_OVERLAP]
    if len(far):
        pairs = zip(far["code_a"], far["code_b"], far["overlap_km2"], far["share_of_smaller"], strict=True)
        listed = some([f"{a} and {b} {km2:.2f} km2 ({share:.1%})" for a, b, km2, share in pairs], 4)
        what = f"{len(far)} pairs of units overlap by more than {MAX_OVERLAP:.1%} of the smaller: {listed}"
        units = list(dict.fromkeys([*far["code_a"], *far["code_b"]]))
        said.add("overlaps", "error", what, "a run refuses them: leave one of each pair out, or clip it", units)
    if len(small):
        what = (
            f"{len(small)} pairs share slivers below {MAX_OVERLAP:.1%} of the smaller, "
            f"{small['overlap_km2'].sum():.3g} km2 in all"
        )
        said.add("overlaps", "info", what, "", list(dict.fromkeys([*small["code_a"], *small["code_b"]])))


def _say_gaps(holes: pd.DataFrame, said: Findings) -> None:
    slivers, wide = holes[holes["is_sliver"]], holes[~holes["is_sliver"]]
    if len(slivers):
        what = f"{len(slivers)} slivers between units are nobody's, {slivers['area_km2'].sum():.3g} km2 in all"
        said.add("gaps", "info", what)
    if len(wide):
        around = zip(wide["area_km2"], wide["codes"], strict=True)
        listed = some([f"{km2:.1f} km2 among {some(str(codes).split(), 3)}" for km2, codes in around], 3)
        what = f"{len(wide)} gaps are nobody's and no slivers, {wide['area_km2'].sum():.4g} km2 in all: {listed}"
        said.add("gaps", "info", what, "a unit may be missing, or there is water or an enclave")


def _say_drawing(drawn: Drawing, n: int, said: Findings) -> None:
    what = f"drawn with a vertex every {drawn.spacing_m:.0f} m in the median, {drawn.n_vertices / n:.0f} a unit"
    if drawn.n_multipart:
        what += f"; {drawn.n_multipart} units of several parts, most in {drawn.most_parts[0]} ({drawn.most_parts[1]})"
    is_coarse = drawn.spacing_m > COARSE_M
    mend = "coarse: small units lose much of their shape" if is_coarse else ""
    said.add("drawing", "warning" if is_coarse else "info", what, mend)
    if drawn.lattice_m:
        stairs = drawn.lattice_m > STAIRS * drawn.spacing_m
        what = f"coordinates were rounded to a lattice of {drawn.lattice_m:.0f} m"
        mend = "borders are staircases: take a finer source for small units" if stairs else ""
        said.add("drawing", "warning" if stairs else "info", what, mend)
