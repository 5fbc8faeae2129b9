"""Sums over one strip of one raster; compiled. Plain functions on arrays: no files, no Dask, no geometry.

In: a strip's values in their own dtype, the coverage rows of the strip, cell weights, and what counts as data.
Out: float64 accumulators of shape (n_zones, n_outputs).

The order of every addition is fixed: rows downwards, in a row spans before boundary cells, each in column order; inside
a span eight lanes, cell ``k`` of the span in lane ``k % 8``, folded pairwise. No fast-math. So the bits depend on the
raster, the zone and the strip alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float32] | NDArray[np.int32] | NDArray[np.float64]

LANES = 8
"""Lanes of a span sum: two vectors of four doubles."""

# Columns of `profile_strip`'s output.
NEGATIVE_CELLS, NEGATIVE_SUM, ABSOLUTE_SUM, LIT_CELLS, MIN, MAX, AT_MAX, COUNT, MEAN, M2 = range(10)
N_PROFILE = 10


@nb.njit(nogil=True, inline="always")
def _is_valid(x: float, low: float, high: float, nodata: float) -> bool:
    return (x >= low) & (x <= high) & (x != nodata)  # NaN fails the first two


@nb.njit(cache=True, nogil=True)
def sum_strip(
    values: Values,
    col_shift: int,
    low: float,
    high: float,
    nodata: float,
    floor: float,
    span_ptr: NDArray[np.int64],
    span_zone: NDArray[np.uint16],
    span_cols: NDArray[np.int32],
    cell_ptr: NDArray[np.int64],
    cell_zone: NDArray[np.uint16],
    cell_col: NDArray[np.int32],
    cell_share: NDArray[np.float64],
    row_weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add a strip's weighted sums and valid weights, where the weight depends on the row alone.

    Parameters
    ----------
    values : (n_rows, n_cols) float32, int32 or float64
        Columns ``col_shift`` to ``col_shift + n_cols`` of the grid.
    low, high, nodata : a cell is data when ``low <= x <= high`` and ``x != nodata`` (NaN: no such value).
    floor : data below it count as 0 (the negatives policy ``zero`` and the lit threshold).
    span_ptr, cell_ptr : (n_rows + 1,) int64, into the four arrays that follow each.
    row_weights : (n_measures, n_rows) float64
    out : (n_zones, 2 * n_measures) float64
        Added to: sum of share * weight * value for each measure, then sum of share * weight over valid cells.
    """
    n_measures, n_rows = row_weights.shape
    for row in range(n_rows):
        line = values[row]
        for i in range(span_ptr[row], span_ptr[row + 1]):
            a, b = span_cols[i, 0] - col_shift, span_cols[i, 1] - col_shift
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
            n0 = n1 = n2 = n3 = n4 = n5 = n6 = n7 = 0
            k = a
            while k + LANES <= b:
                x0, x1, x2, x3 = float(line[k]), float(line[k + 1]), float(line[k + 2]), float(line[k + 3])
                x4, x5, x6, x7 = float(line[k + 4]), float(line[k + 5]), float(line[k + 6]), float(line[k + 7])
                v0, v1 = _is_valid(x0, low, high, nodata), _is_valid(x1, low, high, nodata)
                v2, v3 = _is_valid(x2, low, high, nodata), _is_valid(x3, low, high, nodata)
                v4, v5 = _is_valid(x4, low, high, nodata), _is_valid(x5, low, high, nodata)
                v6, v7 = _is_valid(x6, low, high, nodata), _is_valid(x7, low, high, nodata)
                s0 += x0 if v0 & (x0 >= floor) else 0.0
                s1 += x1 if v1 & (x1 >= floor) else 0.0
                s2 += x2 if v2 & (x2 >= floor) else 0.0
                s3 += x3 if v3 & (x3 >= floor) else 0.0
                s4 += x4 if v4 & (x4 >= floor) else 0.0
                s5 += x5 if v5 & (x5 >= floor) else 0.0
                s6 += x6 if v6 & (x6 >= floor) else 0.0
                s7 += x7 if v7 & (x7 >= floor) else 0.0
                n0, n1, n2, n3 = n0 + v0, n1 + v1, n2 + v2, n3 + v3
                n4, n5, n6, n7 = n4 + v4, n5 + v5, n6 + v6, n7 + v7
                k += LANES
            total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
            valid = n0 + n1 + n2 + n3 + n4 + n5 + n6 + n7
            while k < b:
                x = float(line[k])
                if _is_valid(x, low, high, nodata):
                    valid += 1
                    if x >= floor:
                        total += x
                k += 1
            zone = span_zone[i]
            for m in range(n_measures):
                out[zone, m] += row_weights[m, row] * total
                out[zone, n_measures + m] += row_weights[m, row] * valid
        for i in range(cell_ptr[row], cell_ptr[row + 1]):
            x = float(line[cell_col[i] - col_shift])
            if _is_valid(x, low, high, nodata):
                zone, share = cell_zone[i], cell_share[i]
                x = x if x >= floor else 0.0
                for m in range(n_measures):
                    out[zone, m] += row_weights[m, row] * (share * x)
                    out[zone, n_measures + m] += row_weights[m, row] * share


