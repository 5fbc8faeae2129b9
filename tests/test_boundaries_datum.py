"""GCJ-02 and BD-09: the published offsets, the inversion to a billionth of a degree, and the verdict on a layer."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from gis.boundaries.datum import (
    DATUMS,
    FORWARD,
    SHIFTED,
    correct_geometry,
    datum_verdict,
    gcj02_from_wgs84,
    match_reference,
    wgs84_from,
)
from gis.boundaries.reference import reference_points
from gis.errors import OptionInvalid

GOLDEN = {
    "Beijing": (116.391, 39.905, 556, 74),
    "Shanghai": (121.474, 31.23, 482, 117),
    "Guangzhou": (113.264, 23.129, 621, 119),
    "Chengdu": (104.066, 30.573, 363, 139),
    "Urumqi": (87.617, 43.825, 266, None),
    "Harbin": (126.535, 45.804, 519, None),
    "Lhasa": (91.117, 29.647, 336, None),
    "Xi'an": (108.940, 34.341, 462, None),
}
"""Longitude, latitude, offset [m] and azimuth [degree] of eight cities: METHOD 9.5."""

WGS84 = Geod(ellps="WGS84")
LON, LAT = st.floats(73, 136), st.floats(3, 54)


@pytest.mark.parametrize("city", GOLDEN)
def test_offsets_of_eight_cities_are_the_golden_ones(city):
    lon, lat, offset, azimuth = GOLDEN[city]
    there = gcj02_from_wgs84(lon, lat)
    angle, _, distance = WGS84.inv(lon, lat, *map(float, there))
    assert distance == pytest.approx(offset, abs=1)  # METHOD 9.5 gives whole metres
    assert azimuth is None or angle == pytest.approx(azimuth, abs=0.6)  # and whole degrees


def test_offsets_over_china_span_what_the_method_says():
    lon, lat = np.meshgrid(np.arange(73.5, 135, 0.25), np.arange(18.25, 53.5, 0.25))
    distance = WGS84.inv(lon, lat, *gcj02_from_wgs84(lon, lat))[2]
    # METHOD 9.5 gives whole metres, measured on a grid of a quarter degree.
    assert (distance.min(), distance.max()) == (pytest.approx(38, abs=1), pytest.approx(683, abs=1))
    assert np.median(distance) == pytest.approx(432, abs=15)  # over the rectangle, the method's over its land


@given(LON, LAT, st.sampled_from(["gcj02", "bd09"]))
def test_inversion_round_trip(lon, lat, datum):
    there = FORWARD[datum](lon, lat)
    back = wgs84_from(datum, *there)
    assert abs(float(back[0]) - lon) <= 1e-9 and abs(float(back[1]) - lat) <= 1e-9
    again = FORWARD[datum](*back)
    assert abs(float(again[0]) - float(there[0])) <= 1e-9 and abs(float(again[1]) - float(there[1])) <= 1e-9


def test_one_step_alone_does_not_invert():
    """The shift at the shifted place is another one: iterating is not for show."""
    lon, lat = np.meshgrid(np.arange(74, 135, 0.5), np.arange(18, 54, 0.5))
    there = gcj02_from_wgs84(lon, lat)
    once = gcj02_from_wgs84(*there)
    assert np.abs(2 * there[0] - once[0] - lon).max() > 1e-6
    assert np.abs(wgs84_from("gcj02", *there)[0] - lon).max() <= 1e-9


def test_nothing_is_shifted_outside_the_rectangle():
    west, south, east, north = SHIFTED
    lon, lat = np.array([west - 1, 100, east + 1, 100]), np.array([30, south - 1, 30, north + 1])
    for datum in DATUMS:
        np.testing.assert_array_equal(FORWARD[datum](lon, lat), (lon, lat))


@pytest.mark.parametrize("code", ["710000", "810000", "820000", "810001"])
def test_hong_kong_macau_and_taiwan_are_not_moved(code):
    square = np.array([shapely.box(114, 22, 114.1, 22.1)] * 2, dtype=object)
    moved = correct_geometry(square, [code, "440300"], "gcj02")
    assert moved[0].equals_exact(square[0], 0)
    assert moved[0].distance(moved[1]) == 0 and not moved[1].equals_exact(square[1], 1e-4)


@given(st.lists(st.tuples(LON, LAT), min_size=3, max_size=8, unique=True))
def test_corrected_polygons_shift_back_to_what_they_were(ring):
    polygon = np.array([shapely.Polygon(ring)], dtype=object)
    corrected = shapely.get_coordinates(correct_geometry(polygon, ["110000"], "bd09"))
    again = np.column_stack(FORWARD["bd09"](*corrected.T))
    np.testing.assert_allclose(again, shapely.get_coordinates(polygon), rtol=0, atol=1e-9)  # METHOD 9.5


def test_an_unknown_datum_and_a_coordinate_without_value_are_refused():
    with pytest.raises(OptionInvalid, match="use one of wgs84, gcj02, bd09"):
        wgs84_from("bj54", 116, 40)  # type: ignore[arg-type]
    with pytest.raises(OptionInvalid, match="export the layer again"):
        wgs84_from("gcj02", [116, np.nan], [40, 40])


# --- the verdict -----------------------------------------------------------------------------------------------------


def layer_of(province: str, datum: str, noise_m: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centroids and areas of a province's districts in a datum, as a simplified drawing would have them."""
    points = [p for p in reference_points("district") if p.code.startswith(province)]
    lon, lat = FORWARD[datum]([p.lon for p in points], [p.lat for p in points])
    rng = np.random.default_rng(int(province))
    lon = lon + rng.normal(0, noise_m / 95_000, len(points))  # a degree of longitude is about 95 km there
    lat = lat + rng.normal(0, noise_m / 111_000, len(points))
    return lon, lat, np.array([p.area_km2 for p in points])


