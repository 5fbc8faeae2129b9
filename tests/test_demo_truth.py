"""The demo's truth: converged, confirmed by three methods that share no code with it, and held by the rasters."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, lambert_scale, transform_geometry
from gis.demo import fields as design
from gis.demo import rasters
from gis.demo.fields import YEARS, area_element, fields, plain_level
from gis.demo.geography import NEW, OLD, city_code, geography
from gis.demo.truth import polygon_integrals, truth_table

SEED = 1907
SEEDS = [1907, 0, 8, 10]


@pytest.fixture(scope="module")
def truth():
    return truth_table(SEED)


@pytest.fixture(scope="module")
def country():
    return geography(SEED)


def rows(truth, layer, vintage=NEW):
    return truth[(truth["layer"] == layer) & (truth["vintage"] == vintage)]


def square_km(lat):
    """Area of a square degree [km2]."""
    return area_element(lat) * np.radians(1) ** 2 / 1e6


# --- the integrals ----------------------------------------------------------------------------------------------------


def test_doubling_the_nodes_moves_nothing(country):
    bumps = fields(SEED).bumps
    coarse, fine = (polygon_integrals(country.atoms, bumps, nodes=n) for n in (6, 12))
    for a, b in ((coarse.true, fine.true), (coarse.plane, fine.plane)):
        # Against a bump's whole integral: its share in a far polygon is a difference of numbers of that size.
        scale = np.append(bumps.volumes_km2(), b[:, -1].min())
        assert (np.abs(a - b) / scale).max() < 1e-11  # 6 nodes on edges below half the narrowest sigma


def triangle_quadrature(polygon, functions, nodes=6, longest=0.08):
    """Integrate (n, ...) functions over a polygon: cut it into triangles, quarter large ones, Gauss on each."""
    triangles = shapely.get_parts(shapely.constrained_delaunay_triangles(polygon))
    corners = np.array([shapely.get_coordinates(t)[:3] for t in triangles])
    done = []
    while corners.size:
        side = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        done.append(corners[side <= longest])
        a, b, c = corners[side > longest].transpose(1, 0, 2)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    point, weight = np.polynomial.legendre.leggauss(nodes)
    u, v = np.meshgrid((point + 1) / 2, (point + 1) / 2, indexing="ij")
    total = 0.0
    for some in np.array_split(np.concatenate(done), 50):  # little memory at a time
        a, b, c = some.transpose(1, 2, 0)[..., None, None]
        lon, lat = a + (b - a) * u + (c - b) * u * v
        doubled = np.abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        total = total + (functions(lon, lat) * (doubled * u * np.outer(weight, weight) / 4)).sum(axis=(1, 2, 3))
    return total


@pytest.mark.parametrize("code", ["526102", "446281", "446421"])
def test_truth_agrees_with_quadrature_over_a_triangulation(truth, country, code):
    zones, field = country.zones(NEW, "district"), fields(SEED)
    polygon = zones.geometry[zones.codes.index(code)]
    row = rows(truth, "district").set_index(["unit_code", "year"]).loc[(code, 2017)]
    columns = ["area_km2", "light_sum_true_dn_km2", "light_sum_dn_km2", "pop_persons"]

    def functions(lon, lat):
        light, people = field.light(lon, lat, 2017), field.population_density(lon, lat, 2017)
        return square_km(lat) * np.stack([np.ones_like(lon), light, light * lambert_scale(lat) ** 2, people])

    expected = triangle_quadrature(polygon, functions)
    assert row[columns].to_numpy(float) == pytest.approx(expected, rel=1e-9)  # 6 nodes on sides of 1.6 sigma


def test_truth_agrees_with_a_sum_over_points(truth, country):
    zones, field = country.zones(NEW, "city"), fields(SEED)
    city = zones.geometry[zones.codes.index("446200")]
    west, south, east, north = city.bounds
    lon, lat = np.meshgrid(np.arange(west, east, 0.01) + 0.005, np.arange(south, north, 0.01) + 0.005)
    inside = shapely.contains_xy(city, lon, lat)
    lon, lat = lon[inside], lat[inside]
    weight = square_km(lat) * 0.01**2
    row = rows(truth, "city").set_index(["unit_code", "year"]).loc[("446200", 2014)]
    near = 2e-3  # 1.4 km points: each border point is in or out by chance, 1,500 of 40,000
    assert (field.light(lon, lat, 2014) * weight).sum() == pytest.approx(row["light_sum_true_dn_km2"], rel=near)
    assert (field.population_density(lon, lat, 2014) * weight).sum() == pytest.approx(row["pop_persons"], rel=near)


def test_areas_agree_with_geodesics_and_with_the_lambert_plane(truth, country):
    from pyproj import Geod

    zones, geod = country.zones(NEW, "district"), Geod(ellps="WGS84")
    found = rows(truth, "district").query("year == 2012").set_index("unit_code").loc[list(zones.codes)]
    fine = shapely.segmentize(zones.geometry, 0.005)  # geodesics leave straight lines of the plate by 1e-9 here
    geodesic = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in fine]
    assert found["area_km2"].to_numpy() == pytest.approx(geodesic, rel=1e-7)  # what is left of that
    plane = shapely.area(transform_geometry(fine, zones.crs, crs_from(ASIA_NORTH_LAMBERT))) / 1e6
    assert found["area_lambert_km2"].to_numpy() == pytest.approx(plane, rel=1e-7)


def test_parts_add_up_in_either_vintage(truth):
    sums = ["light_sum_dn_km2", "light_sum_true_dn_km2", "light_whole_true_dn_km2", "pop_persons", "area_km2"]
    totals = truth.groupby(["vintage", "layer", "year"])[sums].sum()
    reference = totals.loc[(NEW, "city")]
    for layer in ("city", "district"):
        for vintage in (NEW, OLD):
            np.testing.assert_allclose(totals.loc[(vintage, layer)], reference, rtol=1e-13)  # order of addition
    districts = rows(truth, "district").groupby(["parent_code", "year"])[sums].sum()
    cities = rows(truth, "city").set_index(["unit_code", "year"])[sums]
    np.testing.assert_allclose(districts, cities.loc[districts.index], rtol=1e-13)  # order of addition


# --- the design -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_level_of_one_city_is_known_in_closed_form(seed):
    city = rows(truth_table(seed), "city").query("unit_code == @city_code(0)")
    expected = [plain_level(year) for year in city["year"]]
    assert city["level_true"].to_numpy() == pytest.approx(expected, rel=1e-12)  # neighbours' glow over the border
    others = rows(truth_table(seed), "city").query("unit_code != @city_code(0)")
    assert (others["level_true"] > 1.2 * plain_level(YEARS[-1])).any()  # and is not everybody's


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", ["level_lambert", "level_true"])
def test_one_city_overtakes_another_and_stays_ahead(seed, level):
    levels = rows(truth_table(seed), "city").pivot(index="year", columns="unit_code", values=level)
    ahead = levels[city_code(design.OVERTAKER)] > levels[city_code(design.OVERTAKEN)]
    assert not ahead.iloc[0]
    assert ahead.iloc[-1]
    assert ahead.astype(int).diff().abs().sum() == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_holes_do_what_they_are_for(seed):
    table = truth_table(seed)
    districts = rows(table, "district").set_index(["unit_code", "year"])
    holed = districts.loc["526281"]
    assert holed["cov_area"].between(0.90, 0.95).all()  # LOWAREA
    assert (holed["cov_pop"] > 0.95).all()  # not LOWCOV
    blind = districts.loc["446822", "cov_pop"]
    assert blind[rasters.BLIND_YEAR] < 0.02
    assert (blind.drop(rasters.BLIND_YEAR) == 1).all()
    city = rows(table, "city").set_index(["unit_code", "year"]).loc["446800", "cov_pop"]
    assert 0.5 < city[rasters.BLIND_YEAR] < 0.95  # LOWCOV, and within reach of rescaling
    rest = districts.drop(index=["526281", "446822"], level=0)
    assert (rest["cov_area"] > 0.97).all()


def test_measures_differ_by_the_lambert_area_factor(truth):
    ratio = rows(truth, "district")["level_lambert"] / rows(truth, "district")["level_true"]
    assert (ratio > lambert_scale(35.0) ** 2).all()
    assert (ratio < lambert_scale(25.0) ** 2).all()
    assert ratio.max() / ratio.min() > 1.05


# --- the rasters ------------------------------------------------------------------------------------------------------


def sum_by_definition(polygon, grid, values, nodata):
    """Share of every cell inside the polygon, by shapely's intersection, times its value."""
    shape = transform_geometry(np.array([polygon], dtype=object), crs_from("EPSG:4326"), grid.crs)[0]
    t = grid.transform
    west, south, east, north = shape.bounds
    r0, r1 = int((north - t.f) / t.e), int((south - t.f) / t.e) + 1
    c0, c1 = int((west - t.c) / t.a), int((east - t.c) / t.a) + 1
    row, col = np.mgrid[r0:r1, c0:c1]
    cells = shapely.box(t.c + col * t.a, t.f + (row + 1) * t.e, t.c + (col + 1) * t.a, t.f + row * t.e)
    shapely.prepare(shape)
    share = shapely.contains(shape, cells).astype(float)
    cut = ~shapely.contains(shape, cells) & shapely.intersects(shape, cells)
    share[cut] = shapely.area(shapely.intersection(shape, cells[cut])) / (t.a * -t.e)
    window = values[r0:r1, c0:c1].astype(float)
    return float((share * np.where(window == np.float64(nodata), 0, window)).sum())