@nb.njit(cache=True, nogil=True)
def sum_strip_by_cell(
    values: Values,
    col_shift: int,
    low: float,
    high: float,
    nodata: float,
    floor: float,
    span_ptr: NDArray[np.int64],
    span_zone: NDArray[np.uint16],
    span_cols: NDArray[np.int32],
    cell_ptr: NDArray[np.int64],
    cell_zone: NDArray[np.uint16],
    cell_col: NDArray[np.int32],
    cell_share: NDArray[np.float64],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """`sum_strip` for projected grids, where every cell has a weight of its own.

    Parameters
    ----------
    weights : (n_measures, n_rows, nx) float64, in the columns of the whole grid.
    """
    n_measures, n_rows = weights.shape[0], weights.shape[1]
    for row in range(n_rows):
        line = values[row]
        for i in range(span_ptr[row], span_ptr[row + 1]):
            a, b = span_cols[i, 0], span_cols[i, 1]
            zone = span_zone[i]
            for m in range(n_measures):
                w = weights[m, row]
                s0 = s1 = s2 = s3 = n0 = n1 = n2 = n3 = 0.0
                k = a
                while k + 4 <= b:
                    x0, x1 = float(line[k - col_shift]), float(line[k + 1 - col_shift])
                    x2, x3 = float(line[k + 2 - col_shift]), float(line[k + 3 - col_shift])
                    w0 = w[k] if _is_valid(x0, low, high, nodata) else 0.0
                    w1 = w[k + 1] if _is_valid(x1, low, high, nodata) else 0.0
                    w2 = w[k + 2] if _is_valid(x2, low, high, nodata) else 0.0
                    w3 = w[k + 3] if _is_valid(x3, low, high, nodata) else 0.0
                    s0 += x0 * w0 if (w0 != 0.0) & (x0 >= floor) else 0.0
                    s1 += x1 * w1 if (w1 != 0.0) & (x1 >= floor) else 0.0
                    s2 += x2 * w2 if (w2 != 0.0) & (x2 >= floor) else 0.0
                    s3 += x3 * w3 if (w3 != 0.0) & (x3 >= floor) else 0.0
                    n0 += w0
                    n1 += w1
                    n2 += w2
                    n3 += w3
                    k += 4
                total, valid = (s0 + s1) + (s2 + s3), (n0 + n1) + (n2 + n3)
                while k < b:
                    x = float(line[k - col_shift])
                    if _is_valid(x, low, high, nodata):
                        valid += w[k]
                        if x >= floor:
                            total += x * w[k]
                    k += 1
                out[zone, m] += total
                out[zone, n_measures + m] += valid
        for i in range(cell_ptr[row], cell_ptr[row + 1]):
            col = cell_col[i]
            x = float(line[col - col_shift])
            if _is_valid(x, low, high, nodata):
                zone, share = cell_zone[i], cell_share[i]
                x = x if x >= floor else 0.0
                for m in range(n_measures):
                    out[zone, m] += weights[m, row, col] * (share * x)
                    out[zone, n_measures + m] += weights[m, row, col] * share


@nb.njit(nogil=True, inline="always")
def _profile_cell(out: NDArray[np.float64], zone: int, raw: float, share: float, low: float, floor: float) -> None:
    if raw < 0.0:
        out[zone, NEGATIVE_CELLS] += share
        out[zone, NEGATIVE_SUM] -= share * raw
    out[zone, ABSOLUTE_SUM] += share * abs(raw)
    if raw < low:  # negatives = "nan": counted, then no data
        return
    x = raw if raw >= floor else 0.0
    if x > 0.0:
        out[zone, LIT_CELLS] += share
    if out[zone, COUNT] == 0.0 or x < out[zone, MIN]:
        out[zone, MIN] = x
    if out[zone, COUNT] == 0.0 or x > out[zone, MAX]:
        out[zone, MAX] = x
        out[zone, AT_MAX] = share
    elif x == out[zone, MAX]:
        out[zone, AT_MAX] += share
    # West (1979), weighted update: no difference of large squares
    count = out[zone, COUNT] + share
    delta = x - out[zone, MEAN]
    step = delta * share / count
    out[zone, M2] += out[zone, COUNT] * delta * step
    out[zone, MEAN] += step
    out[zone, COUNT] = count


@nb.njit(cache=True, nogil=True)
def profile_strip(
    values: Values,
    col_shift: int,
    raw_low: float,
    low: float,
    high: float,
    nodata: float,
    floor: float,
    span_ptr: NDArray[np.int64],
    span_zone: NDArray[np.uint16],
    span_cols: NDArray[np.int32],
    cell_ptr: NDArray[np.int64],
    cell_zone: NDArray[np.uint16],
    cell_col: NDArray[np.int32],
    cell_share: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add what quality rules and moments need: negatives, lit cells, extremes, cells at the maximum, mean and M2.

    Parameters
    ----------
    raw_low, low : lowest value that is counted among negatives, and lowest value that is data after the policy.
    out : (n_zones, N_PROFILE) float64, zeros at the start; columns as named in this module.
        COUNT, MEAN, M2 describe values after the policy, each cell weighing its share.
    """
    for row in range(span_ptr.size - 1):
        line = values[row]
        for i in range(span_ptr[row], span_ptr[row + 1]):
            zone = span_zone[i]
            for k in range(span_cols[i, 0] - col_shift, span_cols[i, 1] - col_shift):
                x = float(line[k])
                if _is_valid(x, raw_low, high, nodata):
                    _profile_cell(out, zone, x, 1.0, low, floor)
        for i in range(cell_ptr[row], cell_ptr[row + 1]):
            x = float(line[cell_col[i] - col_shift])
            if _is_valid(x, raw_low, high, nodata):
                _profile_cell(out, cell_zone[i], x, cell_share[i], low, floor)


@nb.njit(cache=True, nogil=True)
def total_strip(values: Values, low: float, high: float, nodata: float, floor: float) -> float:
    """Sum of all valid cells of a strip, zones or not: row by row, eight lanes."""
    total = 0.0
    for row in range(values.shape[0]):
        lanes = np.zeros(LANES)
        for k in range(values.shape[1]):
            x = float(values[row, k])
            if _is_valid(x, low, high, nodata) & (x >= floor):
                lanes[k % LANES] += x
        total += lanes.sum()
    return total


def merge_profiles(into: NDArray[np.float64], strip: NDArray[np.float64]) -> None:
    """Add a strip's profile to a running one; both (n, N_PROFILE), in place, in strip order.

    Moments merge by Chan, Golub & LeVeque (1979).
    """
    some = strip[:, COUNT] > 0
    a, b = into[some], strip[some]
    fresh = a[:, COUNT] == 0
    count = a[:, COUNT] + b[:, COUNT]
    delta = b[:, MEAN] - a[:, MEAN]
    moments = a[:, M2] + b[:, M2] + delta**2 * a[:, COUNT] * b[:, COUNT] / count
    mean = np.where(fresh, b[:, MEAN], a[:, MEAN] + delta * b[:, COUNT] / count)
    moments = np.where(fresh, b[:, M2], moments)
    high = np.where(fresh, b[:, MAX], np.maximum(a[:, MAX], b[:, MAX]))
    at_max = np.where(a[:, MAX] == high, a[:, AT_MAX], 0.0) * ~fresh + np.where(b[:, MAX] == high, b[:, AT_MAX], 0.0)
    low = np.where(fresh, b[:, MIN], np.minimum(a[:, MIN], b[:, MIN]))
    a[:, NEGATIVE_CELLS : LIT_CELLS + 1] += b[:, NEGATIVE_CELLS : LIT_CELLS + 1]
    a[:, MIN], a[:, MAX], a[:, AT_MAX], a[:, COUNT], a[:, MEAN], a[:, M2] = low, high, at_max, count, mean, moments
    into[some] = a
