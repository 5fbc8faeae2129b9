"""Coordinates of one grid's points in the cells of another: exact, at the price of a few.

In: two grids. Out: ``Mesh``: exact coordinates at every 32nd point, from which all others are interpolated by quintics
to within ``TOLERANCE`` of a cell. The error is measured block by block against PROJ; a block that misses it, or that
touches the edge of a projection, is computed point by point instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import same_crs, transformer
from gis.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCE = 1e-7
"""Largest error of an interpolated coordinate, where it is largest in its block [cells of the other grid]."""

STEPS = (32, 16, 8, 4)
"""Mesh steps tried, coarse to fine [cells]; each divides a strip of 512 rows."""

FEW = 0.02
"""Share of blocks that may be computed point by point before a finer step is tried."""

ROUND_TRIP_CELLS = 1e-3
"""A point that comes back further away than this lies outside the other CRS's domain [cells]."""

TORN = 64.0
"""A projected cell this many times larger than the median one has been torn apart by the edge of a projection."""


def points_in(grid: Grid, other: Grid, row: NDArray[np.int64], col: NDArray[np.int64], shift: float) -> Floats:
    """Carry points of a grid to another grid's cell coordinates, by PROJ, point by point.

    Parameters
    ----------
    row, col : whole numbers of the same shape; may lie beyond the grid.
    shift : 0 for the corner of cell (row, col), 0.5 for its centre.

    Returns
    -------
    (2, ...) float64: column and row coordinates in ``other``; NaN where its CRS has no such point.
    """
    t = grid.transform
    x, y = t.c + (col + shift) * t.a, t.f + (row + shift) * t.e
    if same_crs(grid.crs, other.crs):
        return _in_cells(other, x, y)
    if grid.is_geographic:
        # An edge at 90 degrees may have become 90.00000000000001 on the way.
        y = np.where((np.abs(y) > 90) & (np.abs(y) < 90 + 1e-9), np.copysign(90.0, y), y)
    mx, my = transformer(grid.crs, other.crs).transform(x, y)
    with np.errstate(invalid="ignore"):
        back_x, back_y = transformer(other.crs, grid.crs).transform(mx, my)
        away_x, away_y = (np.asarray(back_x) - x) / t.a, (np.asarray(back_y) - y) / t.e
        if grid.is_geographic:
            turn = 360.0 / t.a
            away_x = (away_x - turn * np.rint(away_x / turn)) * np.cos(np.radians(np.clip(y, -90, 90)))
        good = np.isfinite(mx) & np.isfinite(my) & (np.hypot(away_x, away_y) <= ROUND_TRIP_CELLS)
    out = _in_cells(other, np.asarray(mx), np.asarray(my))
    out[:, ~good] = np.nan
    return out


