"""Digitised offices: files of every kind, positions, standard deviations, and what is refused."""

from __future__ import annotations

import math
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod

from gis.errors import CodeInvalid, CrsMissing, OptionInvalid, TableInvalid
from gis.historical.offices import locate, model_sigma_km, read_offices, refuse_swapped

# Layers in pixels of a scan have no CRS: that is their point.
pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided")

PIXELS = np.array([[100.5, 200.25], [300.0, 50.0], [12.0, 999.75]])


class Straight:
    """A hundredth of a degree to the pixel, north up."""

    def to_lonlat(self, px, py):
        return 110 + np.asarray(px) / 100, 40 - np.asarray(py) / 100


def accuracy(loo=10.0, lon=(110.0, 120.0, 120.0, 110.0), lat=(30.0, 30.0, 40.0, 40.0), km=(6.0, 8.0, 12.0, 14.0)):
    return SimpleNamespace(loo_rmse_km=loo, loo_km=np.array(km), lon=np.array(lon), lat=np.array(lat))


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def frame_of(xy, crs=None, **columns):
    columns = {"office_id": ["T1", "T2", "T3"], "name": ["甲局", "乙局", "丙局"]} | columns
    return gpd.GeoDataFrame(columns, geometry=shapely.points(xy), crs=crs)


# --- reading ---------------------------------------------------------------------------------------------------------

