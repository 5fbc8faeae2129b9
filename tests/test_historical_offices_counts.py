"""Expected products, telegraph lines and the bootstrap: against enumeration, by hand, and by their own seeds."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from gis.errors import CodeInvalid, CrsMissing, OptionInvalid, TableInvalid
from gis.grid import Zones
from gis.historical import ControlPointsInvalid
from gis.historical.assignment import NOWHERE, Probabilities, assign_hard, city_lookup
from gis.historical.bootstrap import CountDraws, bootstrap_counts
from gis.historical.exposure import Exposure, expected_exposure, hard_exposure, read_counts
from gis.historical.lines import Lines, city_network, read_lines
from gis.historical.offices import Offices

# Layers in pixels of a scan have no CRS: that is their point.
pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided")

CODES = ("110000", "310000", "440100", "460200")
GEOD = Geod(ellps="WGS84")


def probabilities_of(p, codes=CODES):
    p = np.array(p, float)
    office, city = np.nonzero(p)
    return Probabilities(codes[: p.shape[1]], office, city, p[office, city], 1 - p.sum(axis=1))


def offices_at(lonlat, sigma=0.0, px=None, position="scan"):
    lonlat = np.array(lonlat, float)
    n = len(lonlat)
    sigma = np.broadcast_to(np.asarray(sigma, float), (n,))
    px = lonlat * 100 if px is None else np.array(px, float)
    return Offices(
        tuple(f"T{k}" for k in range(n)), ("",) * n, px, lonlat, lonlat, sigma, sigma, np.zeros(n), (position,) * n
    )


# --- expected products -----------------------------------------------------------------------------------------------


def test_the_micro_example_of_expected_products():
    found = expected_exposure(probabilities_of([[0.9, 0.1, 0], [0.6, 0.4, 0], [0, 0.2, 0.8]]))
    assert found.counts == pytest.approx([1.5, 0.7, 0.8], abs=1e-15)
    i, j = np.array([0, 0, 1]), np.array([1, 2, 2])
    assert found.products(i, j) == pytest.approx([0.72, 1.20, 0.40], abs=1e-15)  # METHOD 8.6
    assert found.products(j, i) == pytest.approx([0.72, 1.20, 0.40], abs=1e-15)


@st.composite
def small_tables(draw):
    n_offices, n_cities = draw(st.integers(1, 4)), draw(st.integers(2, 3))
    rows = []
    for _ in range(n_offices):  # sixty-fourths, so that sums are exact
        cuts = sorted(draw(st.lists(st.integers(0, 64), min_size=n_cities, max_size=n_cities)))
        rows.append([b - a for a, b in itertools.pairwise([0, *cuts])])
    return np.array(rows) / 64


@given(small_tables())
@settings(max_examples=60)
def test_expected_products_are_those_of_every_outcome(p):
    n_offices, n_cities = p.shape
    full = np.column_stack([p, 1 - p.sum(axis=1)])  # the last outcome is nowhere
    expected = np.zeros((n_cities, n_cities))
    for outcome in itertools.product(range(n_cities + 1), repeat=n_offices):
        chance = math.prod(full[o, c] for o, c in enumerate(outcome))
        n = np.array([outcome.count(c) for c in range(n_cities)])
        expected += chance * np.outer(n, n)
    found = expected_exposure(probabilities_of(p))
    for i, j in itertools.permutations(range(n_cities), 2):
        assert found.products(np.array([i]), np.array([j]))[0] == pytest.approx(expected[i, j], abs=1e-14)  # 4^4 terms


def test_certain_probabilities_give_products_of_whole_counts():
    p = np.eye(4)[[0, 0, 1, 3, 3, 3]]
    sure, whole = expected_exposure(probabilities_of(p)), Exposure(CODES, np.array([2.0, 1, 0, 3]))
    i, j = np.triu_indices(4, 1)
    assert sure.products(i, j).tolist() == whole.products(i, j).tolist() == [2, 0, 6, 0, 3, 0]


def test_an_office_on_a_border_exposes_no_pair_by_itself():
    found = expected_exposure(probabilities_of([[1 / 3, 2 / 3]]))
    assert found.products(np.array([0]), np.array([1]))[0] == 0.0  # never -1e-17


def test_a_roster_picks_and_reorders():
    found = expected_exposure(probabilities_of([[0.9, 0.1, 0], [0.6, 0.4, 0], [0, 0.2, 0.8]])).for_cities(CODES[2::-1])
    assert found.counts == pytest.approx([0.8, 0.7, 1.5])
    assert found.products(np.array([0]), np.array([2])) == pytest.approx([1.2], abs=1e-15)
    with pytest.raises(CodeInvalid, match=r"460200[\s\S]*mend:.*panel's vintage"):
        found.for_cities(CODES)
    assert np.isnan(found.for_cities(CODES, unknown="nan").counts[3])


def test_counts_from_a_table_keep_missing_apart_from_zero(tmp_path):
    path = tmp_path / "phones.csv"
    path.write_text("city_code,telephones\n110000,1200.5\n310000,0\n440100,\n", encoding="utf-8")
    found = read_counts(path, "telephones")
    assert found.kind == "given" and found.counts[:2].tolist() == [1200.5, 0.0] and np.isnan(found.counts[2])
    for text, error, mend in (
        ("city_code,telephones\n110000,-1\n", TableInvalid, "110000[\\s\\S]*mend:.*leave unknown counts empty"),
        ("city_code,telephones\n110000,many\n", TableInvalid, "mend:.*leave unknown counts empty"),
        ("city_code,telephones\n11,1\n", CodeInvalid, "11[\\s\\S]*mend:.*six-character text"),
        ("city_code,telephones\n110000,1\n110000,2\n", CodeInvalid, "110000[\\s\\S]*mend:.*one row per city"),
        ("city,telephones\n110000,1\n", TableInvalid, "mend:.*city_code and telephones"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(error, match=mend):
            read_counts(path, "telephones")
    with pytest.raises(TableInvalid, match=r"mend:.*check the path"):
        read_counts(tmp_path / "nothing.csv", "telephones")


# --- telegraph lines -------------------------------------------------------------------------------------------------


def test_a_network_by_hand():
    #  0 --10-- 1 --20-- 2        3 --5-- 4      offices 0, 1 in city a; 2 nowhere; 3 in b; 4 in c; 5 in d, alone
    #            \--100-- 3
    lines = Lines(np.array([[0, 1], [1, 2], [1, 3], [3, 1], [3, 4]]), np.array([10.0, 20, 100, 90, 5]))
    found = city_network(lines, np.array([0, 0, NOWHERE, 1, 2, 3]), CODES)
    assert found.km[0, 1] == found.km[1, 0] == 90  # of two parallel lines the shorter
    assert found.km[0, 2] == 95 and found.km[1, 2] == 5
    assert np.isinf(found.km[3, :3]).all() and not found.is_connected[3, 0]
    direct = [(i, j) for i, j in itertools.combinations(range(4), 2) if found.is_direct[i, j]]
    assert direct == [(0, 1), (1, 2)]


@given(st.integers(0, 500))
@settings(max_examples=25)
def test_shortest_ways_are_those_of_floyd_and_warshall(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    edges = rng.integers(0, n, (int(rng.integers(1, 12)), 2))
    km = rng.integers(1, 50, len(edges)).astype(float)
    city = rng.integers(-1, 4, n)
    way = np.where(np.eye(n, dtype=bool), 0.0, np.inf)
    for (a, b), length in zip(edges, km, strict=True):
        if a != b:
            way[a, b] = way[b, a] = min(way[a, b], length)
    for k in range(n):
        way = np.minimum(way, way[:, k : k + 1] + way[k : k + 1])
    found = city_network(Lines(edges, km), city, CODES)
    for i, j in itertools.combinations(range(4), 2):
        between = way[np.ix_(city == i, city == j)]
        assert found.km[i, j] == (between.min() if between.size else np.inf)


def test_lines_from_a_table_of_edges(tmp_path):
    offices = offices_at([[110, 30], [111, 30], [112, 30]])
    path = tmp_path / "lines.csv"
    path.write_text("office_a,office_b,km\nT0,T1,120\nT1,T2,\n", encoding="utf-8")
    found = read_lines(path, offices)
    assert found.edges.tolist() == [[0, 1], [1, 2]]
    assert found.km.tolist() == [120.0, pytest.approx(GEOD.inv(111, 30, 112, 30)[2] / 1000)]
    for text, mend in (
        ("office_a,office_b\nT0,T9\n", r"T9[\s\S]*mend:.*use the office_id"),
        ("a,b\nT0,T1\n", "mend:.*office_a, office_b"),
        ("office_a,office_b,km\nT0,T1,far\n", "mend:.*leave the cell empty"),
        ("office_a,office_b,km\nT0,T1,-2\n", "mend:.*kilometres of 0 or more"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(TableInvalid, match=mend):
            read_lines(path, offices)
    with pytest.raises(TableInvalid, match=r"mend:.*check the path"):
        read_lines(tmp_path / "nothing.csv", offices)


def test_a_polyline_joins_the_offices_it_passes(tmp_path):
    offices = offices_at([[112, 30.02], [110, 30], [111, 29.98], [111.5, 31]])  # the last stands aside
    drawn = shapely.LineString([(109.5, 30), (111, 30), (112.5, 30)])
    loose = shapely.LineString([(100, 20), (101, 20)])
    path = tmp_path / "lines.gpkg"
    gpd.GeoDataFrame(geometry=[drawn, loose], crs="EPSG:4326").to_file(path, driver="GPKG")
    found = read_lines(path, offices)
    assert found.edges.tolist() == [[1, 2], [2, 0]]
    assert found.km == pytest.approx([GEOD.inv(110, 30, 111, 30)[2] / 1000] * 2, rel=1e-6)  # feet of perpendiculars
    assert any("1 of 2 lines pass fewer than two offices" in note for note in found.notes)


def test_lines_in_pixels_go_through_the_transform(tmp_path):
    class Straight:
        def to_lonlat(self, px, py):
            return np.asarray(px) / 10, 60 - np.asarray(py) / 10

    offices = offices_at([[110, 30], [112, 30]])
    path = tmp_path / "lines.geojson"
    line = {"type": "LineString", "coordinates": [[1100, 300], [1120, 300]]}
    content = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": line}]}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_lines(path, offices, Straight()).edges.tolist() == [[0, 1]]
    with pytest.raises(OptionInvalid, match=r"mend:.*give control points"):
        read_lines(path, offices)
    points = tmp_path / "points.gpkg"
    gpd.GeoDataFrame(geometry=shapely.points([[1, 2]]), crs="EPSG:4326").to_file(points, driver="GPKG")
    with pytest.raises(TableInvalid, match=r"mend:.*a layer of lines"):
        read_lines(points, offices)
    plain = tmp_path / "plain.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.LineString([(1, 2), (3, 4)])]).to_file(plain, driver="GPKG")
    with pytest.raises(CrsMissing, match=r'mend:.*crs = "EPSG:4326"'):
        read_lines(plain, offices, space="map")


# --- the bootstrap ---------------------------------------------------------------------------------------------------

SQUARES = city_lookup(
    Zones(
        CODES, shapely.box([110, 111, 110, 111], [30, 30, 31, 31], [111, 112, 111, 112], [31, 31, 32, 32]), "EPSG:4326"
    )
)
PLACES = [[110.5, 30.5], [110.985, 30.5], [111.5, 30.98], [111.5, 31.5], [110.2, 31.9]]


def refit(weights):
    """A sheet that moves with the mean of the points drawn: ten points at 0, 0.02, ... 0.18 degrees."""
    shift = float(np.average(np.arange(weights.size) * 0.02, weights=weights)) - 0.09
    return SimpleNamespace(to_lonlat=lambda px, py: (np.asarray(px) / 100 + shift, np.asarray(py) / 100))


USED = np.ones(10, bool)


@pytest.mark.parametrize("kind", ["points", "positions", "both"])
def test_the_same_seed_gives_the_same_draws_on_any_number_of_threads(kind):
    offices = offices_at(PLACES, sigma=8.0)
    one, two, four = (
        bootstrap_counts(offices, SQUARES, kind=kind, draws=60, seed=3, refit=refit, used=USED, threads=n).counts
        for n in (1, 2, 4)
    )
    assert np.array_equal(one, two) and np.array_equal(one, four)
    other = bootstrap_counts(offices, SQUARES, kind=kind, draws=60, seed=4, refit=refit, used=USED).counts
    assert not np.array_equal(one, other)
    more = bootstrap_counts(offices, SQUARES, kind=kind, draws=90, seed=3, refit=refit, used=USED).counts
    assert np.array_equal(more[:60], one)  # a longer bootstrap goes on where the shorter one stopped


def test_without_uncertainty_every_draw_is_the_point_estimate():
    offices = offices_at(PLACES, sigma=0.0)
    found = bootstrap_counts(offices, SQUARES, kind="positions", draws=20)
    point = assign_hard(offices.lonlat, offices.sigma_km, SQUARES).counts()
    assert (found.counts == point).all()


def test_draws_of_positions_agree_with_the_probabilities():
    from gis.historical.assignment import assign_probable

    offices = offices_at(PLACES[1:3], sigma=10.0)
    found = bootstrap_counts(offices, SQUARES, kind="positions", draws=4000, seed=1, snap_sigmas=0)
    p = expected_exposure(assign_probable(offices.lonlat, offices.sigma_km, SQUARES)).counts
    assert found.counts.mean(axis=0) == pytest.approx(
        p, abs=3 * math.sqrt(2 * 0.25 / 4000) + 0.004
    )  # 3 errors of 2 offices


def test_offices_of_the_gazetteer_do_not_move_with_the_control_points():
    still = bootstrap_counts(
        offices_at(PLACES, position="gazetteer"), SQUARES, kind="points", draws=30, refit=refit, used=USED
    )
    assert (still.counts == still.counts[0]).all()
    moving = bootstrap_counts(offices_at(PLACES), SQUARES, kind="points", draws=30, refit=refit, used=USED)
    assert len(np.unique(moving.counts, axis=0)) > 1  # T1 stands 0.015 degrees from a border, the sheet moves by 0.018


def test_resamples_that_cannot_be_fitted_are_drawn_again_and_counted():
    def picky(weights):
        if np.count_nonzero(weights) < 7:
            raise ControlPointsInvalid("too few points", mend="add some")
        return refit(weights)

    found = bootstrap_counts(offices_at(PLACES), SQUARES, kind="points", draws=40, refit=picky, used=USED)
    assert found.n_redrawn > 0 and len(found.counts) == 40

    def never(weights):
        raise ControlPointsInvalid("collinear", mend="add some")

    with pytest.raises(OptionInvalid, match=r'collinear[\s\S]*mend:.*kind="positions"'):
        bootstrap_counts(offices_at(PLACES), SQUARES, kind="points", draws=2, refit=never, used=USED)


def test_share_roots_multiply_to_shares():
    draws = CountDraws(CODES, np.array([[3.0, 2, 0, 1], [0, 5, 0, 0]]))
    root = draws.share_roots(CODES[:3])
    assert root[0, 0] * root[0, 1] == pytest.approx(1.0, abs=1e-15)  # S = 6 among the first three
    assert np.isnan(root[1]).all()  # one city with offices: no pair, no share
    whole = draws.share_roots(CODES)[0]
    i, j = np.triu_indices(4, 1)
    assert (whole[i] * whole[j]).sum() == pytest.approx(1.0, abs=1e-15)
    rows = draws.rows(CODES)
    assert rows["draw"].tolist() == [1] * 4 + [2] * 4 and rows["n_offices"].tolist() == [3, 2, 0, 1, 0, 5, 0, 0]


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({"kind": "all"}, "points, positions, both"),
        ({"draws": 1}, "2 or more"),
        ({"kind": "points", "refit": None}, 'kind="positions"'),
        ({"kind": "both", "used": np.zeros(10, bool)}, 'kind="positions"'),
    ],
)
def test_bootstraps_that_make_no_sense_are_refused(options, mend):
    with pytest.raises(OptionInvalid, match=f"mend:.*{mend}"):
        bootstrap_counts(offices_at(PLACES), SQUARES, **({"refit": refit, "used": USED} | options))


def test_hard_counts_are_an_exposure():
    hard = assign_hard(np.array(PLACES), np.zeros(5), SQUARES)
    assert hard_exposure(hard).counts.tolist() == [2.0, 1.0, 1.0, 1.0]
