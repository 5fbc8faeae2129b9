"""Statistics weighted by a second raster: by hand, the weight conserved, against exactextract and a dense oracle."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import shares_by_intersection

import gis
from gis.crs import crs_from, transformer
from gis.errors import OptionInvalid
from gis.graph import run_tasks
from gis.grid import Grid, Zones
from gis.raster_io import read_info, write_raster
from gis.zonal.distribution import distribution
from gis.zonal.names import WEIGHTED
from gis.zonal.statistics import plain_rules
from gis.zonal.weighted import MAX_PIECES, PieceSource, match_weights, pieces_per_side, weighted_sums

LAMBERT, LONLAT, MOLLWEIDE = (crs_from(c) for c in ("ESRI:102027", "EPSG:4326", "ESRI:54009"))


def square(n, size, corner=(0.0, 0.0), crs=LAMBERT, ny=None):
    return Grid((ny or n, n), Affine(size, 0, corner[0], 0, -size, corner[1] + (ny or n) * size), crs)


def write(path, values, grid, nodata=-9999.0):
    return write_raster(path, values, grid, dtype="float64", nodata=nodata, cog=False)


def source_of(values, weights, zones, **options):
    values, weights = read_info(values), read_info(weights)
    laid = match_weights(weights, plain_rules(weights), zones, values.grid, **options)
    return PieceSource(values, plain_rules(values), laid)


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hand(tmp_path):
    """Four cells of light, 10 20 / 30 no data, and four of people, 1 2 / 3 no data; half of the right column."""
    grid = square(2, 1000.0)
    light = write(tmp_path / "light.tif", np.array([[10, 20], [30, -9999]]), grid)
    people = write(tmp_path / "people.tif", np.array([[1, 2], [3, -9999]]), grid)
    return (
        light,
        people,
        gpd.GeoSeries([shapely.box(0, 0, 1500, 2000), shapely.box(9e6, 9e6, 9.1e6, 9.1e6)], crs=LAMBERT),
    )


def test_weighted_statistics_by_hand(hand):
    light, people, zones = hand
    found = gis.zonal_stats(light, zones, list(WEIGHTED), weights=people)
    row = found.iloc[0]
    assert row["weight_sum"] == row["weight_on_data"] == 1 + 0.5 * 2 + 3
    assert row["weighted_sum"] == 1 * 10 + 1 * 20 + 3 * 30 == 120
    mean = 120 / 5
    assert row["weighted_mean"] == mean
    variance = ((10 - mean) ** 2 + (20 - mean) ** 2 + 3 * (30 - mean) ** 2) / 5
    assert row["weighted_variance"] == pytest.approx(variance, rel=1e-15)
    assert row["weighted_stdev"] == pytest.approx(np.sqrt(variance), rel=1e-15)
    # weights 1, 1, 3 at 10, 20, 30 stand at 0, 1 + 2 and 6 + 4, of 2 * 5: half way is 5
    assert row["weighted_median"] == pytest.approx(20 + 10 * 2 / 7, rel=1e-15)
    apart = 2 * (1 * 1 * 10 + 1 * 3 * 20 + 1 * 3 * 10)
    assert row["weighted_gini"] == pytest.approx(apart / (2 * mean * 25), rel=1e-15)
    # light per head 10/1, 20/2, 30/3 is the same for everyone: cells have equal areas in Lambert's plane, not on earth
    assert row["gini_per_head"] < 1e-3 < row["weighted_gini"]
    assert found.iloc[1][["weight_sum", "weight_on_data"]].tolist() == [0, 0]
    assert found.iloc[1].drop(["weight_sum", "weight_on_data"]).isna().all()


def test_light_per_head_is_light_over_people(hand):
    light, people, zones = hand
    row = gis.zonal_stats(light, zones, "median_per_head,gini_per_head", weights=people, measure="lambert").iloc[0]
    assert row["median_per_head"] == pytest.approx(
        10, rel=1e-9
    )  # km2 of the Lambert plane: 1 a cell, by a mesh to 1e-9
    assert row["gini_per_head"] == pytest.approx(0, abs=1e-9)


def test_people_without_light_data_are_weight_but_not_on_data(tmp_path):
    grid = square(2, 1000.0)
    light = write(tmp_path / "light.tif", np.array([[10, -9999], [30, 5]]), grid)
    people = write(tmp_path / "people.tif", np.array([[1, 2], [3, -1]]), grid)  # -1 is fill, whatever is declared
    zone = gpd.GeoSeries([shapely.box(0, 0, 2000, 2000)], crs=LAMBERT)
    row = gis.zonal_stats(light, zone, "weight_sum,weight_on_data,weighted_sum", weights=people).iloc[0]
    assert row.tolist() == [6, 4, 100]


def test_light_that_falls_on_nobody_is_nobodys(tmp_path):
    grid = square(2, 1000.0)
    light = write(tmp_path / "light.tif", np.array([[10, 1000], [10, 10]]), grid)
    people = write(tmp_path / "people.tif", np.array([[1, 0], [1, 2]]), grid)
    zone = gpd.GeoSeries([shapely.box(0, 0, 2000, 2000)], crs=LAMBERT)
    row = gis.zonal_stats(light, zone, "weighted_mean,weighted_gini,weighted_quantile(1)", weights=people).iloc[0]
    assert row.tolist() == [10, 0, 10]


# --- the weight is conserved ------------------------------------------------------------------------------------------

GRIDS = {
    "the same": Grid((60, 70), Affine(1 / 60, 0, 110, 0, -1 / 60, 31), LONLAT),
    "shifted by half a cell": Grid((62, 72), Affine(1 / 60, 0, 110 - 1 / 120, 0, -1 / 60, 31 + 1 / 120), LONLAT),
    "nested, finer": Grid((120, 140), Affine(1 / 120, 0, 110, 0, -1 / 120, 31), LONLAT),
    "nested, coarser": Grid((20, 24), Affine(1 / 20, 0, 110, 0, -1 / 20, 31), LONLAT),
    "three to two": Grid((40, 47), Affine(1 / 40, 0, 110, 0, -1 / 40, 31), LONLAT),
    "oblique": Grid((131, 137), Affine(0.00973, 0, 109.98, 0, -0.00973, 31.1), LONLAT),
    "Mollweide": Grid((700, 760), Affine(250, 0, 10.05e6, 0, -250, 3.76e6), MOLLWEIDE),
    "Lambert": Grid((110, 90), Affine(1000, 0, 1.32e6, 0, -1000, 0.23e6), LAMBERT),
}
ZONE = shapely.Polygon([(110.21, 30.17), (110.9, 30.3), (110.83, 30.79), (110.5, 30.55), (110.31, 30.84)])


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Lights without a gap over everything, on a longitude-latitude grid."""
    rng = np.random.default_rng(5)
    grid = Grid((140, 150), Affine(1 / 60, 0, 109, 0, -1 / 60, 32), LONLAT)
    return write(tmp_path_factory.mktemp("light") / "light.tif", rng.lognormal(0, 1, grid.shape), grid)


