"""Flares, water and the coast (METHOD 2 rules 5 and 6)."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import Geod

from gis.crs import crs_from
from gis.grid import Grid, Zones
from gis.zonal.coverage import coverage_from_zones, weigh
from gis.zonal.layer import light_layer
from gis.zonal.masks import buffer_points, coast_extender, count_touching, either, polygon_mask, strip_shares

WGS84 = crs_from("EPSG:4326")
GRID = Grid((600, 240), Affine(1 / 120, 0, 110, 0, -1 / 120, 36), WGS84)


def zones_of(*shapes):
    return Zones(tuple(map(str, range(len(shapes)))), np.array(shapes, object), WGS84)


def whole(mask):
    return np.concatenate([mask(strip) for strip in range(GRID.n_strips)])


def test_a_point_becomes_a_geodesic_circle():
    circle = buffer_points(np.array([shapely.Point(111, 34)], object), WGS84, 3.0)[0]
    lon, lat = circle.exterior.coords.xy
    distance = Geod(ellps="WGS84").inv(np.full(len(lon), 111.0), np.full(len(lon), 34.0), lon, lat)[2]
    assert np.allclose(distance, 3000, atol=1e-6)  # metres; the inverse geodesic's own accuracy
    area = abs(Geod(ellps="WGS84").geometry_area_perimeter(circle)[0]) / 1e6
    assert area == pytest.approx(36 * np.sin(np.radians(5)) * 9, rel=1e-5)  # 72 triangles; curvature is 1e-7 of it


def test_cells_mostly_inside_are_masked():
    mask = whole(
        polygon_mask(GRID, np.array([shapely.box(110.1, 35.1, 110.2, 35.5 + 0.3 / 120)], object), WGS84, inside=True)
    )
    rows, cols = np.nonzero(mask)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (60, 107, 12, 23)  # 0.3 of row 59 is not enough


def test_outside_of_land_is_the_complement_of_inside():
    land = np.array([shapely.Point(111, 34).buffer(0.5), shapely.Point(111.3, 34).buffer(0.5)], object)
    inside, outside = (whole(polygon_mask(GRID, land, WGS84, inside=i)) for i in (True, False))
    assert np.array_equal(inside, ~outside)


def test_either_mask_takes_a_cell_out():
    a = polygon_mask(GRID, np.array([shapely.box(110, 35, 110.5, 36)], object), WGS84, inside=True)
    b = polygon_mask(GRID, np.array([shapely.box(110.4, 34, 111, 36)], object), WGS84, inside=True)
    both = either([a, b])
    assert both is not None and either([]) is None
    assert np.array_equal(whole(both), whole(a) | whole(b))


def test_masked_cells_are_measured_per_zone():
    zones = zones_of(shapely.box(110, 35, 111, 36), shapely.box(111, 35, 112, 36))
    flare = polygon_mask(GRID, np.array([shapely.box(110.9, 35.4, 111.2, 35.5)], object), WGS84, inside=True)
    layer = light_layer(GRID, zones, flares=flare)
    assert layer.masked_cells == pytest.approx([12 * 12, 24 * 12], rel=1e-12)
    weight = GRID.cell_areas_km2("true", 60, 72).sum()
    assert layer.masked_true == pytest.approx([12 * weight, 24 * weight], rel=1e-12)


def test_flares_are_counted_where_they_touch():
    zones = zones_of(shapely.box(110, 35, 111, 36), shapely.box(111, 35, 112, 36))
    points = np.array([shapely.Point(110.99, 35.5), shapely.Point(110.5, 35.5), shapely.Point(115, 35)], object)
    assert count_touching(zones, buffer_points(points, WGS84, 3.0), WGS84).tolist() == [2, 1]


def test_strip_shares_are_the_sum_of_all_zones():
    zones = zones_of(shapely.Point(110.7, 34).buffer(0.31), shapely.Point(111.1, 33.5).buffer(0.42))
    coverage = coverage_from_zones(GRID, zones)
    found = np.concatenate([strip_shares(coverage, *GRID.strip_rows(s)) for s in range(GRID.n_strips)])
    assert np.abs(found - coverage.dense(0) - coverage.dense(1)).max() < 1e-12


@pytest.mark.parametrize("multipart", [False, True])
def test_the_sea_within_the_buffer_goes_to_the_nearest_zone(multipart):
    west, east = shapely.box(110.2, 33, 110.8, 35), shapely.box(111.2, 33, 111.7, 35)
    island = shapely.box(110.5, 31.1, 110.6, 31.2)
    zones = zones_of(shapely.MultiPolygon([west, island]) if multipart else west, east)
    coverage = coverage_from_zones(GRID, zones)
    reach = coast_extender(10.0)(coverage, zones)
    assert np.array_equal(reach.span_cols, coverage.span_cols)
    gained = [reach.dense(i) - coverage.dense(i) for i in range(2)]
    assert all(g.min() >= 0 for g in gained)
    total = sum(reach.dense(i) for i in range(2))
    assert total.max() <= 1 + 1e-12
    geodesic, t = Geod(ellps="WGS84"), GRID.transform
    rng = np.random.default_rng(0)
    for row, col in zip(rng.integers(130, 350, 300), rng.integers(2, 230, 300), strict=True):
        lon, lat = t.c + (col + 0.5) * t.a, t.f + (row + 0.5) * t.e
        # between 33 and 35 degrees the nearest point lies due east or west, along a parallel to within a metre
        d = [min(geodesic.inv(lon, lat, x, lat)[2] for x in (z.bounds[0], z.bounds[2])) / 1e3 for z in (west, east)]
        if coverage.dense(0)[row, col] + coverage.dense(1)[row, col] > 0 or not 33.05 < lat < 34.95:
            continue
        nearest = int(np.argmin(d))
        if abs(d[nearest] - 10) < 0.05:  # the scale k changes by less than 0.3% over the buffer
            continue
        expected = 1.0 if d[nearest] < 10 else 0.0
        assert gained[nearest][row, col] == expected
        assert gained[1 - nearest][row, col] == 0


def test_a_coast_cell_is_completed_not_counted_twice():
    zones = zones_of(shapely.box(110.2 + 0.3 / 120, 33, 110.8, 35))
    coverage = coverage_from_zones(GRID, zones)
    reach = coast_extender(0.3)(coverage, zones)  # km, less than half a cell: only cells that the border cuts
    assert weigh(reach, "cells")[0] == pytest.approx(weigh(coverage, "cells")[0] + 0.3 * 240, rel=1e-9)
