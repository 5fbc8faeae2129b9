"""The scan on the ground: every cell of a grid asks the transform, exactly, which pixel lies there.

In: an open picture, a ``Transform``, a ``Grid``. Out: strips of colours. No approximate transformer is involved: each
cell's coordinates are computed; only the start of Newton's method is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, same_crs, transformer
from gis.errors import OptionInvalid
from gis.grid import Grid
from gis.historical.control_points import WGS84, ControlPoints
from gis.historical.transforms import SmoothTransform, Transform, finite

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS

    from gis.raster_io.pictures import PictureHandle

    Floats = NDArray[np.float64]
    Bytes = NDArray[np.uint8]

TILE = 256
"""Cells of a tile's side: what is computed at once."""
MESH = 16
"""Cells between the exact positions from which Newton's starts are interpolated."""
WINDOW = 16_000_000
"""Most pixels read for one tile; a tile that needs more is cut into four."""
BEYOND = 0.5
"""How far the warped picture reaches beyond the control points, in extents of theirs: a polynomial or a spline may fold
or fly off there, and a title in the margin is no map."""
MAX_CELLS = 400_000_000


def warp_grid(
    transform: Transform,
    points: ControlPoints,
    size: tuple[int, int],
    crs: Any,
    *,
    resolution: float | None = None,
) -> Grid:
    """Lay a grid over the part of the scan that the control points vouch for.

    Parameters
    ----------
    size : (height, width) of the scan [px]
    crs : CRS of the grid, geographic or projected
    resolution : cell size in the unit of ``crs``; default: the scan's own, in the middle of the points

    Raises
    ------
    OptionInvalid
        More than 400 million cells, or a cell size that is not positive.
    """
    from affine import Affine

    target, used = crs_from(crs), points.used()
    ground = np.column_stack(_to(target).transform(used.lon, used.lat))
    low, high = ground.min(axis=0), ground.max(axis=0)
    reach = BEYOND * (high - low).max()
    outline = _outline(transform, size, target)
    west, south = np.maximum(np.nanmin(outline, axis=0, initial=np.inf), low - reach)
    east, north = np.minimum(np.nanmax(outline, axis=0, initial=-np.inf), high + reach)
    cell = _own_resolution(transform, used, target) if resolution is None else float(resolution)
    if not (cell > 0 and math.isfinite(cell)):
        raise OptionInvalid(f"a cell size of {cell:g}", mend="give a positive --resolution in the unit of the CRS")
    nx, ny = (max(1, math.ceil(side / cell - 1e-9)) for side in (east - west, north - south))
    if nx * ny > MAX_CELLS:
        raise OptionInvalid(
            f"the warped scan would have {ny} x {nx} cells of {cell:g}",
            mend=f"give a coarser --resolution than {cell:g}",
        )
    return Grid((ny, nx), Affine(cell, 0.0, west, 0.0, -cell, north), target)


def warp_strips(picture: PictureHandle, transform: Transform, grid: Grid, *, smooth: bool = True) -> Iterator[Bytes]:
    """Make the strips of the warped picture from north to south; memory is bounded by a strip of tiles.

    Parameters
    ----------
    smooth : bilinear between pixel centres; otherwise the pixel the cell's centre lies in

    Yields
    ------
    (4, rows, nx) uint8: red, green, blue, alpha; alpha 0 off the scan
    """
    ny, nx = grid.shape
    for row in range(0, ny, TILE):
        rows = min(TILE, ny - row)
        strip = np.zeros((4, rows, nx), np.uint8)
        for col in range(0, nx, TILE):
            cols = min(TILE, nx - col)
            px, py = pixels_of(transform, grid, row, rows, col, cols)
            strip[:, :, col : col + cols] = _colours(picture, px, py, smooth)
        yield strip


def pixels_of(transform: Transform, grid: Grid, row: int, rows: int, col: int, cols: int) -> tuple[Floats, Floats]:
    """(rows, cols) column and row on the scan of the centres of a block of cells; NaN where there is no answer."""
    r, c = np.arange(row + 0.5, row + rows), np.arange(col + 0.5, col + cols)
    inverse = _inverse(transform, grid.crs)
    if not isinstance(transform, SmoothTransform):
        return inverse(*_centres(grid, r, c), None)
    mesh_r, mesh_c = _mesh(r), _mesh(c)
    mesh = inverse(*_centres(grid, mesh_r, mesh_c), None)
    if not all(np.isfinite(m).all() for m in mesh):  # a fold or a horizon in the tile
        return inverse(*_centres(grid, r, c), None)
    start = tuple(_interpolated(m, mesh_r, mesh_c, r, c) for m in mesh)
    return inverse(*_centres(grid, r, c), start)


def _inverse(transform: Transform, crs: CRS) -> Callable[..., tuple[Floats, Floats]]:
    """Function from (x, y) in ``crs`` and a start to pixels."""
    same = same_crs(transform.crs, crs)
    geographic = same_crs(crs, WGS84)

    def run(x: Floats, y: Floats, start: Any) -> tuple[Floats, Floats]:
        if isinstance(transform, SmoothTransform):
            xy = (x, y) if same else finite(*transformer(crs, transform.crs).transform(x, y))
            return transform.from_map(*xy, start=start)
        if same:
            return transform.from_map(x, y)
        lonlat = (x, y) if geographic else finite(*transformer(crs, crs_from(WGS84)).transform(x, y))
        return transform.to_pixel(*lonlat)

    return run