CSV = """office_id,name_printed,px,py,sigma_extra_km,source,note
T1,甲局,100.5,200.25,,sheet,
T2,乙局,300,50,2.5,list,doubtful
T3,丙局,12,999.75,0,sheet,
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_a_table_of_pixels_in_any_encoding(tmp_path, encoding, mark):
    found = read_offices(write(tmp_path / "offices.csv", CSV.replace(",", mark), encoding))
    assert found.ids == ("T1", "T2", "T3") and found.names == ("甲局", "乙局", "丙局")
    assert found.crs is None and found.xy.tolist() == PIXELS.tolist()
    assert found.sigma_extra_km.tolist() == [0.0, 2.5, 0.0]
    assert found.sources == ("sheet", "list", "sheet")


def test_pixels_of_a_qgis_layer_count_rows_as_qgis_shows_them(tmp_path):
    path = tmp_path / "offices.gpkg"
    frame_of(PIXELS * [1, -1]).to_file(path, driver="GPKG")
    found = read_offices(path)
    assert found.crs is None and found.xy.tolist() == PIXELS.tolist()
    assert any("turned over" in note for note in found.notes)


def test_geojson_in_image_space_is_told_from_its_coordinates(tmp_path):
    path = tmp_path / "offices.geojson"
    frame_of(PIXELS).to_file(path, driver="GeoJSON")  # GeoJSON has no way to say "pixels": GDAL reads WGS 84
    found = read_offices(path)
    assert found.crs is None and found.xy.tolist() == PIXELS.tolist()
    assert any("taken as pixels" in note for note in found.notes)
    small = tmp_path / "corner.geojson"
    frame_of(PIXELS / 100).to_file(small, driver="GeoJSON")  # could be degrees: only the user knows
    assert read_offices(small).crs is not None
    assert read_offices(small, space="pixel").crs is None


def test_map_coordinates_of_a_layer_and_of_a_table(tmp_path):
    lonlat = np.array([[110.0, 30.0], [111.0, 31.0], [112.0, 32.0]])
    path = tmp_path / "offices.gpkg"
    frame_of(lonlat, "EPSG:4326").to_crs("ESRI:102027").to_file(path, driver="GPKG")
    found = locate(read_offices(path), sigma_km=10.0)
    assert found.lonlat == pytest.approx(lonlat, abs=1e-9)  # there and back through PROJ
    assert found.position == ("given",) * 3 and np.isnan(found.px).all()
    table = write(tmp_path / "offices.csv", "office_id,lon,lat\nT1,110,30\nT2,111,31\nT3,112,32\n")
    assert locate(read_offices(table), sigma_km=10.0).lonlat.tolist() == lonlat.tolist()
    xy = write(tmp_path / "xy.csv", "office_id,x,y\nT1,0,0\n")
    assert locate(read_offices(xy, crs="ESRI:102027"), sigma_km=10.0).lonlat == pytest.approx(np.array([[95.0, 30.0]]))
    with pytest.raises(CrsMissing, match=r'mend:.*crs = "EPSG:4326"'):
        read_offices(xy)


@pytest.mark.parametrize(
    ("text", "error", "mend"),
    [
        ("office_id,px,py\nT1,1,2\nT2,3,4\nT1,5,6\n", CodeInvalid, r"T1 \(2 times\)[\s\S]*mend:.*remove the copies"),
        ("office_id,px,py\n,1,2\n", CodeInvalid, r"rows 2[\s\S]*mend:.*fill them"),
        ("name,px,py\n甲,1,2\n", TableInvalid, "mend:.*in a column office_id"),
        ("office_id,col,row\nT1,1,2\n", TableInvalid, "mend:.*px, py .*lon, lat"),
        ("office_id,px,py\nT1,1,two\n", TableInvalid, r"T1: 'two'[\s\S]*mend:.*correct column py"),
        ("office_id,px,py\nT1,1,2\nT2,1,-2\n", TableInvalid, "mend:.*count all rows downward"),
        ("office_id,px,py,sigma_extra_km\nT1,1,2,-3\n", TableInvalid, r"T1[\s\S]*mend:.*kilometres of 0 or more"),
        ("", TableInvalid, "mend:.*one header line"),
    ],
)
def test_faulty_tables_are_refused_by_name(tmp_path, text, error, mend):
    with pytest.raises(error, match=mend):
        read_offices(write(tmp_path / "offices.csv", text))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(TableInvalid, match=r"mend:.*check the path"):
        read_offices(tmp_path / "nothing.csv")
    with pytest.raises(TableInvalid, match=r"mend:.*GeoPackage, Shapefile or GeoJSON"):
        read_offices(write(tmp_path / "broken.gpkg", "no such thing"))
    with pytest.raises(OptionInvalid, match=r"mend:.*auto, pixel, map"):
        read_offices(tmp_path / "any.csv", space="paper")
    (tmp_path / "latin.csv").write_bytes(b"office_id,px,py\n\xff\xff,1,2\n")
    with pytest.raises(TableInvalid, match=r"mend:.*CSV in UTF-8"):
        read_offices(tmp_path / "latin.csv")
    areas = gpd.GeoDataFrame({"office_id": ["T1"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    areas.to_file(tmp_path / "areas.gpkg", driver="GPKG")
    with pytest.raises(TableInvalid, match=r"mend:.*a layer of points"):
        read_offices(tmp_path / "areas.gpkg")
    frame_of(PIXELS).to_file(tmp_path / "two.gpkg", layer="a", driver="GPKG")
    frame_of(PIXELS).to_file(tmp_path / "two.gpkg", layer="b", driver="GPKG")
    with pytest.raises(TableInvalid, match=r"a, b[\s\S]*mend:.*layer ="):
        read_offices(tmp_path / "two.gpkg")
    assert read_offices(tmp_path / "two.gpkg", layer="b").ids == ("T1", "T2", "T3")
    with pytest.raises(TableInvalid, match=r"mend:.*one of a, b"):
        read_offices(tmp_path / "two.gpkg", layer="c")


# --- positions and standard deviations -------------------------------------------------------------------------------


def test_sigma_is_the_models_and_the_digitisers_together(tmp_path):
    digitised = read_offices(write(tmp_path / "offices.csv", CSV))
    found = locate(digitised, Straight(), accuracy(loo=14.3))
    assert found.lonlat[0].tolist() == [110 + 100.5 / 100, 40 - 200.25 / 100]
    model = 14.3 / math.sqrt(2)  # METHOD 8.5
    assert found.sigma_km.tolist() == [model, math.hypot(model, 2.5), model]
    assert found.position == ("scan",) * 3 and found.px.tolist() == PIXELS.tolist()
    assert found.map_lonlat.tolist() == found.lonlat.tolist()


def test_local_sigma_is_the_weighted_mean_of_the_nearest_eight():
    rng = np.random.default_rng(2)
    lon, lat, km = rng.uniform(105, 120, 20), rng.uniform(25, 40, 20), rng.uniform(1, 30, 20)
    place = np.array([[112.0, 33.0], [106.0, 26.0]])
    found = model_sigma_km(place, accuracy(lon=lon, lat=lat, km=km), "local")
    for k, (x, y) in enumerate(place):  # by the definition, with geodesic distances
        distance = Geod(ellps="WGS84").inv(np.full(20, x), np.full(20, y), lon, lat)[2]
        near = np.argsort(distance)[:8]
        weight = np.exp(-0.5 * (distance[near] / (distance[near].max() / 2)) ** 2)
        expected = math.sqrt((weight * km[near] ** 2 / 2).sum() / weight.sum())
        assert found[k] == pytest.approx(expected, rel=5e-3)  # chords of a sphere stand for geodesics in the weights


def test_equal_errors_everywhere_make_local_and_global_sigma_equal():
    same = accuracy(loo=9.0, km=(9.0,) * 4)
    place = np.array([[112.0, 33.0], [150.0, -5.0], [110.0, 30.0]])
    assert model_sigma_km(place, same, "local") == pytest.approx(model_sigma_km(place, same), rel=1e-12)
    assert model_sigma_km(place, same).tolist() == [9 / math.sqrt(2)] * 3


def test_offices_beyond_the_control_points_and_on_one_spot_are_named(tmp_path):
    text = "office_id,px,py\nT1,500,500\nT2,500,500\nT3,2500,500\n"
    found = locate(read_offices(write(tmp_path / "o.csv", text)), Straight(), accuracy())
    assert any("beyond the control points" in note and "T3" in note and "T1" not in note for note in found.notes)
    assert any("T1 = T2" in note for note in found.notes)


def test_swapped_longitude_and_latitude_are_named(tmp_path):
    text = "office_id,lon,lat\nT1,30,110\nT2,111,31\n"
    with pytest.raises(TableInvalid, match=r"T1[\s\S]*mend:.*look swapped"):
        locate(read_offices(write(tmp_path / "o.csv", text)), sigma_km=5.0)
    # West of 90 degrees a swapped place is still on the globe: only the cities tell.
    text = "office_id,lon,lat\nT1,43.8,87.6\nT2,111,31\n"
    found = locate(read_offices(write(tmp_path / "o.csv", text)), sigma_km=5.0)
    with pytest.raises(TableInvalid, match=r"1 offices[\s\S]*T1[\s\S]*mend:.*exchange the two columns"):
        refuse_swapped(found.lonlat, found.ids, (73.5, 18.0, 135.0, 53.6))
    refuse_swapped(found.lonlat[1:], found.ids[1:], (73.5, 18.0, 135.0, 53.6))


def test_positions_without_a_transform_or_an_accuracy_are_refused(tmp_path):
    pixels = read_offices(write(tmp_path / "o.csv", "office_id,px,py\nT1,1,2\n"))
    with pytest.raises(OptionInvalid, match=r"mend:.*give control points"):
        locate(pixels, None, accuracy())
    with pytest.raises(OptionInvalid, match=r"mend:.*or sigma_km"):
        locate(pixels, Straight())
    with pytest.raises(OptionInvalid, match=r"mend:.*global, local"):
        locate(pixels, Straight(), accuracy(), sigma="regional")
