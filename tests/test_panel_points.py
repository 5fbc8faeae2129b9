"""Centres of population from the cells of a raster, against a sum cell by cell with shapely's intersections."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from gis.crs import crs_from
from gis.grid import Grid, Zones
from gis.panel.distances import points_of_vectors
from gis.pipeline import panel_points
from gis.raster_io import CellRules, read_info, write_raster
from gis.zonal.coverage import coverage_from_zones

GEOD = Geod(ellps="WGS84")
RULES = CellRules(nodata=(-1.0,), below_zero_is_nodata=True)


def by_hand(values: np.ndarray, grid: Grid, polygon) -> np.ndarray | None:
    """The definition: every cell's people, times its share in the polygon, times the unit vector of its centre."""
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    total = np.zeros(3)
    for row, col in np.ndindex(values.shape):
        if values[row, col] > 0:
            t = grid.transform
            x0, y0, x1, y1 = t.c + col * t.a, t.f + row * t.e, t.c + (col + 1) * t.a, t.f + (row + 1) * t.e
            cell = shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            share = shapely.area(shapely.intersection(cell, polygon)) / shapely.area(cell)
            lon, lat = np.radians(to_degrees.transform((x0 + x1) / 2, (y0 + y1) / 2))
            total += share * values[row, col] * np.array(
                [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])  # fmt: skip
    return total if total.any() else None


def found_by(tmp_path, values: np.ndarray, grid: Grid, polygons) -> np.ndarray:
    path = tmp_path / "people.tif"
    write_raster(path, [values], grid, dtype="int32", nodata=-1)
    info = read_info(path)
    zones = Zones(tuple(f"11010{k}" for k in range(len(polygons))), np.array(polygons, dtype=object), grid.crs)
    return panel_points.cell_vectors(info, RULES, coverage_from_zones(info.grid, zones))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_units_match_the_sum_over_cells(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 50, (7, 9)).astype(np.int32)
    grid = Grid(values.shape, Affine(0.5, 0, 100, 0, -0.5, 40), crs_from("EPSG:4326"))
    corners = rng.uniform([100, 36.5], [104.5, 40], (4, 5, 2))
    polygons = [shapely.convex_hull(shapely.MultiPoint(c)) for c in corners]
    found = found_by(tmp_path_factory.mktemp("points"), values, grid, polygons)
    for vector, polygon in zip(found, polygons, strict=True):
        expected = by_hand(values, grid, polygon)
        np.testing.assert_allclose(vector, 0 if expected is None else expected, atol=1e-9)  # shares to 2e-12, of 3,000


def test_a_raster_in_a_projection_is_taken_to_degrees(tmp_path):
    grid = Grid((4, 6), Affine(1000, 0, 8_000_000, 0, -1000, 4_200_000), crs_from("ESRI:54009"))
    values = np.arange(24, dtype=np.int32).reshape(4, 6)
    polygon = shapely.box(8_000_500, 4_196_500, 8_005_250, 4_199_750)
    found = points_of_vectors(found_by(tmp_path, values, grid, [polygon]))[0]
    expected = points_of_vectors(by_hand(values, grid, polygon)[None])[0]
    assert GEOD.inv(*found, *expected)[2] < 0.01  # m; double precision of a mean of unit vectors


def test_strips_change_nothing_but_the_last_bits(tmp_path):
    rng = np.random.default_rng(2)
    values = rng.integers(0, 9, (1100, 40)).astype(np.int32)
    grid = Grid(values.shape, Affine(0.01, 0, 100, 0, -0.01, 45), crs_from("EPSG:4326"))
    polygon = shapely.box(100.05, 34.2, 100.35, 44.9)  # three strips of 512 rows
    found = found_by(tmp_path, values, grid, [polygon])
    lon, lat = np.meshgrid(np.radians(100.005 + 0.01 * np.arange(40)), np.radians(44.995 - 0.01 * np.arange(1100)))
    inside = values * ((np.arange(40) >= 5) & (np.arange(40) < 35)) * (
        (np.arange(1100) >= 10) & (np.arange(1100) < 1080))[:, None]  # fmt: skip
    expected = [(inside * v).sum() for v in (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))]
    np.testing.assert_allclose(found[0], expected, rtol=1e-11)  # edges at 0.01 degree are not exact in binary


def test_a_unit_without_people_has_no_point(tmp_path):
    grid = Grid((2, 2), Affine(1, 0, 100, 0, -1, 40), crs_from("EPSG:4326"))
    values = np.array([[0, -1], [5, 0]], np.int32)
    found = points_of_vectors(
        found_by(tmp_path, values, grid, [shapely.box(100, 39, 102, 40), shapely.box(100, 38, 101, 39)])
    )
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == pytest.approx([100.5, 38.5], abs=1e-12)  # one cell: its centre
