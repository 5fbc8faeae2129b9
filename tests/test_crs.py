"""CRS: one equality check, the Lambert cone, areas of map cells, densified transforms."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import CRS, Geod, Proj

from gis.crs import (
    ASIA_NORTH_LAMBERT,
    ASIA_NORTH_LAMBERT_PROJ,
    LAMBERT_PARALLELS,
    MAX_SEGMENT_DEGREE,
    WGS84_A,
    WGS84_E2,
    area_density,
    authalic_q,
    crs_from,
    crs_name,
    lambert_cone,
    lambert_scale,
    metres_per_unit,
    same_crs,
    transform_geometry,
    transformer,
)
from gis.errors import CrsInvalid, CrsMissing

WGS84 = crs_from("EPSG:4326")
LAMBERT = crs_from(ASIA_NORTH_LAMBERT)
MOLLWEIDE = crs_from("ESRI:54009")
LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'

ESRI_PRJ = (  # what ArcGIS writes into a .prj
    'PROJCS["Asia_North_Lambert_Conformal_Conic",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",'
    'SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],'
    'PROJECTION["Lambert_Conformal_Conic"],PARAMETER["False_Easting",0.0],PARAMETER["False_Northing",0.0],'
    'PARAMETER["Central_Meridian",95.0],PARAMETER["Standard_Parallel_1",15.0],PARAMETER["Standard_Parallel_2",65.0],'
    'PARAMETER["Latitude_Of_Origin",30.0],UNIT["Meter",1.0]]'
)


# --- reading a CRS --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["EPSG:102027", "epsg:102027", 102027, " EPSG:102027 "])
def test_an_esri_code_under_epsg_is_told_its_authority(value):
    with pytest.raises(CrsInvalid, match=r'mend:  ESRI codes have the authority ESRI: crs = "ESRI:102027"'):
        crs_from(value)


@pytest.mark.parametrize("value", ["EPSG:999999", "Lambert", "GEOGCS[broken", [], object()])
def test_an_unknown_crs_is_refused(value):
    with pytest.raises(CrsInvalid, match=r"mend:  use an authority code such as EPSG:4326 or ESRI:102027, or WKT"):
        crs_from(value)


@pytest.mark.parametrize("value", [None, "", "   "])
def test_no_crs_is_refused_and_says_where(value):
    with pytest.raises(CrsMissing, match=r"(?s)where: lights\.tif.*mend:  name it, for example") as caught:
        crs_from(value, where="lights.tif")
    assert isinstance(caught.value, ValueError)


def test_a_crs_passes_through_untouched():
    assert crs_from(LAMBERT) is LAMBERT


def test_lambert_is_there_without_the_esri_authority(tmp_path):
    """A PROJ database without ESRI's codes, as some system packages ship it."""
    here = Path(pyproj.datadir.get_data_dir())
    shutil.copy(here / "proj.db", tmp_path / "proj.db")
    with sqlite3.connect(tmp_path / "proj.db") as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f'DROP TRIGGER "{trigger}"')
        db.execute("DELETE FROM projected_crs WHERE auth_name = 'ESRI'")
    db.close()
    script = """
        import sys
        import pyproj
        from gis.crs import crs_from
        pyproj.datadir.set_data_dir(sys.argv[1])
        try:
            pyproj.CRS("ESRI:102027")
        except pyproj.exceptions.CRSError:
            pass
        else:
            raise SystemExit("the database still knows ESRI:102027")
        crs = crs_from("ESRI:102027")
        print(crs.to_dict()["lat_2"], pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(116.391, 39.905))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("65 (1639282.15")


@pytest.mark.parametrize(
    ("value", "name"),
    [("EPSG:4326", "EPSG:4326"), (4490, "EPSG:4490"), (ESRI_PRJ, "ESRI:102027"), (ASIA_NORTH_LAMBERT_PROJ, "unknown")],
)
def test_a_crs_is_named_by_its_authority(value, name):
    assert crs_name(value) == name


# --- the one equality check -----------------------------------------------------------------------------------------

SAME = {
    "axis order": ("EPSG:4326", "OGC:CRS84"),
    "proj string": ("EPSG:4326", "+proj=longlat +datum=WGS84 +no_defs"),
    "esri wkt": (ASIA_NORTH_LAMBERT, ESRI_PRJ),
    "lambert by parameters": (ASIA_NORTH_LAMBERT, ASIA_NORTH_LAMBERT_PROJ),
    "other name": (ASIA_NORTH_LAMBERT, ESRI_PRJ.replace("Asia_North_Lambert_Conformal_Conic", "my_map")),
    "china 2000 as prj": ("EPSG:4490", CRS("EPSG:4490").to_wkt("WKT1_ESRI")),
    "beijing 1954 as prj": ("EPSG:4214", CRS("EPSG:4214").to_wkt("WKT1_ESRI")),
    "etrs89 without ensemble": ("EPSG:4258", CRS("EPSG:4258").to_wkt("WKT1_GDAL")),
}
DIFFERENT = {
    "cgcs2000 and wgs 84": ("EPSG:4490", "EPSG:4326"),
    "sibling cone": (ASIA_NORTH_LAMBERT, "ESRI:102012"),
    "albers": (ASIA_NORTH_LAMBERT, "ESRI:102025"),
    "equidistant": (ASIA_NORTH_LAMBERT, "ESRI:102026"),
    "neighbouring zones": ("EPSG:32649", "EPSG:32650"),
    "degrees and metres": ("EPSG:4326", "EPSG:3857"),
    "one ellipsoid, two datums": ("EPSG:4214", "EPSG:4555"),  # Beijing 1954, New Beijing: both +ellps=krass
    "one ellipsoid, two plates": ("EPSG:4490", "EPSG:4258"),  # China 2000, ETRS89: both +ellps=GRS80
    "another parallel": (ASIA_NORTH_LAMBERT, ASIA_NORTH_LAMBERT_PROJ.replace("lat_2=65", "lat_2=64")),
    "another unit": (ASIA_NORTH_LAMBERT, ASIA_NORTH_LAMBERT_PROJ.replace("units=m", "units=km")),
}
FLAVOURS = ["WKT2_2019", "WKT2_2015", "WKT1_GDAL", "WKT1_ESRI"]
CODES = ["EPSG:4326", "EPSG:4490", "EPSG:4214", "EPSG:4610", "EPSG:32649", "EPSG:3857", "EPSG:6933", "EPSG:21413",
         "ESRI:102027", "ESRI:102012", "ESRI:102025", "ESRI:102026", "ESRI:54009", LOCAL]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SAME.values(), ids=SAME)
def test_same_place_same_crs(a, b):
    assert same_crs(a, b)
    assert same_crs(b, a)


@pytest.mark.parametrize(("a", "b"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_place_another_crs(a, b):
    assert not same_crs(a, b)
    assert not same_crs(b, a)


@given(st.sampled_from(CODES), st.sampled_from(CODES), st.sampled_from(FLAVOURS))
def test_equality_is_reflexive_symmetric_and_blind_to_wkt_flavour(a, b, flavour):
    assert same_crs(a, a)
    assert same_crs(a, b) == same_crs(b, a) == (a == b)
    if a != LOCAL:  # a local CRS cannot be written in every flavour
        rewritten = crs_from(a).to_wkt(flavour)
        assert same_crs(a, rewritten)
        assert same_crs(rewritten, b) == (a == b)


def test_equality_refuses_what_is_missing():
    with pytest.raises(CrsMissing, match="mend:  name it"):
        same_crs("EPSG:4326", None)


# --- the cone -------------------------------------------------------------------------------------------------------


def test_scale_is_one_at_both_standard_parallels():
    assert lambert_scale(LAMBERT_PARALLELS) == pytest.approx([1.0, 1.0], abs=1e-14)  # a few units of the last place


@given(st.floats(-60, 85))
def test_scale_is_smallest_where_the_cone_constant_says(lat):
    lowest = math.degrees(math.asin(lambert_cone()[0]))
    assert lambert_scale(lat) >= lambert_scale(lowest) * (1 - 1e-15)  # one unit of the last place


@given(st.floats(-60, 85), st.floats(1e-3, 5))
def test_scale_falls_to_its_minimum_and_rises_after(lat, step):
    lowest = math.degrees(math.asin(lambert_cone()[0]))
    nearer = lat + min(step, abs(lowest - lat)) * (1 if lat < lowest else -1)
    assert lambert_scale(nearer) <= lambert_scale(lat) * (1 + 1e-15)  # one unit of the last place


@given(st.floats(15.001, 64.999))
def test_scale_is_below_one_between_the_parallels(lat):
    assert lambert_scale(lat) < 1


def test_areas_between_parallels_add_up_to_the_earth():
    whole = 2 * math.pi * WGS84_A**2 / 2 * (authalic_q(1.0) - authalic_q(-1.0)) / 1e6
    assert whole == pytest.approx(510_065_621.724, abs=1e-3)  # km2, Moritz (1980), the three decimals given
    assert authalic_q(0.0) == 0


# --- true area per unit of map area ---------------------------------------------------------------------------------

PROJECTED = ["ESRI:102025", "ESRI:102027", "ESRI:102026", "EPSG:32649", "EPSG:6933", "ESRI:54008", "EPSG:3395",
             "EPSG:21413", "EPSG:2230"]  # fmt: skip
"""Albers, Lambert, equidistant, UTM, EASE-Grid, sinusoidal, Mercator, Gauss-Krueger on Krassowsky, feet."""


def over_china(crs):
    """(lon, lat, x, y) of a lattice over China, the South China Sea included."""
    lon, lat = (a.ravel() for a in np.meshgrid(np.linspace(73, 136, 22), np.linspace(3.5, 54, 22)))
    if crs.name.startswith("NAD83"):
        lon = lon - 217  # the same lattice over the Pacific coast
    elif "UTM" in crs.name or "Gauss" in crs.name:
        lon = (111 if "UTM" in crs.name else 75) + (lon - 105) / 10  # the central meridian and 3 degrees around
    return lon, lat, *transformer(crs.geodetic_crs, crs).transform(lon, lat)


@pytest.mark.parametrize("code", PROJECTED)
def test_area_density_is_the_inverse_of_the_areal_scale_of_proj(code):
    crs = crs_from(code)
    lon, lat, x, y = over_china(crs)
    scale = Proj(crs).get_factors(lon, lat).areal_scale
    per_m2 = area_density(crs, x, y) / metres_per_unit(crs) ** 2
    assert per_m2 * scale == pytest.approx(np.ones(lon.size), abs=3e-10)  # proj_factors: differences over 1e-5 radian


@pytest.mark.parametrize("code", ["ESRI:102025", "EPSG:6933", "ESRI:54008"])
def test_area_density_of_an_equal_area_map_is_one(code):
    crs = crs_from(code)
    _, _, x, y = over_china(crs)
    assert area_density(crs, x, y) == pytest.approx(np.ones(x.size), abs=1e-11)  # rounding 1e-9 m over 2 km, twice


def test_area_density_of_lambert_is_the_square_of_the_scale():
    _, lat, x, y = over_china(LAMBERT)
    assert area_density(LAMBERT, x, y) * lambert_scale(lat) ** 2 == pytest.approx(
        np.ones(x.size), abs=1e-11
    )  # as above


def sphere_over_ellipsoid(lat):
    """Ellipsoidal area over that of a sphere of the same semi-major axis, between the same coordinates."""
    return (1 - WGS84_E2) / (1 - WGS84_E2 * np.sin(np.radians(lat)) ** 2) ** 2


@pytest.mark.parametrize("code", ["ESRI:54009", "EPSG:3857"])
def test_area_density_is_the_ellipsoids_on_maps_made_for_a_sphere(code):
    # Mollweide is equal-area on a sphere; on the ellipsoid its square kilometre is 0.993 to 1.007 km2.
    crs = crs_from(code)
    _, lat, x, y = over_china(crs)
    on_sphere = 1.0 if code == "ESRI:54009" else np.cos(np.radians(lat)) ** 2
    assert area_density(crs, x, y) / (on_sphere * sphere_over_ellipsoid(lat)) == pytest.approx(
        np.ones(x.size),
        abs=2e-11,  # rounding as above; Newton's iteration inside Mollweide
    )


@pytest.mark.parametrize("lon", [-179.9999, -179.98, -179.95, 179.95, 179.98, 179.9999])
def test_area_density_holds_up_to_the_edge_of_the_map(lon):
    lat = np.linspace(-80, 80, 33)
    x, y = transformer(WGS84, MOLLWEIDE).transform(np.full(33, lon), lat)
    assert area_density(MOLLWEIDE, x, y) / sphere_over_ellipsoid(lat) == pytest.approx(
        np.ones(33),
        abs=1e-10,  # one-sided differences have larger weights
    )


@pytest.mark.parametrize("code", ["ESRI:102025", "EPSG:6933", "EPSG:6931"])
def test_area_density_holds_near_a_pole(code):
    crs = crs_from(code)
    x, y = transformer(crs.geodetic_crs, crs).transform(np.full(4, 100.0), np.array([88.0, 89.0, 89.5, 89.9]))
    # The step is a 64th of the way to the pole, and PROJ's y loses digits there: it goes with 1 - sin(lat), 1.5e-6.
    assert area_density(crs, x, y) == pytest.approx(np.ones(4), abs=3e-8)


def test_area_density_is_nan_outside_the_domain():
    corner = area_density(MOLLWEIDE, [18.0e6, 18.05e6, 17.9e6, 0.0], [0.0, 0.0, 5e6, 9.03e6])
    assert np.isnan(corner).tolist() == [False, True, True, True]
    # These inverses answer anywhere and wrap the longitude: the point must come back to where it was.
    assert np.isnan(area_density(crs_from("ESRI:54008"), [2.0e7, 2.1e7, 1.5e7], [0.0, 0.0, 5e6])).tolist() == [
        False, True, True,
    ]  # fmt: skip
    behind_the_pole = area_density(LAMBERT, [0.0, 0.0], [6.0e6, 2.0e7])
    assert np.isnan(behind_the_pole).tolist() == [False, True]


def test_area_density_takes_any_shape():
    x, y = np.array([0.0, 1e6, 2e6]), np.array([[0.0], [1e6]])
    table = area_density(LAMBERT, x, y)
    assert table.shape == (2, 3)
    assert table[1, 2] == area_density(LAMBERT, 2e6, 1e6)


@pytest.mark.parametrize("crs", [LOCAL, "EPSG:4978"], ids=["local", "geocentric"])
def test_area_density_refuses_what_is_no_map(crs):
    with pytest.raises(CrsInvalid, match="mend:  give the raster a projected or geographic CRS"):
        area_density(crs_from(crs), [0.0], [0.0])


# --- densified transforms -------------------------------------------------------------------------------------------


@given(st.floats(75, 130), st.floats(5, 50), st.floats(-20, 20), st.floats(-12, 12))
def test_a_long_straight_edge_stays_where_it_was(lon, lat, dlon, dlat):
    assume(math.hypot(dlon, dlat) > 0.001)  # GEOS refuses a line without length
    # Any point of the straight edge in longitude and latitude must lie on the image of the edge.
    edge = shapely.LineString([(lon, lat), (lon + dlon, lat + dlat)])
    image = transform_geometry(np.array([edge]), WGS84, LAMBERT)[0]
    along = shapely.get_coordinates(shapely.line_interpolate_point(edge, np.linspace(0, 1, 97), normalized=True))
    x, y = transformer(WGS84, LAMBERT).transform(along[:, 0], along[:, 1])
    off = shapely.distance(image, shapely.points(x, y)).max()
    # The sagitta of 0.01 degree (1.1 km) bent with the radius of a parallel on the map, above 2,000 km: 0.1 m.
    assert off < 0.1


def test_without_densification_the_same_edge_is_kilometres_off():
    edge = shapely.LineString([(100.0, 40.0), (115.0, 40.0)])
    plain = shapely.transform(edge, transformer(WGS84, LAMBERT).transform, interleaved=False)
    middle = shapely.Point(transformer(WGS84, LAMBERT).transform(107.5, 40.0))
    assert plain.distance(middle) > 10_000
    assert transform_geometry(np.array([edge]), WGS84, LAMBERT)[0].distance(middle) < 0.1


def test_area_survives_the_way_into_an_equal_area_map():
    box = shapely.box(100, 30, 110, 40)
    albers = transform_geometry(np.array([box]), WGS84, crs_from("ESRI:102025"))[0]
    km2 = WGS84_A**2 / 2 * math.radians(10) * float(authalic_q(math.sin(math.radians(40))) - authalic_q(0.5)) / 1e6
    # North and south edge bulge alike by up to the sagitta, 0.02 m of 1,100 km.
    assert albers.area / 1e6 == pytest.approx(km2, rel=1e-7)


def test_projected_edges_are_densified_in_metres():
    foot = crs_from("EPSG:2230")
    for crs, per_unit in ((LAMBERT, 1.0), (foot, 1200 / 3937)):
        side = 100_000 / per_unit
        edge = shapely.LineString([(2e6, 5e5), (2e6 + side, 5e5)])
        image = transform_geometry(np.array([edge]), crs, crs.geodetic_crs)[0]
        assert shapely.get_num_coordinates(image) in (101, 102)  # 100 km in pieces of at most 1 km, a foot's rounding


def test_the_same_crs_adds_no_vertex():
    shapes = np.array([shapely.box(100, 30, 110, 40)])
    assert transform_geometry(shapes, WGS84, crs_from("OGC:CRS84")) is shapes


def test_the_given_shapes_are_not_touched():
    shapes = np.array([shapely.box(100, 30, 110, 40)])
    shapes.setflags(write=False)
    before = shapely.to_wkb(shapes[0])
    transform_geometry(shapes, WGS84, LAMBERT)
    assert shapely.to_wkb(shapes[0]) == before


def test_empty_shapes_and_no_shapes_pass():
    moved = transform_geometry(np.array([shapely.Polygon(), None], dtype=object), WGS84, LAMBERT)
    assert shapely.is_empty(moved[0])
    assert moved[1] is None
    assert transform_geometry(np.array([], dtype=object), WGS84, LAMBERT).size == 0


def test_holes_and_parts_are_kept():
    ring = shapely.box(100, 30, 102, 32).difference(shapely.box(100.5, 30.5, 101, 31))
    moved = transform_geometry(np.array([shapely.MultiPolygon([ring, shapely.box(105, 30, 106, 31)])]), WGS84, LAMBERT)
    assert shapely.get_num_geometries(moved[0]) == 2
    assert shapely.get_num_interior_rings(shapely.get_geometry(moved[0], 0)) == 1
    assert shapely.is_valid(moved[0])


def test_a_point_without_an_image_is_named():
    swapped = shapely.box(30, 100, 31, 101)  # latitude first: the usual slip
    with pytest.raises(CrsInvalid, match=r"(?s)\(3[01].*mend:  check that the layer's CRS is the one"):
        transform_geometry(np.array([swapped]), WGS84, LAMBERT)


def test_cgcs2000_is_carried_over_within_a_metre():
    city = np.array([shapely.box(116, 39.5, 116.01, 39.51)])
    moved = shapely.get_coordinates(transform_geometry(city, crs_from("EPSG:4490"), WGS84)[0])
    given = shapely.get_coordinates(shapely.segmentize(city[0], MAX_SEGMENT_DEGREE))
    *_, metres = Geod(ellps="WGS84").inv(given[:, 0], given[:, 1], moved[:, 0], moved[:, 1])
    assert np.max(metres) < 1.0  # the two datums differ by less (METHOD 9.5)