@pytest.mark.parametrize("name", GRIDS)
def test_weight_is_conserved_on_any_grid(tmp_path, light, name):
    grid = GRIDS[name]
    people = np.random.default_rng(6).lognormal(2, 2, grid.shape)
    path = write(tmp_path / "people.tif", people, grid)
    left, right = shapely.box(110, 30, 110.5, 31), shapely.box(110.5, 30, 111.2, 31)
    zones = gpd.GeoSeries([ZONE, shapely.intersection(ZONE, left), shapely.intersection(ZONE, right)], crs=LONLAT)
    found = gis.zonal_stats(light, zones, "weight_sum,weight_on_data", weights=path)
    own = gis.zonal_stats(path, zones, "sum")["sum"]
    assert np.allclose(found["weight_sum"], own, rtol=1e-12, atol=0)  # the same shares added in another order
    assert np.array_equal(found["weight_sum"], found["weight_on_data"])  # light everywhere: nobody is lost
    # the halves' edges are densified at other points than the whole's: chords of 0.01 degree, 1e-8 of the area
    assert found["weight_sum"][0] == pytest.approx(found["weight_sum"][1:].sum(), rel=1e-8)


@pytest.mark.parametrize(
    ("name", "pieces", "exact"),
    [
        ("the same", 1, True),
        ("shifted by half a cell", 2, True),
        ("nested, finer", 1, True),
        ("nested, coarser", 3, True),
        ("three to two", 3, True),
        ("oblique", 2, False),
        ("Mollweide", 1, False),
        ("Lambert", 2, False),
    ],
)
def test_pieces_fit_where_grids_do(light, name, pieces, exact):
    values = read_info(light).grid
    assert pieces_per_side(GRIDS[name], values) == pieces
    if not exact:
        assert 2 * GRIDS[name].cell_side_km / pieces <= values.cell_side_km * 1.001
    assert pieces_per_side(square(10, 5e5), square(10, 100.0, corner=(33.3, 0))) == MAX_PIECES


