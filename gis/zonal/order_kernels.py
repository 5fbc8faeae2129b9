"""Kernels for what needs a zone's cells in order of value: gather, collapse, merge, sweep; compiled.

In: a strip's values and its coverage rows. Out: tables of distinct values by zone, and what one sweep over them tells.

A table holds, for each zone, its distinct values rising, and for each value ``whole``, the number of cells wholly
inside (an exact integer), and ``cut``, the sum of shares of cells cut by the border. The order of every addition is
fixed: cut cells of a strip in row and column order, strips downwards. So the bits depend on raster and zone alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Pointers = NDArray[np.int64]
    Values = NDArray[np.float32] | NDArray[np.int32] | NDArray[np.float64]

# Columns of `sweep`'s state, one row a zone.
N_VALUES, CUMULATED, GAPS, LAST, GINI, THEIL, MAJORITY, MAJORITY_SHARE, MINORITY, MINORITY_SHARE = range(10)
N_STATE = 10

# What `sweep` keeps of the elements before, at and after a quantile's place.
VALUE, WEIGHT, BELOW, NUMBER = range(4)

# Columns of `add_weighted`'s output.
W_ALL, W_VALID, W_VALUE, W_MEAN, W_M2 = range(5)
N_WEIGHTED = 5


@nb.njit(nogil=True, inline="always")
def _is_valid(x: float, low: float, high: float, nodata: float) -> bool:
    return (x >= low) & (x <= high) & (x != nodata)  # NaN fails the first two


@nb.njit(cache=True, nogil=True)
def gather_whole(
    values: Values,
    col_shift: int,
    low: float,
    high: float,
    nodata: float,
    floor: float,
    after: float,
    span_ptr: Pointers,
    span_zone: NDArray[np.uint16],
    span_cols: NDArray[np.int32],
    n_zones: int,
) -> tuple[Pointers, Floats]:
    """Values above ``after`` of the cells wholly inside, zone by zone.

    Parameters
    ----------
    values : (n_rows, n_cols), columns ``col_shift`` and on of the grid
    low, high, nodata, floor : as for `gis.zonal.kernels.sum_strip`

    Returns
    -------
    ptr : (n_zones + 1,) int64; the cells of zone z are ``ptr[z]:ptr[z + 1]``
    values : (n,) float64, not sorted
    """
    ptr = np.zeros(n_zones + 1, np.int64)
    for fill in range(2):
        if fill == 0:
            out = np.empty(0)
        else:
            for zone in range(n_zones):
                ptr[zone + 1] += ptr[zone]
            out = np.empty(ptr[n_zones])
            place = ptr[:n_zones].copy()
        for row in range(span_ptr.size - 1):
            line = values[row]
            for i in range(span_ptr[row], span_ptr[row + 1]):
                zone = span_zone[i]
                for k in range(span_cols[i, 0] - col_shift, span_cols[i, 1] - col_shift):
                    raw = float(line[k])
                    if _is_valid(raw, low, high, nodata):
                        x = raw if raw >= floor else 0.0
                        if x > after:
                            if fill == 0:
                                ptr[zone + 1] += 1
                            else:
                                out[place[zone]] = x + 0.0  # -0.0 is 0.0
                                place[zone] += 1
    return ptr, out


@nb.njit(cache=True, nogil=True)
def gather_cut(
    values: Values,
    col_shift: int,
    low: float,
    high: float,
    nodata: float,
    floor: float,
    after: float,
    cell_ptr: Pointers,
    cell_zone: NDArray[np.uint16],
    cell_col: NDArray[np.int32],
    cell_share: Floats,
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """(zone, value, share) of the cut cells with a value above ``after``, in row order."""
    most = cell_ptr[-1] - cell_ptr[0]
    zone, value, share = np.empty(most, np.int64), np.empty(most), np.empty(most)
    n = 0
    for row in range(cell_ptr.size - 1):
        for i in range(cell_ptr[row], cell_ptr[row + 1]):
            raw = float(values[row, cell_col[i] - col_shift])
            if _is_valid(raw, low, high, nodata):
                x = raw if raw >= floor else 0.0
                if x > after:
                    zone[n], value[n], share[n] = cell_zone[i], x + 0.0, cell_share[i]
                    n += 1
    return zone[:n], value[:n], share[:n]


@nb.njit(cache=True, nogil=True)
def collapse_whole(ptr: Pointers, values: Floats) -> tuple[Pointers, Floats, Floats]:
    """Distinct values of each zone and how often they occur; ``values`` rise inside each zone."""
    n_zones = ptr.size - 1
    out_ptr = np.zeros(n_zones + 1, np.int64)
    value, count = np.empty(values.size), np.empty(values.size)
    n = 0
    for zone in range(n_zones):
        first = n
        for i in range(ptr[zone], ptr[zone + 1]):
            if n > first and value[n - 1] == values[i]:
                count[n - 1] += 1.0
            else:
                value[n], count[n] = values[i], 1.0
                n += 1
        out_ptr[zone + 1] = n
    return out_ptr, value[:n].copy(), count[:n].copy()


@nb.njit(cache=True, nogil=True)
def collapse_cut(
    zone: NDArray[np.int64], value: Floats, share: Floats, order: NDArray[np.int64], n_zones: int
) -> tuple[Pointers, Floats, Floats]:
    """Distinct values of each zone and the sum of their shares; ``order`` sorts by zone and value, and is stable."""
    out_ptr = np.zeros(n_zones + 1, np.int64)
    out_value, out_share = np.empty(value.size), np.empty(value.size)
    n, last = 0, -1
    for i in order:
        if zone[i] == last and out_value[n - 1] == value[i]:
            out_share[n - 1] += share[i]
        else:
            out_value[n], out_share[n] = value[i], share[i]
            n += 1
            last = zone[i]
            out_ptr[last + 1] += 1
    for k in range(n_zones):
        out_ptr[k + 1] += out_ptr[k]
    return out_ptr, out_value[:n].copy(), out_share[:n].copy()


@nb.njit(cache=True, nogil=True)
def merge_tables(
    a_ptr: Pointers,
    a_value: Floats,
    a_whole: Floats,
    a_cut: Floats,
    b_ptr: Pointers,
    b_value: Floats,
    b_whole: Floats,
    b_cut: Floats,
) -> tuple[Pointers, Floats, Floats, Floats]:
    """Put two tables of the same zones together, ``a`` before ``b`` in every addition."""
    n_zones = a_ptr.size - 1
    size = a_value.size + b_value.size
    ptr = np.zeros(n_zones + 1, np.int64)
    value, whole, cut = np.empty(size), np.empty(size), np.empty(size)
    n = 0
    for zone in range(n_zones):
        i, j = a_ptr[zone], b_ptr[zone]
        while i < a_ptr[zone + 1] or j < b_ptr[zone + 1]:
            from_a = i < a_ptr[zone + 1] and (j == b_ptr[zone + 1] or a_value[i] <= b_value[j])
            from_b = j < b_ptr[zone + 1] and (i == a_ptr[zone + 1] or b_value[j] <= a_value[i])
            if from_a and from_b:
                value[n], whole[n], cut[n] = a_value[i], a_whole[i] + b_whole[j], a_cut[i] + b_cut[j]
            elif from_a:
                value[n], whole[n], cut[n] = a_value[i], a_whole[i], a_cut[i]
            else:
                value[n], whole[n], cut[n] = b_value[j], b_whole[j], b_cut[j]
            i += from_a
            j += from_b
            n += 1
        ptr[zone + 1] = n
    return ptr, value[:n].copy(), whole[:n].copy(), cut[:n].copy()


@nb.njit(cache=True, nogil=True)
def table_totals(ptr: Pointers, value: Floats, whole: Floats, cut: Floats) -> Floats:
    """(n_zones, 2): sum of shares, and sum of share times value."""
    out = np.zeros((ptr.size - 1, 2))
    for zone in range(ptr.size - 1):
        for i in range(ptr[zone], ptr[zone + 1]):
            share = whole[i] + cut[i]
            out[zone, 0] += share
            out[zone, 1] += share * value[i]
    return out


@nb.njit(cache=True, nogil=True)
def sweep(
    ptr: Pointers,
    value: Floats,
    whole: Floats,
    cut: Floats,
    mean: Floats,
    places: Floats,
    state: Floats,
    found: Floats,
    stage: NDArray[np.int64],
) -> None:
    """Go through the distinct values of every zone, rising; a later call goes on with larger values.

    Parameters
    ----------
    mean : (n_zones,) mean of the zone, of all its values
    places : (n_zones, n_quantiles) how much weight lies below each quantile
    state : (n_zones, N_STATE), zeros at the start; columns as named in this module. Updated.
    found : (n_zones, n_quantiles, 3, 4), NaN at the start: the elements before, at and after the place: value,
        weight, weight below, number from 0. Updated.
    stage : (n_zones, n_quantiles), zeros at the start: 1 when ``at`` is known, 2 when ``after`` is. Updated.
    """
    n_places = places.shape[1]
    for zone in range(ptr.size - 1):
        s = state[zone]
        for i in range(ptr[zone], ptr[zone + 1]):
            x, w = value[i], whole[i] + cut[i]
            if s[N_VALUES] > 0.0:
                # Sum of w_j (x - x_j) over smaller values: only positive terms, so no digits cancel.
                s[GAPS] += s[CUMULATED] * (x - s[LAST])
            s[GINI] += w * s[GAPS]
            ratio = x / mean[zone] if mean[zone] > 0.0 else np.nan
            # y ln y - y + 1 sums to the same as y ln y, as the mean of y is 1, and has no negative terms.
            s[THEIL] += w * (ratio * np.log(ratio) - (ratio - 1.0) if ratio != 0.0 else 1.0)
            if s[N_VALUES] == 0.0 or w >= s[MAJORITY_SHARE]:
                s[MAJORITY], s[MAJORITY_SHARE] = x, w
            if s[N_VALUES] == 0.0 or w < s[MINORITY_SHARE]:
                s[MINORITY], s[MINORITY_SHARE] = x, w
            for q in range(n_places):
                if stage[zone, q] == 0:
                    if s[CUMULATED] + w > places[zone, q]:
                        _keep(found[zone, q, 1], x, w, s[CUMULATED], s[N_VALUES])
                        stage[zone, q] = 1
                    else:  # still before it: the last of these stays
                        _keep(found[zone, q, 0], x, w, s[CUMULATED], s[N_VALUES])
                elif stage[zone, q] == 1:
                    _keep(found[zone, q, 2], x, w, s[CUMULATED], s[N_VALUES])
                    stage[zone, q] = 2
            s[CUMULATED] += w
            s[LAST] = x
            s[N_VALUES] += 1.0


@nb.njit(nogil=True, inline="always")
def _keep(into: Floats, x: float, w: float, below: float, number: float) -> None:
    into[VALUE], into[WEIGHT], into[BELOW], into[NUMBER] = x, w, below, number


@nb.njit(cache=True, nogil=True)
def add_weighted(zone: NDArray[np.int64], weight: Floats, value: Floats, out: Floats) -> None:
    """Add pieces one by one.

    Parameters
    ----------
    weight : (n,) the weight inside the zone, above 0
    value : (n,) NaN where there is no data
    out : (n_zones, N_WEIGHTED): weight in all, weight on data, sum of weight times value, and the weighted mean and
        sum of squared distances from it.
    """
    for i in range(zone.size):
        o, w, x = out[zone[i]], weight[i], value[i]
        o[W_ALL] += w
        if x == x and w > 0.0:
            # West (1979), as in gis.zonal.kernels
            total = o[W_VALID] + w
            delta = x - o[W_MEAN]
            step = delta * w / total
            o[W_M2] += o[W_VALID] * delta * step
            o[W_MEAN] += step
            o[W_VALID] = total
            o[W_VALUE] += w * x


def merge_weighted(into: Floats, strip: Floats) -> None:
    """Add a strip's sums to running ones; both (n, N_WEIGHTED), in place, in strip order.

    Moments merge by Chan, Golub & LeVeque (1979).
    """
    into[:, W_ALL] += strip[:, W_ALL]
    some = strip[:, W_VALID] > 0
    a, b = into[some], strip[some]
    total = a[:, W_VALID] + b[:, W_VALID]
    delta = b[:, W_MEAN] - a[:, W_MEAN]
    fresh = a[:, W_VALID] == 0
    a[:, W_M2] += b[:, W_M2] + np.where(fresh, 0.0, delta**2 * a[:, W_VALID] * b[:, W_VALID] / total)
    a[:, W_MEAN] = np.where(fresh, b[:, W_MEAN], a[:, W_MEAN] + delta * b[:, W_VALID] / total)
    a[:, W_VALID] = total
    a[:, W_VALUE] += b[:, W_VALUE]
    into[some] = a
