"""The demo's old map: a readable picture, control points as far off as stated, offices in their cities."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import shapely

from gis.crs import crs_from, transformer
from gis.demo import historical as old_map
from gis.demo.geography import CITY_NAMES, NEW, city_code, geography
from gis.demo.pictures import png_from_grey

SEED = 1907
NOISE_PX = float(np.hypot(old_map.DRAFTING_PX, old_map.READING_PX))


@pytest.fixture(scope="module")
def points():
    return old_map.control_points(SEED)


@pytest.fixture(scope="module")
def offices():
    return old_map.offices(SEED)


@pytest.fixture(scope="module")
def sheet():
    return old_map.scan(SEED)


def leave_one_out_px(xy, px):
    """Root mean square distance of each point from the affine map fitted to all others [px]."""
    design = np.column_stack([np.ones(len(xy)), (xy - xy.mean(axis=0)) / xy.std(axis=0)])
    misses = []
    for k in range(len(xy)):
        others = np.arange(len(xy)) != k
        fit = np.linalg.lstsq(design[others], px[others], rcond=None)[0]
        misses.append(np.linalg.norm(design[k] @ fit - px[k]))
    return float(np.sqrt(np.mean(np.square(misses))))


def test_control_points_miss_the_projection_by_the_stated_noise():
    # Pooled over seeds: 20 * 48 normal errors give their deviation to 2.3 %; 4 of those are allowed.
    errors = []
    for seed in range(20):
        points = old_map.control_points(seed)
        errors.append((points.px - old_map.px_from_lonlat(points.lonlat))[points.enabled])
    assert np.std(errors) == pytest.approx(NOISE_PX, rel=0.1)
    assert abs(np.mean(errors)) < 4 * NOISE_PX / np.sqrt(np.size(errors))


def test_sheet_is_the_stated_projection_under_an_affine_map(points):
    x, y = transformer(crs_from("EPSG:4326"), crs_from(old_map.BONNE)).transform(*points.lonlat.T)
    exact = old_map.px_from_lonlat(points.lonlat)
    assert leave_one_out_px(np.column_stack([x, y]), exact) < 1e-6  # closed forms: rounding


def test_leaving_one_out_finds_the_projection(points):
    on = points.enabled
    lonlat, px = points.lonlat[on], points.px[on]
    misses = {}
    for name, text in {"bonne": old_map.BONNE, "plate carree": "EPSG:4326", "mercator": "EPSG:3395"}.items():
        xy = np.column_stack(transformer(crs_from("EPSG:4326"), crs_from(text)).transform(*lonlat.T))
        misses[name] = leave_one_out_px(xy, px)
    assert misses["bonne"] < 2 * NOISE_PX  # two axes: 1.41 times the noise, and the fit's own error
    assert misses["bonne"] < 0.75 * min(misses["plate carree"], misses["mercator"])


def test_the_wrong_point_is_disabled_and_far_off(points):
    miss = np.linalg.norm(points.px - old_map.px_from_lonlat(points.lonlat), axis=1)
    assert points.enabled.tolist() == [True] * old_map.N_CONTROL + [False]
    assert miss[-1] > 50 > 5 * NOISE_PX > miss[:-1].max()


def test_points_file_is_what_qgis_writes(points):
    lines = old_map.points_text(points).splitlines()
    assert lines[0] == "#CRS: EPSG:4326"
    table = pd.read_csv(io.StringIO("\n".join(lines[1:])))
    assert list(table) == ["mapX", "mapY", "sourceX", "sourceY", "enable", "dX", "dY", "residual"]
    assert (table["sourceY"] < 0).all()
    assert (table["sourceX"] > 0).all()
    np.testing.assert_array_equal(table[["mapX", "mapY"]], points.lonlat)
    np.testing.assert_array_equal(np.column_stack([table["sourceX"], -table["sourceY"]]), points.px)
    assert table["enable"].sum() == old_map.N_CONTROL


def test_control_points_lie_on_the_symbols_drawn(points, sheet):
    paper = np.median(sheet)
    for col, row in points.px[points.enabled]:
        around = sheet[int(row) - 9 : int(row) + 10, int(col) - 9 : int(col) + 10]
        assert (around < paper - 150).sum() > 10  # the ring of a town


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # a picture has none
def test_png_is_read_back_as_drawn(sheet, tmp_path):
    import rasterio

    path = tmp_path / "sheet.png"
    path.write_bytes(png_from_grey(sheet))
    with rasterio.open(path) as picture:
        assert (picture.driver, picture.count, picture.shape) == ("PNG", 1, old_map.SHEET)
        np.testing.assert_array_equal(picture.read(1), sheet)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_png_of_any_picture_is_read_back(tmp_path):
    import rasterio

    noise = np.random.default_rng(3).integers(0, 256, (7, 5)).astype(np.uint8)  # every byte, odd sizes
    path = tmp_path / "noise.png"
    path.write_bytes(png_from_grey(noise))
    with rasterio.open(path) as picture:
        np.testing.assert_array_equal(picture.read(1), noise)


def test_offices_stand_in_the_cities_that_the_truth_names(offices):
    cities = geography(SEED).zones(NEW, "city")
    for place, code in zip(offices.lonlat, offices.city_codes, strict=True):
        (home,) = np.flatnonzero(shapely.contains_xy(cities.geometry, *place))
        assert cities.codes[home] == code
    counts = pd.Series(offices.city_codes[:-2]).value_counts()  # the last two stand on borders
    for city, n in enumerate(old_map.OFFICES_PER_CITY):
        assert counts.get(city_code(city), 0) == n
    assert len(set(offices.ids)) == len(set(offices.names)) == len(offices.ids) == sum(old_map.OFFICES_PER_CITY) + 2


def test_two_offices_stand_where_the_map_cannot_tell(offices):
    from pyproj import Geod

    cities, geod = geography(SEED).zones(NEW, "city"), Geod(ellps="WGS84")
    noise_km = NOISE_PX * old_map.METRES_PER_PX / 1000
    near = []
    for lon, lat in offices.lonlat:
        borders = shapely.boundary(cities.geometry)
        closest = shapely.get_coordinates(shapely.shortest_line(shapely.Point(lon, lat), borders))[1::2]
        inner = [geod.inv(lon, lat, *to)[2] / 1000 for to in closest if 109 < to[0] < 114 and 25 < to[1] < 35]
        near.append(min(inner) < noise_km)
    assert near[-2:] == [True, True]
    assert sum(near) <= 4


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_every_seed_has_a_map(seed):
    found = old_map.offices(seed)
    inside = (found.px > 0) & (found.px < np.array(old_map.SHEET)[::-1])
    assert inside.all()
    assert len(found.ids) == sum(old_map.OFFICES_PER_CITY) + 2


def test_office_files_agree_with_one_another(offices):
    found = pd.read_csv(io.StringIO(old_map.offices_text(offices)))
    true = pd.read_csv(io.StringIO(old_map.truth_offices_text(offices)), dtype={"city_code": str})
    assert list(found) == ["office_id", "name", "px", "py"]
    assert list(true) == ["office_id", "name", "lon", "lat", "city_code"]
    assert (found["office_id"] == true["office_id"]).all()
    assert (found["name"] == true["name"]).all()
    miss = found[["px", "py"]].to_numpy() - old_map.px_from_lonlat(true[["lon", "lat"]].to_numpy())
    assert np.std(miss) == pytest.approx(NOISE_PX, rel=0.3)  # 84 errors give their deviation to 8 %
    assert found["name"].str.startswith(CITY_NAMES[4]).any()