# --- against the definition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in GRIDS if GRIDS[n].crs == LONLAT and n != "oblique"])
def test_aligned_grids_match_the_definition(tmp_path, light, name):
    """Rectangles of both grids' lines, each with its people and its light, cut by the polygon."""
    grid, values = GRIDS[name], read_info(light).grid
    people = np.random.default_rng(6).lognormal(2, 2, grid.shape)
    path = write(tmp_path / "people.tif", people, grid)
    found = gis.zonal_stats(
        light, gpd.GeoSeries([ZONE], crs=LONLAT), "weighted_sum,weighted_mean,weighted_variance", weights=path
    ).iloc[0]
    part = Grid(
        (90, 90), Affine(1 / 120, 0, 110.2, 0, -1 / 120, 30.9), LONLAT
    )  # all lines of these grids are among its
    share = shares_by_intersection(part, ZONE)
    row, col = np.indices(part.shape) + 0.5
    x, y = part.transform.c + col * part.transform.a, part.transform.f + row * part.transform.e
    import rasterio

    with rasterio.open(light) as source:
        lights = source.read(1)

    def look(array, g):
        t = g.transform
        at_row, at_col = np.floor((y - t.f) / t.e).astype(int), np.floor((x - t.c) / t.a).astype(int)
        return array[at_row, at_col.clip(0, g.shape[1] - 1)]  # beyond the zone in one grid

    weight = share * look(people, grid) * (part.transform.a / grid.transform.a) ** 2
    v = look(lights, values)
    mean = (weight * v).sum() / weight.sum()
    # oracle and product both add some 1e5 terms: 1e-12
    assert found["weighted_sum"] == pytest.approx((weight * v).sum(), rel=1e-12)
    assert found["weighted_mean"] == pytest.approx(mean, rel=1e-12)
    assert found["weighted_variance"] == pytest.approx((weight * (v - mean) ** 2).sum() / weight.sum(), rel=1e-11)


@pytest.mark.parametrize("name", ["oblique", "Lambert"])
def test_more_pieces_converge_where_grids_do_not_fit(tmp_path, name):
    """On smooth light the default is within 1e-3 of sixteen pieces a side, and halving pieces helps."""
    values = Grid((140, 150), Affine(1 / 60, 0, 109, 0, -1 / 60, 32), LONLAT)
    row, col = np.indices(values.shape)
    lights = write(tmp_path / "light.tif", 2 + np.sin(row / 7) + np.cos(col / 5), values)
    grid = GRIDS[name]
    people = write(tmp_path / "people.tif", np.random.default_rng(6).lognormal(2, 1, grid.shape), grid)
    zones = Zones(("z",), np.array([ZONE]), LONLAT)

    def mean(pieces=None):
        sums = weighted_sums(source_of(lights, people, zones, pieces=pieces))
        return sums.total[0] / sums.weight_on_data[0]

    best = mean(16)
    assert abs(mean() / best - 1) < 1e-3  # a piece at most half a light cell wide, errors of either sign
    assert abs(mean(8) / best - 1) < abs(mean(1) / best - 1)


def test_distribution_of_light_per_head_matches_the_definition(tmp_path):
    rng = np.random.default_rng(8)
    grid = Grid((30, 40), Affine(1 / 60, 0, 110, 0, -1 / 60, 31), LONLAT)
    light, people = rng.lognormal(0, 1, grid.shape), np.maximum(rng.lognormal(2, 2, grid.shape) - 5, 0)
    paths = write(tmp_path / "l.tif", light, grid), write(tmp_path / "p.tif", people, grid)
    zone = shapely.Point(110.3, 30.75).buffer(0.2)
    found = gis.zonal_stats(
        paths[0], gpd.GeoSeries([zone], crs=LONLAT),
        "gini_per_head,theil_per_head,weighted_gini,weighted_theil,weighted_median", weights=paths[1],
    ).iloc[0]  # fmt: skip
    share = shares_by_intersection(grid, zone)
    some = (share > 1e-12) & (people > 0)
    w = (share * people)[some]
    per_head = (light * grid.cell_areas_km2("true", 0, 30)[:, None])[some] / people[some]
    for x, suffix, prefix in ((per_head, "_per_head", ""), (light[some], "", "weighted_")):
        y = x / ((w * x).sum() / w.sum())
        gini = (w[:, None] * w * np.abs(y[:, None] - y)).sum() / 2 / w.sum() ** 2
        assert found[f"{prefix}gini{suffix}"] == pytest.approx(gini, rel=1e-11)  # shares to 1e-12
        assert found[f"{prefix}theil{suffix}"] == pytest.approx((w * y * np.log(y)).sum() / w.sum(), rel=1e-11)
    order = np.argsort(light[some])
    below = np.concatenate([[0], np.cumsum(w[order])[:-1]])
    place = np.arange(w.size) * w[order] + (w.size - 1) * below
    median = np.interp(0.5 * (w.size - 1) * w.sum(), place, light[some][order])
    assert found["weighted_median"] == pytest.approx(median, rel=1e-10)


