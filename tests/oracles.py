"""Slow versions from the definitions; they share no code with what they check."""

from __future__ import annotations

import numpy as np
import shapely


def shares_by_intersection(grid, geometry):
    """(ny, nx) share of each cell inside a polygon: shapely's polygon-cell intersection, cell by cell."""
    ny, nx = grid.shape
    t = grid.transform
    # Cells in cell coordinates, so that the oracle works on unit squares and states errors in cells.
    moved = shapely.transform(geometry, lambda xy: np.column_stack([(xy[:, 0] - t.c) / t.a, (xy[:, 1] - t.f) / t.e]))
    cols, rows = np.meshgrid(np.arange(nx), np.arange(ny))
    cells = shapely.box(cols, rows, cols + 1, rows + 1)
    return shapely.area(shapely.intersection(cells, moved))


def sums_by_hand(values, valid, shares, weights):
    """(sum, valid weight) of one zone, in exact rational order: plain Python sums over cells."""
    total, weight = 0.0, 0.0
    for row in range(values.shape[0]):
        for col in range(values.shape[1]):
            if valid[row, col] and shares[row, col] > 0:
                total += shares[row, col] * weights[row, col] * float(values[row, col])
                weight += shares[row, col] * weights[row, col]
    return total, weight
