"""Grids and zones: validated once, immutable, and every cell weighed by the area it has."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from gis.crs import ASIA_NORTH_LAMBERT, WGS84_E2, area_density, crs_from, lambert_scale, transformer
from gis.errors import CodeInvalid, CrsInvalid, CrsMissing, GridInvalid, OptionInvalid
from gis.grid import MEASURES, STRIP_ROWS, Grid, Zones

WGS84 = crs_from("EPSG:4326")
LAMBERT = crs_from(ASIA_NORTH_LAMBERT)
ALBERS = crs_from("ESRI:102025")
MOLLWEIDE = crs_from("ESRI:54009")
GEOD = Geod(ellps="WGS84")


def lonlat_grid(shape=(6, 8), side=1 / 120, left=110.0, top=54.0, crs=WGS84):
    return Grid(shape, Affine(side, 0, left, 0, -side, top), crs)


def plane_grid(crs, x0, y1, shape, side=1000.0):
    return Grid(shape, Affine(side, 0, x0, 0, -side, y1), crs)


def one_cell_per_degree(top, side=1 / 120):
    return lonlat_grid((1, 1), side, 110.0, top)


# --- validated once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (-1, 5)])
def test_a_grid_without_a_cell_is_refused(shape):
    with pytest.raises(GridInvalid, match="mend:  give a window that overlaps the raster"):
        Grid(shape, Affine(1, 0, 0, 0, -1, 0), WGS84)


@pytest.mark.parametrize("transform", [Affine(1, 0.1, 0, 0, -1, 0), Affine(1, 0, 0, 0.1, -1, 0)])
def test_a_rotated_grid_is_refused(transform):
    with pytest.raises(GridInvalid, match="mend:  warp it to a north-up grid first, for example: gdalwarp"):
        Grid((5, 5), transform, WGS84)


@pytest.mark.parametrize(
    ("a", "e", "c"), [(1, 1, 0), (-1, -1, 0), (0, -1, 0), (1, 0, 0), (float("nan"), -1, 0), (1, -1, float("inf"))]
)
def test_a_grid_that_does_not_run_east_and_south_is_refused(a, e, c):
    with pytest.raises(GridInvalid, match=r"mend:  open rasters through gis\.raster_io"):
        Grid((5, 5), Affine(a, 0, c, 0, e, 0), WGS84)


@pytest.mark.parametrize(("crs", "error", "mend"), [(None, CrsMissing, "name it"), ("EPSG:102027", CrsInvalid, "ESRI")])
def test_neither_grid_nor_zones_stand_without_a_crs(crs, error, mend):
    with pytest.raises(error, match=f"mend:  .*{mend}"):
        lonlat_grid(crs=crs)
    with pytest.raises(error, match=f"mend:  .*{mend}"):
        Zones(("a",), np.array([shapely.box(0, 0, 1, 1)]), crs)


def test_an_unknown_measure_is_refused():
    with pytest.raises(OptionInvalid, match="mend:  one of lambert, true, cells"):
        lonlat_grid().cell_areas_km2("albers", 0, 1)


def test_nothing_in_a_grid_can_be_changed():
    grid = Grid([3, 4], Affine(1, 0, 0, 0, -1, 0), WGS84)
    assert grid.shape == (3, 4)
    assert isinstance(grid.shape, tuple)
    for name in ("shape", "transform", "crs"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(grid, name, None)
    with pytest.raises((AttributeError, TypeError)):  # slots: no other attribute either
        grid.cache = 1


# --- rows, strips, bounds -------------------------------------------------------------------------------------------


@given(st.integers(1, 5000))
def test_strips_cut_the_rows_without_gap_or_overlap(ny):
    grid = lonlat_grid((ny, 1), 1e-3)
    rows = [grid.strip_rows(strip) for strip in range(grid.n_strips)]
    assert rows[0][0] == 0
    assert rows[-1][1] == ny
    assert all(before[1] == after[0] for before, after in pairwise(rows))
    assert all(0 < row1 - row0 <= STRIP_ROWS for row0, row1 in rows)
    assert all(row1 - row0 == STRIP_ROWS for row0, row1 in rows[:-1])


def test_bounds_are_the_outer_edges():
    assert plane_grid(LAMBERT, 100.0, 900.0, (4, 3), 50.0).bounds_xy == (100.0, 700.0, 250.0, 900.0)


# --- same grid, same print ------------------------------------------------------------------------------------------


def test_equal_grids_have_equal_fingerprints():
    grid = lonlat_grid()
    assert lonlat_grid().fingerprint == grid.fingerprint
    # Numpy's integers and the -0.0 of a raster that was turned over are the same grid.
    assert Grid(tuple(np.array(grid.shape)), grid.transform, WGS84).fingerprint == grid.fingerprint
    t = grid.transform
    assert Grid(grid.shape, Affine(t.a, -0.0, t.c, -0.0, t.e, t.f), WGS84).fingerprint == grid.fingerprint
    assert pickle.loads(pickle.dumps(grid)).fingerprint == grid.fingerprint


def test_fingerprints_are_the_same_in_another_process():
    script = (
        "from affine import Affine; from gis.grid import Grid, Zones; import shapely\n"
        "side = 1 / 120\n"
        "print(Grid((6, 8), Affine(side, 0, 110.0, 0, -side, 54.0), 'EPSG:4326').fingerprint)\n"
        "print(Zones(['a'], [shapely.box(0, 0, 1, 1)], 'EPSG:4326').fingerprints[0])"
    )
    root = Path(__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    here = [lonlat_grid().fingerprint, Zones(("a",), np.array([shapely.box(0, 0, 1, 1)]), WGS84).fingerprints[0]]
    assert run.stdout.split() == here


@pytest.mark.parametrize(
    "other",
    [
        lonlat_grid((7, 8)),
        lonlat_grid((6, 9)),
        lonlat_grid(left=110.0 + 1e-9),
        lonlat_grid(top=54.0 - 1e-9),
        lonlat_grid(side=1 / 120 + 1e-12),
        lonlat_grid(crs=crs_from("EPSG:4490")),
    ],
    ids=["rows", "columns", "east", "south", "cell", "crs"],
)
def test_another_grid_has_another_fingerprint(other):
    assert other.fingerprint != lonlat_grid().fingerprint


def test_same_place_takes_a_millionth_of_a_cell_and_no_more():
    grid = lonlat_grid((600, 800))
    side = grid.transform.a
    assert grid.same_place(lonlat_grid((600, 800), left=110.0 + 0.9e-6 * side))
    assert not grid.same_place(lonlat_grid((600, 800), left=110.0 + 1.1e-6 * side))
    assert not grid.same_place(lonlat_grid((600, 800), top=54.0 + 1.1e-6 * side))
    # A cell size that is off by a billionth is off by less than a millionth of a cell after 800 of them.
    assert grid.same_place(lonlat_grid((600, 800), side * (1 + 1e-9)))
    assert not grid.same_place(lonlat_grid((600, 800), side * (1 + 2e-9)))
    assert not grid.same_place(lonlat_grid((600, 799)))
    assert not grid.same_place(lonlat_grid((600, 800), crs=crs_from("EPSG:4490")))
    assert grid.same_place(lonlat_grid((600, 800), crs=CRS("OGC:CRS84")))


# --- areas on a geographic grid -------------------------------------------------------------------------------------


def cell_by_geodesics(top, side, pieces):
    """km2 of a cell by Geod: its parallels cut into ``pieces`` geodesics, its meridians are geodesics."""
    along = np.linspace(0, side, pieces + 1)
    lon = np.concatenate([along, along[::-1]])
    lat = np.concatenate([np.full(pieces + 1, top - side), np.full(pieces + 1, top)])
    return abs(GEOD.polygon_area_perimeter(lon, lat)[0]) / 1e6


@pytest.mark.parametrize("top", [89.0, 66.5, 54.0, 30.0, 3.5, 0.5, 0.0, -45.0])
@pytest.mark.parametrize("side", [1 / 240, 1 / 120, 1 / 12, 0.5])
def test_cell_areas_are_those_of_geodesic_polygons(top, side):
    # A geodesic leaves the parallel by less than (piece)^2 sin(2 lat) R / 16: with 400 pieces of 0.5 degree 2 mm of
    # 56 km; GeographicLib's own areas are good to 0.1 m2, which rules for the smallest cells.
    km2 = lonlat_grid((1, 1), side, 110.0, top).cell_areas_km2("true", 0, 1)[0]
    assert km2 == pytest.approx(cell_by_geodesics(top, side, 400), rel=2e-7, abs=1e-7)


def test_all_cells_of_the_world_make_the_earth():
    world = lonlat_grid((180, 360), 1.0, -180.0, 90.0)
    assert world.cell_areas_km2("true", 0, 180).sum() * 360 == pytest.approx(510_065_621.724, abs=1e-3)  # Moritz (1980)


def test_rows_beyond_a_pole_weigh_nothing():
    beyond = lonlat_grid((4, 1), 1.0, 0.0, 92.0)  # 92..88: two rows beyond the pole, two before it
    assert (beyond.cell_areas_km2("true", 0, 4)[:2] == 0).all()
    assert (beyond.cell_areas_km2("true", 0, 4)[2:] > 0).all()


def test_degrees_in_other_units_have_the_same_area():
    grads = crs_from("EPSG:4807")  # NTF (Paris), in grads: 0.9 degree
    assert grads.axis_info[0].unit_name == "grad"
    a = lonlat_grid((5, 1), 1.0 / 0.9, 0.0, 50.0 / 0.9, grads).cell_areas_km2("true", 0, 5)
    assert a == pytest.approx(lonlat_grid((5, 1), 1.0, 0.0, 50.0).cell_areas_km2("true", 0, 5), rel=1e-13)  # rounding


@pytest.mark.parametrize("top", [53.5, 41.8, 30.0, 18.2, 3.5])
@pytest.mark.parametrize("left", [73.5, 95.0, 134.9])
def test_lambert_weight_is_the_area_of_the_projected_cell(top, left):
    # Oracle: the shoelace area of the cell's outline carried into ESRI:102027 point by point.
    side, n = 1 / 120, 64
    s = np.linspace(0, side, n + 1)[:-1]
    lon = left + np.concatenate([s, np.full(n, side), side - s, np.zeros(n)])
    lat = top - side + np.concatenate([np.zeros(n), s, np.full(n, side), side - s])
    x, y = transformer(WGS84, LAMBERT).transform(lon, lat)
    x, y = x - x.mean(), y - y.mean()  # else 1e6 m squared swallow the digits of 1e6 m2
    shoelace = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2e6
    weight = lonlat_grid((1, 1), side, left, top).cell_areas_km2("lambert", 0, 1)[0]
    assert weight == pytest.approx(shoelace, rel=1e-6)  # k at the centre for k over the cell, METHOD 1.4


@given(st.integers(0, 40), st.integers(1, 20))
def test_a_row_weighs_the_same_in_any_request(row0, n):
    grid = lonlat_grid((60, 1), 0.25, 100.0, 50.0)
    for measure in MEASURES:
        whole = grid.cell_areas_km2(measure, 0, 60)
        assert (grid.cell_areas_km2(measure, row0, row0 + n) == whole[row0 : row0 + n]).all()


def test_cells_weigh_one():
    assert (lonlat_grid((5, 7)).cell_areas_km2("cells", 1, 4) == np.ones(3)).all()
    assert (plane_grid(LAMBERT, 0.0, 0.0, (5, 7)).cell_areas_km2("cells", 1, 4) == np.ones((3, 7))).all()


# --- areas on a projected grid --------------------------------------------------------------------------------------

CHINA = {  # left, top, (rows, columns) of 1 km cells, where the map has China
    "albers": ("ESRI:102025", -2.1e6, 2.9e6, (1100, 4800)),
    "lambert": ("ESRI:102027", -2.0e6, 2.7e6, (1100, 4300)),
    "equidistant": ("ESRI:102026", -2.1e6, 3.0e6, (1100, 4700)),
    "utm": ("EPSG:32649", 1.5e5, 5.9e6, (1100, 700)),
    "mollweide": ("ESRI:54009", 6.3e6, 6.2e6, (1100, 5700)),
    "ease grid": ("EPSG:6933", 7.1e6, 5.8e6, (1100, 6000)),
}


def cell_by_cell(grid, measure, rows, cols):
    """Weights from the definition, without a mesh."""
    t = grid.transform
    x, y = t.c + (cols + 0.5) * t.a, t.f + (rows + 0.5) * t.e
    lat = transformer(grid.crs, grid.crs.geodetic_crs).transform(x, y)[1]
    return area_density(grid.crs, x, y) * t.a * -t.e / 1e6 * (lambert_scale(lat) ** 2 if measure == "lambert" else 1)


@pytest.mark.parametrize("name", CHINA)
@pytest.mark.parametrize("measure", ["true", "lambert"])
def test_mesh_interpolation_is_exact_to_a_billionth(name, measure):
    code, left, top, shape = CHINA[name]
    rng = np.random.default_rng(20_240_501)
    for side in (1000.0, 5000.0, 20_000.0):  # the mesh follows the cell: coarse grids get no coarser mesh
        grid = plane_grid(crs_from(code), left, top, tuple(int(n * 1000 / side) for n in shape), side)
        rows, cols = rng.integers(0, grid.shape[0], 500), rng.integers(0, grid.shape[1], 500)
        rows[:4], cols[:4] = [0, 0, grid.shape[0] - 1, grid.shape[0] - 1], [0, grid.shape[1] - 1] * 2
        weights = grid.cell_areas_km2(measure, 0, grid.shape[0])[rows, cols]
        # (12 km / 6371 km)^4 * 0.023 of a cubic through four points, times the bend of k**2 near 15 N.
        assert np.abs(weights / cell_by_cell(grid, measure, rows, cols) - 1).max() < 1e-9


@pytest.mark.parametrize("name", ["albers", "utm", "mollweide"])
@pytest.mark.parametrize("measure", ["true", "lambert"])
def test_mesh_interpolation_gives_a_row_the_same_bits_in_any_strip(name, measure):
    code, left, top, _ = CHINA[name]
    grid = plane_grid(crs_from(code), left, top, (1100, 700))
    whole = grid.cell_areas_km2(measure, 0, 1100)
    strips = [grid.cell_areas_km2(measure, *grid.strip_rows(strip)) for strip in range(grid.n_strips)]
    assert np.vstack(strips).tobytes() == whole.tobytes()
    for row0, row1 in ((0, 1), (1099, 1100), (511, 513), (300, 700), (7, 1031)):
        assert grid.cell_areas_km2(measure, row0, row1).tobytes() == whole[row0:row1].tobytes()


def test_true_area_of_an_equal_area_map_is_the_cell():
    grid = plane_grid(ALBERS, -2.1e6, 2.9e6, (600, 4800))
    assert np.abs(grid.cell_areas_km2("true", 0, 600) - 1.0).max() < 2e-11  # rounding 1e-9 m over 2 km, interpolated


def test_lambert_area_of_a_lambert_grid_is_the_cell():
    grid = plane_grid(LAMBERT, -2.0e6, 2.7e6, (600, 4300))
    assert np.abs(grid.cell_areas_km2("lambert", 0, 600) - 1.0).max() < 2e-11  # as above


def test_feet_and_metres_weigh_the_same():
    feet, metres = crs_from("EPSG:2230"), crs_from("EPSG:26946")  # California zone 6 in US feet and in metres
    foot = 1200 / 3937
    a = plane_grid(feet, 6.2e6, 2.1e6, (60, 50), 1000 / foot)
    b = plane_grid(metres, 6.2e6 * foot, 2.1e6 * foot, (60, 50), 1000.0)
    for measure in ("true", "lambert"):
        assert a.cell_areas_km2(measure, 0, 60) == pytest.approx(
            b.cell_areas_km2(measure, 0, 60), rel=1e-10
        )  # rounding


def mollweide_world(side):
    half = int(np.ceil(18_040_096 / side)), int(np.ceil(9_020_048 / side))
    return plane_grid(MOLLWEIDE, -half[0] * side, half[1] * side, (2 * half[1], 2 * half[0]), side)


def mollweide_by_hand(grid, row0, row1):
    """(inside, true km2): the ellipse, and Snyder's inverse (eq. 31-6, 31-7) with the ellipsoid's area in it."""
    t, radius = grid.transform, 6378137.0
    x = t.c + (np.arange(grid.shape[1]) + 0.5) * t.a
    y = (t.f + (np.arange(row0, row1) + 0.5) * t.e)[:, None]
    inside = (x / (2 * np.sqrt(2) * radius)) ** 2 + (y / (np.sqrt(2) * radius)) ** 2 < 1
    theta = np.arcsin(np.clip(y / (np.sqrt(2) * radius), -1, 1))
    sin_lat = (2 * theta + np.sin(2 * theta)) / np.pi
    km2 = t.a * -t.e / 1e6 * (1 - WGS84_E2) / (1 - WGS84_E2 * sin_lat**2) ** 2
    return inside, np.where(inside, km2, 0.0)


@pytest.mark.parametrize("side", [40_000.0, 5000.0])  # cell by cell, and by the mesh
def test_a_world_map_weighs_its_cells_and_nothing_beyond_its_edge(side):
    grid = mollweide_world(side)
    total = 0.0
    ny = grid.shape[0]
    for row0, row1 in ((0, ny),) if side > 5000 else ((0, 40), (900, 940), (ny - 40, ny)):
        inside, km2 = mollweide_by_hand(grid, row0, row1)
        weights = grid.cell_areas_km2("true", row0, row1)
        assert np.isfinite(weights).all()
        assert (weights[~inside] == 0).all()
        assert (weights[inside] > 0).all()
        # PROJ stops Newton's iteration for Mollweide at 1e-7; towards the poles that is all there is.
        near_pole = np.abs(grid.transform.f + (np.arange(row0, row1) + 0.5) * grid.transform.e) > 8.9e6
        assert np.abs(weights[inside] / km2[inside] - 1).max() < 1e-5
        rest = inside & ~near_pole[:, None]
        assert np.abs(weights[rest] / km2[rest] - 1).max() < 1e-9
        lambert = grid.cell_areas_km2("lambert", row0, row1)
        assert np.isfinite(lambert).all()
        assert ((lambert > 0) == inside).all()
        total += weights.sum()
    if side > 5000:
        assert total == pytest.approx(510_065_622, rel=1e-3)  # cells on the rim count whole or not at all


def test_a_world_map_gives_a_row_the_same_bits_in_any_strip():
    grid = mollweide_world(6000.0)
    whole = grid.cell_areas_km2("true", 500, 540)
    parts = [grid.cell_areas_km2("true", row0, row0 + 8) for row0 in range(500, 540, 8)]
    assert np.vstack(parts).tobytes() == whole.tobytes()


def test_a_grid_wholly_outside_the_domain_weighs_nothing():
    grid = plane_grid(MOLLWEIDE, 17.9e6, 8.9e6, (40, 40))
    for measure in ("true", "lambert"):
        assert (grid.cell_areas_km2(measure, 0, 40) == 0).all()


# --- zones ----------------------------------------------------------------------------------------------------------


def two_zones(**change):
    given = {
        "codes": ("110000", "120000"),
        "geometry": np.array([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)]),
        "crs": WGS84,
    }
    return Zones(**{**given, **change})


def test_zones_keep_what_they_were_given():
    zones = two_zones(names=["a", "b"], parents=["", "110000"], vintage="2019")
    assert len(zones) == 2
    assert (zones.codes, zones.names, zones.parents) == (("110000", "120000"), ("a", "b"), ("", "110000"))
    assert two_zones(geometry=[shapely.box(0, 0, 1, 1), shapely.Polygon()]).geometry[1].is_empty
    assert len(Zones((), np.array([], dtype=object), WGS84)) == 0


def test_nothing_in_zones_can_be_changed():
    given = np.array([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)])
    zones = two_zones(codes=["110000", "120000"], geometry=given)
    with pytest.raises(ValueError, match="read-only"):
        zones.geometry[0] = shapely.box(5, 5, 6, 6)
    with pytest.raises(dataclasses.FrozenInstanceError):
        zones.codes = ("1", "2")
    assert isinstance(zones.codes, tuple)
    before = zones.fingerprints
    given[0] = shapely.box(5, 5, 6, 6)  # the caller's array stays the caller's
    assert zones.fingerprints == before


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"codes": ("110000",)}, "give one code per polygon"),
        ({"geometry": np.array([[shapely.box(0, 0, 1, 1)], [shapely.box(1, 0, 2, 1)]])}, "give one code per polygon"),
        ({"names": ("a",)}, "give one per zone, or no names"),
        ({"parents": ("a", "b", "c")}, "give one per zone, or no parents"),
        ({"geometry": np.array([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)])}, "zones must be polygons"),
        ({"geometry": np.array([shapely.box(0, 0, 1, 1), None])}, "zones must be polygons"),
        ({"geometry": np.array([shapely.LineString([(0, 0), (1, 1)])] * 2)}, "zones must be polygons"),
    ],
    ids=["too few codes", "a column of geometries", "names", "parents", "point", "none", "line"],
)
def test_zones_that_do_not_fit_are_refused(change, mend):
    with pytest.raises(OptionInvalid, match=f"mend:  {mend}"):
        two_zones(**change)


def test_a_code_that_occurs_twice_is_named():
    with pytest.raises(CodeInvalid, match=r"(?s)1 codes occur more than once: 110000.*mend:  dissolve the parts"):
        two_zones(codes=("110000", "110000"))


def test_a_code_that_is_a_number_is_refused():
    with pytest.raises(CodeInvalid, match=r"mend:  write codes as text"):
        two_zones(codes=(110000, 120000))


def test_equal_zones_have_equal_fingerprints():
    zones = two_zones()
    assert two_zones().fingerprints == zones.fingerprints
    assert two_zones() == zones
    assert hash(two_zones()) == hash(zones)
    assert pickle.loads(pickle.dumps(zones)) == zones


@pytest.mark.parametrize(
    ("change", "n_kept"),
    [
        (
            {
                "geometry": np.array(
                    [shapely.Polygon([(0, 0), (1, 0), (1, 1 + 1e-12), (0, 1)]), shapely.box(1, 0, 2, 1)]
                )
            },
            1,
        ),
        ({"codes": ("110000", "120001")}, 1),
        ({"crs": crs_from("EPSG:4490")}, 0),
    ],
    ids=["a moved vertex", "another code", "another crs"],
)
def test_a_change_shows_in_the_fingerprint_of_its_zone_alone(change, n_kept):
    before, after = two_zones(), two_zones(**change)
    assert sum(a == b for a, b in zip(before.fingerprints, after.fingerprints, strict=True)) == n_kept
    assert before != after


def test_zones_of_another_vintage_or_name_are_other_zones():
    assert two_zones() != two_zones(vintage="2019")
    assert two_zones() != two_zones(names=("a", "b"))
    assert two_zones() != "two zones"
