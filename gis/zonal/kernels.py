"""Sums over one strip of one raster; compiled. Plain functions on arrays: no files, no Dask, no geometry.

In: a strip's values in their own dtype, the coverage rows of the strip, cell weights, and what counts as data.
Out: float64 accumulators of shape (n_zones, n_outputs).

The order of every addition is fixed: rows downwards, in a row a zone's spans before its boundary cells, each in column
order; inside a span eight lanes, cell ``k`` of the span in lane ``k % 8``, folded pairwise. No fast-math. So the bits
depend on the raster, the zone and the strip alone.
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

# Columns of `profile_strip`'s output; `quality_strip` fills all but the last two.
NEGATIVE_CELLS, NEGATIVE_SUM, ABSOLUTE_SUM, LIT_CELLS, MIN, MAX, AT_MAX, COUNT, MEAN, M2 = range(10)
N_PROFILE = 10


@nb.njit(nogil=True, inline="always")
def _is_valid(x: float, low: float, high: float, nodata: float) -> bool:
    return (x >= low) & (x <= high) & (x != nodata)  # NaN fails the first two


@nb.njit(nogil=True, inline="always")
def _clean(
    line: Values,
    low: float,
    high: float,
    nodata: float,
    floor: float,
    x: NDArray[np.float64],
    ok: NDArray[np.uint8],
) -> None:
    """Turn cells into doubles, 0 where there is no data or where it counts as 0, and mark what is data.

    One pass without branches or reductions: the compiler makes vectors of it, given slices that begin at 0 (a loop
    that might begin below 0 has every index checked).
    """
    for k in range(line.size):
        v = float(line[k])
        valid = _is_valid(v, low, high, nodata)
        ok[k] = valid
        x[k] = v if valid & (v >= floor) else 0.0


@nb.njit(nogil=True, inline="always")
def _span_sum(x: NDArray[np.float64]) -> float:
    """Sum in eight lanes folded pairwise, then what is left over."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    n, k = x.size, 0
    while k + LANES <= n:
        s0 += x[k]
        s1 += x[k + 1]
        s2 += x[k + 2]
        s3 += x[k + 3]
        s4 += x[k + 4]
        s5 += x[k + 5]
        s6 += x[k + 6]
        s7 += x[k + 7]
        k += LANES
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    while k < n:
        total += x[k]
        k += 1
    return total


@nb.njit(nogil=True, inline="always")
def _count(ok: NDArray[np.uint8]) -> int:
    """How many cells are marked."""
    n = 0
    for k in range(ok.size):
        n += ok[k]
    return n


