"""What a coverage says of a strip, worked out once for all rasters on its grid.

In: a coverage and a strip. Out: ``StripFacts``, and the columns of a file to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from gis.zonal.coverage import Coverage

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StripFacts:
    """One strip of one coverage."""

    zones: NDArray[np.intp]
    """(n,): zones with a cell in the strip, rising."""
    n_cells: int
    """Cells that lie in zones, once for every zone they lie in."""
    row_cols: NDArray[np.int32]
    """(n_rows, 2): first column and the column after the last that any zone touches in each row; 0, 0 for none."""


_facts: WeakKeyDictionary[Coverage, dict[int, StripFacts]] = WeakKeyDictionary()
_runs: WeakKeyDictionary[Coverage, dict[tuple[int, int], list[tuple[int, int]]]] = WeakKeyDictionary()


def strip_facts(coverage: Coverage, strip: int) -> StripFacts:
    """Facts of a strip."""
    known = _facts.setdefault(coverage, {})
    if strip not in known:
        known[strip] = _facts_of_rows(coverage, *coverage.grid.strip_rows(strip))
    return known[strip]


def strip_runs(coverage: Coverage, strip: int, width: int) -> list[tuple[int, int]]:
    """Columns of a strip to read from a file whose blocks are ``width`` wide: see `Coverage.touched_runs`."""
    known = _runs.setdefault(coverage, {})
    if (strip, width) not in known:
        known[strip, width] = coverage.touched_runs(*coverage.grid.strip_rows(strip), width)
    return known[strip, width]


def _facts_of_rows(coverage: Coverage, row0: int, row1: int) -> StripFacts:
    spans = coverage.span_cols[coverage.span_ptr[row0] : coverage.span_ptr[row1]]
    cells = coverage.cell_col[coverage.cell_ptr[row0] : coverage.cell_ptr[row1]]
    low = np.full(row1 - row0, coverage.grid.shape[1], np.int32)
    high = np.zeros(row1 - row0, np.int32)
    for ptr, first, last in (
        (coverage.span_ptr, spans[:, 0], spans[:, 1]),
        (coverage.cell_ptr, cells, cells + 1),
    ):
        start = ptr[row0 : row1 + 1] - ptr[row0]
        some = np.flatnonzero(np.diff(start))
        if some.size:
            low[some] = np.minimum(low[some], np.minimum.reduceat(first, start[some]))
            high[some] = np.maximum(high[some], np.maximum.reduceat(last, start[some]))
    low[high == 0] = 0
    n_cells = int((spans[:, 1] - spans[:, 0]).sum()) + cells.size
    return StripFacts(coverage.touched_zones(row0, row1), n_cells, np.column_stack([low, high]))


def whole_rows(values: NDArray[Any], col0: int) -> NDArray[np.int32]:
    """(n_rows, 2): every column of an array that begins at column ``col0``, for what needs each cell."""
    return np.tile(np.array([col0, col0 + values.shape[1]], np.int32), (values.shape[0], 1))