def _in_cells(other: Grid, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    t = other.transform
    if other.is_geographic:
        # 190 E and 170 W are one place: take the turn on which the grid lies, cut in the middle of what it leaves out.
        spare = max((360.0 - other.shape[1] * t.a) / 2, 0.0)
        with np.errstate(invalid="ignore"):
            x = x - 360.0 * np.floor((x - (t.c - spare)) / 360.0)
    return np.stack([(x - t.c) / t.a, (y - t.f) / t.e])


def lagrange_weights(step: int) -> Floats:
    """(step + 1, 6): weights of nodes -2 to 3 for the quintic through them at 0, 1 / step, ..., 1."""
    u, nodes = np.arange(step + 1) / step, range(-2, 4)
    # Differences of small whole numbers are exact, so that at both ends one weight is 1 and the others are 0.
    return np.column_stack([np.prod([(u - k) / (node - k) for k in nodes if k != node], axis=0) for node in nodes])


@dataclass(frozen=True, slots=True)
class Mesh:
    """Where the points of ``grid`` lie in ``other``. Blocks are counted from the grid's first point."""

    grid: Grid
    """The grid whose points are meant."""
    other: Grid
    """The grid in whose cells coordinates are given."""
    shift: float
    """0 for corners of cells, 0.5 for centres."""
    step: int
    """Points of a block, per side."""
    first_block: tuple[int, int]
    """(row, col) of the first block; those before it are out of reach of ``other``."""
    u: Floats = field(repr=False)
    """(n_block_rows + 5, n_block_cols + 5): column coordinates of the nodes; the first block's corner is [2, 2]."""
    v: Floats = field(repr=False)
    """The same for rows."""
    good: NDArray[np.bool_] = field(repr=False)
    """(n_block_rows, n_block_cols): blocks that may be interpolated; the others are computed point by point."""
    lagrange: Floats = field(repr=False)
    """(step + 1, 6): weights of the nodes."""
    error: float = 0.0
    """Largest error measured in a good block [cells of ``other``]."""

    def exact(self, row: NDArray[np.int64], col: NDArray[np.int64]) -> Floats:
        """(2, ...) coordinates of single points by PROJ."""
        return points_in(self.grid, self.other, row, col, self.shift)

    def exact_blocks(self, blocks: NDArray[np.int64]) -> Floats:
        """(2, n, step + 1, step + 1) coordinates of the points of n (row, col) blocks, far edges included, by PROJ."""
        side = np.arange(self.step + 1)
        row = blocks[:, 0, None, None] * self.step + side[:, None]
        col = blocks[:, 1, None, None] * self.step + side
        row, col = np.broadcast_arrays(row, col)
        return self.exact(row, col)

    def window(self, row0: int, row1: int, col0: int, col1: int) -> Floats:
        """(2, row1 - row0, col1 - col0) coordinates of a window of points; NaN out of reach of ``other``."""
        from gis.zonal.sample_kernels import window_points

        step, (first_row, first_col) = self.step, self.first_block
        out = np.full((2, row1 - row0, col1 - col0), np.nan)
        n_rows, n_cols = self.good.shape
        a, b = max(row0, first_row * step), min(row1, (first_row + n_rows) * step)
        c, d = max(col0, first_col * step), min(col1, (first_col + n_cols) * step)
        if a >= b or c >= d:
            return out
        for nodes, part in ((self.u, out[0]), (self.v, out[1])):
            points = np.empty((b - a, d - c))
            window_points(nodes, self.first_block, step, self.lagrange, a, c, points)
            part[a - row0 : b - row0, c - col0 : d - col0] = points
        block_row, block_col = np.arange(a, b) // step - first_row, np.arange(c, d) // step - first_col
        i, j = np.nonzero(~self.good[block_row[:, None], block_col])
        if i.size:
            out[:, i + (a - row0), j + (c - col0)] = self.exact(i + a, j + c)
        return out


def mesh_of_corners(source: Grid, target: Grid) -> Mesh:
    """Where the corners of the source's cells lie in the target: what splits cells."""
    return _mesh(source, target, 0.0, 1)


def mesh_of_centres(target: Grid, source: Grid) -> Mesh:
    """Where the centres of the target's cells lie in the source: what samples."""
    return _mesh(target, source, 0.5, 0)


def mesh_of_target_corners(target: Grid, source: Grid) -> Mesh:
    """Where the corners of the target's cells lie in the source: what averages."""
    return _mesh(target, source, 0.0, 1)


@lru_cache(maxsize=8)
def _mesh(grid: Grid, other: Grid, shift: float, extra: int) -> Mesh:
    """Build the coarsest mesh that is exact enough nearly everywhere; one serves every raster on the same two grids."""
    best: Mesh | None = None
    for step in STEPS:
        best, misses = _mesh_with(grid, other, shift, extra, step)
        if misses <= FEW:
            break
    assert best is not None  # STEPS is not empty
    for array in (best.u, best.v, best.good, best.lagrange):
        array.setflags(write=False)
    return best


def _mesh_with(grid: Grid, other: Grid, shift: float, extra: int, step: int) -> tuple[Mesh, float]:
    """Build a mesh of one step; return it with the share of blocks that are smooth and yet not exact enough."""
    ny, nx = grid.shape
    row0, row1, col0, col1 = reach(grid, other)
    # Blocks hold points 0 to n - 1; of corners there is one more than of cells.
    b_row0, b_row1 = row0 // step, min(row1, ny - 1 + extra) // step + 1
    b_col0, b_col1 = col0 // step, min(col1, nx - 1 + extra) // step + 1
    rows, cols = np.arange(b_row0 - 2, b_row1 + 3), np.arange(b_col0 - 2, b_col1 + 3)
    row, col = np.meshgrid(rows * step, cols * step, indexing="ij")
    u, v = points_in(grid, other, row, col, shift)
    finite = np.isfinite(u)
    known = np.lib.stride_tricks.sliding_window_view(finite, (6, 6)).all(axis=(2, 3))
    weights = lagrange_weights(step)
    error = np.zeros(known.shape)
    half = step // 2
    for i, j in ((half, half), (0, half), (half, 0)):  # a quintic misses most in the middle between nodes
        r, c = np.meshgrid(rows[2:-3] * step + i, cols[2:-3] * step + j, indexing="ij")
        truth = points_in(grid, other, r, c, shift)
        for nodes, true in ((u, truth[0]), (v, truth[1])):
            error = np.maximum(error, np.abs(_at(nodes, weights[i], weights[j]) - true))
    with np.errstate(invalid="ignore"):
        good = known & (error <= TOLERANCE)
    misses = float((known & ~good).mean())
    largest = float(error[good].max()) if good.any() else 0.0
    u, v = (np.ascontiguousarray(a) for a in (u, v))
    return Mesh(grid, other, shift, step, (int(b_row0), int(b_col0)), u, v, good, weights, largest), misses


def _at(nodes: Floats, by_row: Floats, by_col: Floats) -> Floats:
    n, m = nodes.shape[0] - 5, nodes.shape[1] - 5
    line = sum((by_row[k] * nodes[k : k + n] for k in range(6)), np.zeros((n, nodes.shape[1])))
    return np.asarray(sum((by_col[k] * line[:, k : k + m] for k in range(6)), np.zeros((n, m))))


REACH_STEP = 32
"""Spacing of the lattice that finds which part of a large grid another one reaches [cells]."""
REACH_MARGIN = 96
"""Cells added around it: an edge between two points of the lattice bulges by far less."""


def reach(grid: Grid, other: Grid) -> tuple[int, int, int, int]:
    """Rows and columns (row0, row1, col0, col1) of ``grid`` outside which nothing lies in ``other``."""
    (ny, nx), (n_rows, n_cols) = grid.shape, other.shape
    rows = np.unique(np.append(np.arange(0, n_rows, REACH_STEP), n_rows))
    cols = np.unique(np.append(np.arange(0, n_cols, REACH_STEP), n_cols))
    row, col = np.meshgrid(rows, cols, indexing="ij")
    u, v = points_in(other, grid, row, col, 0.0)
    seen = np.isfinite(u)
    if not seen.all():  # the edge of a projection: nothing can be left out safely
        return 0, ny, 0, nx
    # A lattice point of a coarse grid is many cells of a fine one apart.
    spread = max(float(np.abs(np.diff(u, axis=1)).max(initial=0)), float(np.abs(np.diff(v, axis=0)).max(initial=0)))
    margin = REACH_MARGIN + int(min(spread, ny + nx) / 8)
    return (
        int(np.clip(np.floor(v.min()) - margin, 0, ny)),
        int(np.clip(np.ceil(v.max()) + margin, 0, ny)),
        int(np.clip(np.floor(u.min()) - margin, 0, nx)),
        int(np.clip(np.ceil(u.max()) + margin, 0, nx)),
    )