# --- against exactextract ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [1, 2, 0.5])
def test_agrees_with_exactextract_on_nested_grids(tmp_path, refine):
    exactextract = pytest.importorskip("exactextract")
    rng = np.random.default_rng(9)
    values = square(80, 1000.0)
    grid = square(int(80 * refine), 1000.0 / refine)
    light = write(tmp_path / "l.tif", rng.lognormal(0, 1, values.shape), values)
    people = write(tmp_path / "p.tif", rng.lognormal(1, 1, grid.shape), grid)
    shapes = [shapely.Point(x, y).buffer(r) for x, y, r in rng.uniform(2e4, 6e4, (8, 3)) * [1, 1, 0.3]]
    zones = gpd.GeoDataFrame(geometry=shapes, crs=LAMBERT)
    names = ["weighted_mean", "weighted_sum", "weighted_variance", "weighted_stdev"]
    peer = exactextract.exact_extract(str(light), zones, names, weights=str(people), output="pandas")
    ours = gis.zonal_stats(light, zones, names, weights=str(people))
    # Where weights are coarser, exactextract gives each value cell the whole weight of the cell over it; we divide it.
    repeated = max(1 / refine, 1) ** 2
    for name in names:
        factor = repeated if name == "weighted_sum" else 1
        # exactextract holds shares in float32: 6e-8 of each cell
        assert np.allclose(ours[name] * factor, peer[name], rtol=1e-6), name


# --- what must change nothing -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """Weights in three strips over values on another grid, with holes in both; three zones."""
    folder, rng = tmp_path_factory.mktemp("tall"), np.random.default_rng(4)
    values, grid = square(20, 1100.0, ny=1010), square(22, 1000.0, corner=(3.0, 5.0), ny=1100)
    light, people = rng.lognormal(0, 1, values.shape), rng.lognormal(1, 1, grid.shape)
    light[rng.random(values.shape) < 0.05] = people[rng.random(grid.shape) < 0.05] = -9999
    shapes = [shapely.Point(11e3, y).buffer(9e3) for y in (80e3, 589e3)] + [shapely.box(1e3, 2e3, 21e3, 1.09e6)]
    zones = Zones(("a", "b", "c"), np.array(shapes), LAMBERT)
    return write(folder / "l.tif", light, values), write(folder / "p.tif", people, grid), zones


def fields(sums):
    return np.stack([sums.weight, sums.weight_on_data, sums.total, sums.variance])


def test_threads_neighbours_and_blocks_change_nothing(tall, monkeypatch):
    light, people, zones = tall
    source = source_of(light, people, zones)
    assert len(source.weights.coverage.covered_strips()) > 2
    one = fields(weighted_sums(source))
    assert np.array_equal(one, fields(weighted_sums(source, run=lambda f, t: run_tasks(f, t, threads=2))))
    for zone in range(3):
        assert np.array_equal(one[:, [zone]], fields(weighted_sums(source.only(np.array([zone])))))
    turned = Zones(zones.codes[::-1], zones.geometry[::-1], zones.crs)
    assert np.array_equal(one[:, ::-1], fields(weighted_sums(source_of(light, people, turned))))


@pytest.mark.parametrize("kind", ["value", "per_head"])
def test_memory_changes_no_bit_of_weighted_quantiles(tall, kind):
    source = replace(source_of(*tall), kind=kind)
    a = distribution(source, (0.1, 0.5))
    for entries in (20_000, 60_000):
        b = distribution(source, (0.1, 0.5), entries=entries, run=run_tasks)
        assert np.array_equal(a.gini, b.gini) and np.array_equal(a.theil, b.theil)
        assert np.array_equal(a.quantiles[0.1], b.quantiles[0.1]) and np.array_equal(a.quantiles[0.5], b.quantiles[0.5])
    assert (a.variety > 100).all()


