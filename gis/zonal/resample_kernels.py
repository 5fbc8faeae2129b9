"""Resampling, cell by cell; compiled. Plain functions on arrays: no files, no Dask, no projections.

In: a window of source values, coordinates of cell corners or centres in the cells of the other grid. Out: sums and
weights of target cells, sampled values, accounts of mass.

What a source cell adds to a target cell depends on these two cells alone, and every target cell adds up its source
cells in one order (mesh block by mesh block, row by row). So the bits depend neither on tiles nor on workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Values = NDArray[np.float32] | NDArray[np.int32] | NDArray[np.float64]

NOISE = 1e-14
"""Pieces smaller than this share of their cell are rounding, not overlap: coordinates are relative to the cell."""

ROUNDING = 4e-15
"""Pieces that are differences of areas below four cells are good to this [cells]."""

SEEN = 1e-12
"""Weight of a target cell of which it is only known that it has data."""

# Columns of `account_blocks`' result.
MASS, BEYOND = 0, 1


@nb.njit(cache=True, nogil=True)
def block_points(nodes: Floats, row: int, col: int, lagrange: Floats, out: Floats) -> None:
    """Interpolate one coordinate at the points of one mesh block, its far edges included.

    Parameters
    ----------
    nodes : (n, m) float64; the block's stencil begins at node (row, col).
    lagrange : (step + 1, 6) float64
        Weights of six nodes in line; exactly one of them at both ends, so that neighbouring blocks agree.
    out : (step + 1, step + 1) float64, filled.
    """
    line = np.empty(6)
    for i in range(lagrange.shape[0]):
        w = lagrange[i]
        for k in range(6):
            c = col + k
            line[k] = (
                (w[0] * nodes[row, c] + w[1] * nodes[row + 1, c])
                + (w[2] * nodes[row + 2, c] + w[3] * nodes[row + 3, c])
                + (w[4] * nodes[row + 4, c] + w[5] * nodes[row + 5, c])
            )
        for j in range(lagrange.shape[0]):
            w = lagrange[j]
            out[i, j] = (
                (w[0] * line[0] + w[1] * line[1])
                + (w[2] * line[2] + w[3] * line[3])
                + (w[4] * line[4] + w[5] * line[5])
            )


# --- a projected cell split over target cells ------------------------------------------------------------------------


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _piece(parts: Floats, row: int, xa: float, xb: float, area: float, rate: float) -> None:
    """Add one edge piece inside one row. The method is `gis.zonal.burn`'s.

    ``area`` is the piece's signed height, ``rate`` the edge's height per column, without a sign.
    """
    left, right = (xa, xb) if xa <= xb else (xb, xa)
    col = int(left)
    if area < 0.0:
        rate = -rate
    while right > col + 1:
        part = rate * (col + 1 - left)
        share = 0.5 * (left + 1.0 - col) * part
        parts[row, col] += part - share
        parts[row, col + 1] += share
        area -= part  # what is left goes into the last column: nothing leaks to the right
        left, col = float(col + 1), col + 1
    share = (0.5 * (left + right) - col) * area
    parts[row, col] += area - share
    parts[row, col + 1] += share


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _edge(parts: Floats, xa: float, ya: float, xb: float, yb: float) -> None:
    if ya == yb:
        return
    sign = 1.0
    if ya > yb:  # always downwards: two cells split their common edge by the same numbers
        xa, ya, xb, yb, sign = xb, yb, xa, ya, -1.0
    row = int(ya)
    rate = (yb - ya) / abs(xb - xa) if xb != xa else 0.0
    if yb <= row + 1:
        _piece(parts, row, xa, xb, sign * (yb - ya), rate)
        return
    slope = (xb - xa) / (yb - ya)
    low, high = min(xa, xb), max(xa, xb)
    top, x_top = ya, xa
    while top < yb:
        bottom, x_bottom = float(row + 1), xb
        if bottom < yb:
            x_bottom = min(max(xa + (bottom - ya) * slope, low), high)
        else:
            bottom = yb
        _piece(parts, row, x_top, x_bottom, sign * (bottom - top), rate)
        top, x_top = bottom, x_bottom
        row += 1


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _split(
    parts: Floats, n_rows: int, n_cols: int,
    x0: float, y0: float, x1: float, y1: float, x2: float, y2: float, x3: float, y3: float,
) -> float:  # fmt: skip
    """Fill ``parts[:n_rows, :n_cols]`` with the overlap of a quadrilateral and each cell; return their sum.

    Coordinates are relative to the first cell. The sum is the quadrilateral's area, by which callers divide: mass is
    then kept whatever rounding did to the pieces.
    """
    _edge(parts, x0, y0, x1, y1)
    _edge(parts, x1, y1, x2, y2)
    _edge(parts, x2, y2, x3, y3)
    _edge(parts, x3, y3, x0, y0)
    area = 0.0
    for row in range(n_rows):
        running = 0.0
        for col in range(n_cols):
            running += parts[row, col]
            parts[row, col] = running
            area += running
    sign = 1.0 if area > 0.0 else -1.0
    least, kept = abs(area) * NOISE, 0.0
    for row in range(n_rows):
        for col in range(n_cols):
            piece = sign * parts[row, col]
            piece = piece if piece > least else 0.0
            parts[row, col] = piece
            kept += piece
    return kept


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _beyond_one(a: float, b: float) -> float:
    """Mean of max(x - 1, 0) as x runs from a to b."""
    high, low = (a - 1.0, b - 1.0) if a > b else (b - 1.0, a - 1.0)
    crossing = 0.5 * high * high / (high - low)
    return 0.0 if high <= 0.0 else (0.5 * (high + low) if low >= 0.0 else crossing)


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _side_integrals(xa: float, ya: float, xb: float, yb: float) -> tuple[float, float, float, float]:
    """Integrals along a side over dy: of x, of min(x, 1), and of both where y < 1.

    Around a polygon they add up to its area, its area left of 1, above 1, and both (Green's theorem).
    """
    height, mean = yb - ya, 0.5 * (xa + xb)
    at_one = xa + (1.0 - ya) * (xb - xa) / height
    crosses = (ya < 1.0) != (yb < 1.0)
    ua = at_one if crosses & (ya >= 1.0) else xa
    ub = at_one if crosses & (yb >= 1.0) else xb
    upper, upper_mean = min(yb, 1.0) - min(ya, 1.0), 0.5 * (ua + ub)
    return (
        mean * height,
        (mean - _beyond_one(xa, xb)) * height,
        upper_mean * upper,
        (upper_mean - _beyond_one(ua, ub)) * upper,
    )


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _quadrants(
    x0: float, y0: float, x1: float, y1: float, x2: float, y2: float, x3: float, y3: float
) -> tuple[float, float, float, float]:
    """Overlap of a quadrilateral with each of two by two cells: upper left, upper right, lower left, lower right.

    What `_split` does for any number of cells, without a branch: most cells of a map at the scale of its source lie so.
    """
    a0, l0, t0, q0 = _side_integrals(x0, y0, x1, y1)
    a1, l1, t1, q1 = _side_integrals(x1, y1, x2, y2)
    a2, l2, t2, q2 = _side_integrals(x2, y2, x3, y3)
    a3, l3, t3, q3 = _side_integrals(x3, y3, x0, y0)
    area, left = (a0 + a1) + (a2 + a3), (l0 + l1) + (l2 + l3)
    top, both = (t0 + t1) + (t2 + t3), (q0 + q1) + (q2 + q3)
    sign = 1.0 if area > 0.0 else -1.0
    least = ROUNDING + NOISE * abs(area)
    p, q, r, s = sign * both, sign * (top - both), sign * (left - both), sign * ((area - left) - (top - both))
    return (
        p if p > least else 0.0,
        q if q > least else 0.0,
        r if r > least else 0.0,
        s if s > least else 0.0,
    )


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _is_data(x: float, low: float, high: float, nodata: float) -> bool:
    return (x >= low) & (x <= high) & (x != nodata)  # NaN fails the first two


@nb.njit(nogil=True, inline="always")
def _all_known(weight: Floats, row0: int, row1: int, col0: int, col1: int) -> bool:
    """Whether every target cell of a box, as far as it lies in the tile, has data already."""
    for row in range(max(row0, 0), min(row1, weight.shape[0])):
        for col in range(max(col0, 0), min(col1, weight.shape[1])):
            if weight[row, col] == 0.0:
                return False
    return True


@nb.njit(nogil=True, inline="always")
def _put(total: Floats, weight: Floats, row: int, col: int, piece: float, scale: float) -> None:
    """Add one piece, where it lies in the tile."""
    if (piece > 0.0) & (row >= 0) & (col >= 0) & (row < weight.shape[0]) & (col < weight.shape[1]):
        total[row, col] += scale * piece
        weight[row, col] += piece


@nb.njit(nogil=True, inline="always", error_model="numpy")
def _put_quadrants(
    total: Floats, weight: Floats, row: int, col: int, pieces: tuple[float, float, float, float], x: float,
    is_count: bool,
) -> None:  # fmt: skip
    area = (pieces[0] + pieces[1]) + (pieces[2] + pieces[3])
    scale = (x / area if area > 0.0 else 0.0) if is_count else x
    _put(total, weight, row, col, pieces[0], scale)
    _put(total, weight, row, col + 1, pieces[1], scale)
    _put(total, weight, row + 1, col, pieces[2], scale)
    _put(total, weight, row + 1, col + 1, pieces[3], scale)


@nb.njit(nogil=True, inline="always")
def _give(
    parts: Floats, n_rows: int, n_cols: int, scale: float, total: Floats, weight: Floats, row0: int, col0: int
) -> None:
    """Add the pieces of one source cell to those target cells that lie in the tile, and leave ``parts`` empty."""
    for i in range(n_rows):
        row = row0 + i
        inside = 0 <= row < weight.shape[0]
        for j in range(n_cols):
            piece, col = parts[i, j], col0 + j
            parts[i, j] = 0.0
            if inside and piece > 0.0 and 0 <= col < weight.shape[1]:
                total[row, col] += scale * piece
                weight[row, col] += piece
        parts[i, n_cols] = 0.0
        parts[i, n_cols + 1] = 0.0


@nb.njit(nogil=True, error_model="numpy")
def _mark_centres(
    values: Values,
    rules: tuple[float, float, float, float],
    us: Floats,
    vs: Floats,
    max_side: float,
    tile: tuple[int, int, int, int],
    weight: Floats,
) -> None:
    """Note for every source cell that the target cell under its middle has data; `_all_known` then spares most splits.

    Where cells of both grids are about as large, that is nearly every target cell with data.
    """
    low, high, nodata, _ = rules
    row0, row1, col0, col1 = tile
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if not _is_data(float(values[i, j]), low, high, nodata):
                continue
            x0, x2, y0, y2 = us[i, j], us[i + 1, j + 1], vs[i, j], vs[i + 1, j + 1]
            x, y = 0.5 * (x0 + x2), 0.5 * (y0 + y2)  # the middle of a diagonal
            if not ((x >= col0) & (x < col1) & (y >= row0) & (y < row1)):
                continue
            if (abs(x2 - x0) <= max_side) & (abs(y2 - y0) <= max_side) & (x0 != x2) & (y0 != y2):
                row, col = int(y) - row0, int(x) - col0
                if weight[row, col] == 0.0:
                    weight[row, col] = SEEN


@nb.njit(cache=True, nogil=True, error_model="numpy")
def split_cells(
    values: Values,
    rules: tuple[float, float, float, float],
    us: Floats,
    vs: Floats,
    max_side: float,
    is_count: bool,
    tile: tuple[int, int, int, int],
    total: Floats,
    weight: Floats,
    parts: Floats,
) -> Floats:
    """Add source cells to the target cells they overlap.

    Parameters
    ----------
    values : (n, m), float32, int32 or float64
    rules : (low, high, nodata, floor): data is ``low <= x <= high`` and ``x != nodata``; below ``floor`` it counts 0.
    us, vs : (at least n + 1, at least m + 1) float64 [target cells]
        Column and row coordinates of the cells' corners; NaN where the target CRS has no such point.
    max_side : a cell wider or taller than this is torn by the edge of the target CRS and has no place.
    is_count : a count is divided in proportion to overlap; an intensity is weighed by it.
    tile : (row0, row1, col0, col1) of the target, of which ``total`` and ``weight`` are the cells, added to.
    parts : working memory, zeros.

    Returns
    -------
    ``parts``, zeros again, larger where a cell needed more.
    """
    low, high, nodata, floor = rules
    row0, row1, col0, col1 = tile
    # Cells without anybody come last: they only say that there is data, which is mostly known by then.
    for empty in range(2 if is_count else 1):
        left_over = False
        for i in range(values.shape[0]):
            for j in range(values.shape[1]):
                x = float(values[i, j])
                if not _is_data(x, low, high, nodata):
                    continue
                x = x if x >= floor else 0.0
                if is_count and (x == 0.0) != (empty == 1):
                    left_over = True
                    continue
                x0, x1, x2, x3 = us[i, j], us[i, j + 1], us[i + 1, j + 1], us[i + 1, j]
                y0, y1, y2, y3 = vs[i, j], vs[i, j + 1], vs[i + 1, j + 1], vs[i + 1, j]
                left, right = min(min(x0, x1), min(x2, x3)), max(max(x0, x1), max(x2, x3))
                top, bottom = min(min(y0, y1), min(y2, y3)), max(max(y0, y1), max(y2, y3))
                if not ((right > col0) & (left < col1) & (bottom > row0) & (top < row1)):
                    continue
                if not ((right - left <= max_side) & (bottom - top <= max_side)):
                    continue
                first_col, first_row = int(np.floor(left)), int(np.floor(top))
                n_cols, n_rows = int(np.floor(right)) - first_col + 1, int(np.floor(bottom)) - first_row + 1
                r, c = first_row - row0, first_col - col0
                if empty and _all_known(weight, r, r + n_rows, c, c + n_cols):
                    continue
                if n_cols == 1 and n_rows == 1:
                    area = 0.5 * abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0))
                    total[r, c] += x if is_count else x * area
                    weight[r, c] += area
                    continue
                fx, fy = float(first_col), float(first_row)
                x0, x1, x2, x3, y0, y1, y2, y3 = x0 - fx, x1 - fx, x2 - fx, x3 - fx, y0 - fy, y1 - fy, y2 - fy, y3 - fy
                if n_cols <= 2 and n_rows <= 2:
                    _put_quadrants(total, weight, r, c, _quadrants(x0, y0, x1, y1, x2, y2, x3, y3), x, is_count)
                    continue
                if n_rows > parts.shape[0] or n_cols + 2 > parts.shape[1]:
                    parts = np.zeros((n_rows + 2, n_cols + 4))
                area = _split(parts, n_rows, n_cols, x0, y0, x1, y1, x2, y2, x3, y3)
                scale = (x / area if area > 0.0 else 0.0) if is_count else x
                _give(parts, n_rows, n_cols, scale, total, weight, r, c)
        if not left_over:
            break
        if not empty:
            _mark_centres(values, rules, us, vs, max_side, tile, weight)
    return parts


@nb.njit(cache=True, nogil=True, error_model="numpy")
def split_blocks(
    values: Values,
    origin: tuple[int, int],
    rules: tuple[float, float, float, float],
    u_nodes: Floats,
    v_nodes: Floats,
    first_block: tuple[int, int],
    step: int,
    lagrange: Floats,
    blocks: NDArray[np.int64],
    max_side: float,
    is_count: bool,
    tile: tuple[int, int, int, int],
    total: Floats,
    weight: Floats,
) -> None:
    """`split_cells` for whole mesh blocks, whose corners are interpolated block by block.

    Parameters
    ----------
    values : window of the source whose first cell is ``origin`` (row, col); it holds the blocks, cut at its far edges.
    blocks : (n, 2) int64: (row, col) of blocks, counted from the source's first cell.
    """
    us, vs = np.empty((step + 1, step + 1)), np.empty((step + 1, step + 1))
    parts = np.zeros((8, 12))
    for b in range(blocks.shape[0]):
        row, col = blocks[b, 0], blocks[b, 1]
        block_points(u_nodes, row - first_block[0], col - first_block[1], lagrange, us)
        block_points(v_nodes, row - first_block[0], col - first_block[1], lagrange, vs)
        r, c = row * step - origin[0], col * step - origin[1]
        some = values[r : min(r + step, values.shape[0]), c : min(c + step, values.shape[1])]
        parts = split_cells(some, rules, us, vs, max_side, is_count, tile, total, weight, parts)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def account_cells(
    values: Values,
    rules: tuple[float, float, float, float],
    us: Floats,
    vs: Floats,
    max_side: float,
    is_count: bool,
    shape: tuple[int, int],
    out: Floats,
) -> None:
    """Add to ``out`` the mass of source cells, and how much of it lies beyond the target or has no place in its CRS.

    The mass of an intensity is value times the cell's area in the target plane [target cells]; of a cell that has no
    place in the target CRS it is unknown and left out.
    """
    low, high, nodata, floor = rules
    n_target_rows, n_target_cols = shape
    parts = np.zeros((8, 12))
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            x = float(values[i, j])
            if not _is_data(x, low, high, nodata) or x == 0.0:
                continue
            x = x if x >= floor else 0.0
            x0, x1, x2, x3 = us[i, j], us[i, j + 1], us[i + 1, j + 1], us[i + 1, j]
            y0, y1, y2, y3 = vs[i, j], vs[i, j + 1], vs[i + 1, j + 1], vs[i + 1, j]
            left, right = min(min(x0, x1), min(x2, x3)), max(max(x0, x1), max(x2, x3))
            top, bottom = min(min(y0, y1), min(y2, y3)), max(max(y0, y1), max(y2, y3))
            finite = np.isfinite(x0 + x1 + x2 + x3 + y0 + y1 + y2 + y3)
            if not (finite & (right - left <= max_side) & (bottom - top <= max_side)):
                if is_count:
                    out[MASS] += x
                    out[BEYOND] += x
                continue
            mass = x if is_count else x * 0.5 * abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0))
            out[MASS] += mass
            if (left >= 0.0) & (top >= 0.0) & (right <= n_target_cols) & (bottom <= n_target_rows):
                continue
            if (right <= 0.0) | (bottom <= 0.0) | (left >= n_target_cols) | (top >= n_target_rows):
                out[BEYOND] += mass
                continue
            first_col, first_row = int(np.floor(left)), int(np.floor(top))
            n_cols, n_rows = int(np.floor(right)) - first_col + 1, int(np.floor(bottom)) - first_row + 1
            if n_rows > parts.shape[0] or n_cols + 2 > parts.shape[1]:
                parts = np.zeros((n_rows + 2, n_cols + 4))
            fx, fy = float(first_col), float(first_row)
            area = _split(parts, n_rows, n_cols, x0 - fx, y0 - fy, x1 - fx, y1 - fy, x2 - fx, y2 - fy, x3 - fx, y3 - fy)
            outside = 0.0
            for row in range(n_rows):
                for col in range(n_cols):
                    if not (0 <= first_row + row < n_target_rows and 0 <= first_col + col < n_target_cols):
                        outside += parts[row, col]
            out[BEYOND] += mass * outside / area if area > 0.0 else mass
            parts[:n_rows, : n_cols + 2] = 0.0


@nb.njit(cache=True, nogil=True, error_model="numpy")
def account_blocks(
    values: Values,
    origin: tuple[int, int],
    rules: tuple[float, float, float, float],
    u_nodes: Floats,
    v_nodes: Floats,
    first_block: tuple[int, int],
    step: int,
    lagrange: Floats,
    blocks: NDArray[np.int64],
    max_side: float,
    is_count: bool,
    shape: tuple[int, int],
    out: Floats,
) -> None:
    """`account_cells` for whole mesh blocks; arguments as `split_blocks`."""
    us, vs = np.empty((step + 1, step + 1)), np.empty((step + 1, step + 1))
    for b in range(blocks.shape[0]):
        row, col = blocks[b, 0], blocks[b, 1]
        block_points(u_nodes, row - first_block[0], col - first_block[1], lagrange, us)
        block_points(v_nodes, row - first_block[0], col - first_block[1], lagrange, vs)
        r, c = row * step - origin[0], col * step - origin[1]
        some = values[r : min(r + step, values.shape[0]), c : min(c + step, values.shape[1])]
        account_cells(some, rules, us, vs, max_side, is_count, shape, out)
