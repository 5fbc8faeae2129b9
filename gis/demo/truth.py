"""What an exact method must find in the demo: integrals of the closed-form fields over the polygons.

In: a seed. Out: ``truth_table``: light, population, area and coverage of every unit of both vintages in every year.

No raster is involved, and no code of the engine: an integral over a polygon becomes one around it (Green's theorem).
With f = G(lon) H(lat) J(lat) and Phi' = G, the integral of f over P is the integral of Phi H J dlat around P,
counter-clockwise. Every bump is such a product with Phi an error function; edges are straight in longitude and
latitude, and Gauss-Legendre nodes on them do the rest. Relative error below 1e-10: doubling the nodes moves nothing
beyond it, and quadrature over a triangulation agrees (test_demo_truth.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import lambert_scale
from gis.demo.fields import YEARS, Bumps, Fields, area_element, fields
from gis.demo.geography import LAYERS, NEW, OLD, Unit, geography
from gis.demo.rasters import holes_lonlat

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NODES = 6
"""Gauss-Legendre nodes per edge."""
MAX_EDGE_DEGREE = 0.03
"""Longer edges are divided: below half the narrowest bump, where 6 nodes leave less than 1e-12."""


@dataclass(frozen=True, slots=True)
class Integrals:
    """Integrals of the 120 bumps and of the constant 1 over polygons [km2]."""

    true: Floats = field(repr=False)
    """(n_polygons, 121) with the area element of the ellipsoid."""
    plane: Floats = field(repr=False)
    """(n_polygons, 121) with that of the ESRI:102027 plane, k**2 times as large."""


def polygon_integrals(polygons: NDArray[Any], bumps: Bumps, *, nodes: int = NODES) -> Integrals:
    """Integrate every bump and the constant 1 over polygons in longitude and latitude.

    Parameters
    ----------
    polygons : (n_polygons,) shapely polygons, multipolygons or empty ones, EPSG:4326, any orientation.
    nodes : Gauss-Legendre nodes per edge.
    """
    import shapely

    fine = shapely.segmentize(shapely.orient_polygons(polygons), MAX_EDGE_DEGREE)
    n, width = len(polygons), bumps.lon.size + 1
    parts, part_of = shapely.get_parts(fine, return_index=True)
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    xy, vertex_of = shapely.get_coordinates(rings, return_index=True)
    same_ring = vertex_of[1:] == vertex_of[:-1]
    start, step = xy[:-1][same_ring], np.diff(xy, axis=0)[same_ring]
    owner = part_of[ring_of[vertex_of[:-1][same_ring]]]
    present, first = np.unique(owner, return_index=True)  # edges come polygon by polygon
    true, plane = np.zeros((n, width)), np.zeros((n, width))
    if not present.size:
        return Integrals(true, plane)
    points, weights = np.polynomial.legendre.leggauss(nodes)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        lon, lat = (start + point * step).T
        flux = _flux(bumps, lon, lat) * (weight * step[:, 1] * area_element(lat) * math.radians(1) ** 2 / 1e6)
        for total, factor in ((true, 1.0), (plane, lambert_scale(lat) ** 2)):
            total[present] += np.add.reduceat(flux * factor, first, axis=1).T
    return Integrals(true, plane)


def _flux(bumps: Bumps, lon: Floats, lat: Floats) -> Floats:
    """Phi(lon) H(lat) of every bump and of the constant, at points: (n_bumps + 1, n_points) [degree]."""
    from scipy.special import erf

    x = (lon - bumps.lon[:, None]) / bumps.sx[:, None]
    y = (lat - bumps.lat[:, None]) / bumps.sy[:, None]
    antiderivative = math.sqrt(math.pi / 2) * bumps.sx[:, None] * erf(x / math.sqrt(2))
    return np.vstack([antiderivative * np.exp(-y * y / 2), lon - bumps.lon.mean()])


def truth_table(seed: int) -> pd.DataFrame:
    """Tabulate what an exact method must find.

    Returns
    -------
    One row per vintage, layer, unit and year, sorted by these:

    ``light_sum_true_dn_km2``, ``light_sum_dn_km2``
        Light over the part of the unit that has light data, on the ellipsoid and in the ESRI:102027 plane.
    ``light_whole_true_dn_km2``
        The first of them as it would be without missing data.
    ``pop_persons``, ``area_km2``, ``area_lambert_km2``
        Of the whole unit.
    ``cov_area``, ``cov_pop``
        Share of its area and of its people where there is light data.
    ``level_true``, ``level_lambert``
        The sums over ``pop_persons``, whatever the coverage: rules on missing data are not applied here.
    """
    import pandas as pd

    land, field_values = geography(seed), fields(seed)
    whole, missing = _atom_integrals(seed)
    tables = []
    for vintage in (OLD, NEW):
        for layer in LAYERS:
            units = land.units[vintage, layer]
            tables += [_year_table(vintage, layer, units, year, field_values, whole, missing) for year in YEARS]
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["vintage", "layer", "unit_code", "year"], ignore_index=True)


@lru_cache(maxsize=4)
def _atom_integrals(seed: int) -> tuple[Integrals, dict[int, Integrals]]:
    """Integrals over the atoms, and over what is missing of each, by year."""
    import shapely

    land, bumps = geography(seed), fields(seed).bumps
    whole = polygon_integrals(land.atoms, bumps)
    missing = {}
    for year, hole in holes_lonlat(seed).items():
        missing[year] = polygon_integrals(shapely.intersection(land.atoms, hole), bumps)
    return whole, missing


def _year_table(
    vintage: str,
    layer: str,
    units: tuple[Unit, ...],
    year: int,
    field_values: Fields,
    whole: Integrals,
    missing: dict[int, Integrals],
) -> pd.DataFrame:
    import pandas as pd

    member = np.zeros((len(units), whole.true.shape[0]))
    for row, unit in enumerate(units):
        member[row, list(unit.atoms)] = 1.0
    gone = missing[year]
    people, light = field_values.population_weights(year), field_values.light_weights(year)
    persons, area = member @ whole.true @ people, member @ whole.true[:, -1]
    seen_true = member @ (whole.true - gone.true) @ light
    seen_plane = member @ (whole.plane - gone.plane) @ light
    return pd.DataFrame(
        {
            "vintage": vintage,
            "layer": layer,
            "unit_code": [unit.code for unit in units],
            "year": np.full(len(units), year, dtype=np.int32),
            "unit_name": [unit.name for unit in units],
            "parent_code": [unit.parent for unit in units],
            "light_sum_dn_km2": seen_plane,
            "light_sum_true_dn_km2": seen_true,
            "light_whole_true_dn_km2": member @ whole.true @ light,
            "pop_persons": persons,
            "area_km2": area,
            "area_lambert_km2": member @ whole.plane[:, -1],
            "cov_area": 1 - member @ gone.true[:, -1] / area,
            "cov_pop": 1 - member @ gone.true @ people / persons,
            "level_lambert": seen_plane / persons,
            "level_true": seen_true / persons,
        }
    )
