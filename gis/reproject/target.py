"""Target grids: where a reprojected raster's cells lie.

In: source grids or bounds, a CRS, a cell size. Out: a ``Grid`` whose corner is a multiple of the cell, so that rasters
of any product and extent share cells wherever they meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, crs_name, transformer
from gis.errors import CrsInvalid, OptionInvalid
from gis.grid import Grid
from gis.reproject.mesh import points_in

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS

MAX_CELLS = 4_000_000_000
"""Targets larger than this are a slip of the unit, not a wish: 16 GB a file."""

SNAP = 1e-9
"""An edge this close to a multiple of the cell [cells] lies on it: rounding must not add a row."""


def target_grid(
    sources: Sequence[Grid],
    crs: Any,
    cell: float,
    *,
    bounds_xy: tuple[float, float, float, float] | None = None,
) -> Grid:
    """The smallest grid of square cells, at multiples of the cell, that holds all source cells.

    Parameters
    ----------
    sources : grids that are to share the target.
    crs : of the target, anything `gis.crs.crs_from` reads.
    cell : side of a cell [unit of ``crs``: metre, or degree]
    bounds_xy : (x_min, y_min, x_max, y_max) in ``crs``, optional
        What the target is to hold, in place of the sources' own extent.

    Raises
    ------
    OptionInvalid
        The cell is zero, negative, not finite, larger than the data, or so small that the grid has billions of cells.
    CrsInvalid
        A corner of a source's edge cells has no place in ``crs``.

    Notes
    -----
    The extent comes from every corner along the sources' edges. The projected cells have straight sides between
    corners, so these bound them exactly.
    """
    plane = crs_from(crs, where="--to")
    unit = plane.axis_info[0].unit_name if plane.axis_info else "unit"
    if not (math.isfinite(cell) and cell > 0):
        raise OptionInvalid(
            f"a cell of {cell:g} {unit} has no area", where="--cell", mend=f"give its side in {unit}: {_example(plane)}"
        )
    # The corner and size of this grid do not matter: only its CRS, and one unit of it, are used.
    unit_grid = Grid((1, 1), _affine(1.0, 0, 0), plane)
    x0, y0, x1, y1 = bounds_xy or _bounds(sources, unit_grid)
    if (x1 - x0) < cell and (y1 - y0) < cell:
        raise OptionInvalid(
            f"a cell of {cell:g} {unit} is larger than the data ({x1 - x0:.6g} by {y1 - y0:.6g} {unit})",
            where="--cell",
            mend=f"the cell is measured in the unit of the target CRS, {unit}: {_example(plane)}",
        )
    nx, ny = (x1 - x0) / cell, (y1 - y0) / cell
    if nx * ny > MAX_CELLS:
        raise OptionInvalid(
            f"cells of {cell:g} {unit} make a grid of {ny:,.0f} rows and {nx:,.0f} columns",
            where="--cell",
            mend=f"the cell is measured in the unit of the target CRS, {unit}: {_example(plane)}",
        )
    col0, col1 = math.floor(x0 / cell + SNAP), math.ceil(x1 / cell - SNAP)
    row0, row1 = math.floor(y0 / cell + SNAP), math.ceil(y1 / cell - SNAP)
    return Grid((max(row1 - row0, 1), max(col1 - col0, 1)), _affine(cell, col0, row1), plane)


def _affine(cell: float, col: int, row: int) -> Any:
    from affine import Affine

    return Affine(cell, 0.0, col * cell, 0.0, -cell, row * cell)


def _example(crs: CRS) -> str:
    return "--cell 0.01" if crs.is_geographic else "--cell 1000"


def _bounds(sources: Sequence[Grid], target: Grid) -> tuple[float, float, float, float]:
    if not sources:
        raise OptionInvalid("there is no raster to make a grid for", mend="name at least one raster")
    boxes = []
    for grid in sources:
        _refuse_elsewhere(grid, target.crs)
        row, col = edge_corners(grid)
        u, v = points_in(grid, target, row, col, 0.0)
        lost = ~np.isfinite(u)
        if lost.any():
            t, k = grid.transform, int(np.flatnonzero(lost)[0])
            raise CrsInvalid(
                f"{crs_name(target.crs)} does not cover the raster: the corner "
                f"({t.c + col[k] * t.a:.6g}, {t.f + row[k] * t.e:.6g}) of {crs_name(grid.crs)} has no place in it",
                where="--to",
                mend="reproject the part it covers: --like a raster of that part, or choose another --to",
            )
        boxes.append((u.min(), -v.max(), u.max(), -v.min()))  # cells of 1 unit, rows counted down from y = 0
    found = np.array(boxes)
    return (
        float(found[:, 0].min()),
        float(found[:, 1].min()),
        float(found[:, 2].max()),
        float(found[:, 3].max()),
    )


def _refuse_elsewhere(grid: Grid, crs: CRS) -> None:
    """Refuse a CRS made for another part of the earth: its formulas may answer there all the same."""
    area = crs.area_of_use
    if area is None or grid.crs.geodetic_crs is None:
        return
    row, col = edge_corners(grid)
    t = grid.transform
    move = transformer(grid.crs, grid.crs.geodetic_crs)
    lon, lat = (np.asarray(v) for v in move.transform(t.c + col * t.a, t.f + row * t.e))
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return
    lon, lat = lon[known], lat[known]
    width = (area.east - area.west) % 360 or 360.0
    # Data may surround the area without a corner inside it, so intervals are compared, not points.
    start, span = float(lon.min()), float(np.ptp(lon))
    meets = (start - area.west) % 360 <= width or (area.west - start) % 360 <= span
    if not (meets and lat.min() <= area.north and lat.max() >= area.south):
        raise CrsInvalid(
            f"{crs_name(crs)} does not cover the raster: it is made for {area.name[:60]}",
            where="--to",
            mend="choose another --to, for example ESRI:102027 for China",
        )


def edge_corners(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, col) of every cell corner along the edge of a grid."""
    ny, nx = grid.shape
    rows, cols = np.arange(ny + 1), np.arange(nx + 1)
    return (
        np.concatenate([np.zeros(nx + 1, int), np.full(nx + 1, ny), rows, rows]),
        np.concatenate([cols, cols, np.zeros(ny + 1, int), np.full(ny + 1, nx)]),
    )
