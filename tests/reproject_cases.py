"""Small grids, rasters and slow definitions for the tests of reprojection; no code of the package decides a number."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from pyproj import Transformer

from gis.grid import Grid
from gis.raster_io import CellRules, read_info, write_raster
from gis.reproject import plan_for, resample, target_grid

WGS84, LAMBERT = "EPSG:4326", "ESRI:102027"


def one_by_one(function, tasks):
    return [function(task) for task in tasks]


def lonlat_grid(ny=40, nx=50, lon=110.0, lat=35.0, step=1 / 120):
    return Grid((ny, nx), Affine(step, 0, lon, 0, -step, lat), WGS84)


def source_of(path, values, grid, *, nodata=None, rules=None, dtype=None):
    """(info, rules) of a raster written for a test; without rules negatives are data."""
    write_raster(path, values, grid, dtype=dtype or values.dtype, nodata=nodata, cog=False)
    fills = () if nodata is None or np.isnan(nodata) else (float(nodata),)
    return read_info(path), rules or CellRules(nodata=fills, negatives="keep")


def made(source, target, kind, resampling, run=one_by_one, **options):
    """(whole target array, plan)."""
    plan = plan_for(*source, target, kind, resampling, **options)
    return np.concatenate(list(resample(plan, run=run))), plan


def target_for(grid, cell, crs=LAMBERT):
    return target_grid([grid], crs, cell)


def corners(grid, crs):
    """(2, ny + 1, nx + 1) corners of all cells in another CRS, each by PROJ."""
    (ny, nx), t = grid.shape, grid.transform
    col, row = np.meshgrid(np.arange(nx + 1), np.arange(ny + 1))
    move = Transformer.from_crs(grid.crs, crs, always_xy=True)
    return np.stack(move.transform(t.c + col * t.a, t.f + row * t.e))


def quads(grid, crs):
    """(ny, nx) polygons of projected cells."""
    x, y = corners(grid, crs)
    ring = [(x[:-1, :-1], y[:-1, :-1]), (x[:-1, 1:], y[:-1, 1:]), (x[1:, 1:], y[1:, 1:]), (x[1:, :-1], y[1:, :-1])]
    return shapely.polygons(np.stack([np.stack(p, axis=-1) for p in ring], axis=-2))


def overlaps(grid, target):
    """Overlap area of every projected source cell with every target cell: (n_source, n_target), by shapely."""
    (ny, nx), t = target.shape, target.transform
    col, row = np.meshgrid(np.arange(nx), np.arange(ny))
    boxes = shapely.box(t.c + col * t.a, t.f + (row + 1) * t.e, t.c + (col + 1) * t.a, t.f + row * t.e).ravel()
    cells = quads(grid, target.crs).ravel()
    out = np.zeros((cells.size, boxes.size))
    i, j = shapely.STRtree(boxes).query(cells)
    out[i, j] = shapely.area(shapely.intersection(cells[i], boxes[j]))
    return out, shapely.area(cells)


def centres_in(target, source):
    """Column and row of every target centre in the source's cells, point by point by PROJ."""
    (ny, nx), t, s = target.shape, target.transform, source.transform
    col, row = np.meshgrid(np.arange(nx), np.arange(ny))
    move = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    x, y = move.transform(t.c + (col + 0.5) * t.a, t.f + (row + 0.5) * t.e)
    return (np.asarray(x) - s.c) / s.a, (np.asarray(y) - s.f) / s.e