@pytest.mark.parametrize("province", ["13", "32", "44", "51", "65"])
@pytest.mark.parametrize("datum", DATUMS)
@pytest.mark.parametrize("noise_m", [0.0, 60.0])
def test_the_datum_of_a_province_is_found(province, datum, noise_m):
    verdict = datum_verdict(*layer_of(province, datum, noise_m))
    assert verdict.datum == datum
    assert verdict.n_matched > 80
    assert verdict.slope == pytest.approx(float(datum != "wgs84"), abs=0.1)  # noise of 60 m over more than 80 units
    if not noise_m:
        assert verdict.agreement == 1.0
        assert verdict.residual_m[datum] < 10  # the references are rounded to 1e-4 degree


def test_a_slope_is_least_squares_through_the_origin():
    """The oracle solves the same regression with numpy's general solver."""
    lon, lat, area = layer_of("33", "gcj02", 40.0)
    verdict = datum_verdict(lon, lat, area)
    unit, point = match_reference(lon, lat, area)
    reference = [(reference_points()[k].lon, reference_points()[k].lat) for k in point]
    rows_y, rows_x = [], []
    for k, (a, b) in zip(unit, reference, strict=True):
        for (x, y), out in (((lon[k], lat[k]), rows_y), (tuple(map(float, gcj02_from_wgs84(a, b))), rows_x)):
            angle, _, metres = WGS84.inv(a, b, float(x), float(y))
            out += [metres * np.sin(np.radians(angle)), metres * np.cos(np.radians(angle))]
    (slope,), *_ = np.linalg.lstsq(np.array(rows_x)[:, None], np.array(rows_y), rcond=None)
    assert verdict.slope == pytest.approx(slope, abs=2e-3)  # a unit beyond four medians would be left out; geodesics


def test_units_whose_area_changed_are_left_out():
    lon, lat, area = layer_of("33", "gcj02")
    changed = np.arange(len(area)) % 3 == 0
    verdict = datum_verdict(np.where(changed, lon + 0.02, lon), lat, np.where(changed, 0.8 * area, area))
    assert verdict.datum == "gcj02" and verdict.residual_m["gcj02"] < 10
    assert verdict.n_matched <= (~changed).sum() + 3  # a district may have the size of its neighbour


def test_few_units_decide_nothing():
    lon, lat, area = layer_of("11", "gcj02")
    verdict = datum_verdict(lon[:4], lat[:4], area[:4])
    assert verdict.datum == "unclear" and verdict.n_matched == 4
    assert datum_verdict([], [], []).n_matched == 0
    assert datum_verdict([10.0] * 9, [50.0] * 9, [100.0] * 9).n_matched == 0  # not China


def test_a_layer_between_two_datums_is_called_unclear():
    lon, lat, area = layer_of("44", "wgs84")
    shifted = layer_of("44", "gcj02")
    half = datum_verdict((lon + shifted[0]) / 2, (lat + shifted[1]) / 2, area)
    assert half.datum == "unclear" and half.slope == pytest.approx(0.5, abs=0.05)
    twice = datum_verdict(*gcj02_from_wgs84(shifted[0], shifted[1]), area)
    assert twice.datum == "unclear"


def test_the_codes_of_a_layer_play_no_part():
    lon, lat, area = layer_of("33", "bd09")
    order = np.random.default_rng(1).permutation(len(area))
    one, other = datum_verdict(lon, lat, area), datum_verdict(lon[order], lat[order], area[order])
    assert (one.datum, one.n_matched, one.agreement) == (other.datum, other.n_matched, other.agreement)
    assert one.slope == pytest.approx(other.slope, rel=1e-12)  # sums in another order


def test_units_without_place_are_left_out():
    lon, lat, area = layer_of("33", "gcj02")
    verdict = datum_verdict(np.r_[lon, np.nan], np.r_[lat, np.nan], np.r_[area, 0.0])
    assert verdict.n_matched == datum_verdict(lon, lat, area).n_matched
