"""Values of one grid at the cells of another: nearest, bilinear, average; compiled.

In: a window of source values, coordinates of target centres in source cells. Out: values of target cells, NaN where
there is no data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

from gis.zonal.resample_kernels import _is_data

if TYPE_CHECKING:
    from gis.zonal.resample_kernels import Floats, Values


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