@nb.njit(nogil=True, inline="always")
def _count_up(ok: NDArray[np.uint8], before: NDArray[np.int32]) -> None:
    """How many cells left of each are marked: a span's count is then one difference (spans are short, and many)."""
    n = np.int32(0)
    for k in range(ok.size):
        before[k] = n
        n += ok[k]
    before[ok.size] = n


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
    row_cols: NDArray[np.int32],
    row_weights: NDArray[np.float64],
    with_total: bool,
    by_span: bool,
    out: NDArray[np.float64],
) -> float:
    """Add a strip's weighted sums and valid weights, where the weight depends on the row alone.

    Parameters
    ----------
    values : (n_rows, n_cols) float32, int32 or float64
        Columns ``col_shift`` to ``col_shift + n_cols`` of the grid.
    low, high, nodata : a cell is data when ``low <= x <= high`` and ``x != nodata`` (NaN: no such value).
    floor : data below it count as 0 (the negatives policy ``zero`` and the lit threshold).
    span_ptr, cell_ptr : (n_rows + 1,) int64, into the arrays that follow each, sorted by zone inside a row.
    row_cols : (n_rows, 2) int32
        First column and the column after the last that matter in each row, of the whole grid.
    row_weights : (n_measures, n_rows) float64
    with_total : whether the sum of all cells is wanted.
    by_span : whether to clean only what zones cover, zone by zone, instead of whole rows; changes no bit. Not together
        with ``with_total``.
    out : (n_zones, 2 * n_measures) float64
        Added to: sum of share * weight * value for each measure, then sum of share * weight over valid cells.

    Returns
    -------
    float: sum of all valid cells of ``values``, zones or not; 0 when not wanted.
    """
    n_measures, n_rows = row_weights.shape
    n_cols = values.shape[1]
    x, ok, before = np.empty(n_cols), np.empty(n_cols, np.uint8), np.empty(n_cols + 1, np.int32)
    everything = 0.0
    for row in range(n_rows):
        line = values[row]
        if not by_span:
            first, end = row_cols[row, 0] - col_shift, row_cols[row, 1] - col_shift
            if first < end:
                _clean(line[first:end], low, high, nodata, floor, x[first:end], ok[first:end])
                _count_up(ok[first:end], before[first : end + 1])
        if with_total:
            everything += _span_sum(x)
        i, i_end, j, j_end = span_ptr[row], span_ptr[row + 1], cell_ptr[row], cell_ptr[row + 1]
        while i < i_end or j < j_end:
            zone = np.int64(span_zone[i]) if i < i_end else np.int64(cell_zone[j])
            if j < j_end and cell_zone[j] < zone:
                zone = np.int64(cell_zone[j])
            total, valid = 0.0, 0.0
            while i < i_end and span_zone[i] == zone:
                a, b = span_cols[i, 0] - col_shift, span_cols[i, 1] - col_shift
                if by_span:
                    _clean(line[a:b], low, high, nodata, floor, x[a:b], ok[a:b])
                    valid += _count(ok[a:b])
                else:
                    valid += before[b] - before[a]
                total += _span_sum(x[a:b])
                i += 1
            while j < j_end and cell_zone[j] == zone:
                k = cell_col[j] - col_shift
                if by_span:
                    _clean(line[k : k + 1], low, high, nodata, floor, x[k : k + 1], ok[k : k + 1])
                total += cell_share[j] * x[k]
                valid += cell_share[j] * ok[k]
                j += 1
            for m in range(n_measures):
                out[zone, m] += row_weights[m, row] * total
                out[zone, n_measures + m] += row_weights[m, row] * valid
    return everything


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
    n_measures, n_rows, n_cols = weights.shape[0], weights.shape[1], values.shape[1]
    x, ok = np.empty(n_cols), np.empty(n_cols, np.uint8)
    wx, wok = np.empty(n_cols), np.empty(n_cols)
    for row in range(n_rows):
        _clean(values[row], low, high, nodata, floor, x, ok)
        for m in range(n_measures):
            w = weights[m, row, col_shift : col_shift + n_cols]
            for k in range(n_cols):
                wx[k] = x[k] * w[k]
                wok[k] = ok[k] * w[k]
            for i in range(span_ptr[row], span_ptr[row + 1]):
                a, b = span_cols[i, 0] - col_shift, span_cols[i, 1] - col_shift
                out[span_zone[i], m] += _span_sum(wx[a:b])
                out[span_zone[i], n_measures + m] += _span_sum(wok[a:b])
            for j in range(cell_ptr[row], cell_ptr[row + 1]):
                k = cell_col[j] - col_shift
                out[cell_zone[j], m] += cell_share[j] * wx[k]
                out[cell_zone[j], n_measures + m] += cell_share[j] * wok[k]


@nb.njit(cache=True, nogil=True)
def quality_strip(
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
    row_cols: NDArray[np.int32],
    out: NDArray[np.float64],
) -> None:
    """`profile_strip` without mean and M2, several times as fast: whole spans at a time.

    Parameters
    ----------
    row_cols : as for `sum_strip`.
    out : (n_zones, N_PROFILE) float64, zeros at the start; MEAN and M2 stay 0.
    """
    n_cols = values.shape[1]
    x, ok, lit = np.empty(n_cols), np.empty(n_cols, np.uint8), np.empty(n_cols, np.uint8)
    size, below = np.empty(n_cols), np.zeros(n_cols)
    n_ok, n_lit = np.empty(n_cols + 1, np.int32), np.empty(n_cols + 1, np.int32)
    for row in range(span_ptr.size - 1):
        line, first, end = values[row], row_cols[row, 0] - col_shift, row_cols[row, 1] - col_shift
        if first >= end:
            continue
        here = line[first:end]
        _clean(here, low, high, nodata, floor, x[first:end], ok[first:end])
        is_odd = _mark_lit(here, x[first:end], raw_low, high, nodata, lit[first:end])
        if is_odd:
            _split_raw(here, raw_low, high, nodata, size[first:end], below[first:end])
        _count_up(ok[first:end], n_ok[first : end + 1])
        _count_up(lit[first:end], n_lit[first : end + 1])
        for i in range(span_ptr[row], span_ptr[row + 1]):
            zone, a, b = span_zone[i], span_cols[i, 0] - col_shift, span_cols[i, 1] - col_shift
            out[zone, ABSOLUTE_SUM] += _span_sum((size if is_odd else x)[a:b])
            if is_odd:
                out[zone, NEGATIVE_SUM] += _span_sum(below[a:b])
                out[zone, NEGATIVE_CELLS] += _n_above(below[a:b])
            n = n_ok[b] - n_ok[a]
            if n:
                out[zone, LIT_CELLS] += n_lit[b] - n_lit[a]
                _add_extremes(out[zone], x[a:b], ok[a:b], n)
        for j in range(cell_ptr[row], cell_ptr[row + 1]):
            zone, k, share = cell_zone[j], cell_col[j] - col_shift, cell_share[j]
            out[zone, ABSOLUTE_SUM] += share * (size[k] if is_odd else x[k])
            if is_odd and below[k] > 0.0:
                out[zone, NEGATIVE_CELLS] += share
                out[zone, NEGATIVE_SUM] += share * below[k]
            if ok[k]:
                out[zone, LIT_CELLS] += share * lit[k]
                _add_extreme(out[zone], x[k], x[k], share, share)