def _centres(grid: Grid, r: Floats, c: Floats) -> tuple[Floats, Floats]:
    t = grid.transform
    x, y = np.broadcast_arrays(t.c + t.a * c[None, :], t.f + t.e * r[:, None])
    return x, y


def _mesh(centres: Floats) -> Floats:
    n = max(2, -(-centres.size // MESH) + 1)
    return np.linspace(centres[0], max(centres[-1], centres[0] + 1), n)


def _interpolated(values: Floats, mesh_r: Floats, mesh_c: Floats, r: Floats, c: Floats) -> Floats:
    """Bilinear interpolation from a mesh to a block of cells."""

    def weights(mesh: Floats, at: Floats) -> tuple[NDArray[np.int64], Floats]:
        place = (at - mesh[0]) / (mesh[1] - mesh[0])
        first = np.clip(np.floor(place).astype(np.int64), 0, mesh.size - 2)
        return first, place - first

    (i, a), (j, b) = weights(mesh_r, r), weights(mesh_c, c)
    along = values[:, j] * (1 - b) + values[:, j + 1] * b
    return np.asarray(along[i] * (1 - a)[:, None] + along[i + 1] * a[:, None])


def _colours(picture: PictureHandle, px: Floats, py: Floats, smooth: bool) -> Bytes:
    """(4, rows, cols) colours at positions on the scan."""
    height, width = picture.info.size
    out = np.zeros((4, *px.shape), np.uint8)
    with np.errstate(invalid="ignore"):
        inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
    if not inside.any():
        return out
    col0, col1 = max(0, int(px[inside].min()) - 1), min(width, int(px[inside].max()) + 3)
    row0, row1 = max(0, int(py[inside].min()) - 1), min(height, int(py[inside].max()) + 3)
    if (col1 - col0) * (row1 - row0) > WINDOW and px.size > 1:
        along = int(px.shape[1] >= px.shape[0])
        parts = zip(np.array_split(px, 2, axis=along), np.array_split(py, 2, axis=along), strict=True)
        return np.concatenate([_colours(picture, a, b, smooth) for a, b in parts], axis=along + 1)
    window = picture.read_rgba(row0, row1, col0, col1)
    u, v = px[inside] - col0, py[inside] - row0
    if smooth:
        out[:, inside] = _bilinear(window, u - 0.5, v - 0.5)
    else:
        out[:, inside] = window[:, np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)]
    return out


def _bilinear(window: Bytes, u: Floats, v: Floats) -> Bytes:
    """(4, m) colours between pixel centres; colours weigh by their alpha, the scan's edge pixels reach to its edge."""
    height, width = window.shape[1:]
    c, r = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    a, b = u - c, v - r
    colour, alpha = np.zeros((3, u.size)), np.zeros(u.size)
    for dr, dc, weight in ((0, 0, (1 - a) * (1 - b)), (0, 1, a * (1 - b)), (1, 0, (1 - a) * b), (1, 1, a * b)):
        cell = window[:, np.clip(r + dr, 0, height - 1), np.clip(c + dc, 0, width - 1)]
        share = weight * cell[3]
        colour += share * cell[:3]
        alpha += share
    out = np.zeros((4, u.size), np.uint8)
    seen = alpha > 0
    out[:3, seen] = np.rint(colour[:, seen] / alpha[seen])
    out[3] = np.rint(alpha)
    return out


def _outline(transform: Transform, size: tuple[int, int], target: CRS) -> Floats:
    """(m, 2) the scan's edge, and a lattice inside it, in ``target``: a curved edge may bulge beyond its corners."""
    height, width = size
    px, py = np.meshgrid(np.linspace(0, width, 41), np.linspace(0, height, 41))
    lonlat = transform.to_lonlat(px.ravel(), py.ravel())
    return np.column_stack(finite(*_to(target).transform(*lonlat)))


def _to(target: CRS) -> Any:
    return transformer(crs_from(WGS84), target)


def _own_resolution(transform: Transform, used: ControlPoints, target: CRS) -> float:
    """Side of a square cell as large as a pixel in the middle of the points, to three digits, in the CRS's unit."""
    px, py = float(used.px.mean()), float(used.py.mean())
    lonlat = transform.to_lonlat(np.array([px, px + 1, px]), np.array([py, py, py + 1]))
    if target.is_geographic:
        east = (lonlat[0] - lonlat[0][0]) * math.cos(math.radians(float(lonlat[1][0])))
        steps = np.column_stack([east, lonlat[1] - lonlat[1][0]])
    else:
        xy = np.column_stack(_to(target).transform(*lonlat))
        steps = xy - xy[0]
    side = math.sqrt(abs(float(np.linalg.det(steps[1:]))))
    if not side > 0:
        raise OptionInvalid(
            "the scan has no size in the middle of its points", mend="give --resolution, or choose affine"
        )
    return float(f"{side:.3g}")