@pytest.mark.parametrize(("code", "year"), [("446121", 2012), ("526281", 2018), ("446822", 2015)])
def test_rasters_hold_the_truth(truth, country, code, year):
    zones = country.zones(NEW, "district")
    polygon = zones.geometry[zones.codes.index(code)]
    row = rows(truth, "district").set_index(["unit_code", "year"]).loc[(code, year)]
    near = 3e-4  # border cells: a cell's value is spread evenly over it, the field is not (gis/demo/rasters.py)
    light = sum_by_definition(polygon, rasters.light_grid(), rasters.light_arrays(SEED)[year], rasters.LIGHT_NODATA)
    slivers = 5e-3 if code == "446822" else 0.0  # of an unseen district only border cells are left
    whole = row["light_whole_true_dn_km2"]
    assert light == pytest.approx(row["light_sum_true_dn_km2"], rel=near, abs=slivers * whole)
    assert (light < 0.995 * whole) == (code != "446121")  # the holes are in the raster
    population = rasters.population_array(SEED, year)
    persons = sum_by_definition(polygon, rasters.population_grid(year), population, rasters.POP_NODATA)
    assert persons == pytest.approx(row["pop_persons"], rel=near)


def test_lights_hold_the_field_at_the_centre_to_one_step():
    from gis.crs import transformer

    grid, light, field = rasters.light_grid(), rasters.light_arrays(SEED)[2016], fields(SEED)
    rng = np.random.default_rng(1)
    row, col = rng.integers(0, grid.shape[0], 3000), rng.integers(0, grid.shape[1], 3000)
    x, y = grid.transform.c + (col + 0.5) * grid.transform.a, grid.transform.f + (row + 0.5) * grid.transform.e
    lon, lat = transformer(grid.crs, crs_from("EPSG:4326")).transform(x, y)
    valid = light[row, col] > rasters.LIGHT_NODATA
    assert valid.sum() > 2000
    error = light[row, col][valid] - field.light(lon[valid], lat[valid], 2016)
    assert np.abs(error).max() <= rasters.LIGHT_STEP * (1 + 1e-9)  # half a step, and half carried from the west
    assert np.unique(light[row, col][valid] % rasters.LIGHT_STEP).tolist() == [0.0]


