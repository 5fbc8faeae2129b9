"""The published numbers of Asia North Lambert and of cell areas; ``golden/projection.json`` names their sources."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod, Proj

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, lambert_cone, lambert_scale, transformer
from gis.grid import Grid

GOLDEN = json.loads((Path(__file__).parent / "golden" / "projection.json").read_text(encoding="utf-8"))
WGS84 = crs_from("EPSG:4326")
LAMBERT = crs_from(ASIA_NORTH_LAMBERT)
FORWARD = transformer(WGS84, LAMBERT)
GEOD = Geod(ellps="WGS84")

ROUNDED = [pytest.param(place, id=name) for name, place in GOLDEN["places_rounded"].items()]
FULL = [pytest.param(place, id=name) for name, place in GOLDEN["places_full"].items()]


def grid_under(lat_top: float, seconds: float = 30.0) -> Grid:
    """One row of one cell whose top edge is at ``lat_top``."""
    side = seconds / 3600
    return Grid((1, 1), Affine(side, 0, 110.0, 0, -side, lat_top), WGS84)


def convergence_by_geodesics(lon: float, lat: float) -> float:
    """Angle from true north to grid north [degree]: a metre north on the ellipsoid, seen in the map."""
    ahead, behind = GEOD.fwd(lon, lat, 0.0, 1.0), GEOD.fwd(lon, lat, 180.0, 1.0)
    (x1, y1), (x0, y0) = FORWARD.transform(*ahead[:2]), FORWARD.transform(*behind[:2])
    return float(np.degrees(np.arctan2(-(x1 - x0), y1 - y0)))


def test_the_table_covers_every_case():
    assert len(GOLDEN["places_rounded"]) == 18
    assert len(GOLDEN["places_full"]) == 8
    assert set(GOLDEN["places_full"]) < set(GOLDEN["places_rounded"])
    assert sorted(map(int, GOLDEN["cell_km2_30s_top_lat"])) == [18, 20, 25, 30, 35, 40, 45, 50, 53]
    described = set(GOLDEN["source"])
    assert {"places_rounded", "places_full", "cone", "range_mainland", "cell_km2_30s_top_lat"} <= described


@pytest.mark.parametrize("place", ROUNDED)
def test_eighteen_places(place):
    k = float(lambert_scale(place["lat"]))
    assert k == pytest.approx(place["k"], abs=1e-6)  # the table has six decimals
    assert k**2 == pytest.approx(place["areal"], abs=1e-6)  # the same
    x, y = FORWARD.transform(place["lon"], place["lat"])
    assert (x, y) == pytest.approx((place["x_m"], place["y_m"]), abs=0.1)  # the table has decimetres
    turned = Proj(LAMBERT).get_factors(place["lon"], place["lat"]).meridian_convergence
    assert turned == pytest.approx(place["convergence_degree"], abs=0.006)  # two decimals, rounded from three


@pytest.mark.parametrize("place", FULL)
def test_eight_places_to_all_digits(place):
    k = float(lambert_scale(place["lat"]))
    # The golden k are proj_factors, differences over 1e-5 radian: truncation 1e-10 / 6, rounding 1e-16 / 1e-5.
    assert k == pytest.approx(place["k"], rel=3e-11)
    assert k**2 == pytest.approx(place["areal"], rel=6e-11)  # twice that
    x, y = FORWARD.transform(place["lon"], place["lat"])
    assert (x, y) == pytest.approx((place["x_m"], place["y_m"]), abs=1e-6)  # a micrometre: versions of PROJ differ less
    turned = lambert_cone()[0] * (place["lon"] - 95.0)  # meridians of a cone are straight
    assert turned == pytest.approx(place["convergence_degree"], abs=1e-9)  # differences again, in degrees


@pytest.mark.parametrize("place", FULL)
def test_scale_is_the_ratio_of_two_circles(place):
    # The parallel is a circle on the map (n times a turn, its radius from PROJ's coordinates) and on the ellipsoid.
    x, y = FORWARD.transform(place["lon"], place["lat"])
    radius = np.hypot(x, FORWARD.transform(95.0, 90.0)[1] - y)
    sin = np.sin(np.radians(place["lat"]))
    on_ellipsoid = GEOD.a * np.cos(np.radians(place["lat"])) / np.sqrt(1 - GEOD.es * sin**2)
    k = float(lambert_scale(place["lat"]))
    assert k == pytest.approx(GOLDEN["cone"]["n"] * radius / on_ellipsoid, rel=1e-12)  # rounding of metres and of n


@pytest.mark.parametrize("place", FULL)
def test_convergence_is_the_angle_a_geodesic_north_makes(place):
    turned = convergence_by_geodesics(place["lon"], place["lat"])
    assert turned == pytest.approx(place["convergence_degree"], abs=1e-6)  # rounding: 1e-9 m over 2 m, 3e-8 degree


def test_cone_and_its_minimum():
    n, f = lambert_cone()
    cone = GOLDEN["cone"]
    assert n == pytest.approx(cone["n"], rel=1e-14)
    assert f == pytest.approx(cone["F"], abs=1e-10)  # ten decimals are given
    lat = float(np.degrees(np.arcsin(n)))
    assert lat == pytest.approx(cone["lat_min_degree"], abs=1e-3)  # three decimals are given
    k = float(lambert_scale(lat))
    assert (k, k**2) == pytest.approx((cone["k_min"], cone["areal_min"]), abs=1e-6)  # six decimals are given


def test_range_over_the_mainland():
    given = GOLDEN["range_mainland"]
    k = lambert_scale(np.linspace(*given["lat_degree"], 100_001))
    assert (k.min(), k.max()) == pytest.approx(given["k"], abs=5e-6)  # five decimals are given
    assert (k.min() ** 2, k.max() ** 2) == pytest.approx(given["areal"], abs=5e-6 + 1e-12)  # the same
    assert (k.max() / k.min()) ** 2 == pytest.approx(given["areal_ratio"], abs=5e-4)  # three decimals are given


@pytest.mark.parametrize(("lat_top", "km2"), [(int(k), v) for k, v in GOLDEN["cell_km2_30s_top_lat"].items()])
def test_cell_areas_at_thirty_seconds(lat_top, km2):
    assert grid_under(lat_top).cell_areas_km2("true", 0, 1)[0] == pytest.approx(km2, abs=5e-7)  # six decimals are given


def test_row_under_54_north_to_the_square_decimetre():
    m2 = grid_under(54.0).cell_areas_km2("true", 0, 1)[0] * 1e6
    assert m2 == pytest.approx(GOLDEN["row_under_54_m2"]["closed_form"], abs=1e-3)  # three decimals are given
    assert m2 == pytest.approx(GOLDEN["row_under_54_m2"]["geodesic_polygon"], abs=2e-3)  # and the arc of a parallel
