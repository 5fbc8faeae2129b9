"""Cities dissolved from districts cover what their districts cover; two levels are compared honestly."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from gis.boundaries import cities_from_districts, compare_levels, districts_without_city, geodesic_area_km2
from gis.crs import ASIA_NORTH_LAMBERT, crs_from, same_crs, transform_geometry
from gis.errors import BoundaryInvalid
from gis.grid import Zones

WGS84 = crs_from("EPSG:4326")
GEOD = Geod(ellps="WGS84")


def districts(shape=(4, 6), city=lambda x, y: f"34{1 + x // 3:02d}", parents=False, crs=WGS84) -> Zones:
    """Unit squares; by default the three left columns are Hefei, the three right ones Wuhu."""
    ny, nx = shape
    cells = [(x, y) for y in range(ny) for x in range(nx)]
    codes = tuple(f"{city(x, y)}{1 + k:02d}" for k, (x, y) in enumerate(cells))
    geometry = np.array([shapely.box(110 + x, 30 + y, 111 + x, 31 + y) for x, y in cells])
    given_ = tuple(f"{code[:4]}00" for code in codes) if parents else ()
    return Zones(codes, transform_geometry(geometry, WGS84, crs), crs, "2019", parents=given_)


@pytest.mark.parametrize("parents", [False, True])
def test_dissolved_cities_are_the_unions_of_their_districts(parents):
    made = cities_from_districts(districts(parents=parents))
    assert made.zones.codes == ("340100", "340200")
    assert made.zones.vintage == "2019"
    assert made.zones.geometry[0].equals(shapely.box(110, 30, 113, 34))
    assert made.zones.geometry[1].equals(shapely.box(113, 30, 116, 34))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=24, max_size=24), st.booleans())
def test_dissolved_areas_add_up(assignment, projected):
    """Any assignment of 24 squares to cities: scattered, holed and multipart ones too."""
    crs = crs_from(ASIA_NORTH_LAMBERT) if projected else WGS84
    zones = districts(city=lambda x, y: f"34{assignment[y * 6 + x]:02d}", crs=crs)
    made = cities_from_districts(zones).zones
    assert made.codes == tuple(sorted({f"34{a:02d}00" for a in assignment}))
    area = geodesic_area_km2(zones.geometry, crs)
    for code, polygon in zip(made.codes, made.geometry, strict=True):
        mine = [k for k, c in enumerate(zones.codes) if c[:4] == code[:4]]
        assert shapely.is_valid(polygon)
        # 1e-12: sums of the same edges in another order
        assert geodesic_area_km2([polygon], crs)[0] == pytest.approx(area[mine].sum(), rel=1e-12)
    table = compare_levels(made, zones)
    assert table["n_districts"].sum() == 24
    assert table[["relative_difference", "mismatch"]].abs().to_numpy().max() < 1e-12  # as above


def test_districts_whose_borders_do_not_match_vertex_by_vertex_are_united_too():
    left, upper, lower = shapely.box(110, 30, 111, 32), shapely.box(111, 31, 112, 32), shapely.box(111, 30, 112, 31)
    assert not shapely.coverage_is_valid([left, upper, lower])
    zones = Zones(("340101", "340102", "340103"), np.array([left, upper, lower]), WGS84)
    assert cities_from_districts(zones).zones.geometry[0].equals(shapely.box(110, 30, 112, 32))


def test_names_come_from_the_table_the_four_municipalities_and_else_the_code():
    zones = Zones(
        ("110101", "340101", "340201"), np.array([shapely.box(k, 30, k + 1, 31) for k in range(110, 113)]), WGS84
    )
    made = cities_from_districts(zones, {"340100": "合肥市", "110000": "市辖区"})
    assert made.zones.names == ("北京市", "合肥市", "340200")
    assert any("1 cities are called by their code" in note and "340200" in note for note in made.notes)


def test_districts_of_no_city_are_left_out_and_named():
    zones = Zones(("340101", "419001", "629700"), np.array([shapely.box(k, 30, k + 1, 31) for k in range(3)]), WGS84)
    assert districts_without_city(zones) == ("419001", "629700")
    made = cities_from_districts(zones)
    assert made.zones.codes == ("340100",)
    assert any("2 districts belong to no city and were left out: 419001, 629700" in note for note in made.notes)


def test_a_layer_without_any_city_is_refused():
    zones = Zones(("419001",), np.array([shapely.box(0, 30, 1, 31)]), WGS84)
    with pytest.raises(BoundaryInvalid, match=r"boundaries\.district\.columns\.parent"):
        cities_from_districts(zones)


def test_overlapping_districts_do_not_add_up_and_are_refused():
    zones = Zones(("340101", "340102"), np.array([shapely.box(0, 30, 2, 31), shapely.box(1, 30, 3, 31)]), WGS84)
    with pytest.raises(BoundaryInvalid, match=r"340100(?s:.*)leave one of each pair out with exclude|exclude"):
        cities_from_districts(zones)


def test_a_city_that_differs_from_its_districts_is_measured():
    zones = districts(shape=(1, 6))
    cities = Zones(
        ("340100", "340200", "441900"),
        np.array([shapely.box(110, 30, 113, 31), shapely.box(113.5, 30, 116.5, 31), shapely.box(120, 30, 121, 31)]),
        WGS84,
        names=("合肥市", "芜湖市", "东莞市"),
    )
    table = compare_levels(cities, zones).set_index("city_code")
    assert table["n_districts"].to_dict() == {"340100": 3, "340200": 3, "441900": 0}
    assert table["city_name"].tolist() == ["合肥市", "芜湖市", "东莞市"]
    assert table.loc["340100", ["relative_difference", "mismatch"]].abs().max() < 1e-12  # sums in another order
    # Shifted by half a square: the same area, but two half squares of three are not shared.
    assert table.loc["340200", "relative_difference"] == pytest.approx(0, abs=1e-12)  # as above
    assert table.loc["340200", "mismatch"] == pytest.approx(1 / 3, rel=1e-12)  # as above
    assert table.loc["441900", ["districts_area_km2", "relative_difference", "mismatch"]].isna().all()


def test_a_unit_in_both_layers_is_its_own_district():
    box = np.array([shapely.box(0, 30, 1, 31)])
    table = compare_levels(Zones(("419001",), box, WGS84), Zones(("419001",), box, WGS84, parents=("",)))
    assert table["n_districts"].tolist() == [1]
    assert table["mismatch"].tolist() == [0.0]


def test_levels_in_two_crs_are_compared_on_the_ground():
    zones = districts(crs=crs_from(ASIA_NORTH_LAMBERT))
    cities = cities_from_districts(districts()).zones
    assert same_crs(cities.crs, WGS84)
    table = compare_levels(cities, zones)
    # 1e-7: edges densified every kilometre are chords of straight ones
    assert table["mismatch"].max() < 1e-7
    by_hand = abs(
        GEOD.geometry_area_perimeter(shapely.segmentize(shapely.orient_polygons(cities.geometry[0]), 0.01))[0]
    )
    assert table["area_km2"][0] == pytest.approx(by_hand / 1e6, rel=1e-6)  # bulge of geodesics of 0.01 degree
