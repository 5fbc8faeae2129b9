"""The rule ``center``: a cell belongs, whole, to the zone that holds its centre. For replication only.

In: a ``Grid`` and ``Zones``. Out: a ``Coverage`` of whole cells, which the engine sums as any other.

Each cell is in one zone at most. Where a centre lies in several zones (they overlap, or it lies on their border) it
goes to the first of them in the layer's order. A centre exactly on a vertical border belongs to the zone on its left,
one on a horizontal border to the zone below: two neighbours compute their border's crossings from the same numbers,
so that no centre falls between them. rasterstats and ArcGIS assign cells this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

from gis.grid import Grid, Zones
from gis.zonal.coverage import Coverage, _ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def center_coverage(
    grid: Grid, zones: Zones, *, run: Callable[..., list[Any]] | None = None, zones_per_task: int = 64
) -> Coverage:
    """Assign each cell to the zone that holds its centre.

    Parameters
    ----------
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks; default: one after the other.

    Returns
    -------
    Coverage whose shares are all 1. A zone that holds no centre has no cells: it is flagged ``NOCELL`` further on.

    Raises
    ------
    GeometryInvalid
        A polygon is invalid or crosses the antimeridian.
    """
    geometry = _ready(grid, zones)
    tasks = [(i, geometry[i : i + zones_per_task]) for i in range(0, len(zones), zones_per_task)]

    def burn(task: tuple[int, NDArray[Any]]) -> list[tuple[int, NDArray[np.int32]]]:
        first, some = task
        return [(first + k, _spans_of(grid, polygon)) for k, polygon in enumerate(some)]

    parts = [item for group in (run(burn, tasks) if run else map(burn, tasks)) for item in group]
    spans = np.concatenate([s for _, s in parts]) if parts else np.empty((0, 3), np.int32)
    zone = np.repeat(np.array([z for z, _ in parts], np.int64), [len(s) for _, s in parts])
    order = np.lexsort((spans[:, 1], zone, spans[:, 0]))
    spans, zone = spans[order], zone[order]
    row, owner, cols = _without_overlaps(spans, zone, grid.shape[1])
    ny = grid.shape[0]
    index = np.uint16 if len(zones) <= 65_535 else np.uint32
    return Coverage(
        grid,
        zones.codes,
        np.searchsorted(row, np.arange(ny + 1)).astype(np.int64),
        owner.astype(index),
        cols,
        np.zeros(ny + 1, np.int64),
        np.empty(0, index),
        np.empty(0, np.int32),
        np.empty(0),
    )


def _spans_of(grid: Grid, polygon: Any) -> NDArray[np.int32]:
    """(n, 3) int32: row, first column, column after the last of the cells whose centre lies in a polygon."""
    import shapely

    rings = shapely.get_rings(shapely.get_parts(polygon))
    if not len(rings):
        return np.empty((0, 3), np.int32)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    t = grid.transform
    u, v = np.ascontiguousarray((xy[:, 0] - t.c) / t.a), np.ascontiguousarray((xy[:, 1] - t.f) / t.e)
    start = np.searchsorted(ring, np.arange(len(rings) + 1)).astype(np.int64)
    return np.asarray(center_spans(u, v, start, grid.shape[0], grid.shape[1]))


@nb.njit(cache=True, nogil=True)
def _rows_crossed(ya: float, yb: float, ny: int) -> tuple[int, int]:
    """Half-open range of rows whose centre line lies in [ya, yb)."""
    return max(int(np.ceil(ya - 0.5)), 0), min(int(np.ceil(yb - 0.5)), ny)


@nb.njit(cache=True, nogil=True)
def center_spans(
    u: NDArray[np.float64], v: NDArray[np.float64], ring_start: NDArray[np.int64], ny: int, nx: int
) -> NDArray[np.int32]:
    """Scan the centre lines of rows over one polygon, by the even-odd rule.

    Parameters
    ----------
    u, v : (n_vertices,) float64 [cells]
        Column and row coordinates of all rings, each closed.
    ring_start : (n_rings + 1,) int64
        Where each ring starts; the last entry is n_vertices.
    """
    count = np.zeros(ny + 1, np.int64)
    for ring in range(ring_start.size - 1):
        for i in range(ring_start[ring], ring_start[ring + 1] - 1):
            first, last = _rows_crossed(min(v[i], v[i + 1]), max(v[i], v[i + 1]), ny)
            for row in range(first, last):
                count[row + 1] += 1
    where = np.cumsum(count)
    crossing = np.empty(where[ny])
    filled = where[:-1].copy()
    for ring in range(ring_start.size - 1):
        for i in range(ring_start[ring], ring_start[ring + 1] - 1):
            xa, ya, xb, yb = u[i], v[i], u[i + 1], v[i + 1]
            if ya > yb:  # always downwards: both neighbours of a border find the same crossing
                xa, ya, xb, yb = xb, yb, xa, ya
            first, last = _rows_crossed(ya, yb, ny)
            for row in range(first, last):
                crossing[filled[row]] = xa + (row + 0.5 - ya) * ((xb - xa) / (yb - ya))
                filled[row] += 1
    spans = np.empty((crossing.size // 2, 3), np.int32)
    n = 0
    for row in range(ny):
        if where[row] == where[row + 1]:
            continue
        line = np.sort(crossing[where[row] : where[row + 1]])
        for k in range(0, line.size - 1, 2):
            # Centres in (x0, x1]: GDAL's rule, and so that of rasterstats.
            a = max(int(np.floor(max(line[k], -1.0) + 0.5)), 0)
            b = min(int(np.floor(min(line[k + 1], nx + 1.0) + 0.5)), nx)
            if a < b:
                spans[n, 0], spans[n, 1], spans[n, 2] = row, a, b
                n += 1
    return spans[:n]


@nb.njit(cache=True, nogil=True)
def _without_overlaps(
    spans: NDArray[np.int32], zone: NDArray[np.int64], nx: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Row, zone and columns of spans in which every cell is left to the first zone that claims it."""
    taken_in = np.full(nx, -1, np.int64)  # the last row in which a cell of this column was taken
    row_out, zone_out, cols_out = np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, 2), np.int32)
    for fill in range(2):  # count, then fill
        taken_in[:] = -1
        n = 0
        for i in range(spans.shape[0]):
            row, start = spans[i, 0], -1
            for col in range(spans[i, 1], spans[i, 2]):
                free = taken_in[col] != row
                if free:
                    taken_in[col] = row
                    if start < 0:
                        start = col
                if start >= 0 and (not free or col == spans[i, 2] - 1):
                    if fill:
                        row_out[n], zone_out[n] = row, zone[i]
                        cols_out[n, 0], cols_out[n, 1] = start, col + 1 if free else col
                    n += 1
                    start = -1
        if not fill:
            row_out, zone_out, cols_out = np.empty(n, np.int32), np.empty(n, np.int64), np.empty((n, 2), np.int32)
    return row_out, zone_out, cols_out