@settings(max_examples=6)
@given(st.integers(-12, 12), st.integers(0, 2**32 - 1))
def test_scaling_the_weights_scales_sums_and_no_mean(tmp_path_factory, power, seed):
    rng, grid = np.random.default_rng(seed), square(6, 1000.0)
    folder = tmp_path_factory.mktemp("scaled")
    light, people = rng.integers(0, 100, grid.shape), rng.integers(0, 100, grid.shape)
    zone = gpd.GeoSeries([shapely.box(500, 250, 5500, 5750)], crs=LAMBERT)
    paths = write(folder / "l.tif", light, grid), write(folder / "p.tif", people, grid)
    more = write(folder / "q.tif", people * 2.0**power, grid)
    names = "weighted_sum,weight_sum,weighted_mean,weighted_variance,weighted_median,weighted_gini"
    a = gis.zonal_stats(paths[0], zone, names, weights=paths[1]).iloc[0]
    b = gis.zonal_stats(paths[0], zone, names, weights=more).iloc[0]  # powers of two: no rounding
    assert b.iloc[:2].equals(a.iloc[:2] * 2.0**power)
    assert b.iloc[2:].equals(a.iloc[2:])


def test_equal_weights_are_no_weights(tmp_path):
    rng, grid = np.random.default_rng(2), square(40, 1000.0)
    light = write(tmp_path / "l.tif", rng.lognormal(0, 1, grid.shape), grid)
    ones = write(tmp_path / "p.tif", np.ones(grid.shape), grid)
    zone = gpd.GeoSeries([shapely.Point(2e4, 2e4).buffer(1.2e4)], crs=LAMBERT)
    names = ("mean", "variance", "median", "gini", "theil", "quantile(0.9)")
    plain = gis.zonal_stats(light, zone, names).iloc[0]
    weighted = gis.zonal_stats(light, zone, [f"weighted_{n}" for n in names], weights=ones).iloc[0]
    assert np.allclose(plain, weighted, rtol=1e-12)  # the same terms in another order


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_weighted_statistics_without_weights_are_refused(hand):
    with pytest.raises(OptionInvalid, match="mend:  give one: weights="):
        gis.zonal_stats(hand[0], hand[2], "weighted_mean")


def test_weights_that_nothing_uses_are_announced(hand):
    with pytest.warns(UserWarning, match="none of median, gini uses the weights; these do: weighted_sum"):
        found = gis.zonal_stats(hand[0], hand[2], "median,gini", weights=hand[1])
    assert found["median"][0] == 20  # shares 1, 1/2, 1 at 10, 20, 30: half way up


@pytest.mark.real_data
def test_burundi_light_where_people_live(real_data):
    """Population in Mollweide at 250 m, lights in degrees at 15": nobody is lost, and people live where it is lit."""
    folder = real_data / "ntl/burundi_viirs_2016"
    country = gpd.GeoSeries([shapely.box(28.9, -4.5, 30.9, -2.3)], crs=LONLAT)
    people = folder / "pop.tif"
    row = gis.zonal_stats(
        folder / "VIIRS_2016_08.tif", country, "mean,weighted_mean,weight_sum,weight_on_data,gini,weighted_gini",
        weights=people, measure="true",
    ).iloc[0]  # fmt: skip
    own = gis.zonal_stats(people, country, "sum")["sum"][0]
    assert row["weight_sum"] == pytest.approx(own, rel=1e-12)
    assert row["weight_on_data"] == pytest.approx(own, rel=1e-3)  # the lights end within the box
    assert row["weighted_mean"] > 1.5 * row["mean"]


def test_value_cells_are_found_in_any_projection(light):
    """The cell under a piece's centre, by pyproj, one point at a time."""
    from gis.zonal.weighted import _cells_under

    values, pieces = read_info(light).grid, GRIDS["Mollweide"].refined(2)
    row, col = (np.random.default_rng(1).integers(0, n, 200) for n in pieces.shape)
    found = _cells_under(pieces, values, row, col)
    for k in range(200):
        x, y = pieces.transform @ (col[k] + 0.5, row[k] + 0.5)
        u, v = ~values.transform @ transformer(MOLLWEIDE, LONLAT).transform(x, y)
        inside = 0 <= v < values.shape[0] and 0 <= u < values.shape[1]
        assert (found[0][k], found[1][k]) == ((int(v), int(u)) if inside else (-1, -1))
