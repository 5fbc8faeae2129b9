"""Values of one grid at the cells of another: nearest, bilinear, average; and the account of a strip; compiled.

In: a window of source values, coordinates of target points in source cells. Out: values of target cells, ``fill``
where there is no data; totals of a strip before anything is done to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

from gis.zonal.resample_kernels import _is_data

if TYPE_CHECKING:
    from gis.zonal.resample_kernels import Floats, Values


# Columns of `scan_strip`'s result.
TOTAL, NODATA_CELLS, NEGATIVE_CELLS, NEGATIVE_TOTAL = range(4)


@nb.njit(cache=True, nogil=True)
def window_points(
    nodes: Floats, first_block: tuple[int, int], step: int, lagrange: Floats, row0: int, col0: int, out: Floats
) -> None:
    """Interpolate one coordinate at points [row0, row0 + n) x [col0, col0 + m); ``out`` is (n, m), filled."""
    n, m = out.shape
    line = np.empty(nodes.shape[1])
    for i in range(n):
        row = row0 + i
        k = row // step - first_block[0]
        w = lagrange[row % step]
        for c in range(line.size):
            line[c] = (
                (w[0] * nodes[k, c] + w[1] * nodes[k + 1, c])
                + (w[2] * nodes[k + 2, c] + w[3] * nodes[k + 3, c])
                + (w[4] * nodes[k + 4, c] + w[5] * nodes[k + 5, c])
            )
        for j in range(m):
            col = col0 + j
            c = col // step - first_block[1]
            w = lagrange[col % step]
            out[i, j] = (
                (w[0] * line[c] + w[1] * line[c + 1])
                + (w[2] * line[c + 2] + w[3] * line[c + 3])
                + (w[4] * line[c + 4] + w[5] * line[c + 5])
            )


@nb.njit(cache=True, nogil=True)
def scan_strip(values: Values, rules: tuple[float, float, float, float], raw_low: float, weights: Floats) -> Floats:
    """Account for a strip of a raster before anything is done to it.

    Parameters
    ----------
    raw_low : lowest value that is data before the negatives policy; see `gis.zonal.engine.Bounds`.
    weights : (n_rows, 1) or (n_rows, n_cols) float64: what a cell weighs in the total.

    Returns
    -------
    (4,) float64: weighted total of the data, cells without data, cells below zero, their sum (unweighted).
    """
    low, high, nodata, floor = rules
    out = np.zeros(4)
    wide = weights.shape[1] > 1
    for i in range(values.shape[0]):
        lanes = np.zeros(8)
        n_nodata = 0
        for j in range(values.shape[1]):
            x = float(values[i, j])
            if not _is_data(x, raw_low, high, nodata):
                n_nodata += 1
                continue
            if x < 0.0:
                out[NEGATIVE_CELLS] += 1.0
                out[NEGATIVE_TOTAL] += x
            if x >= low and x >= floor:
                lanes[j % 8] += x * weights[i, j] if wide else x
        out[NODATA_CELLS] += n_nodata
        out[TOTAL] += lanes.sum() if wide else lanes.sum() * weights[i, 0]
    return out


@nb.njit(cache=True, nogil=True)
def sample_nearest(
    values: Values, origin: tuple[int, int], rules: tuple[float, float, float, float],
    us: Floats, vs: Floats, fill: float, out: Values,
) -> None:  # fmt: skip
    """Take the value of the source cell that holds each point; ``us``, ``vs`` are source columns and rows."""
    low, high, nodata, floor = rules
    n_rows, n_cols = values.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            u, v = us[i, j] - origin[1], vs[i, j] - origin[0]
            out[i, j] = fill
            if (u >= 0.0) & (v >= 0.0) & (u < n_cols) & (v < n_rows):  # NaN: no
                x = float(values[int(v), int(u)])
                if _is_data(x, low, high, nodata):
                    out[i, j] = x if x >= floor else 0.0


@nb.njit(cache=True, nogil=True)
def sample_bilinear(
    values: Values, origin: tuple[int, int], rules: tuple[float, float, float, float],
    us: Floats, vs: Floats, fill: float, out: Values,
) -> None:  # fmt: skip
    """Interpolate between the four nearest source centres; those without data leave their weight to the others.

    A point whose own source cell has no data has none: data keep their outline.
    """
    low, high, nodata, floor = rules
    n_rows, n_cols = values.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            u, v = us[i, j] - origin[1], vs[i, j] - origin[0]
            out[i, j] = fill
            if not ((u >= 0.0) & (v >= 0.0) & (u < n_cols) & (v < n_rows)):
                continue
            if not _is_data(float(values[int(v), int(u)]), low, high, nodata):
                continue
            col, row = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
            du, dv = u - 0.5 - col, v - 0.5 - row
            total, weight = 0.0, 0.0
            for r in range(2):
                for c in range(2):
                    if 0 <= row + r < n_rows and 0 <= col + c < n_cols:
                        x = float(values[row + r, col + c])
                        if _is_data(x, low, high, nodata):
                            w = (dv if r else 1.0 - dv) * (du if c else 1.0 - du)
                            total += w * (x if x >= floor else 0.0)
                            weight += w
            out[i, j] = total / weight


@nb.njit(cache=True, nogil=True)
def sample_average(
    values: Values, origin: tuple[int, int], rules: tuple[float, float, float, float],
    us: Floats, vs: Floats, fill: float, out: Values,
) -> None:  # fmt: skip
    """Average source cells over the box around each target cell's four corners; ``us``, ``vs`` one larger each way."""
    low, high, nodata, floor = rules
    n_rows, n_cols = values.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = fill
            x0, x1, x2, x3 = us[i, j], us[i, j + 1], us[i + 1, j + 1], us[i + 1, j]
            y0, y1, y2, y3 = vs[i, j], vs[i, j + 1], vs[i + 1, j + 1], vs[i + 1, j]
            if not np.isfinite(x0 + x1 + x2 + x3 + y0 + y1 + y2 + y3):
                continue
            left = max(min(min(x0, x1), min(x2, x3)) - origin[1], 0.0)
            right = min(max(max(x0, x1), max(x2, x3)) - origin[1], float(n_cols))
            top = max(min(min(y0, y1), min(y2, y3)) - origin[0], 0.0)
            bottom = min(max(max(y0, y1), max(y2, y3)) - origin[0], float(n_rows))
            total, weight = 0.0, 0.0
            for row in range(int(top), int(np.ceil(bottom))):
                height = min(bottom, row + 1.0) - max(top, float(row))
                for col in range(int(left), int(np.ceil(right))):
                    x = float(values[row, col])
                    if _is_data(x, low, high, nodata):
                        w = height * (min(right, col + 1.0) - max(left, float(col)))
                        total += w * (x if x >= floor else 0.0)
                        weight += w
            if weight > 0.0:
                out[i, j] = total / weight
