"""Areas agree with geodesics, repairs cost what they say, overlaps are all found."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely.affinity import scale, translate

from gis.boundaries.geometry import (
    MAX_AREA_CHANGE,
    Repair,
    geodesic_area_km2,
    overlaps,
    polygons_only,
    refuse_overlaps,
    repair,
)
from gis.crs import ASIA_NORTH_LAMBERT, crs_from, transform_geometry
from gis.errors import BoundaryInvalid, GeometryInvalid
from gis.grid import Zones

WGS84 = "EPSG:4326"
GEOD = Geod(ellps="WGS84")


def geodesic(polygon, step=0.002) -> float:
    """Area by pyproj's own method, on edges too short to bulge.

    A geodesic of 0.002 degree leaves the straight line in longitude and latitude by half a millimetre: less than
    1e-6 km2 for every km of edge.
    """
    return abs(GEOD.geometry_area_perimeter(shapely.segmentize(shapely.orient_polygons(polygon), step))[0]) / 1e6


star = st.builds(
    lambda lon, lat, radii: shapely.Polygon(
        [
            (lon + r * math.cos(2 * math.pi * k / len(radii)), lat + r * math.sin(2 * math.pi * k / len(radii)))
            for k, r in enumerate(radii)
        ]
    ),
    st.floats(75, 134),
    st.floats(4, 53),
    st.lists(st.floats(0.05, 1.5), min_size=3, max_size=12),
)


@given(star)
def test_area_agrees_with_geodesics(polygon):
    perimeter = 111 * polygon.length  # km, at most
    assert geodesic_area_km2([polygon], WGS84)[0] == pytest.approx(geodesic(polygon), rel=1e-9, abs=1e-6 * perimeter)


def test_area_of_a_cell_is_the_published_one():
    """Cells of 30 seconds, their top edge given: km2 to six digits."""
    for top, km2 in ((18, 0.814019), (25, 0.776591), (40, 0.658489), (53, 0.518900)):
        cell = shapely.box(100, top - 1 / 120, 100 + 1 / 120, top)
        assert geodesic_area_km2([cell], WGS84)[0] == pytest.approx(km2, abs=5e-7)  # the digits given


@given(star, st.integers(2, 5))
def test_area_of_parts_adds_up(polygon, n):
    """Cutting along meridians creates new vertices on straight edges and must not change the sum."""
    left, bottom, right, top = polygon.bounds
    edges = np.linspace(left, right, n + 1)
    parts = [polygon.intersection(shapely.box(a, bottom, b, top)) for a, b in itertools.pairwise(edges)]
    # 1e-9: the cut points are rounded to the grid of float64 in degrees
    assert geodesic_area_km2(parts, WGS84).sum() == pytest.approx(geodesic_area_km2([polygon], WGS84)[0], rel=1e-9)


def test_area_does_not_depend_on_orientation_holes_count_once_and_nothing_is_nothing():
    shell, hole = shapely.box(100, 30, 102, 32), shapely.box(100.5, 30.5, 101, 31)
    holed = shapely.Polygon(shell.exterior, [hole.exterior])
    reverse = shapely.Polygon(list(shell.exterior.coords)[::-1], [hole.exterior])
    whole, cut = geodesic_area_km2([shell, hole], WGS84)
    area = geodesic_area_km2([holed, reverse, shapely.MultiPolygon([holed]), shapely.Polygon(), None], WGS84)
    assert area[:3] == pytest.approx([whole - cut] * 3, rel=1e-14)  # rounding of one subtraction
    assert (area[3:] == 0).all()
    assert geodesic_area_km2([], WGS84).shape == (0,)


@pytest.mark.parametrize("crs", [ASIA_NORTH_LAMBERT, "EPSG:3857", "EPSG:32650", "EPSG:4490", "EPSG:4214"])
def test_area_does_not_depend_on_the_crs(crs):
    polygon = shapely.box(115, 30, 117, 32)
    moved = transform_geometry(np.array([polygon]), crs_from(WGS84), crs_from(crs))
    # 1e-8: densified edges of 0.01 degree are chords in the other CRS
    assert geodesic_area_km2(moved, crs)[0] == pytest.approx(geodesic(polygon), rel=1e-6)
    assert geodesic_area_km2(moved, crs)[0] == pytest.approx(geodesic_area_km2([polygon], WGS84)[0], rel=1e-8)


# --- repair ----------------------------------------------------------------------------------------------------------

BOX = shapely.box(110, 30, 111, 31)


def with_spur(width: float):
    """A square whose top edge crosses itself: a lobe of ``width`` degrees turns the other way round."""
    return shapely.Polygon(
        [(110, 30), (111, 30), (111, 31), (110.5, 31 + width), (110.5 + width, 31 + width), (110, 31)]
    )


def test_valid_polygons_are_returned_as_they_are():
    given_ = np.array([BOX, shapely.MultiPolygon([BOX]), shapely.Polygon()])
    mended, repairs = repair(given_, ["a", "b", "c"], WGS84)
    assert repairs == ()
    assert shapely.equals_identical(mended, given_).all()
    assert mended is not given_


def test_a_repair_says_what_it_cost():
    broken = with_spur(0.02)
    mended, repairs = repair(np.array([BOX, broken]), ["a", "b"], WGS84)
    (one,) = repairs
    assert one.code == "b"
    assert "Self-intersection" in one.reason
    assert shapely.is_valid(mended[1])
    assert one.area_after_km2 == pytest.approx(geodesic(mended[1]), rel=1e-6)  # bulge of geodesics, see above
    # By hand: the lobe is the triangle above the crossing; drawn backwards it is subtracted, mended it is added.
    lobe = min(shapely.get_parts(mended[1]), key=lambda part: part.area)
    assert one.area_after_km2 - one.area_before_km2 == pytest.approx(2 * geodesic(lobe, 1e-4), rel=1e-5)  # bulge
    assert one.change_share == pytest.approx(1 - one.area_before_km2 / one.area_after_km2, rel=1e-12)  # same sum


def test_what_a_ring_encircles_twice_is_kept_once():
    """Even-odd would cut the square from (4, 8) to (6, 10) out; a union keeps it."""
    ring = shapely.Polygon([(0, 0), (10, 0), (10, 10), (4, 10), (4, 8), (6, 8), (6, 12), (0, 12), (0, 0)])
    twice = scale(ring, 1e-3, 1e-3, origin=(0, 0))
    broken = translate(twice, 110, 30)
    with pytest.raises(GeometryInvalid, match=r"3\.4%|3\.5%"):  # 4 of 116 counted twice: 112 / 116
        repair(np.array([broken]), ["a"], WGS84)
    large = shapely.MultiPolygon([broken, shapely.box(111, 30, 112, 31)])
    mended, repairs = repair(np.array([large]), ["a"], WGS84)
    assert mended[0].area == pytest.approx(1 + 112e-6, rel=1e-12)  # rounding of degrees
    assert 0 < repairs[0].change_share < 1e-5


def test_a_bow_tie_is_refused():
    bow = shapely.Polygon([(110, 30), (111, 31), (111, 30), (110, 31)])
    with pytest.raises(
        GeometryInvalid, match=r"1 invalid polygons(?s:.*)340100(?s:.*)leave the units out with exclude"
    ):
        repair(np.array([BOX, bow]), ["340200", "340100"], WGS84)


@given(st.floats(1e-4, 0.3))
def test_a_repair_is_refused_exactly_above_the_limit(width):
    broken = with_spur(width)
    before = geodesic_area_km2([broken], WGS84)[0]
    after = geodesic_area_km2(shapely.make_valid([broken], method="structure"), WGS84)[0]
    if abs(after - before) / max(before, after) > MAX_AREA_CHANGE:
        with pytest.raises(GeometryInvalid, match="redraw these rings"):
            repair(np.array([broken]), ["a"], WGS84)
    else:
        assert len(repair(np.array([broken]), ["a"], WGS84)[1]) == 1


def test_a_polygon_that_collapses_becomes_empty_not_a_line():
    flat = shapely.Polygon([(110, 30), (111, 31), (110, 30), (110, 30)])
    mended, repairs = repair(np.array([flat]), ["a"], WGS84)
    assert mended[0].is_empty
    assert mended[0].geom_type in ("Polygon", "MultiPolygon")
    assert repairs == (Repair("a", repairs[0].reason, 0.0, 0.0, 0.0),)


def test_crossing_the_antimeridian_is_refused_with_the_way_to_split():
    fiji = shapely.Polygon([(179, -18), (-179, -18), (-179, -17), (179, -17)])
    with pytest.raises(GeometryInvalid, match=r"longitude\): FJ(?s:.*)ogr2ogr -wrapdateline"):
        repair(np.array([BOX, fiji]), ["CN", "FJ"], WGS84)
    with pytest.raises(GeometryInvalid, match=r"longitude\): FJ(?s:.*)ogr2ogr -wrapdateline"):
        repair(np.array([BOX, shapely.MultiPolygon([shapely.box(0, 0, 1, 1), fiji])]), ["CN", "FJ"], WGS84)
    split = shapely.MultiPolygon([shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179, -17)])
    assert repair(np.array([split]), ["FJ"], WGS84)[1] == ()
    metres = scale(fiji, 1e4, 1e4)  # in a projected CRS a long edge is just a long edge
    assert repair(np.array([metres]), ["FJ"], "EPSG:3857")[1] == ()


WORLD = shapely.box(-180, -90, 180, 90)


@pytest.mark.parametrize("frame", [WORLD, WORLD.difference(BOX), shapely.box(-180, -90, 179.99999995, 90)])
def test_the_worlds_frame_crosses_nothing(frame):
    """An edge from -180 to 180 joins a meridian to itself: taken the short way, the frame would have no width."""
    mended, repairs = repair(np.array([frame]), ["outside"], WGS84)
    assert mended[0].equals(frame) and repairs == ()
    whole = geodesic_area_km2(np.array([WORLD]), WGS84)[0]
    assert whole == pytest.approx(510_065_621.724, rel=1e-9)  # surface of the ellipsoid; an island cut out is less
    assert geodesic_area_km2(np.array([frame]), WGS84)[0] <= whole


def test_a_ring_that_names_the_antimeridian_twice_still_crosses_it():
    islands = shapely.Polygon([(179, -17), (180, -16), (-180, -16), (-179, -17), (-180, -18), (180, -18)])
    with pytest.raises(GeometryInvalid, match=r"longitude\): FJ(?s:.*)segmentize"):
        repair(np.array([islands]), ["FJ"], WGS84)


def test_a_wide_box_is_refused_until_it_says_which_way_it_goes():
    wide = shapely.box(-20, 0, 179, 60)
    with pytest.raises(GeometryInvalid, match="segmentize"):
        repair(np.array([wide]), ["a"], WGS84)
    assert repair(np.array([shapely.segmentize(wide, 90)]), ["a"], WGS84)[1] == ()


@pytest.mark.filterwarnings("ignore:invalid value encountered in from_wkt")
def test_coordinates_that_are_not_numbers_are_refused():
    bad = shapely.from_wkt("POLYGON ((110 30, 111 30, 111 NaN, 110 30))")
    with pytest.raises(GeometryInvalid, match=r"in b(?s:.*)export the layer again"):
        repair(np.array([BOX, bad]), ["a", "b"], WGS84)


def test_polygons_only_leaves_its_input_alone():
    array = np.array([BOX, None], dtype=object)
    array.setflags(write=False)
    out, notes = polygons_only(array, ["a", "b"])
    assert out[1].is_empty
    assert array[1] is None
    assert notes == ("1 units have no geometry and get no value: b",)


# --- overlaps --------------------------------------------------------------------------------------------------------


@given(st.lists(star, min_size=2, max_size=6))
def test_overlaps_match_the_definition(polygons):
    """Every pair, by the definition: area of the intersection, no index, no prepared test."""
    polygons = [p.buffer(0) for p in polygons]
    codes = [str(k) for k in range(len(polygons))]
    found = overlaps(np.array(polygons), codes, WGS84)
    expected = {}
    for a in range(len(polygons)):
        for b in range(a + 1, len(polygons)):
            shared = polygons[a].intersection(polygons[b])
            if shared.area > 0:
                share = geodesic(shared) / min(geodesic(polygons[a]), geodesic(polygons[b]))
                expected[codes[a], codes[b]] = share
    got = {(r.code_a, r.code_b): r.share_of_smaller for r in found.itertuples()}
    assert set(got) <= set(expected)
    for pair, share in expected.items():
        if pair in got:
            assert got[pair] == pytest.approx(min(share, 1), rel=1e-5, abs=1e-5)  # bulge of geodesics
        else:
            assert share < 1e-5  # below a square metre
    assert found["share_of_smaller"].is_monotonic_decreasing


def test_units_that_only_touch_do_not_overlap():
    grid = np.array([shapely.box(x, y, x + 1, y + 1) for x in range(100, 105) for y in range(30, 35)])
    found = overlaps(grid, [str(k) for k in range(25)], WGS84)
    assert len(found) == 0
    assert list(found.columns) == ["code_a", "code_b", "overlap_km2", "share_of_smaller"]


def zones(*shapes):
    return Zones(tuple(f"34{k:02d}00" for k in range(1, len(shapes) + 1)), np.array(shapes), crs_from(WGS84))


def test_a_sliver_is_reported_an_overlap_refused():
    sliver = zones(BOX, shapely.box(110.9995, 30, 112, 31))  # 0.05 % of the first
    table = refuse_overlaps(sliver)
    assert table[["code_a", "code_b"]].to_numpy().tolist() == [["340100", "340200"]]
    assert table["share_of_smaller"][0] == pytest.approx(0.0005, rel=1e-6)  # the same rows of latitude
    with pytest.raises(
        BoundaryInvalid, match=r"340100 and 340200 share(?s:.*)where: boundaries\.city(?s:.*)QGIS: Difference"
    ):
        refuse_overlaps(zones(BOX, shapely.box(110.99, 30, 112, 31)), where="boundaries.city")


def test_a_unit_inside_another_and_a_unit_given_twice_overlap_wholly():
    inside = overlaps(np.array([BOX, shapely.box(110.2, 30.2, 110.4, 30.4)]), ["a", "b"], WGS84)
    assert inside["share_of_smaller"].tolist() == pytest.approx([1.0], rel=1e-9)  # two quadratures of one area
    twice = overlaps(np.array([BOX, BOX, BOX]), ["a", "b", "c"], WGS84)
    assert len(twice) == 3