@settings(max_examples=20)
@given(st.integers(0, 1271), st.integers(1, 600))
def test_any_run_of_cells_in_a_row_holds_the_right_number_of_people(row, n):
    grid, counts = rasters.population_grid(2014), rasters.population_array(SEED, 2014)
    t = grid.transform
    run = shapely.box(t.c, t.f + (row + 1) * t.e, t.c + n * t.a, t.f + row * t.e)
    density = fields(SEED).population_weights(2014)
    exact = polygon_integrals(np.array([run]), fields(SEED).bumps).true[0] @ density
    assert abs(counts[row, :n].sum() - exact) <= 0.5 + 1e-5  # rounded once; the cell integral's own error


def test_the_sea_begins_beyond_the_last_unit():
    for year in (2012, 2019):
        counts, grid = rasters.population_array(SEED, year), rasters.population_grid(year)
        sea = counts == rasters.POP_NODATA
        lon = grid.transform.c + (np.arange(grid.shape[1]) + 0.5) * grid.transform.a
        assert sea.any(axis=1).all()
        assert not sea[:, lon < 114.1].any()
        assert len(set(sea.argmax(axis=1))) > 5  # a coast, not an edge
        assert counts[~sea].min() > 0


def test_population_of_a_shorter_file_is_the_same_people():
    short, long = rasters.population_grid(2012), rasters.population_grid(2013)
    skipped = rasters.POP_ROWS_LATER
    assert short.shape[0] == long.shape[0] - skipped
    assert short.transform.f == pytest.approx(long.transform.f + skipped * long.transform.e, abs=1e-12)  # rounding


@pytest.mark.parametrize("seed", SEEDS)
def test_lights_stay_in_the_range_seen_in_the_product(seed):
    for light in rasters.light_arrays(seed).values():
        valid = light[light > rasters.LIGHT_NODATA]
        assert 0 < valid.min() < 1
        assert 30 < valid.max() < 75
        assert (light == np.float32(rasters.LIGHT_NODATA)).mean() > 0.05
