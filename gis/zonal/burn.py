"""Exact coverage of grid cells by one polygon, by signed-area accumulation; compiled.

In: a polygon's rings in cell coordinates (column right, row down). Out: interior spans and boundary cells, row by row.

Each edge is split at cell rows; the area between the edge and the cell's right side goes into the cell the edge
passes, the rest into its right neighbour, and a running sum along the row turns differences into coverage. The
method is the one font rasterisers use (Levien, font-rs, 2016); it is additive, so that holes, parts and corners need
no case analysis once every ring has the orientation its role asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Burned = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], float]

EDGE_NOISE = 1e-10
"""Shares this close to 0 or 1 are rounding of the coordinates: one ulp at column 43,200 is 7e-12 of a cell."""


@nb.njit(cache=True, nogil=True)
def ring_sign(u: NDArray[np.float64], v: NDArray[np.float64], is_hole: bool) -> float:
    """Factor that makes a ring add (exterior) or take away (hole) area, whichever way it was digitised."""
    area = 0.0
    u0, v0 = u[0], v[0]
    for i in range(u.size - 1):
        area += (u[i] - u0) * (v[i + 1] - v0) - (u[i + 1] - u0) * (v[i] - v0)
    sign = -1.0 if area > 0.0 else 1.0
    return -sign if is_hole else sign


@nb.njit(cache=True, nogil=True, inline="always")
def _add_piece(
    total: NDArray[np.float64],
    touched: NDArray[np.uint8],
    row: int,
    col0: int,
    n_cols: int,
    xa: float,
    xb: float,
    area: float,
) -> None:
    """Add one edge piece that stays inside one row; ``area`` is its signed height, columns [col0, col0 + n_cols)."""
    left, right = (xa, xb) if xa <= xb else (xb, xa)
    first = int(np.floor(left))
    last = max(int(np.ceil(right)) - 1, first)
    if first == last:
        k = first - col0
        if k >= n_cols:
            return
        if k < 0:
            total[row, 0] += area
            return
        share = 0.5 * ((left - first) + (right - first)) * area
        total[row, k] += area - share
        total[row, k + 1] += share
        touched[row, k] = 1
        return
    slope = area / (right - left)
    # What lies left of the window acts as an edge on its left side, what lies right of it does not act at all.
    if left < col0:
        total[row, 0] += slope * (min(right, float(col0)) - left)
        left, first = float(col0), col0
    stop = min(last, col0 + n_cols - 1)
    for col in range(first, stop + 1):
        a = left if left > col else float(col)
        b = right if right < col + 1 else float(col + 1)
        part = slope * (b - a)
        share = 0.5 * ((a - col) + (b - col)) * part
        k = col - col0
        total[row, k] += part - share
        total[row, k + 1] += share
        touched[row, k] = 1


@nb.njit(cache=True, nogil=True)
def _add_ring(
    total: NDArray[np.float64],
    touched: NDArray[np.uint8],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    sign: float,
    row0: int,
    col0: int,
) -> None:
    n_rows, n_cols = touched.shape
    row1 = row0 + n_rows
    for i in range(u.size - 1):
        xa, ya, xb, yb, s = u[i], v[i], u[i + 1], v[i + 1], sign
        if ya > yb:  # always downwards: two neighbours compute the border they share from the same numbers
            xa, ya, xb, yb, s = xb, yb, xa, ya, -sign
        if yb < row0 or ya >= row1:
            continue
        if ya == yb:
            row = int(np.floor(ya))
            if ya > row:  # along a cell border it covers nothing partially
                first = max(int(np.floor(min(xa, xb))), col0)
                last = min(int(np.ceil(max(xa, xb))) - 1, col0 + n_cols - 1)
                for col in range(first, last + 1):
                    touched[row - row0, col - col0] = 1
            continue
        slope = (xb - xa) / (yb - ya)
        first_row = max(int(np.floor(ya)), row0)
        last_row = min(int(np.ceil(yb)) - 1, row1 - 1)
        low, high = min(xa, xb), max(xa, xb)
        for row in range(first_row, last_row + 1):
            top, bottom = float(row), float(row + 1)
            if ya >= top:
                top, x_top = ya, xa
            else:
                x_top = min(max(xa + (top - ya) * slope, low), high)
            if yb <= bottom:
                bottom, x_bottom = yb, xb
            else:
                x_bottom = min(max(xa + (bottom - ya) * slope, low), high)
            if bottom > top:
                _add_piece(total, touched, row - row0, col0, n_cols, x_top, x_bottom, s * (bottom - top))


@nb.njit(cache=True, nogil=True)
def burn_band(
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    ring_start: NDArray[np.int64],
    ring_sign_: NDArray[np.float64],
    row0: int,
    row1: int,
    col0: int,
    col1: int,
) -> Burned:
    """Cover the cells of rows [row0, row1) and columns [col0, col1) by one polygon.

    Parameters
    ----------
    u, v : (n_vertices,) float64 [cells]
        Column and row coordinates of all rings, each closed.
    ring_start : (n_rings + 1,) int64
        Where each ring starts; the last entry is n_vertices.
    ring_sign_ : (n_rings,) float64
        From `ring_sign`.

    Returns
    -------
    spans : (n, 3) int32: row, first column, column after the last; cells wholly inside.
    cells : (m, 2) int32: row, column; cells cut by the boundary.
    shares : (m,) float64 in (0, 1]: share of the cell inside.
    worst : float: how far a raw share left [0, 1]; the caller refuses more than 1e-7.
    """
    n_rows, n_cols = row1 - row0, col1 - col0
    total = np.zeros((n_rows, n_cols + 1))
    touched = np.zeros((n_rows, n_cols), np.uint8)
    for ring in range(ring_sign_.size):
        a, b = ring_start[ring], ring_start[ring + 1]
        _add_ring(total, touched, u[a:b], v[a:b], ring_sign_[ring], row0, col0)

    n_spans, n_cells, worst = 0, 0, 0.0
    for row in range(n_rows):  # first pass: running sums in place, and how much there is to store
        acc, inside = 0.0, False
        for k in range(n_cols):
            acc += total[row, k]
            if touched[row, k]:
                worst = max(worst, -acc, acc - 1.0)
                total[row, k] = acc
                n_cells += 1
                inside = False
            else:  # no edge passes: exactly 0 or 1, and rounding starts afresh
                whole = np.rint(acc)
                worst = max(worst, abs(acc - whole), -whole, whole - 1.0)
                acc = whole
                total[row, k] = whole
                if whole == 1.0 and not inside:
                    n_spans += 1
                inside = whole == 1.0

    spans = np.empty((n_spans, 3), np.int32)
    cells = np.empty((n_cells, 2), np.int32)
    shares = np.empty(n_cells)
    i, j = 0, 0
    for row in range(n_rows):
        inside = False
        for k in range(n_cols):
            if touched[row, k]:
                if inside:
                    spans[i - 1, 2] = col0 + k
                inside = False
                share = total[row, k]
                if share > EDGE_NOISE:
                    cells[j, 0], cells[j, 1] = row0 + row, col0 + k
                    shares[j] = 1.0 if share > 1.0 - EDGE_NOISE else share
                    j += 1
            elif total[row, k] == 1.0:
                if not inside:
                    spans[i, 0], spans[i, 1] = row0 + row, col0 + k
                    i += 1
                    inside = True
            elif inside:
                spans[i - 1, 2] = col0 + k
                inside = False
        if inside:
            spans[i - 1, 2] = col1
    return spans[:i], cells[:j], shares[:j], worst
