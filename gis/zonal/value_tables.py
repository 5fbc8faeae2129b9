"""Tables of the distinct values in zones, and where they come from, strip by strip.

In: a raster under a coverage, or anything else that knows its zones and can tabulate a strip (``Source``). Out:
``ValueTable``: for each zone its distinct values, rising, with the share of the zone that has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gis.grid import STRIP_ROWS
from gis.raster_io import CellRules, RasterInfo, open_raster
from gis.zonal.coverage import Coverage
from gis.zonal.engine import Bounds, bounds_from_rules, strip_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Distinct values of some zones and how much of each zone they cover."""

    ptr: NDArray[np.int64] = field(repr=False)
    """(n_zones + 1,): entries of zone z are ``ptr[z]:ptr[z + 1]``, rising in value."""
    value: Floats = field(repr=False)
    """(n,)."""
    whole: Floats = field(repr=False)
    """(n,): number of cells wholly inside that have the value; an integer, so its sums are exact."""
    cut: Floats = field(repr=False)
    """(n,): sum of shares of the other cells that have it."""

    def __len__(self) -> int:
        return self.value.size

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The arrays as the kernels take them."""
        return self.ptr, self.value, self.whole, self.cut

    def merged(self, other: ValueTable) -> ValueTable:
        """Both together; ``other`` lies below in the raster."""
        from gis.zonal.order_kernels import merge_tables

        return ValueTable(*merge_tables(*self.columns, *other.columns))

    def smallest(self, n: int) -> ValueTable:
        """The ``n`` smallest entries of a table of one zone."""
        assert self.ptr.size == 2  # a border inside several zones at once would mean nothing
        ptr = np.array([0, min(n, len(self))], np.int64)
        return ValueTable(ptr, self.value[:n].copy(), self.whole[:n].copy(), self.cut[:n].copy())


class Source(Protocol):
    """Where cells come from: something that knows its zones and can tabulate one strip."""

    def __len__(self) -> int: ...

    @property
    def bound(self) -> NDArray[np.int64]:
        """(n_zones,): at most so many distinct values in each zone."""

    @property
    def first_strip(self) -> NDArray[np.int64]:
        """(n_zones,): where each zone begins."""

    def cells_of_strips(self) -> dict[int, int]:
        """Strips that any zone touches, rising, and at most so many entries in each."""

    def only(self, zones: NDArray[np.intp]) -> Source:
        """The same for some of the zones, given by rising index."""

    def table(self, strip: int, after: float) -> ValueTable:
        """What one strip holds, values above ``after``."""


@dataclass(frozen=True, slots=True)
class CellSource:
    """The cells of one raster under a coverage of its grid, each weighing its share."""

    info: RasterInfo
    """The raster."""
    rules: CellRules
    """Which of its cells are data."""
    coverage: Coverage
    """Zones on its grid."""

    def __len__(self) -> int:
        return len(self.coverage)

    @property
    def bound(self) -> NDArray[np.int64]:
        """(n_zones,): the cells of each zone, or the values its dtype can hold, if that is less."""
        levels = 2 ** (8 * np.dtype(self.info.dtype).itemsize) if np.dtype(self.info.dtype).kind in "iu" else 2**62
        return np.minimum(cells_of_zones(self.coverage), min(levels, 2**62))

    @property
    def first_strip(self) -> NDArray[np.int64]:
        """(n_zones,): where each zone begins."""
        return first_strips(self.coverage)

    def cells_of_strips(self) -> dict[int, int]:
        """Strips that any zone touches, and cells in each."""
        return cells_of_strips(self.coverage)

    def only(self, zones: NDArray[np.intp]) -> CellSource:
        """The same for some of the zones."""
        return replace(self, coverage=self.coverage.only(zones))

    def table(self, strip: int, after: float) -> ValueTable:
        """Read one strip."""
        row0, row1 = self.info.grid.strip_rows(strip)
        col0, col1 = self.coverage.touched_columns(row0, row1)
        with open_raster(self.info) as handle:
            values = handle.read_rows(row0, row1, col0, col1)
        return table_of_values(values, col0, self.rules, self.coverage, strip, after)


def table_of_values(
    values: NDArray[Any], col0: int, rules: CellRules, coverage: Coverage, strip: int, after: float = -np.inf
) -> ValueTable:
    """Tabulate one strip.

    Parameters
    ----------
    values : (n_rows, n_cols) float32, int32 or float64
        Columns ``col0`` and on of the strip. Overwritten where ``rules`` name several nodata values.
    """
    from gis.zonal.order_kernels import collapse_whole, gather_cut, gather_whole

    bounds = blanked(values, rules)
    b = (bounds.low, bounds.high, bounds.nodata, bounds.floor, after)
    row0, row1 = coverage.grid.strip_rows(strip)
    shares = strip_arrays(coverage, row0, row1)
    ptr, whole = gather_whole(values, col0, *b, *shares[:3], len(coverage))
    for zone in np.flatnonzero(np.diff(ptr)):
        whole[ptr[zone] : ptr[zone + 1]].sort()  # NumPy's sort is vectorised and releases the GIL; numba's is not
    ptr, value, count = collapse_whole(ptr, whole)
    inner = ValueTable(ptr, value, count, np.zeros(value.size))
    zone, cut, share = gather_cut(values, col0, *b, *shares[3:])
    return inner.merged(table_of_pairs(zone, cut, share, len(coverage)))


def table_of_pairs(zone: NDArray[np.int64], value: Floats, share: Floats, n_zones: int) -> ValueTable:
    """Tabulate single cells or pieces, given as arrays of equal length, in their order."""
    from gis.zonal.order_kernels import collapse_cut

    order = np.lexsort((value, zone))  # stable
    ptr, values, shares = collapse_cut(zone, value, share, order, n_zones)
    return ValueTable(ptr, values, np.zeros(values.size), shares)


def blanked(values: NDArray[Any], rules: CellRules) -> Bounds:
    """Turn nodata values beyond the first into fill, in place, and give the comparisons that are left."""
    bounds = bounds_from_rules(rules, values.dtype)
    for other in bounds.others:
        values[values == other] = np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    return bounds


# --- counts of cells --------------------------------------------------------------------------------------------------


def cells_of_zones(coverage: Coverage) -> NDArray[np.int64]:
    """(n_zones,): cells that each zone touches."""
    n = len(coverage)
    inner = np.bincount(coverage.span_zone, np.diff(coverage.span_cols, axis=1)[:, 0], n)
    return (inner + np.bincount(coverage.cell_zone, minlength=n)).astype(np.int64)


def first_strips(coverage: Coverage) -> NDArray[np.int64]:
    """(n_zones,): first strip of each zone; 0 for a zone without cells."""
    out = np.full(len(coverage), np.iinfo(np.int64).max)
    for ptr, zone in ((coverage.span_ptr, coverage.span_zone), (coverage.cell_ptr, coverage.cell_zone)):
        row = np.repeat(np.arange(ptr.size - 1), np.diff(ptr))
        np.minimum.at(out, zone, row // STRIP_ROWS)
    return np.where(out == np.iinfo(np.int64).max, 0, out)


def cells_of_strips(coverage: Coverage) -> dict[int, int]:
    """Strips that any zone touches, rising, and the cells in each, once for every zone that touches them."""
    out = {}
    for strip in coverage.covered_strips():
        row0, row1 = coverage.grid.strip_rows(strip)
        spans = coverage.span_cols[coverage.span_ptr[row0] : coverage.span_ptr[row1]]
        out[strip] = int(np.diff(spans, axis=1).sum() + coverage.cell_ptr[row1] - coverage.cell_ptr[row0])
    return out