@nb.njit(nogil=True, inline="always")
def _n_above(x: NDArray[np.float64]) -> int:
    """How many are above 0."""
    n = 0
    for k in range(x.size):
        n += x[k] > 0.0
    return n


@nb.njit(nogil=True, inline="always")
def _mark_lit(
    line: Values, x: NDArray[np.float64], raw_low: float, high: float, nodata: float, lit: NDArray[np.uint8]
) -> bool:
    """Mark cells above 0; True when some number on disk is not what it counts as: negative, or below the floor."""
    is_odd = False
    for k in range(line.size):
        lit[k] = x[k] > 0.0
        v = float(line[k])
        is_odd |= _is_valid(v, raw_low, high, nodata) & (v != x[k])
    return is_odd


@nb.njit(nogil=True, inline="always")
def _split_raw(
    line: Values, raw_low: float, high: float, nodata: float, size: NDArray[np.float64], below: NDArray[np.float64]
) -> None:
    """Size of each number on disk, and how far it lies below 0."""
    for k in range(line.size):
        v = float(line[k])
        data = _is_valid(v, raw_low, high, nodata)
        size[k] = abs(v) if data else 0.0
        below[k] = -v if data & (v < 0.0) else 0.0


@nb.njit(nogil=True, inline="always")
def _add_extremes(out: NDArray[np.float64], x: NDArray[np.float64], ok: NDArray[np.uint8], count: int) -> None:
    """Extremes of the valid cells of a span, of which there are ``count``, at least one."""
    smallest, largest = _range(x) if count == x.size else _range_of_marked(x, ok)
    at_max = 0
    if out[COUNT] == 0.0 or largest >= out[MAX]:
        for k in range(x.size):
            at_max += (x[k] == largest) & (ok[k] == 1)
    _add_extreme(out, smallest, largest, float(at_max), float(count))


@nb.njit(nogil=True, inline="always")
def _range_of_marked(x: NDArray[np.float64], ok: NDArray[np.uint8]) -> tuple[float, float]:
    smallest, largest = np.inf, -np.inf
    for k in range(x.size):
        low = x[k] if ok[k] else np.inf
        high = x[k] if ok[k] else -np.inf
        smallest = low if low < smallest else smallest
        largest = high if high > largest else largest
    return smallest, largest


@nb.njit(nogil=True, inline="always")
def _range(x: NDArray[np.float64]) -> tuple[float, float]:
    """Least and greatest, in four lanes: one comparison need not wait for the one before."""
    l0 = l1 = l2 = l3 = np.inf
    h0 = h1 = h2 = h3 = -np.inf
    n, k = x.size, 0
    while k + 4 <= n:
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        l0, h0 = (x0 if x0 < l0 else l0), (x0 if x0 > h0 else h0)
        l1, h1 = (x1 if x1 < l1 else l1), (x1 if x1 > h1 else h1)
        l2, h2 = (x2 if x2 < l2 else l2), (x2 if x2 > h2 else h2)
        l3, h3 = (x3 if x3 < l3 else l3), (x3 if x3 > h3 else h3)
        k += 4
    while k < n:
        x0 = x[k]
        l0, h0 = (x0 if x0 < l0 else l0), (x0 if x0 > h0 else h0)
        k += 1
    return min(min(l0, l1), min(l2, l3)), max(max(h0, h1), max(h2, h3))


@nb.njit(nogil=True, inline="always")
def _add_extreme(out: NDArray[np.float64], smallest: float, largest: float, at_max: float, count: float) -> None:
    if out[COUNT] == 0.0 or smallest < out[MIN]:
        out[MIN] = smallest
    if out[COUNT] == 0.0 or largest > out[MAX]:
        out[MAX], out[AT_MAX] = largest, at_max
    elif largest == out[MAX]:
        out[AT_MAX] += at_max
    out[COUNT] += count


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


def merge_profiles(into: NDArray[np.float64], strip: NDArray[np.float64]) -> None:
    """Add a strip's profile to a running one; both (n, N_PROFILE), in place, in strip order.

    Moments merge by Chan, Golub & LeVeque (1979).
    """
    # A strip may hold nothing but negatives, which are counted and then no data.
    into[:, NEGATIVE_CELLS : LIT_CELLS + 1] += strip[:, NEGATIVE_CELLS : LIT_CELLS + 1]
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
    a[:, MIN], a[:, MAX], a[:, AT_MAX], a[:, COUNT], a[:, MEAN], a[:, M2] = low, high, at_max, count, mean, moments
    into[some] = a
